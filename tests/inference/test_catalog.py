"""What a model's name means, and what fits."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference.catalog import KNOWN, ModelSource, answers_meanwhile, choose_auto, fits, gigabytes, resolve
from inference.errors import ModelLoadError


@pytest.mark.parametrize("name", ["20b", "gpt-oss-20b", "openai/gpt-oss-20b", " OpenAI/GPT-OSS-20B ", "20B"])
def test_every_name_of_the_20b(name: str) -> None:
    assert resolve(name) == ModelSource("openai/gpt-oss-20b", repo="openai/gpt-oss-20b")


@pytest.mark.parametrize("name", ["120b", "gpt-oss-120b", "openai/gpt-oss-120b"])
def test_every_name_of_the_120b(name: str) -> None:
    assert resolve(name).repo == "openai/gpt-oss-120b"


@pytest.mark.parametrize("name", ["demo", "DEMO", "demonstration"])
def test_the_demonstration_model(name: str) -> None:
    assert resolve(name) == ModelSource("demo", demonstration=True)


def test_a_fine_tune_on_the_hub_keeps_its_name_as_written() -> None:
    assert resolve("Some-One/GPT_oss.tune-v2") == ModelSource(
        "Some-One/GPT_oss.tune-v2", repo="Some-One/GPT_oss.tune-v2"
    )


def test_a_folder_is_named_by_its_last_part_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mine" / "tuned"
    folder.mkdir(parents=True)
    assert resolve(str(folder)) == ModelSource("tuned", folder=folder)
    monkeypatch.chdir(tmp_path)
    assert resolve("./mine/tuned").folder == Path("mine/tuned")
    assert resolve("mine/tuned").repo == "mine/tuned"
    (folder / "config.json").write_text("{}")
    assert resolve("mine/tuned").folder == Path("mine/tuned")


@pytest.mark.parametrize(
    "name",
    ["", " ", "what", "a/b/c", "a b/c", "../etc/absent", "/no/such/folder", "-a/b", "a/..", "a/b--c", "a/\n"],
)
def test_names_that_mean_nothing(name: str) -> None:
    with pytest.raises(ModelLoadError) as caught:
        resolve(name)
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("free", "native", "choice"),
    [
        (None, False, "demo"),
        (8e9, True, "demo"),
        (15e9, True, "demo"),
        (16e9, True, "openai/gpt-oss-20b"),
        (24e9, False, "demo"),
        (80e9, False, "openai/gpt-oss-20b"),
    ],
)
def test_auto_takes_the_20b_where_it_fits(free: float | None, native: bool, choice: str) -> None:
    assert choose_auto(None if free is None else int(free), native) == choice


def test_room_to_work_is_part_of_fitting() -> None:
    needed = KNOWN["openai/gpt-oss-120b"].mxfp4_bytes
    assert not fits(needed, needed)
    assert fits(needed, 80_000_000_000)


def test_the_demonstration_model_stands_in_for_slow_ones_only(tmp_path: Path) -> None:
    assert answers_meanwhile(resolve("20b"))
    assert not answers_meanwhile(resolve("demo"))
    (tmp_path / "model.safetensors").write_bytes(b"small")
    assert not answers_meanwhile(resolve(str(tmp_path)))
    with (tmp_path / "large.safetensors").open("wb") as file:
        file.truncate(3_000_000_000)  # sparse: it takes no room
    assert answers_meanwhile(resolve(str(tmp_path)))


@pytest.mark.parametrize(
    ("count", "text"), [(13_761_300_984, "13.8 GB"), (1_000_000_000, "1.0 GB"), (5_400_000, "5 MB")]
)
def test_sizes_for_people(count: int, text: str) -> None:
    assert gigabytes(count) == text

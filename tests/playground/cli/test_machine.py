"""``setup``, ``models`` and ``download``: sound and broken surroundings, and a hub on loopback."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from inference import download as hub_download
from inference.errors import VocabularyError
from inference.harmony import HarmonyCodec
from inference.types import MachineInfo
from playground.cli import models, setup_checks
from playground.cli.setup_checks import Check, State
from tests.inference.checkpoints import write_checkpoint
from tests.inference.fake_hub import Hub, serve
from tests.playground.cli.scripted_cli import Terminal
from tests.playground.world import settings_for

REPO = "someone/tiny-gpt-oss"
SMALL = MachineInfo("cpu", "A processor", 8_000_000_000, 4_000_000_000, False)
LARGE = MachineInfo("cuda", "A GPU", 80_000_000_000, 80_000_000_000, True)
GPU: dict[str, Any] = {
    "torch": "2.13",
    "cuda_build": "13.0",
    "gpu": True,
    "name": "A GPU",
    "capability": [9, 0],
    "triton": "3.7",
    "kernels": "",
}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of models."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def offline(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that nobody answers at."""
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model in several files."""
    return write_checkpoint(tmp_path_factory.mktemp("published") / "model", shards=True)


@pytest.fixture
def hub(checkpoint: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub that ``download`` asks."""
    with serve(Hub(REPO, {path.name: path.read_bytes() for path in checkpoint.iterdir()})) as hub:
        fetch = partial(hub_download.fetch, endpoint=hub.endpoint)
        monkeypatch.setattr(hub_download, "fetch", fetch)
        yield hub


def run_download(terminal: Terminal, *words: str) -> Any:
    from typer.testing import CliRunner

    from app import cli

    return CliRunner().invoke(cli, ["download", *words])


def test_a_model_is_fetched_checked_and_gone_on_with(terminal: Terminal, hub: Hub, tmp_path: Path) -> None:
    to = tmp_path / "to"
    hub.cut_file, hub.cut_after = sorted(name for name in hub.files if name.endswith(".safetensors"))[1], 1000
    first = run_download(terminal, REPO, "--to", str(to))
    second = first if first.exit_code == 0 else run_download(terminal, REPO, "--to", str(to))
    assert second.exit_code == 0, second.output
    folder = Path(second.stdout.splitlines()[0].removeprefix("Complete and checked: "))
    assert {path.name for path in folder.iterdir()} == set(hub.files)
    assert f"python app.py --model {folder}" in second.stdout
    asked = len(hub.requests)
    assert run_download(terminal, REPO, "--to", str(to)).exit_code == 0
    assert not [path for method, path, _ in hub.requests[asked:] if method == "GET" and "safetensors" in path]
    blob = (folder / hub.cut_file).resolve()
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    result = run_download(terminal, REPO, "--to", str(to))
    assert (result.exit_code, f"Damaged, and removed: {hub.cut_file}." in result.stderr) == (1, True)
    assert run_download(terminal, REPO, "--to", str(to)).exit_code == 0
    assert blob.read_bytes() == hub.files[hub.cut_file]


def test_what_cannot_be_fetched_is_one_sentence(terminal: Terminal, hub: Hub, tmp_path: Path) -> None:
    hub.status, hub.error = 404, "RepoNotFound"
    for words, sentence in (
        (["someone/none", "--to", str(tmp_path)], "There is no such model on the hub"),
        (["no name"], "There is no model of this name."),
        (["demo"], "is here already"),
    ):
        result = run_download(terminal, *words)
        assert (result.exit_code, result.stdout) == (1, "")
        assert sentence in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_the_models_are_listed_with_their_fit(
    terminal: Terminal, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "look_at_machine", lambda: LARGE)
    listed = json.loads(terminal.run("models", "--json").stdout)
    assert listed["machine"]["name"] == "A GPU"
    assert [(each["name"], each["fit"], each["where"]) for each in listed["models"]] == [
        ("demo", "fits", "in the program"),
        ("openai/gpt-oss-20b", "fits", None),
        ("openai/gpt-oss-120b", "fits", None),
    ]
    shown = terminal.run("models").stdout
    assert "131,072" in shown
    assert "not downloaded" in shown


def states(terminal: Terminal, *words: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """The status, and each check's state with what it says."""
    result = terminal.run("setup", "--json", "--model", "demo", "--port", str(free_port()), *words)
    checks = json.loads(result.stdout)["checks"]
    assert json.loads(result.stdout)["ok"] is (result.exit_code == 0)
    return result.exit_code, {
        each["name"]: (each["state"], f"{each['says']} {each['mend']}") for each in checks
    }


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def looked(machine: MachineInfo = SMALL, **changes: Any) -> dict[str, Any]:
    fields = {name: getattr(machine, name) for name in MachineInfo.__dataclass_fields__}
    return {"torch": "2.13", "cuda_build": None, "gpu": False, "machine": fields, **changes}


def test_a_sound_machine_is_ready_also_offline(
    terminal: Terminal, offline: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup_checks, "look", looked)
    code, checks = states(terminal)
    assert (code, {state for state, _ in checks.values()}) == (0, {"ok"})
    assert "cannot be reached" in checks["hub"][1]
    shown = terminal.run("setup", "--model", "demo", "--port", str(free_port())).stdout
    assert "ok   python: " in shown


def test_what_is_broken_stops_and_says_how_to_mend_it(
    terminal: Terminal, offline: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(setup_checks, "look", lambda: {"error": "ImportError: libcudart"})

    def no_vocabulary() -> HarmonyCodec:
        raise VocabularyError("The vocabulary is not the expected file.")

    monkeypatch.setattr(HarmonyCodec, "load", no_vocabulary)
    (tmp_path / "data").write_text("a file")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, checks = states(
            terminal, "--port", str(taken.getsockname()[1]), "--model", str(tmp_path / "none")
        )
    assert code == 1
    assert {name for name, (state, _) in checks.items() if state == "bad"} == {
        "torch", "vocabulary", "data folder", "port", "model"
    }  # fmt: skip
    assert "pip install" in checks["torch"][1]
    assert "is not a folder" in checks["data folder"][1]
    assert "--port" in checks["port"][1]


def test_a_model_too_large_stops_and_one_that_is_missing_does_not(
    offline: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(tmp_path, model="20b")
    assert setup_checks.model(settings, SMALL).state is State.BAD
    missing = setup_checks.model(settings, LARGE)
    assert (missing.state, missing.repo) == (State.WARN, "openai/gpt-oss-20b")
    assert "python app.py download openai/gpt-oss-20b" in missing.mend
    assert setup_checks.hub(missing.repo).state is State.WARN
    monkeypatch.setattr(setup_checks, "_cache_free", lambda: 1_000)
    full = setup_checks.model(settings, LARGE)
    assert (full.state, "--to" in full.mend) == (State.BAD, True)
    assert setup_checks.model(settings_for(tmp_path), SMALL).says.startswith("demo.")


@pytest.mark.parametrize(
    ("found", "driver", "expected"),
    [
        ({}, None, [("GPU", "ok")]),
        ({"cuda_build": None}, "580.1", [("GPU", "warn")]),
        ({"cuda_build": "13.0"}, "580.1", [("GPU", "warn")]),
        (GPU, "580.1", [("GPU", "ok"), ("kernels", "ok")]),
        ({**GPU, "capability": [7, 5]}, "580.1", [("GPU", "warn")]),
        ({**GPU, "kernels": "RuntimeError: no compiler"}, "580.1", [("GPU", "ok"), ("kernels", "bad")]),
        ({key: GPU[key] for key in GPU if key != "triton"}, "580.1", [("GPU", "ok"), ("triton", "warn")]),
    ],
)
def test_what_a_gpu_lacks_is_named(
    found: dict[str, Any], driver: str | None, expected: list[tuple[str, str]]
) -> None:
    checks: list[Check] = list(setup_checks.gpu(found, driver))
    assert [(each.name, str(each.state)) for each in checks] == expected


def test_an_old_python_stops() -> None:
    assert setup_checks.python((3, 10, 2)).state is State.BAD


def test_torch_is_looked_at_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup_checks, "LOOK", "import os; os._exit(9)")
    assert "ended the process" in setup_checks.torch(setup_checks.look()).says
    monkeypatch.setattr(setup_checks, "LOOK", 'print(\'{"torch": "1"}\')')
    assert setup_checks.look() == {"torch": "1"}

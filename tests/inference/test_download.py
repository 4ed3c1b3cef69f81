"""Models from a hub on loopback: progress, resuming, the cache, and a sentence for each failure."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from huggingface_hub import constants
from huggingface_hub.hf_api import RepoSibling
from huggingface_hub.utils._xet_progress_reporting import XetDownloadProgressReporter

from inference import download
from inference.download import fetch
from inference.engine import EngineConfig, LocalEngine
from inference.errors import ModelLoadError
from inference.types import ModelStage, ModelStatus
from inference.worker.checkpoint import inspect
from inference.worker.messages import Stopped
from tests.inference.checkpoints import plain_checkpoint, write_checkpoint
from tests.inference.fake_hub import COMMIT, Hub, serve

REPO = "someone/tiny-gpt-oss"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in several files, with others beside them that are not needed."""
    return write_checkpoint(tmp_path_factory.mktemp("published") / "model", shards=True)


@pytest.fixture
def hub(checkpoint: Path) -> Iterator[Hub]:
    files = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    extra = {
        "README.md": b"# hello",
        "original/model.safetensors": b"x" * 5000,
        "metal/model.bin": b"y" * 5000,
    }
    with serve(Hub(REPO, {**files, **extra})) as hub:
        yield hub


class Told(NamedTuple):
    done: int
    total: int
    eta: float | None


def get(hub: Hub, cache: Path, told: list[Told] | None = None, **options: Any) -> Path:
    def progress(done: int, total: int, eta: float | None) -> None:
        if told is not None:
            told.append(Told(done, total, eta))

    fetched = fetch(REPO, progress, **{"cache_dir": cache, "endpoint": hub.endpoint, **options})
    assert fetched.revision == COMMIT
    return fetched.folder


def refused(hub: Hub, cache: Path, **options: Any) -> str:
    with pytest.raises(ModelLoadError) as caught:
        get(hub, cache, **options)
    text = str(caught.value)
    assert text.endswith(".")
    assert "http" not in text
    assert str(cache) not in text
    return caught.value.code


def test_only_what_a_model_needs_is_fetched_and_counted(hub: Hub, checkpoint: Path, tmp_path: Path) -> None:
    told: list[Told] = []
    folder = get(hub, tmp_path, told)
    wanted = {path.name for path in checkpoint.iterdir()}
    assert {path.name for path in folder.iterdir()} == wanted
    assert hub.fetched() == wanted
    inspect(folder)
    total = sum(path.stat().st_size for path in checkpoint.iterdir())
    assert {entry.total for entry in told} == {total}
    assert [entry.done for entry in told] == sorted(entry.done for entry in told)
    assert told[-1].done == total


def test_bytes_are_told_while_they_come(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "REPORT_EVERY", 0.0)
    told: list[Told] = []
    get(hub, tmp_path, told)
    assert len({entry.done for entry in told}) > 5
    assert told[-1].eta == 0
    assert all(entry.eta is None or entry.eta >= 0 for entry in told)


def test_the_hub_s_other_way_of_transfer_is_counted_once(tmp_path: Path) -> None:
    told: list[Told] = []
    sizes = [RepoSibling(rfilename="model.safetensors", size=1000)]
    meter = download._Meter(sizes, lambda *progress: told.append(Told(*progress)))
    with XetDownloadProgressReporter(
        reconstruction_desc="", log_level=0, total=1000, tqdm_class=meter.bar_class()
    ) as reporter:
        for written, received in [(0, 300), (400, 500), (1000, 700)]:
            reporter.update_progress(
                SimpleNamespace(
                    total_bytes=1000,
                    total_bytes_completed=written,
                    total_bytes_completion_rate=10.0,
                    total_transfer_bytes_completed=received,
                    total_transfer_bytes_completion_rate=None,
                )
            )
    meter.report(force=True)
    assert told[-1][:2] == (1000, 1000)


def test_a_second_time_nothing_is_fetched(hub: Hub, tmp_path: Path) -> None:
    first = get(hub, tmp_path)
    hub.requests.clear()
    assert get(hub, tmp_path) == first
    assert hub.fetched() == set()


def test_a_broken_transfer_goes_on_where_it_broke(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)  # what is kept is counted in whole pieces
    hub.cut_file = max((name for name in hub.files if "/" not in name), key=lambda name: len(hub.files[name]))
    hub.cut_after = 20_000
    told: list[Told] = []
    folder = get(hub, tmp_path, told)
    assert (folder / hub.cut_file).read_bytes() == hub.files[hub.cut_file]
    assert told[-1].done == told[-1].total
    assert any(wanted == "bytes=20000-" for _method, _path, wanted in hub.requests)


def test_files_that_are_complete_stay_when_a_download_is_stopped(hub: Hub, tmp_path: Path) -> None:
    first, second = sorted(name for name in hub.files if name.startswith("model-0"))[:2]

    def stop(done: int, _total: int, _eta: float | None) -> None:
        raise Stopped if done > 0 else RuntimeError

    get(hub, tmp_path / "whole")
    folder = next((tmp_path / "whole").glob("models--*"))
    shutil.copytree(folder, tmp_path / "part" / folder.name, symlinks=True)
    for link in (tmp_path / "part" / folder.name / "snapshots" / COMMIT).iterdir():
        if link.name not in {"config.json", first}:
            link.resolve().unlink()
            link.unlink()
    with pytest.raises(Stopped):
        fetch(REPO, stop, cache_dir=tmp_path / "part", endpoint=hub.endpoint)
    hub.requests.clear()
    get(hub, tmp_path / "part")
    assert first not in hub.fetched()
    assert second in hub.fetched()


def test_without_a_network_the_cached_copy_is_used(hub: Hub, tmp_path: Path) -> None:
    folder = get(hub, tmp_path)
    assert get(Hub(REPO, {}, endpoint=closed_port()), tmp_path) == folder


def test_a_broken_hub_does_not_hide_the_cached_copy(hub: Hub, tmp_path: Path) -> None:
    folder = get(hub, tmp_path)
    hub.status = 503
    assert get(hub, tmp_path) == folder


def test_a_cached_copy_with_a_file_missing_is_no_copy(hub: Hub, tmp_path: Path) -> None:
    folder = get(hub, tmp_path)
    sorted(folder.glob("*.safetensors"))[0].unlink()
    assert refused(Hub(REPO, {}, endpoint=closed_port()), tmp_path) == "no_network"


def closed_port() -> str:
    """An address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_no_network_and_nothing_cached(tmp_path: Path) -> None:
    assert refused(Hub(REPO, {}, endpoint=closed_port()), tmp_path) == "no_network"


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (404, "RepoNotFound", "model_not_found"),
        (401, "RepoNotFound", "model_not_found"),
        (401, "GatedRepo", "model_gated"),
        (403, "GatedRepo", "model_gated"),
        (403, "", "model_gated"),
        (500, "", "no_network"),
        (503, "", "no_network"),
        (400, "", "load_failed"),
    ],
)
def test_what_the_hub_refuses(hub: Hub, tmp_path: Path, status: int, error: str, code: str) -> None:
    hub.status, hub.error = status, error
    assert refused(hub, tmp_path) == code


def test_a_gated_model_that_may_be_seen_but_not_fetched(hub: Hub, tmp_path: Path) -> None:
    hub.gated_files = True
    assert refused(hub, tmp_path) == "model_gated"


def test_another_architecture_is_refused_before_its_weights_are_fetched(hub: Hub, tmp_path: Path) -> None:
    hub.files["config.json"] = json.dumps({"model_type": "llama"}).encode()
    assert refused(hub, tmp_path) == "not_gpt_oss"
    assert hub.fetched() == {"config.json"}


def test_a_repository_without_a_configuration(hub: Hub, tmp_path: Path) -> None:
    del hub.files["config.json"]
    assert refused(hub, tmp_path) == "not_gpt_oss"


def test_a_repository_without_safetensors(hub: Hub, tmp_path: Path) -> None:
    for name in [name for name in hub.files if name.endswith(".safetensors") and "/" not in name]:
        del hub.files[name]
    assert refused(hub, tmp_path) == "corrupt_model"


def test_a_full_disk_is_noticed_before_the_download(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10**9, 10**9 - 3000, 3000)
    )
    assert refused(hub, tmp_path) == "disk_full"
    assert not any(name.endswith(".safetensors") for name in hub.fetched())


async def test_the_engine_answers_with_the_demonstration_model_while_it_downloads(
    hub: Hub, tmp_path: Path
) -> None:
    engine = LocalEngine(
        EngineConfig(
            model=REPO,
            demo_folder=plain_checkpoint(),
            hub_cache=tmp_path,
            endpoint=hub.endpoint,
            device="cpu",
            threads=1,
        )
    )
    seen: dict[str, ModelStatus] = {}
    stages: set[ModelStage] = set()
    engine.start()
    async with asyncio.timeout(60):
        while REPO not in seen:
            health = engine.health()
            if health.active is not None:
                seen[health.active.name] = health.active
            if health.target is not None:
                stages.add(health.target.stage)
            await asyncio.sleep(0)
    await engine.close()
    assert list(seen) == ["demo", REPO]
    assert seen[REPO].revision == COMMIT
    assert not seen[REPO].demonstration
    assert {ModelStage.DOWNLOADING, ModelStage.LOADING} <= stages

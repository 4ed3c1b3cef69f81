"""A model gives way to another one, or to none: what requests are told, and what memory is freed."""

from __future__ import annotations

import asyncio
import gc
import shutil
import weakref
from collections.abc import Callable, Sized
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
import torch

from inference.engine import LocalEngine
from inference.errors import EngineUnavailable
from inference.types import EngineHealth, FinishReason, ModelStage, TokensFinished
from inference.worker import loader, main
from inference.worker.checkpoint import inspect
from inference.worker.device import Machine, look
from inference.worker.network import LoadedModel
from inference.worker.plain import PlainNetwork
from inference.worker.weights import Weights
from tests.inference.checkpoints import generate, plain_checkpoint, write_checkpoint
from tests.inference.engines import (
    PATIENCE,
    break_worker,
    collect,
    failed,
    ready,
    request,
    run,
    running,
)

CHANGING = "The model is being changed"
NOTHING = "No model is loaded"
SIZE = inspect(plain_checkpoint()).bytes_needed(4, native_mxfp4=False)
PAGES = 4_000_000


def alive(kind: type) -> list[object]:
    """Every object of a class in this process that was not given up."""
    return [thing for thing in gc.get_objects() if type(thing) is kind]


class Networks:
    """The models that were made since, as long as they are not given up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._here: weakref.WeakSet[PlainNetwork] = weakref.WeakSet()
        make = PlainNetwork.__init__

        def note(network: PlainNetwork, weights: Weights) -> None:
            self._here.add(network)
            make(network, weights)

        monkeypatch.setattr(PlainNetwork, "__init__", note)

    def __len__(self) -> int:
        return len(self._here)


@dataclass(frozen=True)
class SmallMachine(Machine):
    """Has memory for the tiny model once, in float32; a second one would only fit in half the precision."""

    networks: Sized = ()

    def free_bytes(self) -> int:
        return int(1.9 * SIZE) - SIZE * len(self.networks)

    def total_bytes(self) -> int:
        return int(1.9 * SIZE)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Networks:
    """Let models run on a machine of that size."""
    networks = Networks(monkeypatch)
    machine = SmallMachine(torch.device("cpu"), native_mxfp4=False, networks=networks)
    monkeypatch.setattr(loader, "look", lambda _device: machine)
    return networks


async def until(engine: LocalEngine, holds: Callable[[EngineHealth], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            if holds(engine.health()):
                return
            await asyncio.sleep(0.005)


def makes_room(health: EngineHealth) -> bool:
    return health.target is not None and health.target.detail == "Waiting for running replies to end"


async def unload(engine: LocalEngine) -> None:
    await engine.load("none")
    await until(engine, lambda health: health.active is None and health.target is None)


async def test_a_model_without_room_beside_the_old_one_takes_its_place(
    small: Networks, tmp_path: Path
) -> None:
    other = write_checkpoint(tmp_path / "other", seed=5)
    async with running(plain_checkpoint(), isolation="thread", kv_budget_bytes=PAGES) as engine:
        old = engine.submit(request("old", max_tokens=250))
        await engine.load(str(other))
        await until(engine, lambda health: health.active is None)
        assert makes_room(engine.health())
        for model in (None, plain_checkpoint().name):
            with pytest.raises(EngineUnavailable, match=CHANGING):
                engine.submit(request("refused", model=model))
        await ready(engine, "other")
        assert len(small) == 1
        tokens, _end = await run(engine, request("new"))
        assert tokens == generate(other, (1, 2, 3), 20)
        end = (await collect(old))[-1]
        assert isinstance(end, TokensFinished)
        assert (end.finish_reason, end.usage.completion) == (FinishReason.LENGTH, 250)
        active = engine.health().active
        assert active is not None
        assert active.dtype == "float32"
        assert engine.health().target is None


@pytest.mark.usefixtures("small")
async def test_replies_that_take_too_long_are_ended_with_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write_checkpoint(tmp_path / "other", seed=5)
    monkeypatch.setattr(main, "GRACE", 0.0)
    async with running(
        plain_checkpoint(), isolation="thread", kv_budget_bytes=PAGES, max_running=2
    ) as engine:
        streams = [engine.submit(request(f"{number}", max_tokens=2000)) for number in range(4)]
        await until(engine, lambda health: health.running == 2)
        await engine.load(str(other))
        for stream in streams:
            end = (await collect(stream))[-1]
            assert isinstance(end, TokensFinished)
            assert (end.finish_reason, end.error_code) == (FinishReason.ERROR, "engine_unavailable")
            assert "The model was changed" in (end.error or "")
            assert end.usage.completion < 2000
        await ready(engine, "other")
        await run(engine, request("new"))


@pytest.mark.usefixtures("small")
async def test_the_old_model_is_loaded_again_when_the_new_one_fails_in_its_place(tmp_path: Path) -> None:
    other = write_checkpoint(tmp_path / "other", seed=5)
    async with running(plain_checkpoint(), isolation="thread", kv_budget_bytes=PAGES) as engine:
        old = engine.submit(request("old", max_tokens=250))
        await engine.load(str(other))
        await until(engine, makes_room)
        shutil.rmtree(other)
        await failed(engine)
        await collect(old)
        await ready(engine, "tiny")
        target = engine.health().target
        assert target is not None
        assert (target.name, target.stage) == ("other", ModelStage.FAILED)
        assert target.note.endswith("tiny is loaded again.")
        assert (await run(engine, request("a")))[0] == generate(plain_checkpoint(), (1, 2, 3), 20)


@pytest.mark.usefixtures("small")
async def test_nothing_is_given_up_for_a_model_that_has_no_room_at_all(tmp_path: Path) -> None:
    large = write_checkpoint(tmp_path / "large", vocab_size=20_000)
    async with running(plain_checkpoint(), isolation="thread", kv_budget_bytes=PAGES) as engine:
        old = engine.submit(request("old", max_tokens=200))
        await engine.load(str(large))
        assert await failed(engine) == "not_enough_memory"
        active = engine.health().active
        assert active is not None
        assert active.name == "tiny"
        end = (await collect(old))[-1]
        assert isinstance(end, TokensFinished)
        assert end.finish_reason is FinishReason.LENGTH


@pytest.mark.parametrize("isolation", ["thread", "process"])
async def test_a_model_can_be_given_up_and_loaded_again(isolation: str) -> None:
    gc.collect()
    before = {id(model) for model in alive(LoadedModel)}
    async with running(plain_checkpoint(), isolation=isolation) as engine:
        old = engine.submit(request("old", max_tokens=300))
        await engine.load("none")
        await until(engine, lambda health: health.active is None)
        with pytest.raises(EngineUnavailable, match=NOTHING):
            engine.submit(request("refused"))
        end = (await collect(old))[-1]
        assert isinstance(end, TokensFinished)
        assert end.finish_reason is FinishReason.LENGTH
        await until(engine, lambda health: health.target is None)
        assert {id(model) for model in alive(LoadedModel)} <= before
        with pytest.raises(EngineUnavailable, match=NOTHING):
            engine.submit(request("refused"))
        await engine.load(str(plain_checkpoint()))
        await ready(engine)
        await run(engine, request("again"))


async def test_a_worker_that_dies_without_a_model_comes_back_without_one() -> None:
    async with running(plain_checkpoint()) as engine:
        await unload(engine)
        break_worker(engine)
        await until(engine, lambda health: health.metrics is not None and health.metrics.restarts == 1)
        await until(engine, lambda health: health.active is None and health.target is None)
        with pytest.raises(EngineUnavailable, match=NOTHING):
            engine.submit(request("refused"))


async def test_the_system_gets_the_memory_back(tmp_path: Path) -> None:
    large = write_checkpoint(tmp_path / "large", vocab_size=150_000)
    size = inspect(large).bytes_needed(4, native_mxfp4=False)
    async with running(plain_checkpoint(), isolation="process", kv_budget_bytes=PAGES) as engine:
        (worker,) = (
            child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())
        )

        async def load_and_run() -> int:
            await engine.load(str(large))
            await ready(engine, "large")
            await run(engine, request("a"))
            held = int(worker.memory_info().rss)
            await unload(engine)
            return held

        await load_and_run()  # what is imported and kept for good comes with the first one
        empty = int(worker.memory_info().rss)
        held = await load_and_run()
        assert held - empty > 0.9 * size
        assert int(worker.memory_info().rss) - empty < 0.1 * size


def test_what_loaded_models_hold_counts_as_free_for_the_next_one() -> None:
    @dataclass(frozen=True)
    class Fixed(Machine):
        def free_bytes(self) -> int:
            return 600

        def total_bytes(self) -> int:
            return 1000

    machine = Fixed(torch.device("cpu"), native_mxfp4=False)
    assert machine.free_alone(0) == 600
    assert machine.info(300).free_bytes == 900
    assert machine.info(500).free_bytes == 1000
    here = look("cpu").info()
    assert 0 < here.free_bytes <= here.total_bytes
    assert here.name

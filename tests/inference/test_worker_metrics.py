"""The figures that the worker really shows: counters, pages, the machine, and what showing them costs."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from inference.engine import LocalEngine
from inference.types import EngineMetrics, GenerationRequest, SamplingParams, TokenEvent, TokensFinished
from inference.worker.main import MEASURE_EVERY, Command, Worker
from inference.worker.messages import Board, Close, Pulse, State, Submit
from tests.inference.checkpoints import plain_checkpoint, write_checkpoint
from tests.inference.engines import (
    PATIENCE,
    break_worker,
    collect,
    config,
    idle,
    ready,
    request,
    run,
    running,
)


@pytest.fixture(params=["thread", "process"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[LocalEngine]:
    async with running(plain_checkpoint(), max_running=4, isolation=request.param) as engine:
        yield engine


async def until(engine: LocalEngine, holds: Callable[[EngineMetrics], bool]) -> EngineMetrics:
    async with asyncio.timeout(PATIENCE):
        while True:
            metrics = engine.health().metrics
            if metrics is not None and holds(metrics):
                return metrics
            await asyncio.sleep(0.005)


async def test_counters_and_pages_after_two_replies(engine: LocalEngine) -> None:
    ids = tuple(range(1, 41))
    await run(engine, request("a", ids, max_tokens=20))
    await run(engine, request("b", ids, max_tokens=20))
    metrics = await until(engine, lambda metrics: metrics.finished.get("length") == 2)
    await idle(engine)
    metrics = await until(engine, lambda metrics: metrics.running == 0)
    assert (metrics.prompt_tokens, metrics.cached_tokens, metrics.generated_tokens) == (80, 32, 40)
    assert (sum(metrics.ttft.counts), sum(metrics.inter_token.counts)) == (2, 38)
    assert metrics.steps == sum(metrics.step.counts) >= 40
    assert (metrics.waiting, metrics.pages_used, metrics.preemptions, metrics.restarts) == (0, 0, 0, 0)
    # 59 tokens were read, in three whole pages of the full layers; a sliding window of 16 keeps fewer.
    assert 3 < metrics.pages_cached <= 6
    assert metrics.pages_cached < metrics.pages_total
    assert (metrics.memory_used, metrics.memory_total) == (0, 0)


async def test_gauges_while_replies_run(engine: LocalEngine) -> None:
    streams = [engine.submit(request(f"{number}", max_tokens=1000)) for number in range(5)]
    metrics = await until(engine, lambda metrics: metrics.running == 4)
    assert (metrics.waiting, engine.health().running) == (1, 4)
    assert metrics.pages_used >= 8
    assert metrics.pages_used + metrics.pages_cached <= metrics.pages_total
    for number in range(5):
        await engine.cancel(f"{number}")
    for stream in streams:
        async for _event in stream:
            pass
    metrics = await until(engine, lambda metrics: metrics.finished.get("cancelled") == 5)
    await until(engine, lambda metrics: (metrics.running, metrics.waiting, metrics.pages_used) == (0, 0, 0))


async def test_nothing_runs_any_more_when_the_last_reply_was_cancelled_right_after_a_look_at_the_figures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("inference.worker.main.MEASURE_EVERY", 0)  # so that every cancellation comes then
    async with running(plain_checkpoint(), max_running=4, isolation="thread") as engine:
        stream = engine.submit(request("a", max_tokens=1000))
        await anext(stream)
        await engine.cancel("a")
        assert isinstance((await collect(stream))[-1], TokensFinished)
        await until(engine, lambda metrics: metrics.finished.get("cancelled") == 1 and metrics.running == 0)


async def test_the_machine_is_known_and_counts_the_model_as_free(engine: LocalEngine) -> None:
    await until(engine, lambda metrics: metrics.pages_total > 0)
    machine = engine.health().machine
    assert machine is not None
    assert (machine.device, machine.native_mxfp4) == ("cpu", False)
    assert machine.name
    assert 0 < machine.free_bytes <= machine.total_bytes


async def test_counters_go_on_when_the_model_is_changed(tmp_path: Path) -> None:
    async with running(plain_checkpoint()) as engine:
        await run(engine, request("a"))
        await engine.load(str(write_checkpoint(tmp_path / "other")))
        await ready(engine, "other")
        await run(engine, request("b"))
        metrics = await until(engine, lambda metrics: metrics.finished.get("length") == 2)
        assert metrics.generated_tokens == 40


async def test_a_restart_is_counted() -> None:
    async with running(plain_checkpoint()) as engine:
        break_worker(engine)
        await until(engine, lambda metrics: metrics.restarts == 1)
        await ready(engine)
        await run(engine, request("a"))
        metrics = await until(engine, lambda metrics: metrics.finished.get("length") == 1)
        assert metrics.restarts == 1


class WatchedQueue(queue.SimpleQueue[Command]):
    """Keeps how it was waited on."""

    def __init__(self) -> None:
        self.waits: list[tuple[bool, float | None]] = []

    def get(self, block: bool = True, timeout: float | None = None) -> Command:
        self.waits.append((block, timeout))
        return super().get(block, timeout)


def test_figures_are_shown_now_and_then_and_never_while_nothing_runs() -> None:
    """The worker waits without an end when it is idle, and looks at its figures a few times a second else."""
    commands, states, ends = WatchedQueue(), list[State](), queue.SimpleQueue[TokensFinished]()
    loaded = threading.Event()

    def tell(state: State) -> None:
        states.append(state)
        if state.health.active is not None:
            loaded.set()

    def emit(event: TokenEvent) -> None:
        if isinstance(event, TokensFinished):
            ends.put(event)

    worker = Worker(config(plain_checkpoint()), commands, Board(8, tell), emit, Pulse())
    thread = threading.Thread(target=worker.run)
    thread.start()
    assert loaded.wait(PATIENCE)
    began, first = time.monotonic(), len(states)
    ask = GenerationRequest("a", (1, 2, 3), SamplingParams(temperature=0, max_tokens=200))
    commands.put(Submit(ask, plain_checkpoint().name, began))
    ends.get(timeout=PATIENCE)
    commands.put(Close())
    thread.join(PATIENCE)
    looks = {id(state.health.metrics): state.health.metrics for state in states[first:]}
    assert 2 <= len(looks) <= (time.monotonic() - began) / MEASURE_EVERY + 3
    assert {timeout for _block, timeout in commands.waits} == {None}
    assert sum(block for block, _timeout in commands.waits) <= 5  # a command each, and no wait beside
    final = states[-1].health.metrics
    assert final is not None
    assert final.generated_tokens <= 200

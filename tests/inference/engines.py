"""Engines for tests: small, on one thread, and with patience that ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from inference.engine import EngineConfig, LocalEngine
from inference.types import (
    GenerationRequest,
    ModelStage,
    SamplingParams,
    TokenEvent,
    TokensFinished,
    TokensGenerated,
    TokensStarted,
)

PATIENCE = 120.0


def request(
    name: str, ids: Any = (1, 2, 3), *, model: str | None = None, **sampling: Any
) -> GenerationRequest:
    params = SamplingParams(**{"temperature": 0, "max_tokens": 20, **sampling})
    return GenerationRequest(name, ids, params, model=model)


async def ready(engine: LocalEngine, name: str | None = None) -> None:
    """Wait until a model answers: this one, if a name is given."""
    async with asyncio.timeout(PATIENCE):
        while True:
            active = engine.health().active
            if active is not None and name in {None, active.name}:
                return
            await asyncio.sleep(0.01)


async def idle(engine: LocalEngine) -> None:
    """Wait until nothing runs."""
    async with asyncio.timeout(PATIENCE):
        while True:
            health = engine.health()
            if not health.running and not health.waiting:
                return
            await asyncio.sleep(0.01)


async def failed(engine: LocalEngine) -> str:
    """Wait until the wanted model has failed; gives the code."""
    async with asyncio.timeout(PATIENCE):
        while True:
            target = engine.health().target
            if target is not None and target.stage is ModelStage.FAILED:
                return target.error_code or ""
            await asyncio.sleep(0.01)


async def collect(stream: AsyncIterator[TokenEvent]) -> list[TokenEvent]:
    async with asyncio.timeout(PATIENCE):
        return [event async for event in stream]


async def run(engine: LocalEngine, wanted: GenerationRequest) -> tuple[tuple[int, ...], TokensFinished]:
    """All tokens of a request and its last event; the order of events is checked on the way."""
    events = await collect(engine.submit(wanted))
    end = events[-1]
    assert isinstance(end, TokensFinished)
    assert isinstance(events[0], TokensStarted)
    middle = [event for event in events[1:-1] if isinstance(event, TokensGenerated)]
    assert len(middle) == len(events) - 2
    return tuple(token for event in middle for token in event.token_ids), end


def config(model: Path | str, **changes: Any) -> EngineConfig:
    options: dict[str, Any] = {
        "device": "cpu",
        "threads": 1,
        "fallback": False,
        "restart_delay": 0.05,
        **changes,
    }
    return EngineConfig(model=str(model), **options)


@asynccontextmanager
async def running(model: Path | str, **changes: Any) -> AsyncIterator[LocalEngine]:
    """An engine whose model is loaded; it is closed at the end."""
    engine = LocalEngine(config(model, **changes))
    engine.start()
    await ready(engine)
    yield engine
    await engine.close()


@contextmanager
def lasting(model: Path | str, **changes: Any) -> Iterator[LocalEngine]:
    """An engine for one event loop after another, and so for many tests."""
    engine = LocalEngine(config(model, **changes))
    engine.start()
    with ThreadPoolExecutor(1) as apart:  # a fixture may come to be while another loop runs
        apart.submit(asyncio.run, ready(engine)).result()
        yield engine
        apart.submit(asyncio.run, engine.close()).result()


def break_worker(engine: LocalEngine) -> None:
    """Have the worker die of an exception, wherever it runs."""
    engine._requests.send("not a command")  # type: ignore[arg-type]


async def down(engine: LocalEngine) -> None:
    """Wait until the engine has noticed that its worker is gone."""
    async with asyncio.timeout(PATIENCE):
        while True:
            if engine.health().active is None:
                return
            await asyncio.sleep(0.01)

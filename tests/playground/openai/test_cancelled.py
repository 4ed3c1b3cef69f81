"""Requests that are given up at any moment leave nothing: no reply, page, place, task or socket."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from inference.types import GenerationRequest, SamplingParams
from playground.limits.allowance import ANY
from tests.conftest import Part, Scale
from tests.inference.engines import idle
from tests.playground.openai.cancelling import (
    ANSWER,
    CLOSE,
    FORMS,
    MOMENTS,
    NOTHING,
    Attempt,
    GivenUp,
    Left,
    ModelWorld,
    answered,
    attempts,
    running_model,
    until_left,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

AT_ONCE = 8


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ModelWorld]:
    """The demonstration model behind the application; the tests of this module share it."""
    async with running_model(tmp_path_factory.mktemp("cancelled")) as world:
        yield world


async def test_nothing_is_left_of_requests_that_are_given_up(
    world: ModelWorld, scale: Scale, some: Part
) -> None:
    rng = random.Random(some.seed(6))
    few = len(FORMS) * len(MOMENTS)
    planned = attempts(rng, some.share(scale(few, 1000)))
    overlong = world.overlong()
    for first in range(0, len(planned), AT_ONCE):
        wave = planned[first : first + AT_ONCE]
        results = await asyncio.gather(
            *(GivenUp(world, attempt).run() for attempt in wave), return_exceptions=True
        )
        wrong = [(attempt, result) for attempt, result in zip(wave, results, strict=True) if result]
        assert wrong == []
        await until_left(world)
    assert world.overlong() == overlong
    async with world.client() as client:
        await answered(client)
    await until_left(world)
    ways = Counter(attempt.way for attempt in planned)
    assert len(ways) == 5 or len(planned) < few, ways


async def test_a_reply_that_nobody_ends_is_found(world: ModelWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted hole: the engine is never told that a reader has left."""
    overlong = world.overlong()

    async def never(_: str) -> bool:
        return True

    with monkeypatch.context() as hole:
        hole.setattr(world.engine, "cancel", never)
        await GivenUp(world, Attempt("chat schema", ANSWER, CLOSE, stream=True, wait=0, most=150)).run()
        assert Left.now(world).requests > 0
        await idle(world.engine)
    await until_left(world)
    assert world.overlong() == overlong + 1


async def test_each_thing_that_is_left_is_found(world: ModelWorld) -> None:
    await until_left(world)
    completions = world.app.state.completions
    completions._places.take_free("ada", ANY)
    assert Left.now(world) == replace(NOTHING, places=1)
    completions._places.give_back("ada")
    over = asyncio.Event()
    completions.spawn(over.wait())
    assert Left.now(world) == replace(NOTHING, work=1, tasks=1)
    over.set()
    await until_left(world)
    _, writer = await asyncio.open_connection("127.0.0.1", int(world.url.rpartition(":")[2]))
    await until_left(world, replace(NOTHING, connections=1, sockets=2))
    writer.close()
    await writer.wait_closed()
    await until_left(world)
    request = GenerationRequest("left", tuple(range(100)), SamplingParams(max_tokens=3900))
    stream = world.engine.submit(request)
    async with asyncio.timeout(60):
        while not Left.now(world).pages:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert Left.now(world).requests
    await world.engine.cancel("left")
    async for _ in stream:
        pass
    await until_left(world)

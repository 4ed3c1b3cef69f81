"""The engine's border with the real worker behind it: admission, the queue, cancelling, closing, dying."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from inference.engine import LocalEngine
from inference.errors import EngineUnavailable, InvalidRequest, PromptTooLong, QueueFull
from inference.supervisor import DIED
from inference.types import (
    FinishReason,
    SamplingParams,
    TokensFinished,
    TokensGenerated,
    TokensStarted,
)
from tests.inference.checkpoints import VOCAB, generate, plain_checkpoint, prompt
from tests.inference.engines import (
    break_worker,
    collect,
    config,
    idle,
    lasting,
    ready,
    request,
    run,
    running,
)


@pytest.fixture(scope="module")
def lasting_engine() -> Iterator[LocalEngine]:
    """A worker in its own process takes seconds to start, so the tests of this file share one."""
    with lasting(plain_checkpoint(), max_running=4, queue_limit=40, isolation="process") as engine:
        yield engine


@pytest.fixture(params=["thread", "process"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[LocalEngine]:
    if request.param == "process":
        engine = request.getfixturevalue("lasting_engine")
        yield engine
        await idle(engine)
        return
    async with running(plain_checkpoint(), max_running=4, queue_limit=40, isolation="thread") as engine:
        yield engine


async def test_a_reply_comes_with_usage_times_and_the_reason(engine: LocalEngine) -> None:
    tokens, end = await run(engine, request("a", prompt(1, 30)))
    assert tokens == generate(plain_checkpoint(), prompt(1, 30), 20)
    assert (end.finish_reason, end.error) == (FinishReason.LENGTH, None)
    assert (end.usage.prompt, end.usage.completion) == (30, 20)
    assert 0 < end.timings.ttft < end.timings.total
    health = engine.health()
    assert (health.alive, health.running, health.waiting) == (True, 0, 0)


async def test_thirty_requests_at_once_all_get_their_own_reply(engine: LocalEngine) -> None:
    replies = await asyncio.gather(
        *(run(engine, request(f"r{number}", prompt(number, 3 + number))) for number in range(30))
    )
    for number, (tokens, _end) in enumerate(replies):
        assert tokens == generate(plain_checkpoint(), prompt(number, 3 + number), 20)


@pytest.mark.parametrize(
    "ids",
    [(), (VOCAB,), (-1,), (1, True), (1, 2.0), (1, "2"), (1, None), (2**70,)],
)
async def test_a_prompt_that_is_not_one_is_refused_and_hurts_nobody(engine: LocalEngine, ids: Any) -> None:
    other = engine.submit(request("other"))
    with pytest.raises(InvalidRequest):
        engine.submit(request("bad", ids))
    end = (await collect(other))[-1]
    assert isinstance(end, TokensFinished)
    assert end.finish_reason is FinishReason.LENGTH


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": -0.1},
        {"temperature": 2.1},
        {"temperature": math.nan},
        {"temperature": math.inf},
        {"temperature": "1"},
        {"temperature": True},
        {"top_p": 0},
        {"top_p": 1.01},
        {"top_p": math.nan},
        {"top_p": None},
        {"max_tokens": 0},
        {"max_tokens": -1},
        {"max_tokens": 2.0},
        {"max_tokens": True},
        {"seed": -1},
        {"seed": 2**63},
        {"seed": 1.5},
        {"stop_token_ids": (VOCAB,)},
        {"stop_token_ids": ("x",)},
    ],
)
async def test_parameters_out_of_range_are_refused(engine: LocalEngine, sampling: dict[str, Any]) -> None:
    wanted = request("a", **sampling)
    with pytest.raises(InvalidRequest) as caught:
        engine.submit(wanted)
    assert str(caught.value).endswith(".")
    with pytest.raises(InvalidRequest):
        engine.check(3, wanted.sampling)


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": 2},
        {"temperature": 1, "top_p": 1},
        {"seed": 2**63 - 1, "temperature": 0.5},
        {"seed": 0},
    ],
)
async def test_the_ends_of_every_range_are_taken(engine: LocalEngine, sampling: dict[str, Any]) -> None:
    tokens, _end = await run(engine, request("a", **sampling))
    assert len(tokens) == 20


async def test_a_prompt_that_does_not_fit_is_refused_with_the_numbers(engine: LocalEngine) -> None:
    engine.check(2028, SamplingParams(max_tokens=20))
    with pytest.raises(PromptTooLong) as caught:
        engine.check(2029, SamplingParams(max_tokens=20))
    for number in ("2029", "20", "2048"):
        assert number in str(caught.value)
    with pytest.raises(PromptTooLong) as caught:
        engine.check(2048, SamplingParams(max_tokens=1))
    assert str(caught.value) == (
        "With this message the conversation has 2,048 tokens, and the model holds 2,048. "
        "Shorten the message, or start a new conversation."
    )
    with pytest.raises(PromptTooLong):
        engine.submit(request("a", prompt(1, 2029)))
    tokens, _end = await run(engine, request("a", prompt(1, 2028)))
    assert tokens == generate(plain_checkpoint(), prompt(1, 2028), 20)


async def test_ids_of_requests_are_unique_while_they_run(engine: LocalEngine) -> None:
    stream = engine.submit(request("same", max_tokens=200))
    with pytest.raises(InvalidRequest):
        engine.submit(request("same"))
    with pytest.raises(InvalidRequest):
        engine.submit(request(""))
    await collect(stream)
    await run(engine, request("same"))


async def test_another_model_than_the_loaded_one_is_refused(engine: LocalEngine) -> None:
    with pytest.raises(EngineUnavailable):
        engine.submit(request("a", model="openai/gpt-oss-120b"))
    await run(engine, request("a", model=plain_checkpoint().name))


async def test_a_full_queue_refuses_and_takes_again_when_there_is_room() -> None:
    engine = LocalEngine(config(plain_checkpoint(), max_running=1, queue_limit=2))
    engine.start()
    await ready(engine)
    streams = [engine.submit(request(f"r{number}", max_tokens=500)) for number in range(3)]
    await anext(streams[0])
    with pytest.raises(QueueFull, match="2 requests are waiting"):
        engine.submit(request("refused"))
    assert engine.health().waiting == 2
    assert await engine.cancel("r2")
    await collect(streams[2])
    streams.append(engine.submit(request("taken")))
    for number in (0, 1):
        await engine.cancel(f"r{number}")
    end = (await collect(streams[3]))[-1]
    assert isinstance(end, TokensFinished)
    assert end.finish_reason is FinishReason.LENGTH
    await engine.close()


async def test_cancel_ends_a_running_and_a_waiting_request(engine: LocalEngine) -> None:
    streams = [engine.submit(request(f"r{number}", max_tokens=1500)) for number in range(6)]
    running, waiting = streams[0], streams[5]
    await anext(running)
    for name in ("r0", "r5"):
        assert await engine.cancel(name)
    for stream in (running, waiting):
        end = (await collect(stream))[-1]
        assert isinstance(end, TokensFinished)
        assert end.finish_reason is FinishReason.CANCELLED
        assert end.usage.completion < 1500
    assert not await engine.cancel("r0")
    assert not await engine.cancel("never heard of")
    for number in range(1, 5):
        await engine.cancel(f"r{number}")


async def test_a_slow_reader_gets_its_tokens_joined_and_holds_nobody_back(engine: LocalEngine) -> None:
    slow = engine.submit(request("slow", max_tokens=100))
    for number in range(10):
        await run(engine, request(f"quick{number}"))
    await idle(engine)
    events = await collect(slow)
    assert [type(event) for event in events] == [TokensStarted, TokensGenerated, TokensFinished]
    assert isinstance(events[1], TokensGenerated)
    assert events[1].token_ids == generate(plain_checkpoint(), (1, 2, 3), 100)


async def test_a_reader_that_is_interrupted_can_go_on(engine: LocalEngine) -> None:
    stream = engine.submit(request("a", max_tokens=100))
    await anext(stream)
    seen: list[int] = []

    async def read() -> None:
        async for event in stream:
            if isinstance(event, TokensGenerated):
                seen.extend(event.token_ids)

    while True:
        reader = asyncio.create_task(read())
        await asyncio.sleep(0.005)
        if reader.done():
            break
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
    assert tuple(seen) == generate(plain_checkpoint(), (1, 2, 3), 100)


def test_one_engine_serves_one_event_loop_after_another() -> None:
    engine = LocalEngine(config(plain_checkpoint()))
    engine.start()
    asyncio.run(ready(engine))
    first, _end = asyncio.run(run(engine, request("a")))

    async def leave_early() -> None:
        await anext(engine.submit(request("left", max_tokens=300)))

    asyncio.run(leave_early())
    second, _end = asyncio.run(run(engine, request("b")))
    assert first == second
    asyncio.run(engine.close())


async def test_closing_ends_everything_that_runs_and_waits() -> None:
    engine = LocalEngine(config(plain_checkpoint(), max_running=2))
    engine.start()
    await ready(engine)
    streams = [engine.submit(request(f"r{number}", max_tokens=1500)) for number in range(5)]
    await anext(streams[0])
    await engine.close()
    for stream in streams:
        end = (await collect(stream))[-1]
        assert isinstance(end, TokensFinished)
        assert end.finish_reason is FinishReason.CANCELLED
    assert not engine.health().alive
    with pytest.raises(EngineUnavailable):
        engine.submit(request("late"))
    await engine.close()


async def test_a_worker_that_dies_ends_its_requests_and_another_one_answers(engine: LocalEngine) -> None:
    streams = [engine.submit(request(f"r{number}", max_tokens=1500)) for number in range(6)]
    await anext(streams[0])
    break_worker(engine)
    for stream in streams:
        end = (await collect(stream))[-1]
        assert isinstance(end, TokensFinished)
        assert (end.finish_reason, end.error_code) == (FinishReason.ERROR, "engine_died")
        assert end.error == DIED.sentence
    with pytest.raises(EngineUnavailable, match="is being restarted, so try again"):
        engine.submit(request("early"))
    with pytest.raises(EngineUnavailable, match="is being restarted, so try again"):
        engine.check(3, SamplingParams())
    health = engine.health()
    assert (health.alive, health.running, health.waiting) == (True, 0, 0)
    assert health.target is not None
    assert health.target.note == DIED.sentence
    await ready(engine)
    tokens, _end = await run(engine, request("late"))
    assert tokens == generate(plain_checkpoint(), (1, 2, 3), 20)


async def test_closing_before_anything_was_loaded() -> None:
    before = {thread for thread in threading.enumerate() if thread.name.startswith("inference-")}
    engine = LocalEngine(config(plain_checkpoint(), start_delay=3600))
    assert engine.health().alive
    engine.start()
    with pytest.raises(EngineUnavailable, match="loaded"):
        engine.submit(request("early"))
    await engine.close()
    assert {thread for thread in threading.enumerate() if thread.name.startswith("inference-")} == before
    await LocalEngine(config("demo")).close()


def test_the_web_side_does_not_import_torch() -> None:
    code = (
        "import sys, inference.engine as e; e.LocalEngine(e.EngineConfig());"
        "sys.exit(any(m in sys.modules for m in ('torch', 'transformers', 'safetensors', 'huggingface_hub')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0

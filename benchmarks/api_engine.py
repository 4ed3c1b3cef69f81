"""The real application for ``benchmarks.api_overhead``, which also runs its engine without HTTP when told to.

    python -m benchmarks.api_engine FOLDER demo|paced|costless

Prints its address. A line of JSON, ``{"questions": [...], "tokens": n, "effort": ...}``, has it write the
same replies through ``playground.generation.generate`` alone, and print their tokens,
those of their prompts, and the seconds that they took: ``{"tokens": ..., "prompts": ..., "seconds": ...}``.
An empty object has it print the seconds of processor time that it has used: ``{"used": ...}``.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from inference.engine import Engine, LocalEngine
from inference.harmony import HarmonyCodec
from inference.types import (
    FinishReason,
    GenerationRequest,
    Message,
    Prompt,
    ReasoningEffort,
    Role,
    SamplingParams,
    Timings,
    TokenEvent,
    TokensFinished,
    TokensGenerated,
    TokensStarted,
    Usage,
)
from playground.engines import engine_config
from playground.generation import Outcome, generate
from playground.recorder import ChannelTokens
from playground.server import Server, configure
from playground.settings import Settings
from playground.web import create_app
from storage.records import new_id
from storage.store import Store
from tests.attacks.limits import UNLIMITED
from tests.playground.scripted import Script, ScriptedEngine

PACE = 1 / 100
"""Seconds between two tokens of a reply: each of them is an event of its own then, as with a large model."""
SENTENCE = "A thought, and why it is so, in a few words. "


class ScriptedTokens(ScriptedEngine):
    """Writes as many tokens as are asked for, half of them reasoning, for next to nothing."""

    def __init__(self, codec: HarmonyCodec, pace: float) -> None:
        super().__init__(codec, context_length=131_072)
        self._pace = pace
        self._written: dict[int, list[int]] = {}

    def _ids(self, count: int) -> list[int]:
        if count not in self._written:
            half = SENTENCE * (count // 16)
            whole = self.token_ids(Script([("analysis", half), ("final", half * 2)]))
            self._written[count] = [*whole[: count - 1], whole[-1]]
        return self._written[count]

    async def _play(self, request: GenerationRequest, script: Script) -> AsyncIterator[TokenEvent]:
        name, began = request.request_id, time.monotonic()
        ids = self._ids(request.sampling.max_tokens)
        yield TokensStarted(name, "scripted", "r1", 1)
        for number, token in enumerate(ids):
            # On time: a token that is late does not delay the next. Without a pace the others take turns.
            await asyncio.sleep(max(0.0, began + number * self._pace - time.monotonic()) if self._pace else 0)
            yield TokensGenerated(name, (token,))
        del self._cancels[name]
        usage = Usage(prompt=len(request.prompt_ids), completion=len(ids))
        yield TokensFinished(name, FinishReason.STOP, usage, Timings(total=time.monotonic() - began))


async def alone(engine: Engine, codec: HarmonyCodec, order: dict[str, Any]) -> dict[str, float]:
    """The replies to all questions at once, as far as ``generate`` brings them."""
    counter = ChannelTokens()

    async def one(question: str) -> Usage:
        prompt = Prompt(
            [Message(Role.USER, question)],
            ReasoningEffort(order["effort"]),
            current_date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        )
        sampling = SamplingParams(
            temperature=0, max_tokens=order["tokens"], seed=1, stop_token_ids=codec.STOP_TOKEN_IDS
        )
        request = GenerationRequest(new_id(), tuple(codec.render(prompt)), sampling)
        async for event in generate(engine, codec.parser(), request, counter):
            if isinstance(event, Outcome):
                return event.usage
        raise RuntimeError("a reply ended without its outcome")

    began = time.perf_counter()
    usages = await asyncio.gather(*(one(question) for question in order["questions"]))
    return {
        "tokens": sum(usage.completion for usage in usages),
        "prompts": sum(usage.prompt for usage in usages),
        "seconds": time.perf_counter() - began,
    }


async def serve(folder: Path, kind: str) -> None:
    """Serve, and follow the orders, until there are no more."""
    values: dict[str, Any] = {**UNLIMITED, "model": "demo", "engine_isolation": "thread"}
    settings = Settings(data_dir=folder, host="127.0.0.1", log_level="error", **values)
    codec, store = HarmonyCodec.load(), Store.open(settings.database_path)
    local = LocalEngine(engine_config(settings))
    engine: Engine = local if kind == "demo" else ScriptedTokens(codec, PACE if kind == "paced" else 0)
    app = create_app(settings, store, engine, codec)
    listener = socket.create_server(("127.0.0.1", 0))
    answers = asyncio.Event()

    async def on_ready() -> None:
        answers.set()

    server = Server(configure(app, settings), on_ready, app.state.completions.close)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await answers.wait()
    if kind == "demo":
        local.start()
    while engine.health().active is None:  # noqa: ASYNC110  # it tells nobody
        await asyncio.sleep(0.05)
    _say(f"http://127.0.0.1:{listener.getsockname()[1]}")
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        answer = await alone(engine, codec, order) if order else {"used": time.process_time()}
        _say(json.dumps(answer))
    server.should_exit = True
    await serving


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2]))

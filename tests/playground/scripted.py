"""An engine without a model: it plays the token ids of given harmony messages, with pauses and faults.

It keeps every promise of ``inference.engine.Engine``: refusals before the iterator, one last event.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, MutableSequence
from dataclasses import dataclass, field

from inference.errors import EngineUnavailable, PromptTooLong, QueueFull
from inference.harmony import HarmonyCodec
from inference.types import (
    EngineHealth,
    EngineMetrics,
    FinishReason,
    GenerationRequest,
    MachineInfo,
    ModelStage,
    ModelStatus,
    SamplingParams,
    Timings,
    TokenEvent,
    TokenLogprob,
    TokensFinished,
    TokensGenerated,
    TokensStarted,
    Usage,
)
from inference.vocabulary import CALL, CHANNEL, END, MESSAGE, RETURN, START

DRAWN_SEED = 2**53 - 1


@dataclass
class Script:
    """One reply: ``messages`` are (channel and recipient, text); ``ids`` are played instead of them.

    ``queued`` stops before the start, ``hold`` before token ``hold_at``. ``portion`` tokens come at once,
    ``pause`` seconds lie between portions. ``fail_at`` ends the stream with an error before that token,
    ``crash_at`` raises there, ``refuse_full`` refuses at submission.
    """

    messages: list[tuple[str, str]] = field(
        default_factory=lambda: [("analysis", "12 + 30 = 42."), ("final", "The answer is 42.")]
    )
    ids: list[int] | None = None
    portion: int = 1
    pause: float = 0.0
    queued: asyncio.Event | None = None
    hold: asyncio.Event | None = None
    hold_at: int = 0
    fail_at: int | None = None
    crash_at: int | None = None
    refuse_full: bool = False


class ScriptedEngine:
    """Plays ``script``, or what ``choose`` gives for a request."""

    def __init__(self, codec: HarmonyCodec, script: Script | None = None, context_length: int = 4096) -> None:
        self.codec = codec
        self.script = script or Script()
        self.choose: Callable[[GenerationRequest], Script] = lambda _: self.script
        self.context_length = context_length
        self.ready = True
        self.demonstration = True
        self.alive = True
        self.requests: MutableSequence[GenerationRequest] = []
        self.closed = False
        self.metrics: EngineMetrics | None = None
        self.machine: MachineInfo | None = None
        self.loads: list[str] = []
        self._cancels: dict[str, asyncio.Event] = {}

    def submit(self, request: GenerationRequest) -> AsyncIterator[TokenEvent]:
        script = self.choose(request)
        if script.refuse_full:
            raise QueueFull("The model is busy: 3 requests are waiting. Try again in a moment.")
        self.check(len(request.prompt_ids), request.sampling)
        self.requests.append(request)
        self._cancels[request.request_id] = asyncio.Event()
        return self._play(request, script)

    def check(self, prompt_tokens: int, sampling: SamplingParams) -> None:
        if not self.ready:
            raise EngineUnavailable("The model is still being loaded. Try again in a moment.")
        if prompt_tokens + sampling.max_tokens > self.context_length:
            raise PromptTooLong(f"{prompt_tokens} tokens do not fit.")

    async def cancel(self, request_id: str) -> bool:
        event = self._cancels.get(request_id)
        if event is not None:
            event.set()
        return event is not None

    async def load(self, model: str) -> None:
        self.loads.append(model)

    def health(self) -> EngineHealth:
        status = ModelStatus(
            name="scripted",
            stage=ModelStage.READY,
            revision="r1",
            context_length=self.context_length,
            demonstration=self.demonstration,
        )
        return EngineHealth(
            alive=self.alive,
            active=status if self.ready else None,
            target=status,
            running=len(self._cancels),
            waiting=0,
            queue_limit=8,
            metrics=self.metrics,
            machine=self.machine,
        )

    async def close(self) -> None:
        self.closed = True
        for event in self._cancels.values():
            event.set()

    def token_ids(self, script: Script) -> list[int]:
        """The reply as the model would write it."""
        if script.ids is not None:
            return script.ids
        ids: list[int] = []
        for number, (header, text) in enumerate(script.messages):
            if number:
                ids += [END, START, *self.codec.encode_text("assistant")]
            ids += [CHANNEL, *self.codec.encode_text(header), MESSAGE, *self.codec.encode_text(text)]
        return [*ids, CALL if " to=" in script.messages[-1][0] else RETURN]

    async def _play(self, request: GenerationRequest, script: Script) -> AsyncIterator[TokenEvent]:
        name, began = request.request_id, time.monotonic()
        cancelled = self._cancels[name]
        ids = self.token_ids(script)[: request.sampling.max_tokens]
        sent = 0
        reason = FinishReason.STOP if ids[-1] in (RETURN, CALL) else FinishReason.LENGTH
        seed = request.sampling.seed
        if script.queued is not None:
            await _first(cancelled, script.queued)
        yield TokensStarted(name, "scripted", "r1", DRAWN_SEED if seed is None else seed)
        while sent < len(ids) and not cancelled.is_set():
            if script.hold is not None and sent >= script.hold_at:
                await _first(cancelled, script.hold)
            if cancelled.is_set():
                break
            if script.crash_at is not None and sent >= script.crash_at:
                raise OSError("/secret/path is broken")
            if script.fail_at is not None and sent >= script.fail_at:
                reason = FinishReason.ERROR
                break
            portion = ids[sent : sent + script.portion]
            sent += len(portion)
            wanted = request.sampling.logprobs
            scores = () if wanted is None else tuple(_score(each, wanted) for each in portion)
            yield TokensGenerated(name, tuple(portion), scores)
            await asyncio.sleep(script.pause)
        del self._cancels[name]
        if sent < len(ids) and reason is not FinishReason.ERROR:
            reason = FinishReason.CANCELLED
        failed = reason is FinishReason.ERROR
        yield TokensFinished(
            name,
            reason,
            Usage(prompt=len(request.prompt_ids), completion=sent),
            Timings(total=time.monotonic() - began),
            "The model stopped in the middle." if failed else None,
            "generation_failed" if failed else None,
        )


def _score(token: int, wanted: int) -> TokenLogprob:
    """Made up: the chosen token is the likeliest one, and the ids after it follow."""
    return TokenLogprob(token, -0.5, tuple((token + place, -0.5 - place) for place in range(wanted)))


async def _first(*events: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

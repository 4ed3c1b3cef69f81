"""One generation, from its submission to its last token: what the engine sends becomes what a reader wants.

Everything that writes with the model follows ``generate``: the page's turns and the OpenAI APIs only do
different things with the same events.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace

from inference.engine import Engine
from inference.errors import RequestRefused
from inference.harmony_stream import Place, StreamParser
from inference.types import (
    Channel,
    FinishReason,
    GenerationRequest,
    MessageFinished,
    StreamEvent,
    Timings,
    TokenLogprob,
    TokensFinished,
    TokensGenerated,
    TokensStarted,
    Usage,
)
from inference.vocabulary import FIRST_SPECIAL
from playground.errors import INTERNAL_SENTENCE
from playground.recorder import ChannelTokens
from storage.records import GenerationStatus

log = logging.getLogger(__name__)

STATUS = {
    FinishReason.STOP: GenerationStatus.FINISHED,
    FinishReason.LENGTH: GenerationStatus.FINISHED,
    FinishReason.TOOL_CALL: GenerationStatus.FINISHED,
    FinishReason.CANCELLED: GenerationStatus.CANCELLED,
    FinishReason.ERROR: GenerationStatus.FAILED,
}


@dataclass(frozen=True, slots=True)
class Queued:
    """The engine has the request; ``position`` others wait before it."""

    position: int


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """The log-probabilities of one content token, and the channel and number of its message."""

    index: int
    channel: Channel | None
    logprob: TokenLogprob


@dataclass(frozen=True, slots=True)
class Portion:
    """New ids, and what they mean. ``scored`` holds their content tokens if log-probabilities were asked for.

    ``primed``: these are the ids that the reply was given as its beginning.
    """

    token_ids: tuple[int, ...]
    events: tuple[StreamEvent, ...]
    scored: tuple[ScoredToken, ...] = ()
    primed: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a generation ended; always the last event."""

    status: GenerationStatus
    finish_reason: FinishReason | None
    usage: Usage = field(default_factory=Usage)
    timings: Timings = field(default_factory=Timings)
    error: str | None = None
    error_code: str | None = None


GenerationEvent = Queued | TokensStarted | Portion | Outcome

BROKEN = Outcome(
    GenerationStatus.FAILED, FinishReason.ERROR, error=INTERNAL_SENTENCE, error_code="internal_error"
)
"""The end of a generation that met what nobody expected."""


async def generate(
    engine: Engine,
    parser: StreamParser,
    request: GenerationRequest,
    tokens: ChannelTokens,
    primed_ids: tuple[int, ...] = (),
) -> AsyncGenerator[GenerationEvent]:
    """Run the model once. Never raises for what the model or the engine do: that is in the ``Outcome``.

    ``primed_ids``, which stand at the end of the request's prompt, are the beginning of the reply, and come
    as the first ``Portion``; they are not counted. A reader that leaves early ends the request. ``tokens``
    counts what all generations write.
    """
    written = _Written(parser, tokens)
    if primed_ids:
        yield written.primed(primed_ids)
    try:
        stream = engine.submit(request)
    except RequestRefused as refusal:
        yield Outcome(
            GenerationStatus.FAILED, FinishReason.ERROR, error=str(refusal), error_code=refusal.code
        )
        return
    ended = False
    try:
        yield Queued(engine.health().waiting)
        async for event in stream:
            match event:
                case TokensStarted():
                    yield event
                case TokensGenerated():
                    yield written.portion(event)
                case TokensFinished():
                    ended = True
                    if last := written.last(event):
                        yield last
                    yield written.outcome(event)
        if not ended:
            raise RuntimeError("the engine's stream ended without its last event")
    finally:
        if not ended:
            await engine.cancel(request.request_id)


class _Written:
    """What one generation has written, read by ``parser`` and counted."""

    def __init__(self, parser: StreamParser, tokens: ChannelTokens) -> None:
        self._parser = parser
        self._tokens = tokens
        self._counted: Counter[Channel] = Counter()
        self._new: Counter[Channel] = Counter()

    def primed(self, ids: tuple[int, ...]) -> Portion:
        events = tuple(self._parser.feed(ids))
        self._counted.update(self._parser.channel_tokens)
        return Portion(ids, events, primed=True)

    def portion(self, event: TokensGenerated) -> Portion:
        events: tuple[StreamEvent, ...]
        scored: list[ScoredToken] = []
        if not event.logprobs:
            events = tuple(self._parser.feed(event.token_ids))
        else:
            found: list[StreamEvent] = []
            for token, logprob in zip(event.token_ids, event.logprobs, strict=True):
                if self._parser.place is Place.CONTENT and token < FIRST_SPECIAL:
                    place = len(self._parser.messages)
                    scored.append(ScoredToken(place, self._parser.open_channel, logprob))
                found += self._parser.feed((token,))
            events = tuple(found)
        self._count(events)
        return Portion(event.token_ids, events, tuple(scored))

    def last(self, event: TokensFinished) -> Portion | None:
        """What the end itself brings: a message that was open is closed."""
        events = tuple(self._parser.finish(event.finish_reason))
        self._count(events)
        return Portion((), events) if events else None

    def outcome(self, event: TokensFinished) -> Outcome:
        reason = self._parser.finish_reason(event.finish_reason)
        usage = replace(
            event.usage,
            reasoning=self._new[Channel.ANALYSIS],
            commentary=self._new[Channel.COMMENTARY],
            final=self._new[Channel.FINAL],
        )
        return Outcome(STATUS[reason], reason, usage, event.timings, event.error, event.error_code)

    def _count(self, events: tuple[StreamEvent, ...]) -> None:
        """Count the tokens once a message is over."""
        if any(isinstance(event, MessageFinished) for event in events):
            new = Counter(self._parser.channel_tokens) - self._counted
            self._tokens.add(new)
            self._counted += new
            self._new += new

"""One reply for a client of the OpenAI APIs, from the engine's first event to the last."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace

from inference.engine import Engine
from inference.harmony import HarmonyCodec
from inference.message_rules import FUNCTIONS
from inference.types import (
    Channel,
    FinishReason,
    GenerationRequest,
    Message,
    MessageFinished,
    MessageStarted,
    StreamEvent,
    TokensStarted,
)
from playground.completions.replays import Replay, with_ids
from playground.completions.stops import StopStrings
from playground.generation import BROKEN, GenerationEvent, Outcome, Portion, generate
from playground.recorder import ChannelTokens
from storage.records import GenerationStatus, new_id


class CompletionRun:
    """A reply that is being written. Follow ``events`` once; all else is complete when they have ended.

    ``messages`` are the reply's finished messages and ``call_ids`` the ids of its function calls by their
    places. ``started`` says which model answers, with which seed.
    """

    def __init__(
        self,
        engine: Engine,
        codec: HarmonyCodec,
        tokens: ChannelTokens,
        request: GenerationRequest,
        functions: Collection[str],
        stop: Sequence[str] = (),
        one_call: bool = False,
    ) -> None:
        self._engine = engine
        self._codec = codec
        self._tokens = tokens
        self.request = request
        self._functions = frozenset(FUNCTIONS + name for name in functions)
        self._names = tuple(functions)
        self._stops = StopStrings(stop)
        self._one_call = one_call
        self._called = False
        self._cancelled = False
        self._first: GenerationEvent | None = None
        self._events = generate(engine, codec.parser(tools=self._names), request, tokens)
        self.output_ids: list[int] = []
        self.messages: list[Message] = []
        self.call_ids: dict[int, str] = {}
        self.started: TokensStarted | None = None
        self.outcome: Outcome = BROKEN

    @property
    def began(self) -> bool:
        """Whether the engine has, or had, the request."""
        return self._first is not None

    @property
    def stopped_at(self) -> str | None:
        """The stop string that ended the answer."""
        return self._stops.found

    async def submit(self) -> Outcome | None:
        """Give the request to the engine. An ``Outcome`` says that it was refused, and why."""
        self._first = await anext(self._events)
        return self._first if isinstance(self._first, Outcome) else None

    async def cancel(self) -> None:
        """End the reply; its events end soon after."""
        self._cancelled = True
        await self._engine.cancel(self.request.request_id)

    async def close(self) -> None:
        """Give up a reply that nobody follows."""
        await self._events.aclose()

    def replay(self) -> Replay | None:
        """What to remember of a reply that called functions."""
        if not self.call_ids:
            return None
        start = self.request.prompt_ids[-2:]
        return Replay(tuple(with_ids(self.messages, self.output_ids, start)), self.call_ids)

    async def events(self) -> AsyncGenerator[GenerationEvent]:
        """The reply as it comes; the last event is the ``Outcome``. A reader that leaves ends the reply."""
        async with aclosing(self._events) as events:
            if self._first is None and self._cancelled:  # before the engine had it
                self.outcome = Outcome(GenerationStatus.CANCELLED, FinishReason.CANCELLED)
                yield self.outcome
                return
            if self._first is not None:
                yield self._first
            async for event in events:
                self._first = self._first or event
                match event:
                    case TokensStarted():
                        self.started = event
                        yield event
                    case Portion():
                        yield await self._portion(event)
                    case Outcome():
                        self.outcome = self._end(event)
                        yield self.outcome
                    case _:
                        yield event

    async def _portion(self, portion: Portion) -> Portion:
        self.output_ids += portion.token_ids
        was_cut = self._cut
        events = self._stops.take(self._declared(portion.events))
        if self._one_call:
            events = self._first_call(events)
        for event in events:
            if isinstance(event, MessageStarted) and event.recipient is not None:
                self.call_ids[event.index] = f"call_{new_id()}"
            elif isinstance(event, MessageFinished):
                self.messages.append(event.message)
        if self._cut and not was_cut:
            await self._engine.cancel(self.request.request_id)
        return replace(portion, events=events)

    @property
    def _cut(self) -> bool:
        """Whether the reply is at its end though the model would go on."""
        return self._called or self._stops.found is not None

    def _first_call(self, events: Iterable[StreamEvent]) -> tuple[StreamEvent, ...]:
        """The events up to the end of the first call."""
        passed: list[StreamEvent] = []
        for event in events:
            if self._called:
                break
            passed.append(event)
            if isinstance(event, MessageFinished) and event.complete:
                self._called = event.message.recipient is not None
        return tuple(passed)

    def _declared(self, events: Iterable[StreamEvent]) -> list[StreamEvent]:
        """A call of a function that was not declared can be answered by nobody: it is read as reasoning."""
        return [self._as_reasoning(event) for event in events]

    def _as_reasoning(self, event: StreamEvent) -> StreamEvent:
        match event:
            case MessageStarted(recipient=str() as name) if name not in self._functions:
                return replace(event, channel=Channel.ANALYSIS, recipient=None, content_type=None)
            case MessageFinished(message=Message(recipient=str() as name)) if name not in self._functions:
                return replace(
                    event,
                    message=replace(
                        event.message,
                        channel=Channel.ANALYSIS,
                        recipient=None,
                        content_type=None,
                        recovered=True,
                    ),
                )
        return event

    def _end(self, outcome: Outcome) -> Outcome:
        if self._cut and outcome.status is not GenerationStatus.FAILED:
            reason = FinishReason.TOOL_CALL if self._called else FinishReason.STOP
            return replace(outcome, status=GenerationStatus.FINISHED, finish_reason=reason)
        if outcome.finish_reason is FinishReason.TOOL_CALL and not self.call_ids:
            return replace(outcome, finish_reason=FinishReason.STOP)
        if outcome.finish_reason is FinishReason.STOP and self.call_ids:
            return replace(outcome, finish_reason=FinishReason.TOOL_CALL)
        return outcome

"""Chunks of a streamed Chat Completion become the events that the engine's own replies have."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from inference.message_rules import FUNCTIONS
from inference.types import (
    Channel,
    FinishReason,
    Message,
    MessageFinished,
    MessageStarted,
    Role,
    StreamEvent,
    TextDelta,
    Timings,
    TokensStarted,
    Usage,
)
from playground.cli.remote_messages import CallIds
from playground.generation import STATUS, GenerationEvent, Outcome, Portion
from storage.records import GenerationStatus

Json = dict[str, Any]

REASONS = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALL,
    "function_call": FinishReason.TOOL_CALL,
}
CUT = "The server's answer ended in the middle. What had come is kept."


@dataclass(slots=True)
class _Open:
    """One message while it comes; ``call`` is the index of a tool call in the server's list."""

    index: int
    channel: Channel
    recipient: str | None = None
    call: int | None = None
    call_id: str = ""
    parts: list[str] = field(default_factory=list)

    def message(self, complete: bool) -> Message:
        return Message(
            Role.ASSISTANT,
            "".join(self.parts),
            self.channel,
            self.recipient,
            content_type="json" if self.recipient is not None and complete else None,
        )


class ChunkReader:
    """Reads the chunks of one reply, in order. ``seed`` is the one that was asked for."""

    def __init__(self, ids: CallIds, seed: int | None) -> None:
        self._ids = ids
        self._seed = seed
        self._began = time.monotonic()
        self._first: float | None = None
        self._messages: list[_Open] = []
        self._open: _Open | None = None
        self._reason: FinishReason | None = None
        self._usage = Usage()
        self._error: str | None = None

    def take(self, chunk: Json) -> Iterator[GenerationEvent]:
        """What one chunk means. Raises ValueError for one that is none."""
        if "error" in chunk:
            error = chunk["error"]
            self._error = str(error.get("message") if isinstance(error, dict) else error)
            return
        if self._first is None:
            self._first = time.monotonic()
            yield TokensStarted("", str(chunk.get("model") or ""), "", self._seed)
        if isinstance(usage := chunk.get("usage"), dict):
            self._usage = _usage(usage)
        choices = chunk.get("choices") or ()
        if not isinstance(choices, list | tuple) or not all(isinstance(each, dict) for each in choices):
            raise ValueError("choices that are none")
        for choice in choices:
            if events := tuple(self._delta(choice.get("delta") or {})):
                yield Portion((), events)
            if reason := choice.get("finish_reason"):
                self._reason = REASONS.get(str(reason), FinishReason.STOP)

    def close(self) -> Iterator[GenerationEvent]:
        """The end of what was open, where the stream broke off."""
        if events := tuple(self._finish(complete=False)):
            yield Portion((), events)

    def end(self) -> Iterator[GenerationEvent]:
        """The rest of the reply and its ``Outcome``."""
        reason = self._reason
        if self._error is not None or reason is None:
            yield from self.close()
            yield Outcome(
                GenerationStatus.FAILED,
                FinishReason.ERROR,
                self._usage,
                self._timings(),
                error=self._error or CUT,
                error_code="server_error",
            )
            return
        if events := tuple(self._finish(complete=reason is not FinishReason.LENGTH)):
            yield Portion((), events)
        if reason is FinishReason.STOP and any(each.recipient for each in self._messages):
            reason = FinishReason.TOOL_CALL  # some servers say stop after a call
        yield Outcome(STATUS[reason], reason, self._usage, self._timings())

    def _delta(self, delta: Json) -> Iterator[StreamEvent]:
        if text := delta.get("reasoning") or delta.get("reasoning_content"):
            yield from self._text(str(text), Channel.ANALYSIS)
        if text := delta.get("content"):
            yield from self._text(str(text), Channel.FINAL)
        for call in delta.get("tool_calls") or ():
            yield from self._call(call)

    def _text(self, text: str, channel: Channel) -> Iterator[StreamEvent]:
        if self._open is None or self._open.recipient is not None or self._open.channel is not channel:
            yield from self._finish(complete=True)
            self._open = self._add(_Open(len(self._messages), channel))
            yield MessageStarted(self._open.index, channel)
        self._open.parts.append(text)
        yield TextDelta(self._open.index, text)

    def _call(self, call: Json) -> Iterator[StreamEvent]:
        number, function = int(call.get("index") or 0), call.get("function") or {}
        if self._open is None or self._open.call != number:
            yield from self._finish(complete=True)
            name = FUNCTIONS + str(function.get("name") or "")
            self._open = self._add(_Open(len(self._messages), Channel.COMMENTARY, name, number))
            yield MessageStarted(self._open.index, Channel.COMMENTARY, name, "json")
        self._open.call_id = str(call.get("id") or self._open.call_id)
        if text := function.get("arguments"):
            self._open.parts.append(str(text))
            yield TextDelta(self._open.index, str(text))

    def _add(self, message: _Open) -> _Open:
        self._messages.append(message)
        return message

    def _finish(self, *, complete: bool) -> Iterator[StreamEvent]:
        done, self._open = self._open, None
        if done is None:
            return
        message = done.message(complete)
        if done.recipient is not None and done.call_id:
            self._ids.note(done.recipient, message.content, done.call_id)
        yield MessageFinished(done.index, message, 0, complete)

    def _timings(self) -> Timings:
        now = time.monotonic()
        ttft = (self._first or now) - self._began
        writing = now - self._began - ttft
        speed = (self._usage.completion - 1) / writing if writing > 0 and self._usage.completion > 1 else 0.0
        return Timings(ttft=ttft, total=now - self._began, tokens_per_second=speed)


def _usage(given: Json) -> Usage:
    details = given.get("completion_tokens_details") or {}
    cached = given.get("prompt_tokens_details") or {}
    return Usage(
        prompt=int(given.get("prompt_tokens") or 0),
        cached=int(cached.get("cached_tokens") or 0),
        completion=int(given.get("completion_tokens") or 0),
        reasoning=int(details.get("reasoning_tokens") or 0),
    )

"""One reply as Chat Completions has it: deltas while it is written, and the message they add up to.

The reasoning is ``reasoning`` and, for older clients, the same as ``reasoning_content``. Preambles, which
the model writes for the user before it calls a function, are content, and so is the answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from inference.harmony import HarmonyCodec
from inference.types import (
    Channel,
    FinishReason,
    MessageFinished,
    MessageStarted,
    StreamEvent,
    TextDelta,
)
from playground.api.openai.logprobs import entry_of
from playground.api.openai.tools import is_call_of
from playground.completions.replays import NO_ARGUMENTS
from playground.completions.run import CompletionRun
from playground.generation import Portion, ScoredToken

Json = dict[str, Any]

BETWEEN = "\n\n"
"""Stands between two messages of the model that clients read as one text."""
REASONS = {
    FinishReason.STOP: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.TOOL_CALL: "tool_calls",
}


class Kind(Enum):
    """What a client reads a message of the model as."""

    REASONING = auto()
    CONTENT = auto()
    CALL = auto()


@dataclass(slots=True)
class Call:
    """A function call as far as it is written."""

    id: str
    name: str
    arguments: str = ""

    def view(self) -> Json:
        """The call as a client gets it."""
        function = {"name": self.name, "arguments": self.arguments}
        return {"id": self.id, "type": "function", "function": function}


@dataclass(slots=True)
class _Scored:
    """A token's entry, and how many bytes of its message come before it."""

    index: int
    begins: int
    entry: Json


@dataclass(slots=True)
class _Text:
    """A text that several messages make up."""

    pieces: list[str] = field(default_factory=list)
    last: int = -1

    def add(self, index: int, text: str) -> str:
        """What to send so that ``text`` of message ``index`` is added."""
        if self.pieces and index != self.last:
            text = BETWEEN + text
        self.last = index
        self.pieces.append(text)
        return text


class ChatReply:
    """Reads the events of one reply. ``exclude`` leaves out the reasoning.

    ``json_only``: the content is the answer alone, so that it can be parsed; a preamble is reasoning then.
    """

    def __init__(self, run: CompletionRun, codec: HarmonyCodec, *, exclude: bool, json_only: bool) -> None:
        self.run = run
        self._codec = codec
        self._exclude = exclude
        self._json_only = json_only
        self._kinds: dict[int, Kind] = {}
        self._reasoning = _Text()
        self._content = _Text()
        self._calls: dict[int, Call] = {}
        self._scored: list[_Scored] = []
        self._scored_bytes: dict[int, int] = {}
        self._shown_bytes: dict[int, int] = {}
        self.logprobs: list[Json] = []

    @property
    def content(self) -> str:
        """The preambles and the answer."""
        return "".join(self._content.pieces)

    @property
    def finish_reason(self) -> str | None:
        """Why the reply ended, in the API's words; None for a failure."""
        return REASONS.get(self.run.outcome.finish_reason or FinishReason.ERROR)

    def take(self, portion: Portion) -> Iterator[tuple[Json, list[Json]]]:
        """The deltas of new tokens, each with the log-probabilities of what it adds to the content."""
        deltas: list[Json] = []
        for event in portion.events:
            deltas += self._delta(event)
        for scored in portion.scored:
            self._score(scored)
        last = max((place for place, delta in enumerate(deltas) if "content" in delta), default=-1)
        for place, delta in enumerate(deltas):
            yield delta, self._due() if place == last else []

    def last_logprobs(self) -> list[Json]:
        """The entries that were not sent yet once the reply has ended."""
        if self.run.stopped_at is not None:
            return self._due()
        for index in {scored.index for scored in self._scored}:
            self._shown_bytes[index] = self._scored_bytes[index]
        return self._due()

    def message(self) -> Json:
        """The whole message."""
        message: Json = {"role": "assistant", "content": self.content, "refusal": None}
        if not self._exclude:
            reasoning = "".join(self._reasoning.pieces) or None
            message |= {"reasoning": reasoning, "reasoning_content": reasoning}
        if self._calls:
            message["content"] = self.content or None
            message["tool_calls"] = [call.view() for call in self._calls.values()]
        return message

    def _delta(self, event: StreamEvent) -> list[Json]:
        match event:
            case MessageStarted():
                return self._start(event)
            case TextDelta():
                return self._text(event.index, event.text)
            case MessageFinished():
                call = self._calls.get(event.index)
                if call is not None and event.complete and not call.arguments.strip():
                    return self._text(event.index, NO_ARGUMENTS)
        return []

    def _start(self, event: MessageStarted) -> list[Json]:
        kind = self._kinds[event.index] = self._kind(event)
        if kind is not Kind.CALL:
            return []
        name = is_call_of(event.recipient) or ""
        call = self._calls[event.index] = Call(self.run.call_ids[event.index], name)
        return [{"tool_calls": [{"index": len(self._calls) - 1, **call.view()}]}]

    def _kind(self, event: MessageStarted) -> Kind:
        if event.recipient is not None:
            return Kind.CALL
        if event.channel is Channel.ANALYSIS or (event.channel is Channel.COMMENTARY and self._json_only):
            return Kind.REASONING
        return Kind.CONTENT

    def _text(self, index: int, text: str) -> list[Json]:
        kind = self._kinds[index]
        if kind is Kind.CALL:
            call = self._calls[index]
            call.arguments += text
            place = list(self._calls).index(index)
            return [{"tool_calls": [{"index": place, "function": {"arguments": text}}]}]
        if kind is Kind.CONTENT:
            self._shown_bytes[index] = self._shown_bytes.get(index, 0) + len(text.encode())
            return [{"content": self._content.add(index, text)}]
        text = self._reasoning.add(index, text)
        return [] if self._exclude else [{"reasoning": text, "reasoning_content": text}]

    def _score(self, scored: ScoredToken) -> None:
        if self._kinds.get(scored.index) is not Kind.CONTENT:
            return
        begins = self._scored_bytes.get(scored.index, 0)
        entry = entry_of(self._codec, scored.logprob)
        self._scored_bytes[scored.index] = begins + len(entry["bytes"])
        self._scored.append(_Scored(scored.index, begins, entry))

    def _due(self) -> list[Json]:
        """The entries of tokens whose text was sent; a text that may become a stop text is held back."""
        due = 0
        for scored in self._scored:
            if scored.begins >= self._shown_bytes.get(scored.index, 0):
                break
            due += 1
        entries = [scored.entry for scored in self._scored[:due]]
        del self._scored[:due]
        self.logprobs += entries
        return entries

"""Reads what the model writes: token ids in, events out, and never an exception.

A state machine over token ids. Only ids make structure: the text of a marker inside a message is
text. Malformed output (a missing or broken header, a forged role, markers in the wrong place, ids
that are no tokens) is mended into assistant messages with ``recovered`` set, and no marker's text
ever reaches the reader. How the ids are cut into portions makes no difference.
"""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto

from inference.harmony_header import Header, HeaderText, KnownTools, may_be_header, read_header
from inference.types import (
    Channel,
    FinishReason,
    Message,
    MessageFinished,
    MessageStarted,
    Role,
    StreamEvent,
    TextDelta,
)
from inference.vocabulary import CHANNEL, CONSTRAIN, END, MESSAGE, START, STOP_TOKEN_IDS

MAX_HEADER_TOKENS = 128
"""A longer header is no header: what it holds is read as the message's text."""

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Place(Enum):
    """Where in a reply the reading stands; ``BETWEEN`` is after ``<|end|>``, ``DONE`` after a stop token."""

    HEADER = auto()
    CONTENT = auto()
    BETWEEN = auto()
    DONE = auto()


class _Part(Enum):
    """The part of a header that is being read."""

    ROLE = auto()
    CHANNEL = auto()
    CONSTRAINT = auto()


class _HeaderBuffer:
    """A header while it is being read: the bytes of its parts, at most ``MAX_HEADER_TOKENS`` tokens."""

    def __init__(self, explicit: bool, damaged: bool = False) -> None:
        self.explicit = explicit
        self.damaged = damaged
        self.tokens = 0
        self._part = _Part.ROLE
        self._bytes = {_Part.ROLE: bytearray()}

    @property
    def raw(self) -> bytes:
        """The role's part, as it came."""
        return bytes(self._bytes[_Part.ROLE])

    @property
    def is_text(self) -> bool:
        """Whether a reply that has no header at all began instead of this header."""
        return (
            not self.explicit
            and self._part is _Part.ROLE
            and not may_be_header(self._decode(_Part.ROLE) or "")
        )

    def turn_to(self, part: _Part) -> None:
        self.damaged |= part in self._bytes
        self._part = part
        self._bytes[part] = bytearray()

    def add(self, piece: bytes | None) -> None:
        self.tokens += 1
        self.damaged |= piece is None
        self._bytes[self._part] += piece or b""

    def text(self) -> HeaderText:
        return HeaderText(
            explicit=self.explicit,
            role=self._decode(_Part.ROLE) or "",
            channel=self._decode(_Part.CHANNEL),
            constraint=self._decode(_Part.CONSTRAINT),
            damaged=self.damaged,
        )

    def _decode(self, part: _Part) -> str | None:
        piece = self._bytes.get(part)
        return None if piece is None else piece.decode("utf-8", errors="replace")


class _OpenMessage:
    """A message whose header is known and whose content is being read."""

    def __init__(self, index: int, header: Header) -> None:
        self.index = index
        self.header = header
        self.recovered = header.recovered
        self.tokens = 0
        self._sent: list[str] = []
        self._unsent: list[str] = []
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def started(self) -> MessageStarted:
        header = self.header
        return MessageStarted(self.index, header.channel, header.recipient, header.content_type)

    def add_bytes(self, piece: bytes) -> None:
        """Bytes of text; a character cut in two waits for its other half."""
        self._unsent.append(self._decoder.decode(piece))

    def add_text(self, text: str) -> None:
        self.end_text()
        self._unsent.append(text)

    def end_text(self) -> None:
        """Half a character that can get no other half becomes U+FFFD."""
        self._unsent.append(self._decoder.decode(b"", final=True))

    def take_delta(self) -> list[StreamEvent]:
        """The text that was not sent yet, as no or one event."""
        text = "".join(self._unsent)
        self._unsent.clear()
        if not text:
            return []
        self._sent.append(text)
        return [TextDelta(self.index, text)]

    def message(self) -> Message:
        """The whole message, of the text that was sent."""
        return Message(
            Role.ASSISTANT,
            "".join(self._sent),
            channel=self.header.channel,
            recipient=self.header.recipient,
            content_type=self.header.content_type,
            recovered=self.recovered,
        )


class StreamParser:
    """Reads one reply. Feed it ids as they come, then call ``finish`` once.

    ``token_bytes`` gives the bytes of an ordinary text token and ``None`` for any other id.
    ``tools`` are the names of the declared functions, without ``functions.``.
    """

    def __init__(
        self,
        token_bytes: Callable[[int], bytes | None],
        tools: Sequence[str] = (),
        python: bool = False,
    ) -> None:
        self._token_bytes = token_bytes
        self._tools = KnownTools(frozenset(tools), python)
        self._place = Place.HEADER
        self._header = _HeaderBuffer(explicit=False)
        self._open_message: _OpenMessage | None = None
        self._messages: list[Message] = []
        self._events: list[StreamEvent] = []
        self._channel_tokens: Counter[Channel] = Counter()
        self._read = 0
        self._header_start = 0

    # --- what has been read ------------------------------------------------------------------

    @property
    def messages(self) -> tuple[Message, ...]:
        """The finished messages, all of them the assistant's."""
        return tuple(self._messages)

    @property
    def channel_tokens(self) -> Mapping[Channel, int]:
        """Content tokens so far, by channel; a channel without any reads 0."""
        return self._channel_tokens

    @property
    def place(self) -> Place:
        """Where the reading stands."""
        return Place.CONTENT if self._open_message is not None else self._place

    @property
    def open_channel(self) -> Channel | None:
        """The channel of the message that is being read, if one is."""
        return None if self._open_message is None else self._open_message.header.channel

    @property
    def header_start(self) -> int:
        """How many ids stood before the header that is being read, or was read last."""
        return self._header_start

    def finish_reason(self, reason: FinishReason) -> FinishReason:
        """The engine's reason, or ``TOOL_CALL`` where the reply stopped after calling a tool."""
        if reason is FinishReason.STOP and self._messages and self._messages[-1].recipient is not None:
            return FinishReason.TOOL_CALL
        return reason

    # --- reading -----------------------------------------------------------------------------

    def feed(self, token_ids: Sequence[int]) -> list[StreamEvent]:
        """Read the next ids. Ids after ``<|return|>`` or ``<|call|>`` are ignored."""
        for token_id in token_ids:
            self._read += 1
            if self._open_message is not None:
                self._read_content(self._open_message, token_id)
            elif self._place is Place.HEADER:
                self._read_header(token_id)
            elif self._place is Place.BETWEEN:
                self._read_between(token_id)
            else:
                break
        return self._take_events()

    def finish(self, reason: FinishReason) -> list[StreamEvent]:
        """The generation ended. Closes an open message; a header that was cut short is dropped.

        A message is complete where a stop token ended it, one of the request's own included.
        """
        self._close(complete=reason in (FinishReason.STOP, FinishReason.TOOL_CALL))
        self._place = Place.DONE
        return self._take_events()

    def _take_events(self) -> list[StreamEvent]:
        if self._open_message is not None:
            self._events += self._open_message.take_delta()
        events, self._events = self._events, []
        return events

    # --- between messages ----------------------------------------------------------------------

    def _read_between(self, token_id: int) -> None:
        if token_id in STOP_TOKEN_IDS:
            self._place = Place.DONE
        elif token_id == START:
            self._begin_header(explicit=True)
        elif token_id != END:  # the model left <|start|>assistant out
            self._begin_header(explicit=False, damaged=True)
            self._read_header(token_id)

    # --- headers -------------------------------------------------------------------------------

    def _begin_header(self, explicit: bool, damaged: bool = False) -> None:
        self._place = Place.HEADER
        self._header_start = self._read - 1
        self._header = _HeaderBuffer(explicit, damaged)

    def _read_header(self, token_id: int) -> None:
        if token_id == MESSAGE:
            self._open(read_header(self._header.text(), self._tools))
        elif token_id == CHANNEL:
            self._header.turn_to(_Part.CHANNEL)
        elif token_id == CONSTRAIN:
            self._header.turn_to(_Part.CONSTRAINT)
        elif token_id == START:
            self._save_header_text(calls=False)
            self._begin_header(explicit=True, damaged=self._header.tokens > 0)
        elif token_id == END or token_id in STOP_TOKEN_IDS:
            self._save_header_text(calls=True)
            self._place = Place.BETWEEN if token_id == END else Place.DONE
        else:
            self._add_to_header(token_id)

    def _add_to_header(self, token_id: int) -> None:
        header = self._header
        header.add(self._token_bytes(token_id))
        if header.is_text:
            message = self._open(Header(Channel.FINAL, None, None, True, ""))
            message.add_bytes(header.raw)
            self._count(message, header.tokens)
        elif header.tokens >= MAX_HEADER_TOKENS:
            self._open_with_rest(read_header(header.text(), self._tools))

    def _save_header_text(self, calls: bool) -> None:
        """A header ended without ``<|message|>``: keep the text in it, and a call if ``calls``."""
        header = read_header(self._header.text(), self._tools)
        if header.rest or (calls and header.recipient is not None):
            self._open_with_rest(header)
            self._close(complete=True)

    def _open_with_rest(self, header: Header) -> None:
        message = self._open(header)
        message.recovered = True
        if header.rest:
            message.add_text(header.rest)
            self._count(message, self._header.tokens)

    # --- content -------------------------------------------------------------------------------

    def _open(self, header: Header) -> _OpenMessage:
        self._open_message = message = _OpenMessage(len(self._messages), header)
        self._events.append(message.started())
        return message

    def _read_content(self, message: _OpenMessage, token_id: int) -> None:
        if token_id == END:
            self._close(complete=True)
            self._place = Place.BETWEEN
        elif token_id in STOP_TOKEN_IDS:
            self._close(complete=True)
            self._place = Place.DONE
        elif token_id in (START, CHANNEL):  # <|end|> is missing
            message.recovered = True
            self._close(complete=True)
            self._place = Place.BETWEEN
            self._read_between(token_id)
        elif token_id in (MESSAGE, CONSTRAIN):
            message.recovered = True
        else:
            self._add_to_content(message, token_id)

    def _add_to_content(self, message: _OpenMessage, token_id: int) -> None:
        piece = self._token_bytes(token_id)
        if piece is None:
            message.add_text(_REPLACEMENT)
            message.recovered = True
        else:
            message.add_bytes(piece)
        self._count(message, 1)

    def _count(self, message: _OpenMessage, tokens: int) -> None:
        message.tokens += tokens
        self._channel_tokens[message.header.channel] += tokens

    def _close(self, complete: bool) -> None:
        message = self._open_message
        if message is None:
            return
        message.end_text()
        self._events += message.take_delta()
        self._open_message = None
        self._messages.append(message.message())
        self._events.append(MessageFinished(message.index, self._messages[-1], message.tokens, complete))

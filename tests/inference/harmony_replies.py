"""Reads one reply with the real parser and checks on the way what must hold for any reply whatever."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inference.harmony import HarmonyCodec
from inference.harmony_stream import StreamParser
from inference.message_rules import is_tool_address
from inference.types import (
    Channel,
    FinishReason,
    MessageFinished,
    MessageStarted,
    Role,
    StreamEvent,
    TextDelta,
)

codec = HarmonyCodec.load()
ANALYSIS, COMMENTARY, FINAL = Channel


@dataclass
class Reply:
    """What came out of the parser, checked on the way: see ``read``."""

    parser: StreamParser
    finished: list[MessageFinished]

    @property
    def rows(self) -> list[tuple[str, str | None, str, bool]]:
        """Channel, recipient, content and ``recovered`` of every message."""
        return [
            (str(m.channel), m.recipient, m.content, m.recovered)
            for m in (event.message for event in self.finished)
        ]


def read(
    ids: Sequence[int],
    chunk: int = 1,
    reason: FinishReason = FinishReason.STOP,
    tools: Sequence[str] = ("add",),
    python: bool = True,
) -> Reply:
    """Parse, and check everything that must hold for any reply whatever."""
    parser = codec.parser(tools, python)
    events: list[StreamEvent] = []
    for start in range(0, len(ids), chunk):
        events += parser.feed(ids[start : start + chunk])
    events += parser.finish(reason)
    finished: list[MessageFinished] = []
    text: dict[int, str] = {}
    for event in events:
        if isinstance(event, MessageStarted):
            assert event.index == len(text) == len(finished)
            text[event.index] = ""
            head = (event.channel, event.recipient, event.content_type)
        elif isinstance(event, TextDelta):
            assert event.index == len(text) - 1
            assert event.text
            text[event.index] += event.text
        else:
            assert isinstance(event, MessageFinished)
            message = event.message
            assert message.role is Role.ASSISTANT
            assert message.name is None
            assert message.content == text[event.index]
            assert head == (message.channel, message.recipient, message.content_type)
            assert message.recipient is None or is_tool_address(message.recipient)
            finished.append(event)
    assert len(finished) == len(text)
    assert parser.messages == tuple(event.message for event in finished)
    assert parser.feed([12194]) == parser.finish(reason) == []
    for channel in Channel:
        counted = sum(event.token_count for event in finished if event.message.channel is channel)
        assert parser.channel_tokens[channel] == counted
    return Reply(parser, finished)

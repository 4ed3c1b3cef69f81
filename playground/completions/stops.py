"""Stop strings: the answer ends where one of them would begin."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from inference.types import Channel, MessageFinished, MessageStarted, StreamEvent, TextDelta


class StopStrings:
    """Looks through the messages on the final channel; what may become a stop string waits for more.

    ``found`` is the string that ended the answer. What comes after it is not passed on.
    """

    def __init__(self, strings: Sequence[str]) -> None:
        self._strings = tuple(filter(None, strings))
        self._answers: set[int] = set()
        self._held = ""
        self._shown: list[str] = []
        self._cut_index = -1
        self.found: str | None = None

    def take(self, events: Iterable[StreamEvent]) -> tuple[StreamEvent, ...]:
        """The same events without the stop string and all that follows; the cut message is complete."""
        if not self._strings:
            return tuple(events)
        passed: list[StreamEvent] = []
        for event in events:
            if self.found is None:
                passed += self._one(event)
            elif isinstance(event, MessageFinished) and event.index == self._cut_index:
                message = replace(event.message, content="".join(self._shown))
                passed.append(replace(event, message=message, complete=True))
        return tuple(passed)

    def _one(self, event: StreamEvent) -> list[StreamEvent]:
        if isinstance(event, MessageStarted):
            if event.channel is Channel.FINAL:
                self._answers.add(event.index)
                self._shown.clear()
                self._held = ""
            return [event]
        if event.index not in self._answers:
            return [event]
        if isinstance(event, TextDelta):
            return self._text(event)
        rest, self._held = self._held, ""
        place = self._find(rest)
        if place is None or not isinstance(event, MessageFinished):
            return [*_delta(event.index, rest), event]
        # Nothing more comes that could begin before it.
        shown = self._cut(event.index, rest, place)
        message = replace(event.message, content="".join(self._shown))
        return [*shown, replace(event, message=message, complete=True)]

    def _text(self, event: TextDelta) -> list[StreamEvent]:
        text = self._held + event.text
        place = self._find(text)
        open_from = len(text) - max(_overlap(text, each) for each in self._strings)
        if place is not None and place <= open_from:
            return self._cut(event.index, text, place)
        # Either none is there, or one that would begin before it may still be completed.
        self._held = text[open_from:]
        shown = text[:open_from]
        self._shown.append(shown)
        return _delta(event.index, shown)

    def _find(self, text: str) -> int | None:
        """Where the first stop string begins."""
        return min((place for each in self._strings if (place := text.find(each)) >= 0), default=None)

    def _cut(self, index: int, text: str, place: int) -> list[StreamEvent]:
        """End the answer there, at the longest of the strings that begin there."""
        self.found = max((each for each in self._strings if text.startswith(each, place)), key=len)
        self._shown.append(text[:place])
        self._cut_index = index
        return _delta(index, text[:place])


def _delta(index: int, text: str) -> list[StreamEvent]:
    return [TextDelta(index, text)] if text else []


def _overlap(text: str, string: str) -> int:
    """How much of the end of ``text`` is the beginning of ``string``."""
    longest = min(len(text), len(string) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(string[:size])), 0)

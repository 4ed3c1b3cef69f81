"""The events of one response: an append-only log with any number of readers. Belongs to one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, NamedTuple

Json = dict[str, Any]
MOST_AT_ONCE = 256
"""Events that a reader gets together; a slow one must not hold all of a long log."""


class Delta(NamedTuple):
    """A piece of an item's text. Most of a log are these, so they are kept small."""

    type: str
    item_id: str
    output_index: int
    text: str
    logprobs: list[Json] | None = None


class ResponseLog:
    """Events by their numbers, from 0 on without gaps."""

    def __init__(self) -> None:
        self._entries: list[Json | Delta] = []
        self._readers: set[asyncio.Event] = set()
        self.ended = False

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def reader_count(self) -> int:
        """How many readers follow now."""
        return len(self._readers)

    def append(self, entry: Json | Delta, *, last: bool = False) -> None:
        """One more event; after the last one the readers' streams end."""
        self._entries.append(entry)
        self.ended = self.ended or last
        for wake in self._readers:
            wake.set()

    async def follow(self, after: int, idle_seconds: float) -> AsyncGenerator[list[Json]]:
        """The events with numbers above ``after`` in batches to the last, an empty one for quiet times."""
        wake = asyncio.Event()
        self._readers.add(wake)
        place = max(0, after + 1)
        try:
            while True:
                wake.clear()
                batch = self._entries[place : place + MOST_AT_ONCE]
                if batch:
                    yield [_event(number, entry) for number, entry in enumerate(batch, place)]
                    place += len(batch)
                elif self.ended:
                    return
                else:
                    try:
                        async with asyncio.timeout(idle_seconds):
                            await wake.wait()
                    except TimeoutError:
                        yield []
        finally:
            self._readers.discard(wake)


def _event(number: int, entry: Json | Delta) -> Json:
    if not isinstance(entry, Delta):
        return {**entry, "sequence_number": number}
    event: Json = {
        "type": entry.type,
        "item_id": entry.item_id,
        "output_index": entry.output_index,
        "delta": entry.text,
        "sequence_number": number,
    }
    if entry.type != "response.function_call_arguments.delta":
        event["content_index"] = 0
    if entry.logprobs is not None:
        event["logprobs"] = entry.logprobs
    return event

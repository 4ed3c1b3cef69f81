"""The events of one response: an append-only log with any number of readers. Belongs to one event loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, NamedTuple

from playground.event_log import EventLog

Json = dict[str, Any]


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
        self._log: EventLog[Json | Delta] = EventLog()

    def __len__(self) -> int:
        return len(self._log)

    @property
    def ended(self) -> bool:
        """Whether the last event is there."""
        return self._log.ended

    @property
    def reader_count(self) -> int:
        """How many readers follow now."""
        return self._log.reader_count

    def append(self, entry: Json | Delta, *, last: bool = False) -> None:
        """One more event; after the last one the readers' streams end."""
        self._log.append(entry, last=last)

    async def follow(self, after: int, idle_seconds: float) -> AsyncGenerator[list[Json]]:
        """The events with numbers above ``after`` in batches to the last, an empty one for quiet times."""
        number = max(0, after + 1)
        async with aclosing(self._log.follow(number, idle_seconds)) as batches:
            async for batch in batches:
                yield [_event(place, entry) for place, entry in enumerate(batch, number)]
                number += len(batch)


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

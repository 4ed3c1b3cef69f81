"""An append-only log with any number of readers, each of whom takes it at his own pace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Generic, TypeVar

T = TypeVar("T")

MOST_AT_ONCE = 256
"""Entries that a reader gets together; a slow one must not hold all of a long log."""


class EventLog(Generic[T]):
    """Entries in order, the first one at place 0. Belongs to one event loop."""

    def __init__(self) -> None:
        self._entries: list[T] = []
        self._readers: set[asyncio.Event] = set()
        self.ended = False

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def reader_count(self) -> int:
        """How many readers follow now."""
        return len(self._readers)

    def append(self, entry: T, *, last: bool = False) -> None:
        """One more entry; after the last one the readers' streams end."""
        self._entries.append(entry)
        self.ended = self.ended or last
        for wake in self._readers:
            wake.set()

    async def follow(self, place: int, idle_seconds: float) -> AsyncGenerator[list[T]]:
        """The entries from ``place`` on in batches until the last; an empty batch for each quiet time."""
        wake = asyncio.Event()
        self._readers.add(wake)
        try:
            while True:
                wake.clear()
                batch = self._entries[place : place + MOST_AT_ONCE]
                if batch:
                    place += len(batch)
                    yield batch
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

"""Who is next in a conversation: its turns begin one after the other, in the order of arrival."""

from __future__ import annotations

import asyncio
from collections import deque

from storage.errors import Conflict

MOST_WAITING = 8
BUSY = "This conversation is still answering. Wait for the end of the reply, or stop it."
TOO_MANY = f"{MOST_WAITING} messages wait in this conversation already. Send this one later."

Key = tuple[str, str]


class Ticket:
    """One place in a line. ``patient``: its holder may keep the others waiting until a reply ends."""

    def __init__(self, line: deque[Ticket], patient: bool) -> None:
        self.patient = patient
        self._line = line
        self._first = asyncio.Event()
        line.append(self)
        line[0]._first.set()

    async def turn(self) -> None:
        """Wait until all who came before have left."""
        await self._first.wait()

    def leave(self) -> None:
        """Give the place up; the next one's turn comes when this was the first."""
        self._line.remove(self)
        if self._line:
            self._line[0]._first.set()


class Lines:
    """A line for each (owner, conversation) that somebody waits for. Belongs to one event loop."""

    def __init__(self) -> None:
        self._lines: dict[Key, deque[Ticket]] = {}

    def join(self, key: Key, *, patient: bool) -> Ticket:
        """A place at the end of this line; the holder must leave it, whatever happens.

        Raises:
            Conflict: this one would not wait, but others do; or too many do.
        """
        for known, line in list(self._lines.items()):
            if not line:
                del self._lines[known]
        line = self._lines.setdefault(key, deque())
        waiting = sum(ticket.patient for ticket in line)
        if waiting and not patient:
            raise Conflict(BUSY)
        if waiting >= MOST_WAITING:
            raise Conflict(TOO_MANY)
        return Ticket(line, patient)

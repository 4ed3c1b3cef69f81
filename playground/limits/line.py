"""A line for work that takes the server a while: few at once, and who has had the most of it waits.

A place goes to the address that has been served for the shortest time, there to the person of whom that is
true, and then to whoever came first. An address has few of the places, so that the others are never all its
own. Nothing is remembered once nobody waits and nobody works.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from playground.errors import PlaygroundError
from playground.limits.addresses import asking_address
from playground.limits.words import try_again

P = ParamSpec("P")
T = TypeVar("T")

LONGEST = 256
"""More than the connections that one address may have: only what comes through a proxy can be so many."""
NEXT_LOOK_SECONDS = 5
PROMPTS_AT_ONCE = 2


@dataclass(eq=False, slots=True)
class Ticket:
    """One piece of work, which waits or has its place (since ``began``)."""

    address: str
    person: str
    number: int
    place: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    began: float = 0.0


class FairLine:
    """Belongs to one event loop. ``places`` in all, ``of_address`` of each; ``clock`` is monotonic."""

    def __init__(
        self,
        places: int,
        of_address: int = 1,
        longest: int = LONGEST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._places = places
        self._of_address = of_address
        self._longest = longest
        self._clock = clock
        self._count = 0
        self._waiting: list[Ticket] = []
        self._working: Counter[str] = Counter()
        self._served: dict[tuple[str, ...], float] = {}

    def waiting(self, address: str) -> int:
        """How much of this address is in line."""
        return sum(each.address == address for each in self._waiting)

    @asynccontextmanager
    async def turn(self, person: str = "") -> AsyncIterator[None]:
        """A place of the asking address, for as long as the block lasts. Raises as ``enter`` does."""
        ticket = await self.enter(person)
        try:
            yield
        finally:
            self.leave(ticket)

    async def enter(self, person: str = "") -> Ticket:
        """Wait for a place, which ``leave`` gives back. Who is cancelled leaves the line.

        Raises:
            PlaygroundError: (429) too much of the asking address waits already.
        """
        address = asking_address.get()
        if self.waiting(address) >= self._longest:
            raise PlaygroundError(
                "rate_limited",
                f"Too many requests from your network wait already. {try_again(NEXT_LOOK_SECONDS)}",
                status=429,
                retry_after=NEXT_LOOK_SECONDS,
            )
        self._count += 1
        ticket = Ticket(address, person, self._count)
        self._waiting.append(ticket)
        self._admit()
        try:
            await ticket.place
        except asyncio.CancelledError:
            self.leave(ticket)
            raise
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """The work is over, or is not wanted any more."""
        if ticket in self._waiting:
            self._waiting.remove(ticket)
            return
        self._working[ticket.address] -= 1
        if not self._working[ticket.address]:
            del self._working[ticket.address]
        for who in ((ticket.address,), (ticket.address, ticket.person)):
            self._served[who] = self._served.get(who, 0.0) + self._clock() - ticket.began
        self._admit()
        if not self._working:
            self._served.clear()

    def _admit(self) -> None:
        """Give the free places away."""
        while self._working.total() < self._places:
            able = [
                each
                for each in self._waiting
                if self._working[each.address] < self._of_address and not each.place.done()
            ]
            if not able:
                return
            ticket = min(able, key=self._rank)
            self._waiting.remove(ticket)
            self._working[ticket.address] += 1
            ticket.began = self._clock()
            ticket.place.set_result(None)

    def _rank(self, ticket: Ticket) -> tuple[float, float, int]:
        person = (ticket.address, ticket.person)
        return self._served.get(person[:1], 0.0), self._served.get(person, 0.0), ticket.number


class PromptThreads:
    """Threads of their own for what reads and writes prompts, so that no other request waits for one."""

    def __init__(self) -> None:
        self.line = FairLine(PROMPTS_AT_ONCE)
        self._threads = ThreadPoolExecutor(PROMPTS_AT_ONCE, "prompts")

    async def run(self, person: str, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What ``work`` gives. Its place is taken until it has ended, also when nobody waits for that.

        Raises:
            PlaygroundError: (429) too much of the asking address waits already.
        """
        ticket = await self.line.enter(person)
        loop = asyncio.get_running_loop()
        try:
            working = loop.run_in_executor(self._threads, lambda: work(*args, **kwargs))
        except BaseException:
            self.line.leave(ticket)
            raise
        working.add_done_callback(lambda _: self.line.leave(ticket))
        return await asyncio.shield(working)

    def close(self) -> None:
        """Take no more work."""
        self._threads.shutdown(wait=False)

"""How many replies at once, and how many tokens a day: what one person may have of the model."""

from __future__ import annotations

import asyncio
import math
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from playground.errors import PlaygroundError
from playground.limits.words import try_again
from playground.settings_limits import LimitSettings
from storage.store import Store

NEXT_LOOK_SECONDS = 5
"""When a reply may have ended: nobody knows how long one takes."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """Replies at once and tokens a day; 0 is any number.

    ``line`` tells apart those who share one identity: each has its places for itself. ``key`` is the id of
    the API key that asks, if one does. ``more_signed_in``: with an account he could have more tokens.
    """

    replies: int = 0
    tokens: int = 0
    line: str = ""
    key: str = ""
    more_signed_in: bool = False

    def place_of(self, owner_id: str) -> str:
        """Under what name the places of this owner are counted, and turns on the model are shared."""
        return f"{owner_id} {self.line}" if self.line else owner_id


ANY = Allowance()


def allowance_for(settings: LimitSettings, *, guest: bool) -> Allowance:
    """What somebody may have. ``guest``: he has not signed in, though he could."""
    if not guest:
        return Allowance(settings.places, settings.tokens_per_day)
    tokens = _smaller(settings.guest_tokens_per_day, settings.tokens_per_day)
    return Allowance(
        _smaller(settings.guest_replies_at_once, settings.places),
        tokens,
        more_signed_in=tokens != settings.tokens_per_day,
    )


def midnight_after(now: datetime) -> datetime:
    """When a day's tokens are counted anew."""
    tomorrow: date = now.astimezone(UTC).date() + timedelta(days=1)
    return datetime.combine(tomorrow, time(), UTC)


class Places:
    """The replies that each person has open, and those that wait for that. Belongs to one event loop.

    A page that asks too much at once is told so (``one``); a program's requests wait in line (``take``), each
    person's in a line of their own, first come, first served.
    """

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()
        self._lines: dict[str, deque[asyncio.Future[None]]] = {}

    def taken(self, owner_id: str) -> int:
        """How many this person has now."""
        return self._taken[owner_id]

    def waiting(self, owner_id: str) -> int:
        """How many of this person's requests are in line."""
        return len(self._lines.get(owner_id, ()))

    @contextmanager
    def one(self, owner_id: str, allowance: Allowance) -> Iterator[None]:
        """A place for one reply that is about to begin.

        Raises:
            PlaygroundError: (429) all places of this person are taken.
        """
        if not self.take_free(owner_id, allowance):
            raise self._refusal(owner_id)
        try:
            yield
        finally:
            self.give_back(owner_id)

    def take_free(self, owner_id: str, allowance: Allowance) -> bool:
        """Take a place if there is one now; whoever waits in line comes first."""
        if allowance.replies and self._taken[owner_id] >= allowance.replies:
            return False
        self._taken[owner_id] += 1
        return True

    async def take(self, owner_id: str, allowance: Allowance, longest: int | None = None) -> None:
        """Take a place, and wait for one in a line of at most ``longest``. Who is cancelled leaves the line.

        Raises:
            PlaygroundError: (429) the line is full.
        """
        if self.take_free(owner_id, allowance):
            return
        if longest is not None and self.waiting(owner_id) >= longest:
            raise self._refusal(owner_id)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(owner_id, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the place came in the same moment
                self.give_back(owner_id)
            else:
                self._leave_line(owner_id, turn)
            raise

    def give_back(self, owner_id: str) -> None:
        """Give up a place: the next in line has it, if there is one."""
        while line := self._lines.get(owner_id):
            turn = line[0]
            self._leave_line(owner_id, turn)
            if not turn.done():
                turn.set_result(None)
                return
        self._taken[owner_id] -= 1
        if not self._taken[owner_id]:
            del self._taken[owner_id]

    def _leave_line(self, owner_id: str, turn: asyncio.Future[None]) -> None:
        line = self._lines.get(owner_id)
        if line is not None and turn in line:
            line.remove(turn)
            if not line:
                del self._lines[owner_id]

    def _refusal(self, owner_id: str) -> PlaygroundError:
        taken, waiting = self._taken[owner_id], self.waiting(owner_id)
        yours = "One of your replies is" if taken == 1 else f"{taken} of your replies are"
        line = f", and {waiting} more wait" if waiting else ""
        return PlaygroundError(
            "too_many_replies",
            f"{yours} still being written{line}. {try_again(NEXT_LOOK_SECONDS)}",
            status=429,
            retry_after=NEXT_LOOK_SECONDS,
        )


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


def check_tokens(
    store: Store, owner_id: str, allowance: Allowance, clock: Callable[[], datetime] = utc_now
) -> None:
    """Refuse when today's tokens are used up. What runs already is counted once it has ended. Blocks.

    Raises:
        PlaygroundError: (429) until midnight, UTC.
    """
    if not allowance.tokens:
        return
    now = clock().astimezone(UTC)
    if store.usage_of(owner_id, now.date().isoformat()).tokens < allowance.tokens:
        return
    wait = math.ceil((midnight_after(now) - now).total_seconds())
    when = try_again(wait)
    if allowance.more_signed_in:
        when = when.removesuffix(".") + ", or sign in to go on."
    raise PlaygroundError(
        "quota_exceeded",
        f"You have used your {allowance.tokens:,} tokens of today. {when}",
        status=429,
        retry_after=wait,
    )


def _smaller(one: int, other: int) -> int:
    """The stricter of two limits, where 0 is none."""
    return min(one, other) if one and other else one or other

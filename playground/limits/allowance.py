"""How many replies at once, and how many tokens a day: what a person or an address may have of the model."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

from playground.errors import PlaygroundError
from playground.limits.spent import Spent, utc_now
from playground.limits.words import try_again
from playground.settings import Settings
from playground.settings_limits import LimitSettings
from storage.store import Store

NEXT_LOOK_SECONDS = 5
"""When a reply may have ended: nobody knows how long one takes."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """Replies at once and tokens a day; 0 is any number.

    ``line`` tells apart those who share one identity: each has places and tokens for itself. ``key`` is the
    id of the API key that asks, if one does. ``more_signed_in``: with an account he could have more tokens;
    ``keyless``: a program would show its account by a key.
    ``network`` is where a guest asks from: a cookie costs nothing, so all guests there together have
    ``guests`` times as much as one of them.
    """

    replies: int = 0
    tokens: int = 0
    line: str = ""
    key: str = ""
    more_signed_in: bool = False
    keyless: bool = False
    network: str = ""
    guests: int = 0

    def place_of(self, owner_id: str) -> str:
        """Under what name the places of this owner are counted."""
        return f"{owner_id} {self.line}" if self.line else owner_id

    @property
    def address(self) -> str:
        """Under what name all guests of the network are counted."""
        return f"at {self.network}"

    def user_key(self, owner_id: str) -> str:
        """Under what name the engine shares its queue and its turns: a guest's is the address."""
        return self.address if self.network else self.place_of(owner_id)


ANY = Allowance()


def allowance_for(settings: LimitSettings, *, guest: bool) -> Allowance:
    """What somebody may have. ``guest``: he has not signed in, though he could."""
    if not guest:
        return Allowance(settings.places, settings.tokens_per_day)
    tokens = smaller(settings.guest_tokens_per_day, settings.tokens_per_day)
    return Allowance(
        smaller(settings.guest_replies_at_once, settings.places),
        tokens,
        more_signed_in=tokens != settings.tokens_per_day,
    )


def allowance_at(settings: Settings, address: str, *, account: bool, shared: bool = False) -> Allowance:
    """What somebody who asks from this address may have.

    ``account``: he has one. ``shared``: he is the guest that programs without a key share. Where only this
    machine can reach the server, no address counts.
    """
    allowance = allowance_for(settings, guest=not account and settings.sign_in_available)
    allowance = replace(allowance, keyless=shared)
    if account or not settings.reachable_from_elsewhere:
        return allowance
    guests = settings.guests_per_address
    return replace(
        allowance, line=address if shared else "", network=address if guests else "", guests=guests
    )


def midnight_after(now: datetime) -> datetime:
    """When a day's tokens are counted anew."""
    tomorrow: date = now.astimezone(UTC).date() + timedelta(days=1)
    return datetime.combine(tomorrow, time(), UTC)


def until_midnight(now: datetime) -> int:
    """The seconds until then."""
    return math.ceil((midnight_after(now) - now).total_seconds())


@dataclass(eq=False, slots=True)
class _Waiting:
    """One request in line; ``number`` says who came first, and ``turn`` is done when it has its place."""

    number: int
    name: str
    allowance: Allowance
    turn: asyncio.Future[None]


class Places:
    """The replies that each person has open, and those that wait for that. Belongs to one event loop.

    A page that asks too much at once is told so (``one``); a program's requests wait in line (``take``), each
    person's in a line of their own, first come, first served. A guest's reply also takes one of the places of
    its address. ``spent`` are the tokens of the day, as far as they are counted by address.
    """

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()
        self._lines: dict[str, deque[_Waiting]] = {}
        self._numbers = itertools.count()
        self.spent = Spent()

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
            PlaygroundError: (429) all places of this person, or of the guests of the address, are taken.
        """
        if not self.take_free(owner_id, allowance):
            raise self._refusal(owner_id, allowance)
        try:
            yield
        finally:
            self.give_back(owner_id, allowance)

    def take_free(self, owner_id: str, allowance: Allowance) -> bool:
        """Take a place if there is one now; whoever waits in line comes first."""
        if not self._has_room(owner_id, allowance):
            return False
        self._taken.update(name for name, _ in _counted(owner_id, allowance))
        return True

    async def take(self, owner_id: str, allowance: Allowance, longest: int | None = None) -> None:
        """Take a place, and wait for one in a line of at most ``longest``. Who is cancelled leaves the line.

        Raises:
            PlaygroundError: (429) the line is full.
        """
        if self.take_free(owner_id, allowance):
            return
        if longest is not None and self._is_full(owner_id, allowance, longest):
            raise self._refusal(owner_id, allowance)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = _Waiting(next(self._numbers), owner_id, allowance, turn)
        self._lines.setdefault(owner_id, deque()).append(waiting)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the place came in the same moment
                self.give_back(owner_id, allowance)
            else:
                self._leave_line(waiting)
            raise

    def give_back(self, owner_id: str, allowance: Allowance = ANY) -> None:
        """Give up a place: whoever came first of those in line who may have it gets it."""
        for name, _ in _counted(owner_id, allowance):
            self._taken[name] -= 1
            if not self._taken[name]:
                del self._taken[name]
        while first := self._next():
            self._leave_line(first)
            if not first.turn.done():
                self.take_free(first.name, first.allowance)
                first.turn.set_result(None)

    def _next(self) -> _Waiting | None:
        """Who came first of those at the head of a line for whom there is room."""
        heads = (line[0] for line in self._lines.values())
        ready = (each for each in heads if self._has_room(each.name, each.allowance))
        return min(ready, key=lambda each: each.number, default=None)

    def _has_room(self, owner_id: str, allowance: Allowance) -> bool:
        return all(not most or self._taken[name] < most for name, most in _counted(owner_id, allowance))

    def _is_full(self, owner_id: str, allowance: Allowance, longest: int) -> bool:
        """Whether so many of the person's, or of the address's guests' together, are in line already."""
        if self.waiting(owner_id) >= longest:
            return True
        lines = self._lines.values() if allowance.network else ()
        beside = sum(each.allowance.network == allowance.network for line in lines for each in line)
        return bool(allowance.network) and beside >= longest * allowance.guests

    def _leave_line(self, waiting: _Waiting) -> None:
        line = self._lines.get(waiting.name)
        if line is not None and waiting in line:
            line.remove(waiting)
            if not line:
                del self._lines[waiting.name]

    def _refusal(self, owner_id: str, allowance: Allowance) -> PlaygroundError:
        taken, waiting = self._taken[owner_id], self.waiting(owner_id)
        if allowance.replies and taken >= allowance.replies:
            yours = "One of your replies is" if taken == 1 else f"{taken} of your replies are"
            line = f", and {waiting} more wait" if waiting else ""
            sentence = f"{yours} still being written{line}."
        else:
            sentence = "Many replies are being written for guests from your network already."
        return PlaygroundError(
            "too_many_replies",
            f"{sentence} {try_again(NEXT_LOOK_SECONDS)}",
            status=429,
            retry_after=NEXT_LOOK_SECONDS,
        )

    def check_tokens(self, store: Store, owner_id: str, allowance: Allowance) -> None:
        """Refuse when today's tokens are used up, the person's or those of the address's guests. Blocks.

        Raises:
            PlaygroundError: (429) until midnight, UTC.
        """
        if not allowance.line:
            check_tokens(store, owner_id, allowance)
        elif 0 < allowance.tokens <= self.spent.by(allowance.place_of(owner_id)):
            sentence = f"Your network has used its {allowance.tokens:,} tokens of today."
            raise _used_up(sentence, utc_now(), allowance)
        most = allowance.tokens * allowance.guests
        if allowance.network and 0 < most <= self.spent.by(allowance.address):
            sentence = f"Guests from your network have used their {most:,} tokens of today."
            raise _used_up(sentence, utc_now(), allowance)

    def count_tokens(self, owner_id: str, allowance: Allowance, tokens: int) -> None:
        """Count what a reply wrote, where that is counted by address; the store counts it for the person."""
        for name, wanted in (
            (allowance.place_of(owner_id), allowance.line),
            (allowance.address, allowance.network),
        ):
            if wanted:
                self.spent.add(name, tokens)


def _counted(owner_id: str, allowance: Allowance) -> list[tuple[str, int]]:
    """Under which names a reply is counted, and how many of each there may be; 0 is any."""
    counted = [(owner_id, allowance.replies)]
    if allowance.network:
        counted.append((allowance.address, allowance.replies * allowance.guests))
    return counted


def check_tokens(
    store: Store, owner_id: str, allowance: Allowance, clock: Callable[[], datetime] = utc_now
) -> None:
    """Refuse when this person's tokens of today are used up. Blocks.

    What runs already is counted once it has ended.

    Raises:
        PlaygroundError: (429) until midnight, UTC.
    """
    if not allowance.tokens:
        return
    now = clock().astimezone(UTC)
    if store.usage_of(owner_id, now.date().isoformat()).tokens >= allowance.tokens:
        raise _used_up(f"You have used your {allowance.tokens:,} tokens of today.", now, allowance)


def _used_up(sentence: str, now: datetime, allowance: Allowance) -> PlaygroundError:
    wait = until_midnight(now)
    when = try_again(wait)
    if allowance.more_signed_in:
        way = "send an API key of yours" if allowance.keyless else "sign in"
        when = f"{when.removesuffix('.')}, or {way} to go on."
    return PlaygroundError("quota_exceeded", f"{sentence} {when}", status=429, retry_after=wait)


def smaller(one: int, other: int) -> int:
    """The stricter of two limits, where 0 is none."""
    return min(one, other) if one and other else one or other

"""How many replies at once, and how many tokens a day: what one person may have of the model."""

from __future__ import annotations

import math
from collections import Counter
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
    """Replies at once and tokens a day; 0 is any number."""

    replies: int = 0
    tokens: int = 0


ANY = Allowance()


def allowance_for(settings: LimitSettings, *, guest: bool) -> Allowance:
    """What somebody may have. ``guest``: he has not signed in, though he could."""
    if not guest:
        return Allowance(settings.replies_at_once, settings.tokens_per_day)
    return Allowance(
        _smaller(settings.guest_replies_at_once, settings.replies_at_once),
        _smaller(settings.guest_tokens_per_day, settings.tokens_per_day),
    )


def midnight_after(now: datetime) -> datetime:
    """When a day's tokens are counted anew."""
    tomorrow: date = now.astimezone(UTC).date() + timedelta(days=1)
    return datetime.combine(tomorrow, time(), UTC)


class Places:
    """The replies that each person has open. Belongs to one event loop."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    def taken(self, owner_id: str) -> int:
        """How many this person has now."""
        return self._taken[owner_id]

    @contextmanager
    def one(self, owner_id: str, allowance: Allowance) -> Iterator[None]:
        """A place for one reply that is about to begin.

        Raises:
            PlaygroundError: (429) all places of this person are taken.
        """
        taken = self._taken[owner_id]
        if allowance.replies and taken >= allowance.replies:
            yours = "One of your replies is" if taken == 1 else f"{taken} of your replies are"
            raise PlaygroundError(
                "too_many_replies",
                f"{yours} still being written. {try_again(NEXT_LOOK_SECONDS)}",
                status=429,
                retry_after=NEXT_LOOK_SECONDS,
            )
        self._taken[owner_id] += 1
        try:
            yield
        finally:
            self._taken[owner_id] -= 1
            if not self._taken[owner_id]:
                del self._taken[owner_id]


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
    raise PlaygroundError(
        "quota_exceeded",
        f"You have used your {allowance.tokens:,} tokens of today. {try_again(wait)}",
        status=429,
        retry_after=wait,
    )


def _smaller(one: int, other: int) -> int:
    """The stricter of two limits, where 0 is none."""
    return min(one, other) if one and other else one or other

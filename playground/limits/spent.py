"""What was used today by name, for those of whom the database knows nothing: addresses are never stored."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, date, datetime

MOST_NAMES = 20_000


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


class Spent:
    """What each name has had today (UTC). In memory: a restart begins anew. Safe from many threads.

    Of more than ``most`` names those are forgotten that were counted least recently.
    """

    def __init__(self, clock: Callable[[], datetime] = utc_now, most: int = MOST_NAMES) -> None:
        self._clock = clock
        self._most = most
        self._lock = threading.Lock()
        self._day: date | None = None
        self._used: OrderedDict[str, int] = OrderedDict()  # the latest counted last

    def add(self, name: str, amount: int) -> None:
        """Count some more."""
        with self._lock:
            today = self._today()
            today[name] = today.get(name, 0) + amount
            today.move_to_end(name)
            while len(today) > self._most:
                today.popitem(last=False)

    def by(self, name: str) -> int:
        """What this one has had today."""
        with self._lock:
            return self._today().get(name, 0)

    def _today(self) -> OrderedDict[str, int]:
        """What was counted on this day; the lock is held."""
        day = self._clock().astimezone(UTC).date()
        if day != self._day:
            self._day = day
            self._used.clear()
        return self._used

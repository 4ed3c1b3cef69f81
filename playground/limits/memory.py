"""Where the moving windows of ``limits`` are remembered: in memory, on a monotonic clock, and bounded.

The library's own storage reads the wall clock, which may be set, starts a thread with each request and keeps
every key that it was ever asked about in this minute. This one does none of that.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from limits.storage import MovingWindowSupport, Storage

MOST_KEYS = 20_000
MOST_ENTRIES = 500_000


class BoundedWindows(Storage, MovingWindowSupport):
    """The moments of the latest admissions by key. Safe from many threads.

    ``most_keys`` and ``most_entries`` bound the memory; beyond them the keys that were asked about least
    recently are forgotten. ``clock`` is monotonic seconds.
    """

    STORAGE_SCHEME = None

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        most_keys: int = MOST_KEYS,
        most_entries: int = MOST_ENTRIES,
    ) -> None:
        super().__init__()
        self.clock = clock
        self._most_keys = most_keys
        self._most_entries = most_entries
        self._lock = threading.Lock()
        self._moments: OrderedDict[str, deque[float]] = OrderedDict()  # the latest used last
        self._entries = 0

    @property
    def keys(self) -> int:
        """How many keys are remembered."""
        return len(self._moments)

    @property
    def entries(self) -> int:
        """How many admissions are remembered."""
        return self._entries

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Admit ``amount`` more if the last ``expiry`` seconds hold at most ``limit`` with them."""
        with self._lock:
            moments = self._recent(key, expiry)
            if len(moments) + amount > limit:
                return False
            moments.extend([self.clock()] * amount)
            self._entries += amount
            self._moments[key] = moments
            self._moments.move_to_end(key)
            while len(self._moments) > self._most_keys or self._entries > self._most_entries:
                self._entries -= len(self._moments.popitem(last=False)[1])
            return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """The moment of the oldest admission that still counts, and how many do."""
        with self._lock:
            moments = self._recent(key, expiry)
            return (moments[0], len(moments)) if moments else (self.clock(), 0)

    def _recent(self, key: str, expiry: int) -> deque[float]:
        """The admissions of the last ``expiry`` seconds; the lock is held."""
        moments = self._moments.get(key)
        if moments is None:
            return deque()
        oldest = self.clock() - expiry
        while moments and moments[0] <= oldest:
            moments.popleft()
            self._entries -= 1
        if not moments:
            del self._moments[key]
        return moments

    # What the library asks of every storage, though moving windows use nothing of it.

    @property
    def base_exceptions(self) -> type[Exception]:
        """See ``Storage``: nothing here raises."""
        return ValueError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Counters are not kept here."""
        raise NotImplementedError

    def get(self, key: str) -> int:
        """How many admissions of this key are remembered."""
        return len(self._moments.get(key, ()))

    def get_expiry(self, key: str) -> float:
        """Counters are not kept here."""
        raise NotImplementedError

    def check(self) -> bool:
        """Memory is always there."""
        return True

    def reset(self) -> int | None:
        """Forget everything."""
        with self._lock:
            forgotten = len(self._moments)
            self._moments.clear()
            self._entries = 0
            return forgotten

    def clear(self, key: str) -> None:
        """Forget one key."""
        with self._lock:
            self._entries -= len(self._moments.pop(key, ()))

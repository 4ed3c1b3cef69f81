"""How much may be stored: by one person, by the guests of an address in a day, and by all on the disk."""

from __future__ import annotations

import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from playground.errors import PlaygroundError
from playground.limits.allowance import Allowance, until_midnight
from playground.limits.spent import Spent, utc_now
from playground.limits.words import try_again
from playground.settings import Settings
from playground.settings_limits import MEGABYTE
from storage.store import Store

SUM_SECONDS = 60.0
"""How long a sum is believed: what is deleted meanwhile makes room a little later."""
LOOK_SECONDS = 5.0
MOST_SUMS = 10_000


def free_bytes(folder: Path) -> int | None:
    """What is free on the disk of this folder; None where nobody can tell."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


class Storing:
    """Asked before something large is stored. Blocks; safe from many threads. ``clock`` is monotonic seconds.

    What a person has is summed up once a minute at most, and what was let through since is added: that many
    ask in the same moment does not get more in.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Callable[[], float] = time.monotonic,
        free: Callable[[Path], int | None] = free_bytes,
    ) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._free = free
        self._lock = threading.Lock()
        self._sums: OrderedDict[str, tuple[float, int]] = OrderedDict()  # time and bytes, by owner
        self._looked = float("-inf")
        self._low = False
        self._by_address = Spent()

    def take(self, owner_id: str, allowance: Allowance, most: int, size: int, param: str) -> None:
        """Let a person who may have ``most`` bytes (0 is any) store so many more, those of ``param``.

        Raises:
            PlaygroundError: 507 where the disk is nearly full, 409 where the person has too much, 429 where
                the guests of the address have stored too much today.
        """
        self.check_disk()
        if not most:
            return
        with self._lock:
            moment, total = self._sums.get(owner_id, (float("-inf"), 0))
            if self._clock() - moment >= SUM_SECONDS:
                moment, total = self._clock(), self._store.stored_bytes(owner_id)
            self._sums[owner_id] = moment, total
            self._sums.move_to_end(owner_id)
            while len(self._sums) > MOST_SUMS:
                self._sums.popitem(last=False)
            if total + size > most:
                raise _too_much(most, param)
            self._count(allowance, most, size, param)
            self._sums[owner_id] = moment, total + size

    def check_disk(self) -> None:
        """Refuse (507) while less is free on the disk than the reserve."""
        if self._is_low():
            raise PlaygroundError(
                "storage_full",
                "The disk of this server is nearly full, so this cannot be stored now. What is there can be "
                "read and deleted.",
                status=507,
            )

    def check_newcomer(self, owner_id: str) -> None:
        """Refuse (507) somebody's first conversation while less is free on the disk than the reserve."""
        if self._is_low() and not self._store.list_conversations(owner_id, limit=1)[0]:
            self.check_disk()

    def _is_low(self) -> bool:
        reserve = self._settings.free_disk_bytes
        if not reserve:
            return False
        if self._clock() - self._looked >= LOOK_SECONDS:
            self._looked = self._clock()
            free = self._free(self._settings.data_dir)
            self._low = free is not None and free < reserve
        return self._low

    def _count(self, allowance: Allowance, most: int, size: int, param: str) -> None:
        """Count what a guest stores for his address: with new cookies it would never end."""
        if not allowance.network:
            return
        if self._by_address.by(allowance.address) + size > most * allowance.guests:
            wait = until_midnight(utc_now())
            sentence = f"Guests from your network have stored very much today. {try_again(wait)}"
            raise PlaygroundError("quota_exceeded", sentence, status=429, param=param, retry_after=wait)
        self._by_address.add(allowance.address, size)


def _too_much(most: int, param: str) -> PlaygroundError:
    sentence = (
        f"This would be more than the {most // MEGABYTE:,} MB that you may have stored here. "
        "Delete conversations or links, and try again two minutes later."
    )
    return PlaygroundError("stored_too_much", sentence, status=409, param=param)

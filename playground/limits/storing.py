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
from storage.records import TurnRecord
from storage.store import Store
from storage.stored import turn_bytes

SUM_SECONDS = 60.0
"""How long a sum is believed: what is deleted meanwhile makes room a little later."""
TURN_SUM_SECONDS = 3600.0
"""How long for a turn: each is counted as it begins, only its reply is not, and a sum reads all texts."""
LOOK_SECONDS = 5.0
NEAR = 0.8
NEAR_SUM_SECONDS = 300.0
"""How long for the turns of somebody who has this part of what he may have."""
MOST_SUMS = 10_000
SUMMED_AT_ONCE = 64
NEVER = (float("-inf"), 0)


def free_bytes(folder: Path) -> int | None:
    """What is free on the disk of this folder; None where nobody can tell."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


class Storing:
    """Asked before something is stored. Blocks; safe from many threads. ``clock`` is monotonic seconds.

    What a person has is summed up once a minute at most, and what was let through since is added: that many
    ask in the same moment does not get more in. Turns are many and small: one may begin below the bound.
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
        self._summing = [threading.Lock() for _ in range(SUMMED_AT_ONCE)]
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
        self._sum_up(owner_id, SUM_SECONDS)
        with self._lock:
            if self._known(owner_id)[1] + size > most:
                raise _too_much(most, param)
            self._check_address(allowance, most, size, param)
            self._add(owner_id, allowance, size)

    def check_turn(self, owner_id: str, allowance: Allowance, most: int) -> None:
        """Refuse a turn of somebody who has ``most`` bytes (0 is any) or more already.

        Raises:
            PlaygroundError: 409 where the person has too much, 429 where the guests of the address have
                stored too much today.
        """
        if not most:
            return
        self._sum_up(owner_id, TURN_SUM_SECONDS)
        if self._known(owner_id)[1] >= most * NEAR:
            self._sum_up(owner_id, NEAR_SUM_SECONDS)
        if self._known(owner_id)[1] >= most:
            self._sum_up(owner_id, SUM_SECONDS)
        with self._lock:
            if self._known(owner_id)[1] >= most:
                raise _full(most)
            self._check_address(allowance, most, 1, None)

    def count_turn(self, owner_id: str, allowance: Allowance, turn: TurnRecord, *, asked: bool) -> None:
        """Count a turn that was let in; ``asked``: with a question of its own."""
        with self._lock:
            self._add(owner_id, allowance, turn_bytes(turn, asked=asked))

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

    def _sum_up(self, owner_id: str, believed: float) -> None:
        """Ask the store what this owner has, where that was known longer ago than so many seconds.

        One thread does; until it has, the others believe the old sum, if there is one.
        """
        moment, _ = self._known(owner_id)
        if self._clock() - moment < believed:
            return
        summing = self._summing[hash(owner_id) % SUMMED_AT_ONCE]
        if not summing.acquire(blocking=moment == NEVER[0]):
            return
        try:
            now, (moment, before) = self._clock(), self._known(owner_id)
            if now - moment < believed:
                return
            total = self._store.stored_bytes(owner_id)
            with self._lock:  # what was let in meanwhile stays counted
                self._sums[owner_id] = now, total + self._known(owner_id)[1] - before
                self._sums.move_to_end(owner_id)
                while len(self._sums) > MOST_SUMS:
                    self._sums.popitem(last=False)
        finally:
            summing.release()

    def _known(self, owner_id: str) -> tuple[float, int]:
        return self._sums.get(owner_id, NEVER)

    def _add(self, owner_id: str, allowance: Allowance, size: int) -> None:
        """Count so many bytes, a guest's for his address, too: with new cookies it would never end."""
        if owner_id in self._sums:
            moment, total = self._sums[owner_id]
            self._sums[owner_id] = moment, total + size
        if allowance.network:
            self._by_address.add(allowance.address, size)

    def _check_address(self, allowance: Allowance, most: int, size: int, param: str | None) -> None:
        if allowance.network and self._by_address.by(allowance.address) + size > most * allowance.guests:
            wait = until_midnight(utc_now())
            sentence = f"Guests from your network have stored very much today. {try_again(wait)}"
            raise PlaygroundError("quota_exceeded", sentence, status=429, param=param, retry_after=wait)


def _too_much(most: int, param: str) -> PlaygroundError:
    sentence = (
        f"This would be more than the {most // MEGABYTE:,} MB that you may have stored here. "
        "Delete conversations or links, and try again two minutes later."
    )
    return PlaygroundError("stored_too_much", sentence, status=409, param=param)


def _full(most: int) -> PlaygroundError:
    sentence = (
        f"Your conversations and links take the {most // MEGABYTE:,} MB that you may have stored here. "
        "Delete some, and try again two minutes later. Temporary chats go on."
    )
    return PlaygroundError("stored_too_much", sentence, status=409)

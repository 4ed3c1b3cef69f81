"""Room for stored responses, by address, of the guest that programs without a key share.

The store gives one owner so much room, and this guest is many people: without bounds of their own one of them
could push out what all others have stored.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from storage.responses import ROOM, ResponseRoom

PART = 10
"""An address may have one in so many of the guest's responses and bytes."""


@dataclass(slots=True)
class _Kept:
    """What one address has stored: sizes and predecessors by id, the latest used last."""

    bytes: int = 0
    sizes: OrderedDict[str, tuple[int, str | None]] = field(default_factory=OrderedDict)

    def forget(self, response_id: str) -> None:
        self.bytes -= self.sizes.pop(response_id, (0, None))[0]


class AddressRoom:
    """Which responses each address has stored since the start. Safe from many threads.

    In memory, for addresses are never stored: what is from before a restart counts for nobody.
    """

    def __init__(self, room: ResponseRoom = ROOM) -> None:
        self._most = room.count
        self._most_of_one = ResponseRoom(room.count // PART, room.bytes // PART)
        self._lock = threading.Lock()
        self._addresses: OrderedDict[str, _Kept] = OrderedDict()  # the latest used last

    def take(self, address: str, response_id: str, size: int, previous_id: str | None) -> list[str]:
        """Note what this address has stored; gives the ids of what it must lose for that.

        What a response goes on from counts as used now.
        """
        with self._lock:
            kept = self._addresses.setdefault(address, _Kept())
            self._addresses.move_to_end(address)
            before = previous_id
            while before is not None and before in kept.sizes:
                kept.sizes.move_to_end(before)
                before = kept.sizes[before][1]
            kept.forget(response_id)
            kept.sizes[response_id] = (size, previous_id)
            kept.bytes += size
            lost = []
            while len(kept.sizes) > self._most_of_one.count or kept.bytes > self._most_of_one.bytes:
                oldest = next(iter(kept.sizes))
                if oldest == response_id:
                    break
                kept.forget(oldest)
                lost.append(oldest)
            while sum(len(each.sizes) for each in self._addresses.values()) > self._most:
                self._addresses.popitem(last=False)
            return lost

    def forget(self, response_id: str) -> None:
        """A response is gone."""
        with self._lock:
            for kept in self._addresses.values():
                kept.forget(response_id)

"""Chats that are never stored: a second store in memory, which forgets them after a while.

Their ids begin with a letter that no kept id has, so that an id alone tells which store has it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from storage.store import Store

PREFIX = "t"
KEEP_SECONDS = 2 * 3600.0
MOST_OF_ONE = 20
MOST_OF_ALL = 2000
OWNERS_KEPT = timedelta(minutes=10)
"""Longer than anybody takes from asking for the store in memory to the first chat there."""


def is_temporary(identifier: str) -> bool:
    """Whether an id of a conversation, message or reply belongs to a chat that is not stored."""
    return identifier.startswith(PREFIX)


@dataclass(frozen=True, slots=True)
class Chat:
    """One temporary chat."""

    owner_id: str
    conversation_id: str


class Stores:
    """The store that lasts, and the one in memory, made when it is first needed. Safe from many threads.

    ``clock`` is monotonic seconds.
    """

    def __init__(self, kept: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self.kept = kept
        self._clock = clock
        self._lock = threading.Lock()
        self._memory: Store | None = None
        self._used: dict[Chat, float] = {}  # in the order of use

    def of(self, identifier: str | None) -> Store:
        """The store that has whatever this id names, if anything has it."""
        memory = self._memory
        return memory if memory is not None and identifier and is_temporary(identifier) else self.kept

    def in_memory(self, owner_id: str) -> Store:
        """The store for a new temporary chat of this owner. Blocks."""
        with self._lock:
            if self._memory is None:
                self._memory = Store.open_in_memory(id_prefix=PREFIX)
            self._memory.add_owner(owner_id)
            return self._memory

    def count_temporary(self, store: Store, owner_id: str, generation_id: str) -> None:
        """What a temporary chat costs counts like everything else; its own store is forgotten. Blocks."""
        if store is not self.kept:
            generation = store.get_generation(owner_id, generation_id)
            output = store.generation_tokens(owner_id, generation_id).output_ids
            written = len(output) - generation.primed_tokens
            self.kept.add_usage(owner_id, datetime.now(UTC).date().isoformat(), 1, max(written, 0))

    def use(self, owner_id: str, conversation_id: str) -> None:
        """Note that a chat is in use; one that is kept needs no note."""
        if is_temporary(conversation_id):
            chat = Chat(owner_id, conversation_id)
            with self._lock:
                self._used.pop(chat, None)
                self._used[chat] = self._clock()

    def due(self) -> list[Chat]:
        """The chats whose time is over: not used for two hours, or too many later ones were used since."""
        with self._lock:
            newest_first = list(reversed(self._used.items()))
        now = self._clock()
        over: list[Chat] = []
        seen: dict[str, int] = {}
        for place, (chat, used) in enumerate(newest_first):
            seen[chat.owner_id] = seen.get(chat.owner_id, 0) + 1
            too_many = seen[chat.owner_id] > MOST_OF_ONE or place >= MOST_OF_ALL
            if too_many or now - used >= KEEP_SECONDS:
                over.append(chat)
        return over

    def forget_owners(self) -> None:
        """Forget in memory who has had no chat there for a while. Blocks."""
        if self._memory is not None:
            self._memory.forget_owners(datetime.now(UTC) - OWNERS_KEPT)

    def of_owner(self, owner_id: str) -> list[Chat]:
        """The chats of one owner."""
        with self._lock:
            return [chat for chat in self._used if chat.owner_id == owner_id]

    def take_over(self, owner_id: str, guest_id: str) -> None:
        """Give the chats of one owner to another. Blocks."""
        if self._memory is None:
            return
        self._memory.take_over(owner_id, guest_id)
        with self._lock:
            self._used = {
                Chat(owner_id, chat.conversation_id) if chat.owner_id == guest_id else chat: used
                for chat, used in self._used.items()
            }

    def forget(self, chat: Chat) -> None:
        """Remove a chat for good."""
        with self._lock:
            self._used.pop(chat, None)

    def all(self) -> list[Store]:
        """The stores that there are."""
        return [self.kept] if self._memory is None else [self.kept, self._memory]

    def close(self) -> None:
        """Close both; what was in memory is gone. Blocks."""
        for store in self.all():
            store.close()

"""Running replies: for each an append-only log of events, any number of readers, and a bounded memory.

A run belongs to the server. Readers come and go; each names the number of the last event that it saw and
gets the rest. All of this lives on one event loop: no locks.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from playground.event_log import EventLog

DELTAS_PER_SECOND = 30.0
KEEP_SECONDS = 300.0
KEEP_RUNS = 256


class LoggedEvent(NamedTuple):
    """One event of the log; numbers start at 1 and have no gaps."""

    number: int
    name: str
    data: Any


@dataclass(eq=False)
class Owner:
    """Whose some runs are. A guest who signs in becomes somebody else while they go on.

    Whoever saves for the owner holds ``lock`` meanwhile, and so does whoever moves all that he has.
    """

    id: str
    lock: threading.Lock = field(default_factory=threading.Lock)


class Run:
    """The log of one generation. Text that comes faster than 30 times a second is joined.

    ``key`` is the id of the API key that asked for it, if one did.
    """

    def __init__(self, owner: Owner, generation_id: str, conversation_id: str, key: str = "") -> None:
        self.owner = owner
        self.key = key
        self.generation_id = generation_id
        self.conversation_id = conversation_id
        self.cancelled = asyncio.Event()
        self._log: EventLog[LoggedEvent] = EventLog()
        self._pending: list[str] = []
        self._pending_index = 0
        self._last_delta = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self.done = asyncio.Event()

    @property
    def owner_id(self) -> str:
        """The id of the user whose run it is now."""
        return self.owner.id

    @property
    def cancel_requested(self) -> bool:
        """Whether somebody wants this to end; ``cancelled`` can be waited for."""
        return self.cancelled.is_set()

    @cancel_requested.setter
    def cancel_requested(self, wanted: bool) -> None:
        if wanted:
            self.cancelled.set()

    @property
    def finished(self) -> bool:
        """Whether the last event is there."""
        return self._log.ended

    @property
    def last_number(self) -> int:
        """The number of the newest event (0 before the first)."""
        return len(self._log)

    @property
    def reader_count(self) -> int:
        """How many readers follow now."""
        return self._log.reader_count

    def publish(self, name: str, data: Any) -> None:
        """Append an event, after the text that still waits."""
        self._flush()
        self._append(name, data)

    def append_text(self, index: int, text: str) -> None:
        """Append text to message ``index``: at once if the last is long enough ago, else with the next."""
        if not text:
            return
        if index != self._pending_index:
            self._flush()
        self._pending_index = index
        self._pending.append(text)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            wait = self._last_delta + 1 / DELTAS_PER_SECOND - loop.time()
            if wait <= 0:
                self._flush()
            else:
                self._timer = loop.call_later(wait, self._flush)

    def finish(self, data: Any) -> None:
        """Append the last event, ``finish``; readers get it and their streams end."""
        if self.finished:
            return
        self._flush()
        self._append("finish", data, last=True)
        self.done.set()

    def follow(self, after: int, idle_seconds: float) -> AsyncGenerator[list[LoggedEvent]]:
        """The events after number ``after`` in batches until the last; an empty batch for each quiet time."""
        return self._log.follow(after, idle_seconds)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._pending:
            text = "".join(self._pending)
            self._pending.clear()
            self._last_delta = asyncio.get_running_loop().time()
            self._append("delta", {"i": self._pending_index, "t": text})

    def _append(self, name: str, data: Any, *, last: bool = False) -> None:
        self._log.append(LoggedEvent(len(self._log) + 1, name, data), last=last)


@dataclass(slots=True)
class _Kept:
    run: Run
    timer: asyncio.TimerHandle


class RunRegistry:
    """Every run of this process: the open ones, and the finished ones of the last minutes.

    ``keep_seconds`` and ``keep_runs`` bound what is kept of finished runs; the database has them all.
    """

    def __init__(self, keep_seconds: float = KEEP_SECONDS, keep_runs: int = KEEP_RUNS) -> None:
        self.keep_seconds = keep_seconds
        self.keep_runs = keep_runs
        self._open: dict[str, Run] = {}
        self._kept: dict[str, _Kept] = {}
        self._owners: WeakValueDictionary[str, Owner] = WeakValueDictionary()
        self._ended_keys: set[str] = set()
        self._barred: set[str] = set()

    def open(self, owner_id: str, generation_id: str, conversation_id: str, key: str = "") -> Run:
        """A new run. One for a key that has ended meanwhile, or for somebody barred, is cancelled at once."""
        run = self._open[generation_id] = Run(self.owner(owner_id), generation_id, conversation_id, key)
        run.cancel_requested = key in self._ended_keys or owner_id in self._barred
        return run

    def bar(self, owner_id: str) -> None:
        """Begin nothing more for this user, also what waits to begin."""
        self._barred.add(owner_id)

    def unbar(self, owner_id: str) -> None:
        """Begin again what this user asks for."""
        self._barred.discard(owner_id)

    def end_key(self, key: str) -> list[Run]:
        """Begin nothing more for this API key; gives what is open for it."""
        self._ended_keys.add(key)
        return self.find_open(lambda run: run.key == key and not run.finished)

    def owner(self, owner_id: str) -> Owner:
        """Who has, or had, this id. It is known as long as somebody holds it."""
        return self._owners.setdefault(owner_id, Owner(owner_id))

    def get(self, owner_id: str, generation_id: str) -> Run | None:
        """The owner's run, or ``None`` if this process does not have it, or it is somebody else's."""
        kept = self._kept.get(generation_id)
        run = kept.run if kept is not None else self._open.get(generation_id)
        return run if run is not None and run.owner_id == owner_id else None

    def find_open(self, matches: Callable[[Run], bool]) -> list[Run]:
        """The open runs that ``matches`` picks."""
        return [run for run in self._open.values() if matches(run)]

    def keep_finished(self, run: Run) -> None:
        """Move a finished run to those that are forgotten after a while."""
        if self._open.pop(run.generation_id, None) is None:
            return
        timer = asyncio.get_running_loop().call_later(self.keep_seconds, self._forget, run.generation_id)
        self._kept[run.generation_id] = _Kept(run, timer)
        while len(self._kept) > self.keep_runs:
            self._forget(next(iter(self._kept)))

    def forget_conversation(self, owner_id: str, conversation_id: str) -> None:
        """Forget the finished runs of a conversation that was deleted."""
        for kept in list(self._kept.values()):
            if kept.run.owner_id == owner_id and kept.run.conversation_id == conversation_id:
                self._forget(kept.run.generation_id)

    def close(self) -> None:
        """Forget every finished run."""
        for generation_id in list(self._kept):
            self._forget(generation_id)

    def _forget(self, generation_id: str) -> None:
        kept = self._kept.pop(generation_id, None)
        if kept is not None:
            kept.timer.cancel()

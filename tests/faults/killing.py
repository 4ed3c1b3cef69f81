"""Processes that work on a database until they are killed, forked from one that has imported all of it."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from storage import migrate
from storage.database import Database, connect
from storage.errors import StorageError
from storage.migrate import prepare
from storage.store import Store
from tests.faults.sqlite_vfs import Kind, Operation, watched
from tests.faults.workload import Fact, Workload

T = TypeVar("T")

PATIENCE = 120.0
STEPS = 10_000
CHANGES = (Kind.WRITE, Kind.SYNC, Kind.TRUNCATE, Kind.DELETE)
HASTE_SECONDS = 0.005

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__])


@dataclass(frozen=True, slots=True)
class Plan:
    """When a process dies: at its change number ``at_change`` of a file, or when it is told to.

    ``torn``: where that change is a write, half of it is done. ``hasty`` is the planted hole: the store
    acknowledges before it commits, and a migration commits each of its statements.
    """

    path: Path
    seed: int
    at_change: int | None = None
    torn: bool = False
    hasty: bool = False


class Killer:
    """Ends this process at the nth change of a file."""

    def __init__(self, plan: Plan) -> None:
        self._left = plan.at_change or 0
        self._torn = plan.torn

    def __call__(self, operation: Operation) -> int:
        """Count; the last one is done by half, or not at all."""
        if operation.kind in CHANGES:
            self._left -= 1
            if self._left == 0:
                if self._torn and operation.kind is Kind.WRITE:
                    file = os.open(operation.path, os.O_WRONLY)
                    os.pwrite(file, operation.data[: len(operation.data) // 2], operation.offset)
                os.kill(os.getpid(), signal.SIGKILL)
        return 0


def hasty_write(self: Database, work: Callable[[Session], T]) -> T:
    """``Database.write`` with a hole: it returns before the commit."""
    answer: Future[T] = Future()

    def commit(session: Session) -> None:
        try:
            answer.set_result(work(session))
        except Exception as error:
            answer.set_exception(error)
            raise
        time.sleep(HASTE_SECONDS)

    self._thread.submit(self._commit, commit)
    return answer.result()


def _work(plan: Plan, pipe: Connection) -> None:
    """Open the store and use it, telling every step."""
    if plan.hasty:
        Database.write = hasty_write  # type: ignore[method-assign]
    with watched(plan.path.parent, Killer(plan)):
        store = Store.open(plan.path)
        pipe.send({"state": "open"})
        workload = Workload(store, plan.seed, pipe.send)
        for _ in range(STEPS):
            workload.step()


def _without_transaction(database: str, _: str, *others: Any, **more: Any) -> Engine:
    """``connect`` with a hole: every statement is committed by itself."""
    return connect(database, "SELECT 1", *others, **more)


def _migrate(plan: Plan, pipe: Connection) -> None:
    """Bring the file to this version."""
    if plan.hasty:
        vars(migrate)["connect"] = _without_transaction
    with watched(plan.path.parent, Killer(plan)):
        try:
            prepare(plan.path)
        except StorageError:
            pipe.send({"state": "refused"})
            return
    pipe.send({"state": "open"})


class _Child:
    """A process, and the facts that it tells."""

    def __init__(self, work: Callable[[Plan, Connection], None], plan: Plan) -> None:
        self._pipe, theirs = _context.Pipe(duplex=False)
        self._process = _context.Process(target=work, args=(plan, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def next_fact(self, seconds: float) -> Fact | None:
        """What it tells within this time; None for nothing, or when it is dead."""
        if not self._pipe.poll(max(0.0, seconds)):
            return None
        try:
            fact: Fact = self._pipe.recv()
        except (EOFError, OSError):  # OSError: it died in the middle of a fact
            return None
        return fact

    def facts(self) -> Iterator[Fact]:
        """All that it tells until its end."""
        while (fact := self.next_fact(PATIENCE)) is not None:
            yield fact

    def kill(self) -> list[Fact]:
        """End it, unless it is dead; what it had told before."""
        self._process.kill()
        return list(self.facts())

    def status(self) -> int | None:
        """Its exit status."""
        self._process.join(PATIENCE)
        status = self._process.exitcode
        self._process.close()
        self._pipe.close()
        return status


def killed_at_change(plan: Plan) -> list[Fact]:
    """All that a process told that dies by itself."""
    child = _Child(_work, plan)
    told = list(child.facts())
    assert child.status() == -signal.SIGKILL
    return told


def killed_after(plan: Plan, facts: int, seconds: float) -> list[Fact]:
    """All that a process told which is killed so long after it told so many facts (0: after its start)."""
    child = _Child(_work, plan)
    told = [child.next_fact(PATIENCE) for _ in range(facts)]
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        told += [child.next_fact(left)]
    told += child.kill()
    assert child.status() == -signal.SIGKILL
    return [fact for fact in told if fact is not None]


def killed_in_migration(plan: Plan) -> bool:
    """Whether the process died; it ends by itself when the migration has fewer changes than the plan."""
    child = _Child(_migrate, plan)
    finished = list(child.facts())
    status = child.status()
    assert status == (0 if finished else -signal.SIGKILL)
    return not finished


def plan_of(path: Path, seed: int, most_changes: int, hasty: bool = False) -> Plan:
    """A point in the middle of what the store does to its files."""
    chance = random.Random(seed)
    return Plan(path, seed, chance.randrange(1, most_changes), chance.random() < 0.5, hasty)

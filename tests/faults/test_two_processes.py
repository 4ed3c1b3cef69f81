"""Two processes and one database: the second is refused, and tools that read along keep nobody waiting."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from socket import socket

import pytest
from sqlalchemy import text

from storage import database
from storage.errors import StorageError, StorageInUse
from storage.store import Store
from tests.conftest import Scale
from tests.faults.conftest import Tell
from tests.faults.workload import Expected, Workload, problems
from tests.storage.helpers import begin, draft, identity

ROOT = Path(__file__).parents[2]
SEED = 20_260_404
PLANTED = 40


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "playground.sqlite3"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """Open, with a reply that is being written."""
    opened = Store.open(path)
    yield opened
    opened.close()


def same_folder(path: Path, _: Path) -> None:
    """The folder under a second name."""
    (path.parent.parent / "other").symlink_to(path.parent, target_is_directory=True)


def linked_file(path: Path, other: Path) -> None:
    """Another folder, with a link to the file."""
    other.parent.mkdir()
    other.symlink_to(path)


def second_name(path: Path, other: Path) -> None:
    """Another folder, where the same file has a name of its own: what a mount of a single file looks like."""
    other.parent.mkdir()
    os.link(path, other)


@pytest.mark.parametrize("reach", [same_folder, linked_file, second_name])
def test_the_same_database_by_another_path_is_refused(
    store: Store, path: Path, reach: Callable[[Path, Path], None]
) -> None:
    owner = store.user_for_identity(identity("owner")).id
    turn = begin(store, owner)
    other = path.parent.parent / "other" / path.name
    reach(path, other)
    for _ in range(2):
        with pytest.raises(StorageInUse):
            Store.open(other)
    store.save_progress(owner, turn.generation.id, [draft(0, "goes on")], [1])
    assert store.get_generation(owner, turn.generation.id).status.is_open
    store.close()
    Store.open(other).close()


def test_a_database_that_was_there_before_is_guarded_too(path: Path) -> None:
    Store.open(path).close()
    other = path.parent.parent / "other" / path.name
    second_name(path, other)
    store = Store.open(path)
    with pytest.raises(StorageInUse):
        Store.open(other)
    store.close()
    again = Store.open(other)
    with pytest.raises(StorageInUse):
        Store.open(path)
    again.close()


def test_a_second_server_says_so_and_ends(store: Store, path: Path) -> None:
    other = path.parent.parent / "other" / path.name
    linked_file(path, other)
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "app.py", "serve", "--model", "demo", "--port", port]
    ended = subprocess.run(
        [*command, "--data-dir", str(other.parent)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"{StorageInUse.sentence}\n"


def busy_of(path: Path, transactions: int) -> list[str]:
    """What people are told while others read long, copy the database and empty its log, all at once."""
    store = Store.open(path)
    owner = store.user_for_identity(identity("owner")).id
    expected, told, done = Expected(), [], threading.Event()

    def write() -> None:
        workload = Workload(store, SEED, expected.take, 400)
        for _ in range(transactions):
            try:
                workload.step()
            except StorageError as error:
                told.append(f"writing: {error.code}")

    def read() -> None:
        while not done.wait(0.002):
            try:
                with store._database.read() as session:  # one view, for as long as the pauses are
                    for _ in range(5):
                        session.execute(text("SELECT sum(length(content)) FROM messages")).scalar()
                        done.wait(0.005)
                store.list_conversations(owner)
            except StorageError as error:
                told.append(f"reading: {error.code}")

    def copy() -> None:
        while not done.wait(0.01):
            with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(":memory:")) as target:
                source.backup(target)
                assert target.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)

    def empty_the_log() -> None:
        """As another program does it: it keeps all writers out, and waits for readers meanwhile."""
        with closing(sqlite3.connect(path, timeout=0.05, isolation_level=None)) as tool:
            while not done.wait(0.003):
                try:
                    tool.execute("BEGIN IMMEDIATE")
                    done.wait(0.01)
                    tool.execute("COMMIT")
                    tool.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                except sqlite3.OperationalError:  # the tool may be told so; people may not
                    continue

    with ThreadPoolExecutor(5) as threads:
        others = [threads.submit(work) for work in (read, read, copy, empty_the_log)]
        try:
            threads.submit(write).result()
        finally:
            done.set()
        for other in others:
            other.result()
    store.close()
    return told + problems(path, expected)


def test_nobody_is_told_that_the_database_is_locked(path: Path, scale: Scale, tell: Tell) -> None:
    transactions = scale(80, 3000)
    found = busy_of(path, transactions)
    tell(f"{transactions} transactions beside readers, copies and checkpoints, {len(found)} refused")
    assert found == []


def test_a_store_that_does_not_wait_is_found_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hasty = ["busy_timeout=0" if "busy" in each else each for each in database.COMMON_PRAGMAS]
    monkeypatch.setattr(database, "COMMON_PRAGMAS", tuple(hasty))
    assert "writing: storage_busy" in busy_of(path, PLANTED)

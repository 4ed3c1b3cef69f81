"""The settings that make a commit durable, the one writer, the readers, and a full disk."""

from __future__ import annotations

import errno
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from storage.database import BUSY_MILLISECONDS, READERS
from storage.errors import StorageClosed, StorageError, StorageFull, StorageInUse
from storage.records import GenerationStatus
from storage.store import Store
from tests.storage.helpers import begin, draft, finish, identity

PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL
    "foreign_keys": 1,
    "busy_timeout": BUSY_MILLISECONDS,
    "mmap_size": 0,
}


def pragma(session: Session, name: str) -> object:
    return session.execute(text(f"PRAGMA {name}")).scalar()


def pragmas(session: Session) -> dict[str, object]:
    return {name: pragma(session, name) for name in PRAGMAS}


def test_the_settings_are_in_force_on_the_writer(store: Store) -> None:
    assert store._database.write(pragmas) == PRAGMAS
    assert store._database.write(lambda session: pragma(session, "query_only")) == 0
    assert store._database.write(lambda session: pragma(session, "trusted_schema")) == 1


def test_the_settings_are_in_force_on_every_reader(store: Store) -> None:
    together = threading.Barrier(READERS)

    def look(_: int) -> tuple[dict[str, object], object, object]:
        with store._database.read() as session:
            found = pragmas(session)
            together.wait(timeout=30)  # all readers are in use at once: each is another connection
            return found, pragma(session, "query_only"), pragma(session, "trusted_schema")

    with ThreadPoolExecutor(READERS) as threads:
        assert list(threads.map(look, range(READERS))) == [(PRAGMAS, 1, 0)] * READERS


def test_a_reader_cannot_write(store: Store, owner: str) -> None:
    with pytest.raises(StorageError), store._database.read() as session:
        session.execute(text("DELETE FROM users"))
    assert store.user_for_identity(identity("owner")).id == owner


def test_all_writes_run_on_one_thread_and_hold_the_write_lock(store: Store, path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        names = set(
            threads.map(
                lambda _: store._database.write(lambda _session: threading.current_thread().name), range(32)
            )
        )
    assert len(names) == 1
    assert "storage-writer" in names.pop()

    def locked(session: Session) -> bool:
        """Nothing was written yet; an immediate transaction keeps other writers out all the same."""
        session.connection()
        with closing(sqlite3.connect(path, timeout=0)) as other:
            try:
                other.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                return error.sqlite_errorcode == sqlite3.SQLITE_BUSY
        return False

    assert store._database.write(locked)


def test_what_fails_half_way_is_undone(store: Store, owner: str) -> None:
    def work(session: Session) -> None:
        session.execute(text("DELETE FROM preferences"))
        raise KeyError("half way")

    with pytest.raises(KeyError):
        store._database.write(work)
    store.get_preferences(owner)


def test_foreign_keys_hold(store: Store) -> None:
    with pytest.raises(StorageError):
        store._database.write(
            lambda session: session.execute(
                text("INSERT INTO preferences VALUES ('nobody', 'low', 0, 'dark')")
            )
        )


def test_readers_see_whole_turns_while_others_write(store: Store) -> None:
    """Each save writes two messages and their ids together: no reader may see one without the others."""
    owners = [store.user_for_identity(identity(str(number))).id for number in range(3)]
    turns = [begin(store, owner) for owner in owners]
    done = threading.Event()

    def write(number: int) -> None:
        owner, generation = owners[number], turns[number].generation.id
        first, second = draft(0, ""), draft(1, "")
        for count in range(1, 40):
            both = [
                type(each)(each.id, each.index, type(each.message)(each.message.role, "x" * count))
                for each in (first, second)
            ]
            store.save_progress(owner, generation, both, range(count))
        finish(store, owner, generation)

    def read(number: int) -> int:
        owner, turn = owners[number % 3], turns[number % 3]
        reads = 0
        while not done.is_set():
            lengths = {len(row.content) for row in store.generation_messages(owner, turn.generation.id)}
            assert len(lengths) <= 1
            assert len(store.path(owner, turn.conversation.id)) in (1, 3)
            reads += 1
        return reads

    with ThreadPoolExecutor(9) as threads:
        readers = [threads.submit(read, number) for number in range(6)]
        writers = [threads.submit(write, number) for number in range(3)]
        try:
            for writer in writers:
                writer.result(timeout=60)
        finally:
            done.set()
        assert all(reader.result(timeout=60) > 0 for reader in readers)
    for owner, turn in zip(owners, turns, strict=True):
        assert store.generation_tokens(owner, turn.generation.id).output_ids == tuple(range(39))


def test_a_reader_keeps_its_view_while_a_write_is_committed(store: Store, owner: str) -> None:
    count = text("SELECT count(*) FROM conversations")
    with store._database.read() as session:
        assert session.execute(count).scalar() == 0
        begin(store, owner)
        assert session.execute(count).scalar() == 0
    with store._database.read() as session:
        assert session.execute(count).scalar() == 1


def test_a_full_disk_is_told_reads_go_on_and_room_heals_it(store: Store, owner: str) -> None:
    turn = begin(store, owner)
    kept = draft(0, "kept")
    store.save_progress(owner, turn.generation.id, [kept], [1, 2])
    store._database.write(
        lambda session: session.execute(text(f"PRAGMA max_page_count = {pragma(session, 'page_count')}"))
    )
    big = draft(1, "x" * 1_000_000)
    with pytest.raises(StorageFull) as caught:
        store.save_progress(owner, turn.generation.id, [big], [1, 2, 3])
    assert caught.value.code == "storage_full"
    with pytest.raises(StorageFull):
        finish(store, owner, turn.generation.id, messages=[big])
    with pytest.raises(StorageFull):
        begin(store, owner, "y" * 1_000_000)
    assert [row.content for row in store.path(owner, turn.conversation.id)] == ["What is 12 + 30?", "kept"]
    assert store.get_generation(owner, turn.generation.id).status is GenerationStatus.QUEUED
    assert store.generation_tokens(owner, turn.generation.id).output_ids == (1, 2)
    store._database.write(lambda session: session.execute(text("PRAGMA max_page_count = 1000000")))
    finish(store, owner, turn.generation.id, messages=[big])
    assert store.path(owner, turn.conversation.id)[-1].content == big.message.content


def test_closing_finishes_the_writes_that_wait(path: Path) -> None:
    store = Store.open(path)
    owner = store.user_for_identity(identity("owner")).id
    started, release = threading.Event(), threading.Event()

    def work(_session: Session) -> bool:
        started.set()
        return release.wait(timeout=30)

    with ThreadPoolExecutor(3) as threads:
        slow = threads.submit(store._database.write, work)
        assert started.wait(timeout=30)
        waiting = threads.submit(begin, store, owner)
        while store._database._thread._work_queue.qsize() == 0:
            threading.Event().wait(0.005)
        closing = threads.submit(store.close)
        release.set()
        closing.result(timeout=30)
        assert slow.result()
        turn = waiting.result()
    again = Store.open(path)
    try:
        assert [item.id for item in again.list_conversations(owner)[0]] == [turn.conversation.id]
    finally:
        again.close()


def test_a_closed_store_says_so(path: Path) -> None:
    store = Store.open(path)
    owner = store.user_for_identity(identity("owner")).id
    store.close()
    store.close()
    with pytest.raises(StorageClosed):
        store.list_conversations(owner)
    with pytest.raises(StorageClosed):
        begin(store, owner)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_second_playground_in_the_same_folder_is_refused_and_harms_no_reply(path: Path) -> None:
    store = Store.open(path)
    try:
        owner = store.user_for_identity(identity("owner")).id
        turn = begin(store, owner)
        with pytest.raises(StorageInUse, match="choose another data folder"):
            Store.open(path)
        assert store.get_generation(owner, turn.generation.id) == turn.generation
        store.save_progress(owner, turn.generation.id, [draft(0, "goes on")], [1])
    finally:
        store.close()
    Store.open(path).close()


def test_a_folder_without_locks_will_do(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks here")

    monkeypatch.setattr("fcntl.flock", refuse)
    Store.open(path).close()


def test_opening_and_closing_leaks_no_file_and_no_thread(path: Path) -> None:
    Store.open(path).close()
    files = len(list(Path("/proc/self/fd").iterdir()))
    threads = threading.active_count()
    for _ in range(20):
        store = Store.open(path)
        store.list_conversations(store.user_for_identity(identity("owner")).id)
        store.close()
    assert len(list(Path("/proc/self/fd").iterdir())) <= files
    assert threading.active_count() <= threads

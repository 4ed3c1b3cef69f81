"""Backups are whole, restoring refuses what is not, and nothing is lost on the way."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from storage import backup
from storage.errors import (
    DatabaseCorrupt,
    DatabaseTooNew,
    StorageError,
    StorageFull,
    StorageInUse,
)
from storage.store import Store
from storage.verification import Content, Stopped, verify
from tests.storage.accounts_helpers import IDLE, NOW, Things, fill, found, sign_in, texts
from tests.storage.helpers import begin, draft, identity

QUESTION = "question walrus"


@pytest.fixture
def things(store: Store) -> Things:
    return fill(store, "cookie", "walrus")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "elsewhere" / "copy.sqlite3"


@pytest.fixture
def made(store: Store, path: Path, things: Things, target: Path) -> Path:
    """A backup of a store that is closed by now."""
    backup.backup(path, target)
    store.close()
    return target


def entries(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def opened(path: Path) -> Store:
    return Store.open(path)


def spoil(path: Path) -> None:
    """Another text under the same checksum."""
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("UPDATE messages SET content = 'Question walrus' WHERE content = 'question walrus'")
        raw.commit()


def test_a_backup_of_a_store_in_use_holds_everything_but_sessions(
    store: Store, path: Path, things: Things, target: Path, tmp_path: Path
) -> None:
    sign_in(store, "ada", "secret cookie", access_token=b"sealed secret")
    assert backup.backup(path, target) == Content(users=2, conversations=3, messages=7)
    assert entries(target.parent) == {target.name}  # neither a log nor a part
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert verify(target) == Content(2, 3, 7)
    assert entries(path.parent) <= {path.name, f"{path.name}-wal", f"{path.name}-shm"}
    data = target.read_bytes()
    assert identity("secret cookie").encode() not in data
    assert b"sealed secret" not in data
    copy = opened(target)
    try:
        assert texts(copy, things.user, things.conversation)[0] == QUESTION
        assert set(found(store, things.user, "walrus")) <= set(found(copy, things.user, "walrus"))
        assert copy.session_for(identity("secret cookie"), now=NOW, idle=IDLE) is None
    finally:
        copy.close()
    assert store.session_for(identity("secret cookie"), now=NOW, idle=IDLE) is not None


def test_backups_during_writes_are_states_that_were(
    store: Store, path: Path, owner: str, tmp_path: Path
) -> None:
    """While replies are written, each copy holds whole transactions, and no write fails."""
    stop, written, failures = threading.Event(), [0], []

    def write() -> None:
        try:
            while not stop.is_set():
                turn = begin(store, owner, f"question {written[0]} " * 50)
                store.save_progress(
                    owner, turn.generation.id, [draft(0, "a" * 5000), draft(1, "b" * 5000)], [1]
                )
                written[0] += 1
        except StorageError as error:
            failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        counts = []
        for number in range(5):
            before = written[0]
            for _ in range(1000):  # let some more be written
                if written[0] >= before + 2 or failures:
                    break
                threading.Event().wait(0.01)
            before = written[0]
            content = backup.backup(path, tmp_path / f"{number}.sqlite3")
            assert content.conversations >= before
            assert content.messages in (content.conversations * 3, content.conversations * 3 - 2)
            counts.append(content.conversations)
    finally:
        stop.set()
        writer.join(30)
    assert failures == []
    assert counts == sorted(set(counts))
    assert counts[0] >= 2


def test_a_restore_brings_back_what_was(made: Path, path: Path, things: Things) -> None:
    changed = opened(path)
    changed.delete_user(things.user)
    begin(changed, changed.user_for_identity(identity("later")).id, "later")
    changed.close()
    restored = backup.restore(path, made)
    assert restored.content == Content(1, 3, 7)
    again = opened(path)
    try:
        assert texts(again, things.user, things.conversation)[0] == QUESTION
        assert not again.has_guest(identity("later"))
        begin(again, things.user, "goes on", conversation_id=things.conversation)
    finally:
        again.close()
    assert restored.replaced is not None
    before = opened(restored.replaced)  # what was replaced is still there, and still works
    try:
        assert before.has_guest(identity("later"))
    finally:
        before.close()
    backup.restore(path, restored.replaced)
    back = opened(path)
    try:
        assert back.has_guest(identity("later"))
    finally:
        back.close()


def test_a_restore_into_an_empty_folder_makes_it(made: Path, tmp_path: Path, things: Things) -> None:
    new = tmp_path / "new" / "folder" / "playground.db"
    assert backup.restore(new, made).replaced is None
    store = opened(new)
    try:
        assert texts(store, things.user, things.conversation)[0] == QUESTION
    finally:
        store.close()
    assert stat.S_IMODE(new.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(new.stat().st_mode) == 0o600


def test_the_log_of_the_old_database_does_not_reach_the_new_one(
    made: Path, path: Path, things: Things
) -> None:
    """A process that was killed leaves a log with commits. They stay with the database that is kept."""
    child = os.fork()
    if child == 0:
        store = Store.open(path)
        begin(store, things.user, "only in the log")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    log = path.with_name(path.name + "-wal")
    assert log.stat().st_size > 0
    restored = backup.restore(path, made)
    assert not log.exists()
    assert verify(path) == Content(1, 3, 7)
    assert restored.replaced is not None
    assert verify(restored.replaced) == Content(1, 3, 7)  # one came, and one that was deleted went
    with closing(sqlite3.connect(restored.replaced)) as raw:
        assert raw.execute("SELECT 1 FROM messages WHERE content = 'only in the log'").fetchone() == (1,)


def test_a_restore_takes_a_copy_that_was_made_by_hand_with_its_log(
    store: Store, path: Path, things: Things, tmp_path: Path
) -> None:
    hand = tmp_path / "by hand"
    hand.mkdir()
    for entry in path.parent.iterdir():
        (hand / entry.name).write_bytes(entry.read_bytes())
    store.close()
    begin(again := opened(path), things.user, "later")
    again.close()
    assert backup.restore(path, hand / path.name).content == Content(1, 3, 7)


def test_a_restore_is_refused_while_the_store_is_open(
    store: Store, path: Path, things: Things, target: Path
) -> None:
    backup.backup(path, target)
    with pytest.raises(StorageInUse):
        backup.restore(path, target)
    assert texts(store, things.user, things.conversation)[0] == QUESTION
    begin(store, things.user, "goes on")


def unreadable(made: Path, kind: str) -> tuple[type[StorageError], str]:
    """Spoil a backup in one way; what is expected of it."""
    data = made.read_bytes()
    match kind:
        case "text":
            spoil(made)
        case "page":
            made.write_bytes(data[:4096] + b"\xa5" * 4096 + data[8192:])
        case "half":
            made.write_bytes(data[: len(data) // 2])
        case "empty":
            made.write_bytes(b"")
        case "foreign":
            made.write_bytes(b"")
            with closing(sqlite3.connect(made)) as raw:
                raw.execute("CREATE TABLE recipes (name TEXT)")
        case "no database":
            made.write_bytes(b"not a database at all\n" * 1000)
        case "missing":
            made.unlink()
            return StorageError, backup.NO_SUCH_FILE
        case "newer":
            with closing(sqlite3.connect(made)) as raw:
                raw.execute("UPDATE alembic_version SET version_num = '9999'")
                raw.commit()
            return DatabaseTooNew, str(DatabaseTooNew())
    return DatabaseCorrupt, backup.NOT_A_BACKUP


@pytest.mark.parametrize(
    "kind", ["text", "page", "half", "empty", "foreign", "no database", "missing", "newer"]
)
def test_what_is_no_whole_backup_is_refused_and_nothing_changes(made: Path, path: Path, kind: str) -> None:
    error, sentence = unreadable(made, kind)
    before = {entry.name: entry.read_bytes() for entry in path.parent.iterdir()}
    with pytest.raises(error) as caught:
        backup.restore(path, made)
    assert str(caught.value) == sentence
    assert {entry.name: entry.read_bytes() for entry in path.parent.iterdir()} == before


def test_the_database_is_no_backup_of_itself(made: Path, path: Path) -> None:
    with pytest.raises(StorageError, match="database itself"):
        backup.restore(path, path)


def test_a_damaged_database_makes_no_backup(store: Store, path: Path, things: Things, target: Path) -> None:
    spoil(path)
    with pytest.raises(DatabaseCorrupt):
        backup.backup(path, target)
    assert not target.exists()
    assert entries(target.parent) == set()


def test_a_file_that_is_there_is_not_written_over(made: Path, path: Path) -> None:
    before = made.read_bytes()
    with pytest.raises(StorageError, match="name already"):
        backup.backup(path, made)
    assert made.read_bytes() == before
    with pytest.raises(StorageError, match="no database"):
        backup.backup(path.with_name("nothing"), made.with_name("x"))


def test_a_backup_stops_when_it_is_told_to(store: Store, path: Path, things: Things, target: Path) -> None:
    asked = 0
    looks = [10**9]

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > looks[0]

    backup.backup(path, target.with_name("whole"), stop)
    looks[0], asked = asked - 1, 0
    while looks[0] >= 0:
        with pytest.raises(Stopped):
            backup.backup(path, target, stop)
        assert entries(target.parent) == {"whole"}
        looks[0], asked = looks[0] - 1, 0
    assert entries(path.parent) <= {path.name, f"{path.name}-wal", f"{path.name}-shm"}


class Bucket:
    """A mounted folder that cannot rename, sync or lock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, *, code: int = errno.ENOTSUP) -> None:
        self.calls: list[str] = []
        rename, fsync = Path.rename, os.fsync

        def no_rename(path: Path, new: Any) -> Any:
            if path.parent == folder:
                self.calls.append("rename")
                raise OSError(code, "not here")
            return rename(path, new)

        def no_fsync(descriptor: int) -> None:
            if os.readlink(f"/proc/self/fd/{descriptor}").startswith(str(folder)):
                self.calls.append("fsync")
                raise OSError(code, "not here")
            fsync(descriptor)

        monkeypatch.setattr(Path, "rename", no_rename)
        monkeypatch.setattr(os, "fsync", no_fsync)


def test_a_bucket_that_can_hardly_do_anything_will_do(
    store: Store, path: Path, things: Things, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = Bucket(monkeypatch, target.parent)
    backup.backup(path, target)
    assert set(bucket.calls) == {"rename", "fsync"}
    assert entries(target.parent) == {target.name}
    assert verify(target) == Content(1, 3, 7)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_folder_that_fails_keeps_nothing(
    store: Store, path: Path, things: Things, target: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    Bucket(monkeypatch, target.parent, code=code)
    with pytest.raises(StorageFull if code == errno.ENOSPC else StorageError):
        backup.backup(path, target)
    assert entries(target.parent) == set()


def test_a_copy_that_reads_differently_is_not_kept(
    store: Store, path: Path, things: Things, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks = backup._chunks

    def other(path: Path, stop: Any) -> Any:
        for chunk in chunks(path, stop):
            yield chunk if path.parent != target.parent else bytes([chunk[0] ^ 1]) + chunk[1:]

    monkeypatch.setattr(backup, "_chunks", other)
    with pytest.raises(StorageError, match="read back"):
        backup.backup(path, target)
    assert entries(target.parent) == set()


def test_only_the_oldest_backups_go(tmp_path: Path) -> None:
    names = [backup.backup_name(datetime(2026, 1, day, tzinfo=UTC)) for day in range(1, 6)]
    for name in [*names, "mine.sqlite3", "playground-x.sqlite3", "playground-99999999T999999Z.sqlite3"]:
        (tmp_path / name).touch()
    assert [path.name for path in backup.backups_in(tmp_path)] == names[::-1]
    backup.keep_newest(tmp_path, 2)
    assert [path.name for path in backup.backups_in(tmp_path)] == names[:2:-1]
    assert len(entries(tmp_path)) == 5
    assert backup.backup_time(tmp_path / names[4]) == datetime(2026, 1, 5, tzinfo=UTC)
    assert backup.backups_in(tmp_path / "nothing") == []


def test_what_a_dead_process_left_is_swept_away_later(
    store: Store, path: Path, things: Things, target: Path
) -> None:
    target.parent.mkdir()
    old, new = target.with_name(f".old{backup.PART}"), target.with_name(f".new{backup.PART}")
    long_ago = (datetime.now(UTC) - timedelta(days=2)).timestamp()
    for part in (old, new):
        part.touch()
    os.utime(old, (long_ago, long_ago))
    backup.backup(path, target)
    assert entries(target.parent) == {target.name, new.name}


def test_an_old_backup_is_brought_along_when_it_is_opened(tmp_path: Path, path: Path) -> None:
    """One from before the checksums is checked for all else, and restored."""
    from alembic import command
    from sqlalchemy import NullPool

    from storage.database import connect
    from storage.migrate import configuration

    source = tmp_path / "old.sqlite3"
    engine = connect(str(source), "BEGIN IMMEDIATE", ("journal_mode=WAL", "foreign_keys=OFF"), NullPool)
    with engine.begin() as connection:
        config = configuration()
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
    assert backup.restore(path, source).content == Content(0, 0, 0)
    store = opened(path)
    try:
        assert store.user_for_identity(identity("owner")).id
    finally:
        store.close()

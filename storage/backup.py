"""Backup and restore of the database file.

A backup is one ordinary database file without a log beside it. It is made in the data folder by SQLite's
online backup, which sees one state and lets everybody else write on, and is checked there as a whole. Only
then it is copied to where it shall be, front to back and under another name, for that may be a mounted
bucket, which knows neither locks nor writing in the middle of a file.

Sessions are left out: a backup that is restored signs nobody in, also not those who have signed out since.
So are the words of deleted texts, which the index of the search keeps for a while.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from storage.errors import DatabaseCorrupt, StorageError
from storage.folder_lock import FolderLock
from storage.migrate import FILE_MODE, make_folder
from storage.search_schema import SEARCH_TABLES
from storage.translate import plain_errors
from storage.verification import Content, Stop, Stopped, never, opened, verify

PAGES_AT_ONCE = 1000
STEPS_AT_ONCE = 100_000
"""Steps of SQLite's machine between two looks at whether to stop."""
CHUNK_BYTES = 1 << 20
PART = ".part"
FORGOTTEN_SECONDS = 24 * 3600
"""A part that nobody has written to for so long was left by a process that died."""
TIME = "%Y%m%dT%H%M%SZ"
NAME = re.compile(r"playground-(\d{8}T\d{6}Z)\.sqlite3")
BESIDE = ("-wal", "-journal")
"""What SQLite keeps beside a database and needs to make it whole after a crash."""
NOT_THERE = {errno.ENOSYS, errno.ENOTSUP, errno.EINVAL, errno.EPERM, errno.EXDEV}
"""What a mounted bucket says to what it cannot do."""

BACKUPS = "The folder for backups"
NO_DATABASE = "There is no database in the data folder yet."
NO_SUCH_FILE = "There is no backup file of this name."
NAME_TAKEN = "There is a file of this name already. Choose another name."
COPY_DIFFERS = "The backup could not be read back as it was written, so it was removed. Try another folder."
NOT_A_BACKUP = "This file is damaged, or it is not a backup of the playground. Nothing was changed."
SAME_FILE = "This is the database itself. Name a backup of it."


@dataclass(frozen=True, slots=True)
class Restored:
    """What is in place now, and where the database went that was there before (None: there was none)."""

    content: Content
    replaced: Path | None


def backup_name(now: datetime) -> str:
    """The file name of a backup that is made now."""
    return f"playground-{now.astimezone(UTC).strftime(TIME)}.sqlite3"


def backup_time(path: Path) -> datetime | None:
    """When a backup was made, by its name; None for another file."""
    found = NAME.fullmatch(path.name)
    with suppress(ValueError):
        return None if found is None else datetime.strptime(found[1], TIME).replace(tzinfo=UTC)
    return None


def backups_in(folder: Path) -> list[Path]:
    """The backups in a folder, the newest first. Raises StorageError."""
    with plain_errors(folder, BACKUPS):
        if not folder.is_dir():
            return []
        found = [path for path in folder.iterdir() if backup_time(path) is not None]
    return sorted(found, key=lambda path: path.name, reverse=True)


def backup(database: Path, target: Path, stop: Stop = never) -> Content:
    """Write a checked copy of a database, which may be in use, to a file that does not exist yet.

    Raises DatabaseCorrupt when the database is damaged, StorageFull, Stopped or another StorageError; the
    target is then not there.
    """
    if not database.exists():
        raise StorageError(NO_DATABASE)
    with plain_errors(target.parent, BACKUPS):
        make_folder(target.parent)
        if target.exists():
            raise StorageError(NAME_TAKEN)
    with plain_errors(database.parent), _part_beside(database) as part:
        _snapshot(database, part, stop, live=True)
        content = verify(part, stop)
        with plain_errors(target.parent, BACKUPS):
            _copy(part, target, stop)
        return content


def try_folder(folder: Path) -> None:
    """See that backups can be written to this folder, which is made. Raises StorageError."""
    with plain_errors(folder, BACKUPS):
        make_folder(folder)
        with _part_beside(folder / "try") as part:
            part.touch(FILE_MODE)


def keep_newest(folder: Path, count: int) -> None:
    """Remove the oldest backups of a folder; other files stay. Raises StorageError."""
    for path in backups_in(folder)[count:]:
        with plain_errors(folder):
            path.unlink(missing_ok=True)


def restore(database: Path, source: Path) -> Restored:
    """Put a backup in the place of the database, whose files are kept beside it under another name.

    The backup is checked first. Raises StorageInUse while a server runs, DatabaseTooNew, DatabaseCorrupt or
    another StorageError; the database is then as it was.
    """
    with plain_errors(database.parent):
        if not source.is_file():
            raise StorageError(NO_SUCH_FILE)
        if database.exists() and source.samefile(database):
            raise StorageError(SAME_FILE)
        _verify_source(source)
        make_folder(database.parent)
        lock = FolderLock(database.parent)
        try:
            lock.hold_file(database)
            with _part_beside(database) as part:
                _snapshot(source, part, never, live=False)
                content = verify(part)
                _sync(part)
                replaced = _keep(database) if database.exists() else None
                part.replace(database)
                _sync(database.parent)
            return Restored(content, replaced)
        finally:
            lock.close()


def _verify_source(source: Path) -> None:
    """Raise with a sentence about a backup, and not about the database."""
    try:
        verify(source)
    except DatabaseCorrupt:
        raise DatabaseCorrupt(NOT_A_BACKUP) from None


def _snapshot(source: Path, part: Path, stop: Stop, live: bool) -> None:
    """One state of a database in a new file that needs no log. ``live``: others may have it open."""
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, FILE_MODE))

    def progress(_status: int, _remaining: int, _total: int) -> None:
        if stop():
            raise Stopped

    with _reading(source, live) as connection, closing(sqlite3.connect(part, isolation_level=None)) as copy:
        # A transaction that stays open sees one state: without it every write of others would begin anew.
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        connection.backup(copy, pages=PAGES_AT_ONCE, progress=progress)
        copy.execute("PRAGMA journal_mode = DELETE").fetchall()
        _clean(copy, stop)


def _clean(copy: sqlite3.Connection, stop: Stop) -> None:
    """Leave out sessions, and the words of deleted texts that the search's index has only marked as gone."""
    tables = {name for (name,) in copy.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    copy.execute("PRAGMA secure_delete = ON").fetchall()
    if "sessions" in tables:
        copy.execute("DELETE FROM sessions")
    copy.set_progress_handler(lambda: int(stop()), STEPS_AT_ONCE)
    try:
        for name in tables & SEARCH_TABLES:
            copy.execute(f"INSERT INTO {name} ({name}) VALUES ('optimize')")  # noqa: S608 - a name of ours
    except sqlite3.OperationalError:
        if stop():
            raise Stopped from None
        raise
    finally:
        copy.set_progress_handler(None, 0)


@contextmanager
def _reading(source: Path, live: bool) -> Iterator[sqlite3.Connection]:
    """A connection that only reads."""
    if not live:
        with opened(source) as connection:
            yield connection
        return
    address = f"{source.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, isolation_level=None)) as connection:
        yield connection


@contextmanager
def _part_beside(path: Path) -> Iterator[Path]:
    """A name for a file in the making, in the same folder; what is there at the end is removed."""
    _sweep(path.parent)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PART}")
    try:
        yield part
    finally:
        for each in (part, *(part.with_name(part.name + end) for end in (*BESIDE, "-shm"))):
            with suppress(OSError):
                each.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Remove what processes that died left in the making."""
    now = datetime.now(UTC).timestamp()
    for path in folder.glob(f".*{PART}"):
        with suppress(OSError):
            if now - path.stat().st_mtime > FORGOTTEN_SECONDS:
                path.unlink()


def _copy(source: Path, target: Path, stop: Stop) -> None:
    """Copy a file front to back, read it back, and only then give it its name."""
    with _part_beside(target) as part:
        _write(source, part, stop)
        try:
            part.rename(target)
        except OSError as error:
            if error.errno not in NOT_THERE:
                raise
            try:
                _write(source, target, stop)
            except BaseException:
                with suppress(OSError):
                    target.unlink(missing_ok=True)
                raise
    _sync(target.parent)


def _write(source: Path, target: Path, stop: Stop) -> None:
    """Copy into a new file that its owner alone can read. Raises StorageError when it reads differently."""
    digest = hashlib.sha256()
    with os.fdopen(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, FILE_MODE), "wb") as file:
        for chunk in _chunks(source, stop):
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        with _where_it_exists():
            os.fsync(file.fileno())
    written = hashlib.sha256()
    for chunk in _chunks(target, stop):
        written.update(chunk)
    if written.digest() != digest.digest():
        raise StorageError(COPY_DIFFERS)


def _chunks(path: Path, stop: Stop) -> Iterator[bytes]:
    """A file in pieces."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            if stop():
                raise Stopped
            yield chunk


@contextmanager
def _where_it_exists() -> Iterator[None]:
    """Go on where the file system does not know this."""
    try:
        yield
    except OSError as error:
        if error.errno not in NOT_THERE:
            raise


def _sync(path: Path) -> None:
    """Bring a file or a folder to the disk."""
    with _where_it_exists():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _keep(database: Path) -> Path:
    """Give the database and its log a second name. The first one stays until the new file takes it."""
    kept = database.with_name(f"{database.name}.replaced-{datetime.now(UTC).strftime(TIME)}")
    number = 1
    while kept.exists():
        number += 1
        kept = database.with_name(f"{database.name}.replaced-{datetime.now(UTC).strftime(TIME)}-{number}")
    for end in ("", *BESIDE):
        old = database.with_name(database.name + end)
        if old.exists():
            _link(old, kept.with_name(kept.name + end))
    _sync(database.parent)
    for end in (*BESIDE, "-shm"):  # they belong to the old file, and would spoil the new one
        database.with_name(database.name + end).unlink(missing_ok=True)
    return kept


def _link(old: Path, new: Path) -> None:
    """A second name, or a copy where there are no second names."""
    try:
        new.hardlink_to(old)
    except OSError:
        shutil.copy2(old, new)

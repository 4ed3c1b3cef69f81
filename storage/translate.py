"""Errors of SQLite, SQLAlchemy and the file system, told in this package's own words."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from storage.errors import (
    Conflict,
    DatabaseCorrupt,
    InvalidText,
    InvalidValue,
    NotFound,
    StorageBusy,
    StorageError,
    StorageFull,
)

ROOM_NEEDED = 1 << 20
"""Bytes; with less room than this an input/output error is taken for a full disk."""

_CONSTRAINTS: dict[int, type[StorageError]] = {
    sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY: NotFound,  # a row that was named does not exist
    sqlite3.SQLITE_CONSTRAINT_UNIQUE: Conflict,
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY: Conflict,
    sqlite3.SQLITE_CONSTRAINT_CHECK: InvalidValue,
    sqlite3.SQLITE_CONSTRAINT_NOTNULL: InvalidValue,
}
DAMAGED_SCHEMA = ("no such ", "malformed", "parse error", "has no column named")
"""How SQLite begins what it says of a statement that the tables' own description cannot carry any more."""
_PRIMARY_CODES: dict[int, type[StorageError]] = {
    sqlite3.SQLITE_FULL: StorageFull,
    sqlite3.SQLITE_BUSY: StorageBusy,
    sqlite3.SQLITE_LOCKED: StorageBusy,
    sqlite3.SQLITE_CORRUPT: DatabaseCorrupt,
    sqlite3.SQLITE_NOTADB: DatabaseCorrupt,
}


def error_of_sqlite(code: int, free_bytes: int) -> StorageError:
    """The error for one of SQLite's extended result codes, on a disk with that much room."""
    if code in _CONSTRAINTS:
        return _CONSTRAINTS[code]()
    if code == sqlite3.SQLITE_IOERR_SHORT_READ:
        return DatabaseCorrupt()  # the file ends before what it should hold
    primary = code & 0xFF
    if primary == sqlite3.SQLITE_IOERR and free_bytes < ROOM_NEEDED:
        return StorageFull()  # the log's index file could not grow; SQLite does not call that "full"
    return _PRIMARY_CODES.get(primary, StorageError)()


def free_bytes(folder: Path) -> int:
    """Room on the disk of this folder; plenty when nobody can tell."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return ROOM_NEEDED


@contextmanager
def plain_errors(folder: Path, called: str = "The data folder") -> Iterator[None]:
    """Raise only ``StorageError`` from the block; ``folder`` is where the file lies that it works on."""
    try:
        yield
    except (StorageError, GeneratorExit):
        raise
    except UnicodeEncodeError:
        raise InvalidText from None  # the original carries the text: it must not reach a log
    except UnicodeDecodeError:
        raise DatabaseCorrupt from None  # a name in the file, or SQLite's own word about it, is no text
    except OverflowError as error:
        raise InvalidValue from error
    except PoolTimeout as error:
        raise StorageBusy from error
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise _told(error, folder, called) from error


def _error_of_system(code: int | None, called: str) -> StorageError:
    """The error for one of the system's numbers."""
    if code in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull()
    if code in (errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR):
        return StorageError(f"{called} cannot be written to. Check its rights, or choose another one.")
    return StorageError()


def _told(error: Exception, folder: Path, called: str) -> StorageError:
    """Unwrap SQLAlchemy's error and choose ours."""
    cause = error.orig if isinstance(error, StatementError) else error
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", None)  # the driver's own errors have none
        if code is None and "decode" in str(cause):
            return DatabaseCorrupt()  # a text that is none
        if code == sqlite3.SQLITE_ERROR and str(cause).startswith(DAMAGED_SCHEMA):
            return DatabaseCorrupt()  # the tables were there when the database was opened
        return error_of_sqlite(code or 0, free_bytes(folder))
    if isinstance(cause, OSError):
        return _error_of_system(cause.errno, called)
    if isinstance(cause, (LookupError, ValueError, TypeError, OverflowError)):
        return InvalidValue()  # a value that its column's type refused
    return StorageError()

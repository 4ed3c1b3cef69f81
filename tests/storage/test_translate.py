"""Foreign errors become this package's own, and say nothing that is not for the user."""

from __future__ import annotations

import errno
import inspect
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from storage import errors
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
from storage.translate import ROOM_NEEDED, error_of_sqlite, plain_errors

ALL = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, StorageError)]
PLENTY = 100 * ROOM_NEEDED


@pytest.mark.parametrize("kind", ALL)
def test_every_error_has_a_code_and_a_plain_sentence(kind: type[StorageError]) -> None:
    sentence = str(kind())
    assert sentence[0].isupper()
    assert sentence.endswith(".")
    assert kind.code.replace("_", "").isalpha()
    assert not any(word in sentence for word in ("SQL", "sqlite", "/", "Error", "errno"))


def test_codes_are_told_apart() -> None:
    assert len({kind.code for kind in ALL}) == len(ALL)


@pytest.mark.parametrize(
    ("code", "free", "expected"),
    [
        (sqlite3.SQLITE_FULL, PLENTY, StorageFull),
        (sqlite3.SQLITE_IOERR_SHMSIZE, 0, StorageFull),
        (sqlite3.SQLITE_IOERR_SHMSIZE, PLENTY, StorageError),
        (sqlite3.SQLITE_IOERR_FSYNC, PLENTY, StorageError),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, 0, StorageBusy),
        (sqlite3.SQLITE_LOCKED, 0, StorageBusy),
        (sqlite3.SQLITE_CORRUPT_INDEX, 0, DatabaseCorrupt),
        (sqlite3.SQLITE_NOTADB, 0, DatabaseCorrupt),
        (sqlite3.SQLITE_IOERR_SHORT_READ, PLENTY, DatabaseCorrupt),
        (sqlite3.SQLITE_IOERR_READ, PLENTY, StorageError),
        (sqlite3.SQLITE_CONSTRAINT_UNIQUE, 0, Conflict),
        (sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY, 0, NotFound),
        (sqlite3.SQLITE_CONSTRAINT_CHECK, 0, InvalidValue),
        (sqlite3.SQLITE_CANTOPEN, 0, StorageError),
        (0, 0, StorageError),
    ],
)
def test_result_codes_of_sqlite(code: int, free: int, expected: type[StorageError]) -> None:
    assert type(error_of_sqlite(code, free)) is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/secret/path"), StorageFull),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "/secret/path"), StorageFull),
        (PermissionError(errno.EACCES, "Permission denied", "/secret/path"), StorageError),
        (OverflowError("Python int too large"), InvalidValue),
    ],
)
def test_errors_of_the_system(tmp_path: Path, error: Exception, expected: type[StorageError]) -> None:
    with pytest.raises(StorageError) as caught, plain_errors(tmp_path):
        raise error
    assert type(caught.value) is expected
    assert "secret" not in str(caught.value)


def test_a_text_that_cannot_be_encoded_is_not_carried_along(tmp_path: Path) -> None:
    with pytest.raises(InvalidText) as caught, plain_errors(tmp_path):
        "a secret \ud800".encode()
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_mistake_of_the_programmer_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(KeyError), plain_errors(tmp_path):
        raise KeyError("unknown")


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT gone FROM kept", DatabaseCorrupt),
        ("SELECT * FROM gone", DatabaseCorrupt),
        ("SELEC", StorageError),
    ],
)
def test_tables_that_are_not_as_they_were_are_damage(
    tmp_path: Path, statement: str, expected: type[StorageError]
) -> None:
    with closing(sqlite3.connect(tmp_path / "file")) as connection:
        connection.execute("CREATE TABLE kept (a)")
        with pytest.raises(StorageError) as caught, plain_errors(tmp_path):
            connection.execute(statement)
    assert type(caught.value) is expected

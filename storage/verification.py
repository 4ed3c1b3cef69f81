"""Whether a database is whole: its structure, what points at what, and every text that carries a checksum."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from storage.checksums import (
    COVERED,
    RESPONSE_COVERED,
    message_checksum,
    response_checksum,
    share_checksum,
)
from storage.errors import DatabaseCorrupt, StorageError
from storage.migrate import has_our_tables
from storage.translate import plain_errors

ROWS_AT_ONCE = 500
STEPS_BETWEEN_LOOKS = 100_000
"""Instructions of SQLite between two looks at whether to stop."""

Stop = Callable[[], bool]


class Stopped(StorageError):
    """The caller did not want to wait for the end."""

    code = "stopped"
    sentence = "This was stopped before its end. Nothing was changed."


def never() -> bool:
    """Go on to the end."""
    return False


@dataclass(frozen=True, slots=True)
class Content:
    """What a database holds, all of it checked."""

    users: int
    conversations: int
    messages: int


def verify(path: Path, stop: Stop = never) -> Content:
    """Read all of a file and change nothing.

    Raises DatabaseCorrupt for one that is damaged or foreign, DatabaseTooNew, or another StorageError. Not
    for a file that this process has open: SQLite's locks on it would be lost.
    """
    with plain_errors(path.parent), opened(path) as connection:
        return verify_content(connection, stop)


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that only reads. A file without a log beside it needs no locks, which a bucket has not."""
    has_log = path.with_name(path.name + "-wal").exists()
    query = "mode=ro" if has_log else "mode=ro&immutable=1"
    with closing(
        sqlite3.connect(f"{path.resolve().as_uri()}?{query}", uri=True, isolation_level=None)
    ) as connection:
        yield connection


def verify_content(connection: sqlite3.Connection, stop: Stop = never) -> Content:
    """The same for what is open already."""
    connection.set_progress_handler(stop, STEPS_BETWEEN_LOOKS)
    try:
        connection.execute("BEGIN")
        if not has_our_tables(connection):
            raise DatabaseCorrupt  # an empty file
        if connection.execute("PRAGMA integrity_check(1)").fetchall() != [("ok",)]:
            raise DatabaseCorrupt
        if connection.execute("PRAGMA foreign_key_check").fetchone() is not None:
            raise DatabaseCorrupt
        _verify_texts(connection)
        counts = [
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
            for table in ("users", "conversations", "messages")
        ]
        return Content(*counts)
    except (ValueError, TypeError):
        raise DatabaseCorrupt from None  # a value of another kind; the original may quote it
    except sqlite3.OperationalError:
        if stop():
            raise Stopped from None
        raise
    finally:
        connection.set_progress_handler(None, 0)


def _verify_texts(connection: sqlite3.Connection) -> None:
    """Compare every checksum; a database from before the checksums has none."""
    for table, columns, checksum in (
        ("messages", COVERED, message_checksum),
        ("shares", ("token", "title", "include_reasoning", "message_count", "snapshot"), share_checksum),
        ("responses", RESPONSE_COVERED, response_checksum),
    ):
        names = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        if "checksum" not in names:
            continue
        rows = connection.execute(f"SELECT checksum, {', '.join(columns)} FROM {table}")  # noqa: S608
        while page := rows.fetchmany(ROWS_AT_ONCE):
            for stored, *values in page:
                if stored != checksum(*values):
                    raise DatabaseCorrupt

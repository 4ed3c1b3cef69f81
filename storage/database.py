"""One SQLite file: a single writer thread, a few readers, and the settings that make a commit durable.

* WAL, so that readers never wait for the writer and always see one consistent state.
* ``synchronous=FULL``: a commit has reached the disk when it returns, so an acknowledged message survives a
  power cut.
* Every write is one ``BEGIN IMMEDIATE`` transaction on the one writing connection, in the order of arrival.
  Readers are ``query_only``: only the writer appends to and checkpoints the log, which also keeps clear of
  the defect in the log's reset that SQLite before 3.51.3 has with two writing connections.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, Pool, QueuePool, create_engine, event
from sqlalchemy.orm import Session

from storage.errors import StorageClosed
from storage.translate import plain_errors

T = TypeVar("T")

READERS = 4
WAIT_SECONDS = 10.0
BUSY_MILLISECONDS = 5000
COMMON_PRAGMAS = (
    f"busy_timeout={BUSY_MILLISECONDS}",
    "synchronous=FULL",
    "mmap_size=0",
    "trusted_schema=OFF",
)


def connect(
    path: Path,
    begin: str,
    pragmas: tuple[str, ...],
    poolclass: type[Pool] = QueuePool,
    **pool: Any,
) -> Engine:
    """An engine on the file whose transactions start with ``begin``; errors never quote stored text."""
    engine = create_engine(
        URL.create("sqlite+pysqlite", database=str(path)),
        connect_args={"check_same_thread": False, "timeout": BUSY_MILLISECONDS / 1000},
        hide_parameters=True,
        poolclass=poolclass,
        **pool,
    )

    def on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver must not begin transactions of its own
        for pragma in (*COMMON_PRAGMAS, *pragmas):
            connection.execute(f"PRAGMA {pragma}").close()

    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", on_begin)
    return engine


class Database:
    """Runs reads on the caller's thread and writes on the writer's thread."""

    def __init__(self, path: Path) -> None:
        """``path`` is a migrated database; see ``storage.migrate.prepare``."""
        self._folder = path.parent
        self._closed = False
        self._writer = connect(
            path, "BEGIN IMMEDIATE", ("journal_mode=WAL", "foreign_keys=ON"), pool_size=1, max_overflow=0
        )
        self._readers = connect(
            path,
            "BEGIN",
            ("foreign_keys=ON", "query_only=ON"),
            pool_size=READERS,
            max_overflow=0,
            pool_timeout=WAIT_SECONDS,
        )
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="storage-writer")

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that sees one state of the database and cannot change it."""
        if self._closed:
            raise StorageClosed
        with plain_errors(self._folder), Session(self._readers) as session:
            yield session

    def write(self, work: Callable[[Session], T]) -> T:
        """Run ``work`` in one transaction on the writer's thread; returns when it is committed.

        An exception from ``work`` undoes all of it. Raises ``StorageError`` only. Never call it from
        ``work``.
        """
        try:
            future = self._thread.submit(self._commit, work)
        except RuntimeError:
            raise StorageClosed from None
        return future.result()

    def _commit(self, work: Callable[[Session], T]) -> T:
        """One transaction, on the writer's thread."""
        with plain_errors(self._folder), Session(self._writer) as session, session.begin():
            return work(session)

    def close(self) -> None:
        """Finish the writes that wait, then close all connections, the writer's last. May be called twice."""
        self._closed = True
        self._thread.shutdown(wait=True)
        self._readers.dispose()
        self._writer.dispose()


class Queries:
    """Base of the store's parts."""

    def __init__(self, database: Database) -> None:
        self._database = database

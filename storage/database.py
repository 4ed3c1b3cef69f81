"""One SQLite file: a single writer thread, a few readers, and the settings that make a commit durable.

* WAL, so that readers never wait for the writer and always see one consistent state.
* ``synchronous=FULL``: a commit has reached the disk when it returns, so an acknowledged message survives a
  power cut.
* Every write is one ``BEGIN IMMEDIATE`` transaction on the one writing connection, in the order of arrival.
  Readers are ``query_only``: only the writer appends to and checkpoints the log, which also keeps clear of
  the defect in the log's reset that SQLite before 3.51.3 has with two writing connections.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, Pool, QueuePool, StaticPool, create_engine, event
from sqlalchemy.orm import Session

from storage.errors import StorageClosed, StorageError
from storage.records import new_id
from storage.translate import plain_errors

log = logging.getLogger(__name__)
T = TypeVar("T")

READERS = 4
WAIT_SECONDS = 10.0
BUSY_MILLISECONDS = 5000
ID_PREFIX = "id_prefix"
COMMON_PRAGMAS = (
    f"busy_timeout={BUSY_MILLISECONDS}",
    "synchronous=FULL",
    "mmap_size=0",
)
READER_PRAGMAS = ("foreign_keys=ON", "query_only=ON", "trusted_schema=OFF")
WRITER_PRAGMAS = ("journal_mode=WAL", "foreign_keys=ON", "trusted_schema=ON", "secure_delete=ON")
"""The triggers write to FTS5 tables, which SQLite before 3.44 lets only a trusted schema do. What was deleted
is overwritten, not only marked as free."""


def connect(
    database: str,
    begin: str,
    pragmas: tuple[str, ...],
    poolclass: type[Pool] = QueuePool,
    **pool: Any,
) -> Engine:
    """An engine on a file (or ``:memory:``) whose transactions start with ``begin``.

    Its errors never quote stored text.
    """
    engine = create_engine(
        URL.create("sqlite+pysqlite", database=database),
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


def connect_in_memory() -> Engine:
    """An engine with a single connection to a database of its own, which vanishes with the engine."""
    return connect(
        ":memory:", "BEGIN IMMEDIATE", ("foreign_keys=OFF", "trusted_schema=ON"), poolclass=StaticPool
    )


class Database:
    """Runs reads on the caller's thread and writes on the writer's thread."""

    @classmethod
    def on_file(cls, path: Path) -> Database:
        """``path`` is a migrated database; see ``storage.migrate.prepare``."""
        writer = connect(str(path), "BEGIN IMMEDIATE", WRITER_PRAGMAS, pool_size=1, max_overflow=0)
        readers = connect(
            str(path),
            "BEGIN",
            READER_PRAGMAS,
            pool_size=READERS,
            max_overflow=0,
            pool_timeout=WAIT_SECONDS,
        )
        return cls(path.parent, writer, readers, nullcontext())

    @classmethod
    def in_memory(cls, engine: Engine, id_prefix: str) -> Database:
        """On a migrated ``connect_in_memory``, whose only connection serves one thread after another."""
        with engine.connect() as connection:
            connection.exec_driver_sql("COMMIT")  # foreign keys cannot be turned on within a transaction
            connection.exec_driver_sql("PRAGMA foreign_keys=ON")
            connection.exec_driver_sql("BEGIN")
        return cls(Path(), engine, engine, threading.RLock(), id_prefix)

    def __init__(
        self,
        folder: Path,
        writer: Engine,
        readers: Engine,
        alone: AbstractContextManager[Any],
        id_prefix: str = "",
    ) -> None:
        """``alone`` is held by whoever reads or writes; ``id_prefix`` begins every id that is made here."""
        self._folder = folder
        self._closed = False
        self._writer = writer
        self._readers = readers
        self._alone = alone
        self._info = {ID_PREFIX: id_prefix}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="storage-writer")

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that sees one state of the database and cannot change it."""
        if self._closed:
            raise StorageClosed
        with plain_errors(self._folder), self._alone, Session(self._readers, info=self._info) as session:
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

    def note(self, work: Callable[[Session], T]) -> T | None:
        """``write`` for what may be left out, such as the time of a visit: a full disk must not end reading.

        None when it was left out. Raises StorageClosed.
        """
        try:
            return self.write(work)
        except StorageClosed:
            raise
        except StorageError as error:
            log.warning("a visit could not be noted: %s", error.code)
            return None

    def _commit(self, work: Callable[[Session], T]) -> T:
        """One transaction, on the writer's thread."""
        with (
            plain_errors(self._folder),
            self._alone,
            Session(self._writer, info=self._info) as session,
            session.begin(),
        ):
            return work(session)

    def close(self) -> None:
        """Finish the writes that wait, then close all connections, the writer's last. May be called twice."""
        self._closed = True
        self._thread.shutdown(wait=True)
        self._readers.dispose()
        self._writer.dispose()


def fresh_id(session: Session) -> str:
    """A new id for a row of this session's database."""
    return f"{session.info[ID_PREFIX]}{new_id()}"


class Queries:
    """Base of the store's parts."""

    def __init__(self, database: Database) -> None:
        self._database = database

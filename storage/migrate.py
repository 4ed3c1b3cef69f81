"""Bring a database file to this version's tables, or refuse it and leave it as it is."""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, NullPool

from storage.database import connect
from storage.errors import DatabaseCorrupt, DatabaseTooNew
from storage.translate import plain_errors

log = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"
MAGIC = b"SQLite format 3\0"
FOLDER_MODE = 0o700
FILE_MODE = 0o600
THOROUGH_BYTES = 64 << 20
"""A database up to this size is checked thoroughly at each start, which takes up to a third of a second."""


def configuration() -> Config:
    """Alembic's settings, without a file."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def prepare(path: Path) -> None:
    """Make folder and file where they are missing, check the file, and migrate it in one transaction.

    Conversations are private: what is made here can be read by its owner only. Raises ``DatabaseTooNew``,
    ``DatabaseCorrupt``, ``StorageFull`` or another ``StorageError``.
    """
    with plain_errors(path.parent):
        make_folder(path.parent)
        if path.exists():
            check(path)
        else:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, FILE_MODE))
        upgrade(
            connect(
                str(path),
                "BEGIN IMMEDIATE",
                ("journal_mode=WAL", "foreign_keys=OFF", "trusted_schema=OFF", "secure_delete=ON"),
                poolclass=NullPool,
            )
        )


def make_folder(folder: Path) -> None:
    """The folder of the database, private to its owner; one that is there stays as it is.

    The name of a new one is on the disk when this returns: SQLite syncs what is in the folder only.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    for each in missing:
        descriptor = os.open(each.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check(path: Path) -> None:
    """Read the whole file once without writing to it; raise when it is damaged, foreign or too new."""
    if path.with_name(path.name + "-journal").exists():
        # Left by a crash in the very first moments. The first page may be in pieces until it is rolled back.
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    whole = starts_like_sqlite(path)
    if not whole and not _has_log(path):
        raise DatabaseCorrupt  # SQLite itself takes a very short file for an empty one and writes over it
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        if not has_our_tables(connection):
            if whole:
                return
            raise DatabaseCorrupt
        # The thorough one also finds what an index does not lead to any more, in four times the time.
        thorough = path.stat().st_size <= THOROUGH_BYTES
        pragma = "integrity_check" if thorough else "quick_check"
        if connection.execute(f"PRAGMA {pragma}(1)").fetchall() != [("ok",)]:
            raise DatabaseCorrupt


def has_our_tables(connection: sqlite3.Connection) -> bool:
    """False for an empty file. Raises DatabaseCorrupt for another program's tables, or DatabaseTooNew."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        return False
    if "alembic_version" not in tables:
        raise DatabaseCorrupt
    revisions = {name for (name,) in connection.execute("SELECT version_num FROM alembic_version")}
    known = {script.revision for script in ScriptDirectory.from_config(configuration()).walk_revisions()}
    if not revisions <= known:
        raise DatabaseTooNew
    return True


def _has_log(path: Path) -> bool:
    """Whether commits wait beside the file: where the power went while they were copied into it, it may begin
    with anything, and is read from the log.
    """
    log = path.with_name(path.name + "-wal")
    return log.exists() and log.stat().st_size > 0


def starts_like_sqlite(path: Path) -> bool:
    """True for a database and for an empty file."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) in (b"", MAGIC)


def upgrade(engine: Engine) -> None:
    """Run the migrations that are missing, in one transaction.

    The engine has foreign keys off, because SQLite changes a table by making it anew; the result is checked
    before it is committed.
    """
    with engine.begin() as connection:
        config = configuration()
        config.attributes["connection"] = connection
        version = MigrationContext.configure(connection).get_current_revision()
        if version not in (None, ScriptDirectory.from_config(config).get_current_head()):
            log.info("The database is brought to this version's tables; for a large one it takes minutes.")
        command.upgrade(config, "head")
        if connection.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
            raise DatabaseCorrupt

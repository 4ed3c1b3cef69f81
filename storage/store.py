"""The one door to the database.

Every method blocks: a write until it is committed, a read until it is read; a web server calls them on a
thread. Every method takes the owner first, and what belongs to somebody else reads exactly like what does
not exist. What decides by the time is told it as ``now``, in UTC.
"""

from __future__ import annotations

from pathlib import Path

from storage.accounts import AccountQueries
from storage.administration import AdministrationQueries
from storage.api_keys import KeyQueries
from storage.branches import BranchQueries
from storage.conversations import ConversationQueries
from storage.database import Database, connect_in_memory
from storage.deletion import DeletionQueries, purge
from storage.errors import StorageError
from storage.folder_lock import FolderLock
from storage.generations import GenerationQueries, interrupt_open_generations
from storage.imports import ImportQueries
from storage.migrate import make_folder, prepare, upgrade
from storage.preferences import PreferenceQueries
from storage.presets import PresetQueries
from storage.responses import ResponseQueries, fail_open_responses
from storage.search import SearchQueries
from storage.sessions import SessionQueries
from storage.shares import ShareQueries
from storage.stored import StoredQueries
from storage.translate import plain_errors
from storage.turns import TurnQueries
from storage.usage import UsageQueries
from storage.users import UserQueries


class Store(
    UserQueries,
    PreferenceQueries,
    PresetQueries,
    ConversationQueries,
    DeletionQueries,
    BranchQueries,
    TurnQueries,
    GenerationQueries,
    ImportQueries,
    SearchQueries,
    ShareQueries,
    AccountQueries,
    SessionQueries,
    KeyQueries,
    UsageQueries,
    AdministrationQueries,
    ResponseQueries,
    StoredQueries,
):
    """All that is kept. Safe to use from many threads. Raises ``StorageError`` only."""

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open the file, made and migrated where that is needed.

        Open generations become ``interrupted``, open responses ``failed``, and what was deleted is removed
        for good. Raises StorageInUse, DatabaseTooNew, DatabaseCorrupt, StorageFull or another StorageError;
        the file is then as it was.
        """
        with plain_errors(path.parent):
            make_folder(path.parent)
            lock = FolderLock(path.parent)
        try:
            with plain_errors(path.parent):
                lock.hold_file(path)
            prepare(path)
            with plain_errors(path.parent):
                lock.hold_file(path)  # a new one is there only now
            database = Database.on_file(path)
            try:
                interrupt_open_generations(database)
                fail_open_responses(database)
                purge(database)
            except StorageError:
                database.close()
                raise
        except StorageError:
            lock.close()
            raise
        return cls(database, lock)

    @classmethod
    def open_in_memory(cls, id_prefix: str = "t") -> Store:
        """A store that nothing on the disk knows and that vanishes when it is closed.

        ``id_prefix`` begins the id of every row that it makes: by that it is told which store has an id. Its
        owners are made by ``add_owner``.
        """
        with plain_errors(Path()):
            engine = connect_in_memory()
            upgrade(engine)
            return cls(Database.in_memory(engine, id_prefix), None)

    def __init__(self, database: Database, lock: FolderLock | None) -> None:
        super().__init__(database)
        self._lock = lock

    def close(self) -> None:
        """Finish the writes that wait and close the file. Later calls raise StorageClosed."""
        self._database.close()
        if self._lock is not None:
            self._lock.close()

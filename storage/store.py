"""The one door to the database.

Every method blocks: a write until it is committed, a read until it is read; a web server calls them on a
thread. Every method takes the owner first, and what belongs to somebody else reads exactly like what does
not exist.
"""

from __future__ import annotations

from pathlib import Path

from storage.conversations import ConversationQueries
from storage.database import Database
from storage.errors import StorageError
from storage.folder_lock import FolderLock
from storage.generations import GenerationQueries, interrupt_open_generations
from storage.migrate import make_folder, prepare
from storage.preferences import PreferenceQueries
from storage.translate import plain_errors
from storage.turns import TurnQueries
from storage.users import UserQueries


class Store(UserQueries, PreferenceQueries, ConversationQueries, TurnQueries, GenerationQueries):
    """All that is kept. Safe to use from many threads. Raises ``StorageError`` only."""

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open the file, made and migrated where that is needed; open generations become ``interrupted``.

        Raises StorageInUse, DatabaseTooNew, DatabaseCorrupt, StorageFull or another StorageError; the file is
        then as it was.
        """
        with plain_errors(path.parent):
            make_folder(path.parent)
            lock = FolderLock(path.parent)
        try:
            prepare(path)
            database = Database(path)
            try:
                interrupt_open_generations(database)
            except StorageError:
                database.close()
                raise
        except StorageError:
            lock.close()
            raise
        return cls(database, lock)

    def __init__(self, database: Database, lock: FolderLock) -> None:
        super().__init__(database)
        self._lock = lock

    def close(self) -> None:
        """Finish the writes that wait and close the file. Later calls raise StorageClosed."""
        self._database.close()
        self._lock.close()

"""Everything that storage raises.

StorageError
  + NotFound          the id does not exist, or belongs to somebody else (nobody can tell which)
  + Conflict          the row changed meanwhile, or its state does not allow this
  + InvalidText       a text holds half of a character pair (a lone surrogate) and cannot be stored
  + InvalidValue      a number, word or cursor is outside of what the table takes
  + TooMany           there is no room for another one of these (a kind of Conflict)
  + AccountBanned     the account may not sign in
  + StorageFull       the disk, or the room given to the database, is used up
  + StorageBusy       no connection came free in time
  + StorageInUse      another process has the folder open
  + StorageClosed     the store was closed before this call
  + DatabaseTooNew    the file was written by a newer version of the playground
  + DatabaseCorrupt   the file or a text in it is damaged, or is not a database of the playground

``str(error)`` is one sentence for the user: it never holds a path, a statement or a stored text.
"""

from __future__ import annotations


class StorageError(Exception):
    """Base of this package's errors; ``code`` is a stable word for programs."""

    code = "storage_error"
    sentence = "The data could not be read or stored."

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.sentence)


class NotFound(StorageError):
    code = "not_found"
    sentence = "This does not exist, or it is not yours."


class Conflict(StorageError):
    code = "conflict"
    sentence = "This was changed meanwhile. Reload and try again."


class TooMany(Conflict):
    code = "too_many"
    sentence = "There is no room for another one. Remove one first."


class AccountBanned(StorageError):
    code = "banned"
    sentence = "This account has been banned from this playground."


class InvalidText(StorageError, ValueError):
    code = "invalid_text"
    sentence = "The text holds half of a character and cannot be stored."


class InvalidValue(StorageError, ValueError):
    code = "invalid_parameter"
    sentence = "A value is outside of what can be stored."


class StorageFull(StorageError):
    code = "storage_full"
    sentence = "There is no room left to store this. Nothing was changed; free some disk space and try again."


class StorageBusy(StorageError):
    code = "storage_busy"
    sentence = "The storage is busy. Try again in a moment."


class StorageInUse(StorageError):
    code = "storage_in_use"
    sentence = "Another playground uses this data folder. Stop that one, or choose another data folder."


class StorageClosed(StorageError):
    code = "storage_closed"
    sentence = "The storage is closed because the server is stopping."


class DatabaseTooNew(StorageError):
    code = "database_too_new"
    sentence = (
        "The database was written by a newer version of the playground. "
        "Install that version, or choose another data folder. The file was left as it is."
    )


class DatabaseCorrupt(StorageError):
    code = "database_corrupt"
    sentence = (
        "The database file is damaged, or it is not a database of the playground. It was left as it is. "
        "Stop the playground and restore a backup (python app.py restore), or choose another data folder."
    )

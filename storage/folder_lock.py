"""One process at a time for a data folder, and for the database in it, by whatever path it is reached.

A process that starts ends every open reply as interrupted, because it takes them for those of a crash. While
another process still writes them, that would cut them off and lose their text. Two that know one file under
two names would even keep two logs of it, and destroy it.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

from storage.errors import StorageInUse

FAR_BYTE = 1 << 60
"""The byte that is locked: far behind those that SQLite locks."""
SET_LOCK = getattr(fcntl, "F_OFD_SETLK", None)


class FolderLock:
    """Held from its making to ``close``; the system drops it when the process dies, however it dies."""

    def __init__(self, folder: Path) -> None:
        """Take the lock of ``folder``, without a file of its own. Raises StorageInUse, or OSError."""
        self._descriptors = [os.open(folder, os.O_RDONLY | os.O_DIRECTORY)]
        try:
            fcntl.flock(self._descriptors[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise StorageInUse from None
        except OSError:
            pass  # some network folders have no locks: then it is left to the user

    def hold_file(self, path: Path) -> None:
        """Lock the database too, if it is there and not locked yet: it may have a name in another folder.

        Only before SQLite opens it: when the file is closed again here, SQLite's own locks on it are dropped.
        Raises StorageInUse, or OSError; the lock of the folder stays.
        """
        if SET_LOCK is None or len(self._descriptors) > 1 or not path.exists():
            return
        # Of the open file, not of the process: that one would end with the next descriptor that is closed.
        request = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, FAR_BYTE, 1, 0)
        self._descriptors.append(os.open(path, os.O_RDWR))
        try:
            fcntl.fcntl(self._descriptors[1], SET_LOCK, request)
        except (BlockingIOError, PermissionError):
            raise StorageInUse from None
        except OSError:
            pass

    def close(self) -> None:
        """Let the next process in, once SQLite has closed the file. May be called twice."""
        while self._descriptors:
            os.close(self._descriptors.pop())

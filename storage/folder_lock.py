"""One process at a time for a data folder.

A process that starts ends every open reply as interrupted, because it takes them for those of a crash. While
another process still writes them, that would cut them off and lose their text.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from storage.errors import StorageInUse


class FolderLock:
    """Held from its making to ``close``; the system drops it when the process dies, however it dies."""

    def __init__(self, folder: Path) -> None:
        """Take the lock of ``folder``, without a file of its own. Raises StorageInUse, or OSError."""
        self._descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise StorageInUse from None
        except OSError:
            pass  # some network folders have no locks: then it is left to the user

    def close(self) -> None:
        """Let the next process in. May be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

"""Backups by themselves, on a thread of their own: a slow folder never holds up an answer."""

from __future__ import annotations

import logging
import shlex
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from playground.settings import Settings
from storage import backup
from storage.errors import DatabaseCorrupt, StorageError
from storage.verification import Stopped

log = logging.getLogger(__name__)

SETTLED_SECONDS = 60.0
"""How long the server is left alone after its start."""
RETRY_SECONDS = 3600.0
"""When another try is made after one that failed, or sooner where backups are made more often."""
CLOSE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class BackupState:
    """How the backups stand. ``error`` is a sentence, until one succeeds again.

    ``whole`` is False once a backup found the database damaged; the server has checked it at its start.
    """

    last_backup: datetime | None = None
    error: str | None = None
    whole: bool = True


class Backups:
    """Makes a backup whenever the newest one in ``folder`` is older than ``every``; None makes none.

    ``settled_seconds`` pass before the first.
    """

    def __init__(
        self,
        database: Path,
        folder: Path | None,
        every: timedelta,
        keep: int,
        *,
        settled_seconds: float = SETTLED_SECONDS,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.state = BackupState()
        self._database = database
        self._folder = folder
        self._every = every
        self._keep = keep
        self._settled_seconds = settled_seconds
        self._clock = clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="backups", daemon=True)

    @classmethod
    def configured(cls, settings: Settings) -> Backups:
        """As the settings say."""
        every = timedelta(hours=settings.backup_every_hours)
        return cls(settings.database_path, settings.backup_dir, every, settings.backup_keep)

    def start(self) -> None:
        """Begin; call it once."""
        if self._folder is not None:
            self._thread.start()

    def close(self) -> None:
        """End a backup that is being made, and wait for that a moment. Blocks."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        """The thread."""
        wait = self._settled_seconds
        try:
            if self._folder is not None:
                backup.try_folder(self._folder)
        except StorageError as error:  # told at once: the first backup may be a day away
            self._failed(error)
        while self._folder is not None and not self._stop.wait(wait):
            try:
                wait = self._seconds_left(self._folder)
                if wait <= 0:
                    self._make(self._folder)
                    wait = self._every.total_seconds()
            except Stopped:
                return
            except StorageError as error:
                self._failed(error)
                wait = min(RETRY_SECONDS, self._every.total_seconds())
            except Exception:  # the thread must live on, for nobody else would make the next one
                log.exception("the backup failed")
                self.state = replace(self.state, error="The backup failed for an unknown reason.")
                wait = min(RETRY_SECONDS, self._every.total_seconds())

    def _seconds_left(self, folder: Path) -> float:
        """Until the next one is due; a clock that was set back must not put it off for long."""
        newest = next(iter(backup.backups_in(folder)), None)
        made_at = None if newest is None else backup.backup_time(newest)
        if made_at is None:
            return 0.0
        self.state = replace(self.state, last_backup=made_at)
        age = self._clock() - made_at
        return 0.0 if age < timedelta(0) else (self._every - age).total_seconds()

    def _make(self, folder: Path) -> None:
        """One backup, and the end of the oldest."""
        now = self._clock()
        content = backup.backup(self._database, folder / backup.backup_name(now), self._stop.is_set)
        if self.state.error is not None:
            log.warning("backups are made again")
        log.info("made a backup of %d messages", content.messages)
        self.state = BackupState(last_backup=now)
        backup.keep_newest(folder, self._keep)

    def _failed(self, error: StorageError) -> None:
        """Told once, not every hour again."""
        if str(error) != self.state.error:
            log.error("the backup failed: %s", error)
        damaged = isinstance(error, DatabaseCorrupt)
        self.state = replace(self.state, error=str(error), whole=self.state.whole and not damaged)


def folder_of(settings: Settings) -> Path:
    """Where backups go that are given no name."""
    return settings.backup_dir or settings.data_dir / "backups"


def how_to_restore(settings: Settings) -> str:
    """A sentence with the command that restores the newest backup that is there, into this data folder."""
    command = f"python app.py restore --data-dir {shlex.quote(str(settings.data_dir))}"
    for folder in (settings.backup_dir, settings.data_dir / "backups"):
        try:
            newest = next(iter(backup.backups_in(folder)), None) if folder is not None else None
        except StorageError:
            continue
        if newest is not None:
            return f"To restore the newest backup:\n  {command} {shlex.quote(str(newest))}"
    return f"There is no backup here. To restore one from elsewhere:\n  {command} FILE"

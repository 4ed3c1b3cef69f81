"""Backups by themselves, what is told of them, and the commands."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app import cli
from playground import backups
from playground.backups import Backups, how_to_restore
from storage import backup
from storage.store import Store
from storage.verification import Content, verify
from tests.playground.test_metrics import samples
from tests.playground.world import ask, running, settings_for
from tests.storage.helpers import begin, identity

DAY = timedelta(days=1)
WAIT_SECONDS = 60.0


def eventually(happened: Callable[[], Any]) -> Any:
    """The first true answer."""
    end = time.monotonic() + WAIT_SECONDS
    while not (answer := happened()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
    return answer


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database with one question, where the commands look for it."""
    path = settings_for(tmp_path / "data").database_path
    store = Store.open(path)
    begin(store, store.user_for_identity(identity("owner")).id, "walrus")
    store.close()
    return path


def spoil(path: Path) -> None:
    """Another text under the same checksum."""
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("UPDATE messages SET content = 'Walrus'")
        raw.commit()


def test_a_backup_is_made_when_the_newest_is_too_old(database: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bucket"
    made = Backups(database, folder, DAY, keep=2, settled_seconds=0)
    made.start()
    eventually(lambda: made.state.last_backup)
    made.close()
    (first,) = backup.backups_in(folder)
    assert verify(first) == Content(1, 1, 1)
    assert made.state.last_backup is not None
    assert backup.backup_time(first) == made.state.last_backup.replace(microsecond=0)
    # another server finds it, and has nothing to do
    again = Backups(database, folder, DAY, keep=2, settled_seconds=0)
    again.start()
    eventually(lambda: again.state.last_backup)
    again.close()
    assert backup.backups_in(folder) == [first]


def test_the_oldest_go_and_a_clock_that_was_ahead_stops_nothing(database: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bucket"
    folder.mkdir()
    now = datetime.now(UTC)
    old = [folder / backup.backup_name(now - number * DAY) for number in (1, 2, 3)]
    ahead = folder / backup.backup_name(now + 30 * DAY)
    for path in (*old, ahead):
        path.touch()
    made = Backups(database, folder, timedelta(hours=1), keep=3, settled_seconds=0)
    made.start()
    eventually(lambda: len(backup.backups_in(folder)) == 3)
    made.close()
    newest = backup.backups_in(folder)[1]
    assert backup.backups_in(folder) == [ahead, newest, old[0]]
    assert verify(newest) == Content(1, 1, 1)


def test_a_failure_is_told_once_and_until_one_succeeds(
    database: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backups, "RETRY_SECONDS", 0.01)
    folder = tmp_path / "bucket"
    folder.write_text("a file is in the way")
    made = Backups(database, folder, DAY, keep=2, settled_seconds=0)
    looks: list[Path] = []
    seconds_left = made._seconds_left

    def looked(path: Path) -> float:
        looks.append(path)
        return seconds_left(path)

    monkeypatch.setattr(made, "_seconds_left", looked)
    with caplog.at_level(logging.INFO, "playground.backups"):
        made.start()
        eventually(lambda: len(looks) > 5)
        assert made.state.error is not None
        assert made.state.error.startswith("The folder for backups cannot be written to.")
        assert made.state.last_backup is None
        assert len([each for each in caplog.records if each.levelno == logging.ERROR]) == 1
        folder.unlink()
        eventually(lambda: made.state.last_backup)
        made.close()
    assert made.state == backups.BackupState(made.state.last_backup)
    assert "backups are made again" in caplog.text
    assert str(tmp_path) not in caplog.text


def test_damage_is_found_by_the_backup_and_the_old_ones_stay(database: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bucket"
    folder.mkdir()
    old = [folder / backup.backup_name(datetime.now(UTC) - number * DAY) for number in (2, 3)]
    for path in old:
        path.touch()
    spoil(database)
    made = Backups(database, folder, DAY, keep=1, settled_seconds=0)
    made.start()
    eventually(lambda: not made.state.whole)
    made.close()
    assert made.state.error
    assert backup.backups_in(folder) == old


def test_without_a_folder_nothing_is_made(database: Path) -> None:
    made = Backups(database, None, DAY, keep=1, settled_seconds=0)
    made.start()
    made.close()
    assert made.state == backups.BackupState()


async def test_a_running_server_backs_up_and_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "bucket"

    def hurried(app: Any) -> None:
        app.state.backups._settled_seconds = 0.0

    async with (
        running(tmp_path / "data", prepare=hurried, backup_dir=folder) as world,
        world.browser() as browser,
    ):
        await ask(browser)
        state = world.app.state.backups
        async with asyncio.timeout(WAIT_SECONDS):
            while state.state.last_backup is None:
                assert (await browser.get("/api/bootstrap")).status_code == 200
                await asyncio.sleep(0.02)
        answer = await browser.get("/metrics")
    found = samples(answer.text)
    assert found["playground_backup_failing", ()] == 0
    assert found["playground_database_whole", ()] == 1
    assert found["playground_backup_timestamp_seconds", ()] == state.state.last_backup.timestamp()
    assert verify(backup.backups_in(folder)[0]).messages >= 0


def run(folder: Path, *words: str, answer: str = "") -> tuple[int, str]:
    """One command on this data folder: its exit status and all that it said."""
    result = CliRunner().invoke(cli, [*words, "--data-dir", str(folder)], input=answer)
    return result.exit_code, result.output


def test_the_commands_make_check_and_restore(database: Path, tmp_path: Path) -> None:
    folder = database.parent
    code, said = run(folder, "backup")
    assert (code, "1 conversations with 1 messages" in said) == (0, True)
    (made,) = backup.backups_in(folder / "backups")
    assert run(folder, "check") == (0, "The database is whole: 1 conversations with 1 messages.\n")
    spoil(database)
    code, said = run(folder, "check")
    assert code == 1
    assert f"python app.py restore --data-dir {folder} {made}" in said
    code, said = run(folder, "restore", answer="n\n")
    assert code == 1
    assert run(folder, "check")[0] == 1
    code, said = run(folder, "restore", answer="y\n")
    assert code == 0
    assert "is kept as" in said
    assert "sign in again" in said
    assert run(folder, "check")[0] == 0
    code, said = run(folder, "backup", str(tmp_path / "own name"))
    assert (code, verify(tmp_path / "own name")) == (0, Content(1, 1, 1))


def test_the_commands_refuse_with_one_sentence(database: Path, tmp_path: Path) -> None:
    folder = database.parent
    before = database.read_bytes()
    assert run(tmp_path / "new", "backup") == (1, f"{backup.NO_DATABASE}\n")
    assert run(tmp_path / "new", "check") == (1, f"{backup.NO_DATABASE}\n")
    assert run(folder, "restore", str(tmp_path / "none")) == (1, f"{backup.NO_SUCH_FILE}\n")
    code, said = run(folder, "restore")
    assert (code, said.startswith("There is no backup in")) == (1, True)
    (tmp_path / "foreign").write_text("recipes")
    assert run(folder, "restore", "--yes", str(tmp_path / "foreign")) == (1, f"{backup.NOT_A_BACKUP}\n")
    code, said = run(folder, "restore", str(tmp_path / "foreign"), answer="n\n")
    assert (code, "in the place of" in said) == (1, True), "a named file is asked about, too"
    assert database.read_bytes() == before
    store = Store.open(database)
    try:
        assert run(folder, "backup", str(tmp_path / "copy"))[0] == 0  # also while it runs
        code, said = run(folder, "restore", "--yes", str(tmp_path / "copy"))
        assert (code, "Another playground" in said) == (1, True)
    finally:
        store.close()


def test_who_finds_a_damaged_database_is_told_the_way_back(database: Path, tmp_path: Path) -> None:
    settings = settings_for(database.parent, backup_dir=tmp_path / "bucket")
    restore = f"python app.py restore --data-dir {database.parent}"
    assert how_to_restore(settings).endswith(f"{restore} FILE")
    own = database.parent / "backups" / backup.backup_name(datetime.now(UTC))
    backup.backup(database, own)
    assert how_to_restore(settings).endswith(f"{restore} {own}")
    scheduled = tmp_path / "bucket" / backup.backup_name(datetime.now(UTC) - DAY)
    backup.backup(database, scheduled)
    assert how_to_restore(settings).endswith(f"{restore} {scheduled}")


def test_a_folder_for_backups_that_is_none_is_told_at_the_start(
    database: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    made = Backups(database, tmp_path / "file" / "bucket", DAY, keep=2, settled_seconds=3600)
    made.start()
    eventually(lambda: made.state.error)
    made.close()
    assert "The folder for backups cannot be written to." in caplog.text
    code, said = run(database.parent, "backup", str(tmp_path / "file" / "copy"))
    assert (code, said.startswith("The folder for backups cannot")) == (1, True)

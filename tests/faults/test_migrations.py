"""A migration from every past version is killed at random changes of the file, and run again."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from storage.errors import StorageError
from storage.migrate import configuration, prepare
from storage.store import Store
from tests.conftest import Scale
from tests.faults.conftest import Tell
from tests.faults.killing import Plan, killed_in_migration
from tests.faults.sqlite_vfs import Operation, watched
from tests.faults.workload import unsound
from tests.storage.old_database import make_old_database, upgrade_to

SEED = 20_260_505
PLANTED = 12
NO_FILE = "nothing"
PAST = [
    NO_FILE,
    *sorted(script.revision for script in ScriptDirectory.from_config(configuration()).walk_revisions())[:-1],
]
"""All versions before this one, and none at all."""
NAME = "playground.sqlite3"


def database_of(folder: Path, revision: str) -> Path:
    """What this version left behind."""
    path = folder / NAME
    if revision == NO_FILE:
        folder.mkdir()
    else:
        make_old_database(path)
        upgrade_to(path, revision)
    return path


def content(path: Path) -> list[str]:
    """All tables and rows; those of the search are compared with the texts elsewhere."""
    with closing(sqlite3.connect(path)) as connection:
        names = connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
        rows = [repr(row) for row in names]
        for name, sql in names:
            if str(sql).startswith("CREATE TABLE") and not name.startswith("search_"):
                rows += sorted(repr(row) for row in connection.execute(f'SELECT * FROM "{name}"'))  # noqa: S608
    return rows


def changes_of(path: Path) -> int:
    """How many changes of files the migration takes."""
    changes = []

    def count(operation: Operation) -> int:
        changes.append(operation.kind)
        return 0

    with watched(path.parent, count):
        prepare(path)
    return len(changes)


def faults_of(folder: Path, revision: str, kills: int, hasty: bool = False) -> tuple[list[str], int]:
    """What differs from a migration in peace, and how many processes died."""
    origin = database_of(folder / "origin", revision)
    peace = folder / "peace" / NAME
    shutil.copytree(origin.parent, peace.parent)
    changes = changes_of(peace)
    right = content(peace)
    found, died = [], 0
    for number in range(kills):
        seed = SEED + number
        path = folder / f"killed{number}" / NAME
        shutil.copytree(origin.parent, path.parent)
        chance = random.Random(seed)
        for _ in range(2):
            plan = Plan(path, seed, chance.randrange(1, changes), chance.random() < 0.5, hasty)
            died += killed_in_migration(plan)
        try:
            prepare(path)
            wrong = [] if content(path) == right else ["another content"]
            prepare(path)
            wrong += [] if content(path) == right else ["another content the second time"]
            Store.open(path).close()
            wrong += unsound(path)
        except StorageError as error:
            wrong = [error.code]
        found += [f"seed {seed}: {each}" for each in wrong]
        shutil.rmtree(path.parent)
    return found, died


@pytest.mark.parametrize("revision", PAST)
def test_a_killed_migration_can_be_run_again(tmp_path: Path, scale: Scale, tell: Tell, revision: str) -> None:
    found, died = faults_of(tmp_path, revision, scale(4, 60))
    tell(f"{died} kills from seed {SEED}, {len(found)} faults")
    assert found == []
    assert died > 0


def test_a_migration_in_pieces_is_found_out(tmp_path: Path) -> None:
    found, _ = faults_of(tmp_path, PAST[1], PLANTED, hasty=True)
    assert found


@pytest.mark.parametrize("revision", PAST[1:])
def test_what_a_past_version_left_open_is_interrupted(tmp_path: Path, revision: str) -> None:
    path = database_of(tmp_path / "data", revision)
    Store.open(path).close()
    assert unsound(path) == []

"""Opening files of every kind: none, ours, newer, damaged, somebody else's."""

from __future__ import annotations

import re
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from storage.errors import DatabaseCorrupt, DatabaseTooNew, StorageError
from storage.migrate import configuration, prepare
from storage.schema_base import Base
from storage.store import Store
from tests.storage.helpers import begin, identity

ROOT = Path(__file__).parents[2]


def tables(path: Path) -> dict[str, str]:
    """Every table and index with its statement, without differences of space."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name <> 'alembic_version'"
        )
        return {name: words(sql) for name, sql in rows}


def words(sql: str) -> str:
    """A table that was made anew has its name in quotes."""
    return re.sub(r'^CREATE TABLE "(\w+)"', r"CREATE TABLE \1", " ".join(sql.split()))


def folder(path: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in path.parent.iterdir()}


def test_the_migrations_make_the_tables_of_the_models_word_for_word(tmp_path: Path) -> None:
    migrated, made = tmp_path / "migrated.db", tmp_path / "made.db"
    prepare(migrated)
    engine = create_engine(f"sqlite:///{made}")
    Base.metadata.create_all(engine)
    engine.dispose()

    def parts(path: Path) -> dict[str, list[str]]:
        """The order of a table's constraints does not matter."""
        return {name: sorted(sql.rstrip(" )").split(", ")) for name, sql in tables(path).items()}

    assert parts(migrated) == parts(made)
    assert set(Base.metadata.tables) <= set(parts(made))


def is_no_index(name: str | None, kind: str, _parents: object) -> bool:
    """The tables of the search are none of the models'."""
    return kind != "table" or not str(name).startswith("search_")


def test_alembic_finds_nothing_to_migrate(path: Path) -> None:
    prepare(path)
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": is_no_index})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_there_is_one_line_of_migrations() -> None:
    assert len(ScriptDirectory.from_config(configuration()).get_heads()) == 1


def test_folder_and_file_are_private(path: Path) -> None:
    store = Store.open(path)
    try:
        store.user_for_identity(identity("owner"))
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert {stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()} == {0o600}
    finally:
        store.close()


def test_opening_again_changes_nothing(path: Path) -> None:
    Store.open(path).close()
    before = tables(path)
    Store.open(path).close()
    assert tables(path) == before
    assert before


KILLED_BEFORE_THE_COMMIT = """
import os, signal, sys
from pathlib import Path
from alembic import command
from storage.migrate import prepare

upgrade = command.upgrade

def upgrade_and_die(*arguments):
    upgrade(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)

command.upgrade = upgrade_and_die
prepare(Path(sys.argv[1]))
"""


def test_a_migration_that_is_killed_leaves_nothing_behind_and_runs_again(path: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-c", KILLED_BEFORE_THE_COMMIT, str(path)], cwd=ROOT, timeout=60, check=False
    )
    assert child.returncode == -9
    assert tables(path) == {}
    Store.open(path).close()
    assert set(Base.metadata.tables) <= set(tables(path))


@pytest.mark.parametrize("name", ["with space & 100%.db", "ünï?#.db", "%20.db"])
def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    Store.open(tmp_path / name).close()
    Store.open(tmp_path / name).close()
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_an_empty_file_becomes_a_database(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    Store.open(path).close()
    assert "messages" in tables(path)


def test_a_newer_database_is_refused_and_left_as_it_is(path: Path) -> None:
    store = Store.open(path)
    begin(store, store.user_for_identity(identity("owner")).id)
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.execute("ALTER TABLE users ADD COLUMN invented_later TEXT")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(DatabaseTooNew) as caught:
        Store.open(path)
    assert "newer version" in str(caught.value)
    assert path.read_bytes() == before
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT status FROM generations").fetchall() == [("queued",)]


@pytest.mark.parametrize(
    "content", [b"not a database at all\n" * 100, b"x", b"SQLite format 3\0" + b"\xff" * 5000]
)
def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(DatabaseCorrupt):
        Store.open(path)
    assert folder(path) == {path.name: content}


def test_a_database_of_another_program_is_refused_and_left_as_it_is(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    before = folder(path)
    with pytest.raises(DatabaseCorrupt):
        Store.open(path)
    assert folder(path) == before


@pytest.mark.parametrize("name", ["messages", "ix_generations_user_message_id"])
def test_a_damaged_page_is_found_at_the_start(path: Path, name: str) -> None:
    store = Store.open(path)
    owner = store.user_for_identity(identity("owner")).id
    for number in range(30):
        begin(store, owner, f"question {number} " * 200)
    store.close()
    data = bytearray(path.read_bytes())
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    data[(page - 1) * size : page * size] = b"\xa5" * size
    path.write_bytes(data)
    with pytest.raises(DatabaseCorrupt):
        Store.open(path)
    assert path.read_bytes() == bytes(data)


def test_a_first_page_that_was_half_written_is_taken_from_the_log(path: Path, tmp_path: Path) -> None:
    """As after a loss of power while the log was copied into the file."""
    store = Store.open(path)
    owner = store.user_for_identity(identity("owner")).id
    turn = begin(store, owner, "still here\n" * 5000)  # the file grows, which its first page says
    torn = tmp_path / "torn" / path.name
    torn.parent.mkdir()
    for name in (path.name, f"{path.name}-wal"):
        (torn.parent / name).write_bytes((path.parent / name).read_bytes())
    store.close()
    torn.write_bytes(b"\xa5" * 512 + torn.read_bytes()[512:])
    again = Store.open(torn)
    try:
        assert again.path(owner, turn.conversation.id) == [turn.user_message]
    finally:
        again.close()


def test_what_is_no_database_is_refused_beside_a_log_too(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\xa5" * 4096)
    path.with_name(f"{path.name}-wal").write_bytes(b"\xa5" * 64)
    with pytest.raises(DatabaseCorrupt):
        Store.open(path)
    assert path.read_bytes() == b"\xa5" * 4096


def test_a_truncated_database_is_refused(path: Path) -> None:
    Store.open(path).close()
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(DatabaseCorrupt):
        Store.open(path)


def test_a_folder_in_place_of_the_file_is_told_without_its_name(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(StorageError) as caught:
        Store.open(path)
    assert "playground.db" not in str(caught.value)


def test_a_file_in_place_of_the_folder_is_told_without_its_name(path: Path) -> None:
    path.parent.write_text("in the way")
    with pytest.raises(StorageError) as caught:
        Store.open(path)
    assert str(caught.value) == (
        "The data folder cannot be written to. Check its rights, or choose another one."
    )

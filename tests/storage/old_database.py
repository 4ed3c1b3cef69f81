"""A database as an older version of the playground left it, with everything in it that one can hold."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from alembic import command
from sqlalchemy import NullPool

from storage.column_types import pack_ids
from storage.database import connect
from storage.migrate import configuration
from tests.storage.helpers import identity

OWNER, STRANGER = "o" * 32, "s" * 32
TIME = "2025-01-02 03:04:05.000600"


class OldDatabase:
    """Writes rows of the first tables."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, table: str, **values: Any) -> None:
        """One row."""
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        self._connection.execute(
            f"INSERT INTO {table} ({names}) VALUES ({marks})",  # noqa: S608
            tuple(values.values()),
        )

    def user(self, user_id: str, name: str, theme: str) -> None:
        """A user with preferences."""
        self.add("users", id=user_id, identity_hash=identity(name), created_at=TIME, last_seen_at=TIME)
        self.add("preferences", owner_id=user_id, effort="high", show_reasoning=1, theme=theme)

    def conversation(
        self, number: int, owner: str, leaf: str | None = None, instructions: str | None = None
    ) -> None:
        """A conversation; its number is its place among the changes."""
        self.add(
            "conversations",
            id=f"c{number}",
            owner_id=owner,
            title=f"title {number}",
            instructions=instructions,
            leaf_id=leaf,
            updated_sequence=number,
            created_at=TIME,
            updated_at=TIME.replace("2025", str(2010 + number)),
        )

    def message(
        self,
        name: str,
        talk: str,
        parent: str | None,
        generation: str | None = None,
        channel: str | None = None,
    ) -> None:
        """A message whose text is its name."""
        self.add(
            "messages",
            id=name,
            conversation_id=talk,
            parent_id=parent,
            generation_id=generation,
            role="user" if generation is None else "assistant",
            channel=channel,
            content=f"text {name}",
            complete=1,
            recovered=0,
            token_count=7,
            created_at=TIME,
        )

    def generation(self, name: str, talk: str, owner: str, question: str, status: str = "finished") -> None:
        """A reply with figures of its own."""
        self.add(
            "generations",
            id=name,
            conversation_id=talk,
            user_message_id=question,
            owner_id=owner,
            client_id=f"client {name}",
            status=status,
            effort="low",
            temperature=0.5,
            top_p=0.25,
            seed=2**53,
            max_tokens=99,
            model="demo",
            revision="r1",
            prompt_tokens=1,
            cached_tokens=2,
            completion_tokens=3,
            reasoning_tokens=4,
            final_tokens=5,
            queued_seconds=0.1,
            ttft_seconds=0.2,
            total_seconds=0.3,
            tokens_per_second=0.4,
            reasoning_seconds=0.5,
            finish_reason="length",
            error="e",
            error_code="c",
            created_at=TIME,
            started_at=TIME,
            finished_at=None if status == "running" else TIME,
            prompt_ids=pack_ids(range(200)),
        )
        self.add("output_tokens", generation_id=name, start=0, ids=pack_ids([1, 2]))


def upgrade_to(path: Path, revision: str) -> None:
    """Run the migrations up to this one; the file may be missing."""
    engine = connect(str(path), "BEGIN IMMEDIATE", ("journal_mode=WAL", "foreign_keys=OFF"), NullPool)
    with engine.begin() as connection:
        config = configuration()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def make_old_database(path: Path) -> None:
    """The first tables: branches, a failed reply, an open one, an empty conversation, and two owners."""
    path.parent.mkdir()
    upgrade_to(path, "0001")
    with closing(sqlite3.connect(path)) as raw:
        database = OldDatabase(raw)
        database.user(OWNER, "owner", "dark")
        database.user(STRANGER, "stranger", "light")
        # shown: q1 a1 f1 q2 f2; beside it the newer branch q2b f2b
        database.conversation(1, OWNER, "f2", 'Answer in capitals: "ja"\n')
        database.message("q1", "c1", None)
        database.generation("g1", "c1", OWNER, "q1")
        database.message("a1", "c1", "q1", "g1", "analysis")
        database.message("f1", "c1", "a1", "g1", "final")
        for name in ("2", "2b"):
            database.message(f"q{name}", "c1", "f1")
            database.generation(f"g{name}", "c1", OWNER, f"q{name}")
            database.message(f"f{name}", "c1", f"q{name}", f"g{name}", "final")
        # a reply that failed before its first message, and the question after it, still being answered
        database.conversation(3, OWNER, "f4")
        database.message("q3", "c3", None)
        database.generation("g3", "c3", OWNER, "q3", "failed")
        database.message("q4", "c3", "q3")
        database.generation("g4", "c3", OWNER, "q4", "running")
        database.message("f4", "c3", "q4", "g4", "final")
        database.conversation(4, OWNER)
        database.conversation(1 + 1, STRANGER, "q9")
        database.message("q9", "c2", None)
        raw.commit()
        assert raw.execute("PRAGMA foreign_key_check").fetchall() == []

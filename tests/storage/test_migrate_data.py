"""A database that the first tables hold is brought along, with all that is in it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import NullPool

from inference.types import Channel, FinishReason, ReasoningEffort, Role, Timings, Usage
from storage.column_types import pack_ids
from storage.database import connect
from storage.migrate import configuration
from storage.records import ChatSettings, GenerationStatus, Preferences, SearchKind, Theme
from storage.store import Store
from tests.storage.helpers import begin, identity

OWNER, STRANGER = "o" * 32, "s" * 32
TIME = "2025-01-02 03:04:05.000600"
WHEN = datetime(2025, 1, 2, 3, 4, 5, 600, tzinfo=UTC)
ALL = frozenset(SearchKind)


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


@pytest.fixture
def old(path: Path) -> Path:
    """Branches, a failed reply, an open one, an empty conversation, and two owners."""
    path.parent.mkdir()
    engine = connect(str(path), "BEGIN IMMEDIATE", ("journal_mode=WAL", "foreign_keys=OFF"), NullPool)
    with engine.begin() as connection:
        config = configuration()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
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
    return path


@pytest.fixture
def migrated(old: Path) -> Iterator[Store]:
    """The same, opened by this version."""
    store = Store.open(old)
    yield store
    store.close()


def texts(store: Store, talk: str) -> list[str]:
    return [message.content.removeprefix("text ") for message in store.path(OWNER, talk)]


def test_users_and_what_they_set_are_there(migrated: Store) -> None:
    assert migrated.user_for_identity(identity("owner")).id == OWNER
    assert migrated.get_preferences(OWNER) == Preferences(ReasoningEffort.HIGH, True, Theme.DARK)
    assert migrated.get_preferences(STRANGER).theme is Theme.LIGHT


def test_conversations_keep_order_title_times_and_instructions(migrated: Store) -> None:
    items, _ = migrated.list_conversations(OWNER)
    assert [item.title for item in items] == ["title 4", "title 3", "title 1"]
    assert [item.id for item in migrated.list_conversations(STRANGER)[0]] == ["c2"]
    item = items[-1]
    assert item.settings == ChatSettings(instructions='Answer in capitals: "ja"\n')
    assert (item.created_at, item.updated_at) == (WHEN, WHEN.replace(year=2011))
    assert (item.title_by_hand, item.pinned, item.archived) == (True, False, False)
    assert items[0].settings == ChatSettings()
    assert (items[0].leaf_id, migrated.path(OWNER, "c4")) == (None, [])


def test_the_shown_branch_is_shown_and_the_others_are_remembered(migrated: Store) -> None:
    assert texts(migrated, "c1") == ["q1", "a1", "f1", "q2", "f2"]
    first, thought, _, second, _ = migrated.path(OWNER, "c1")
    assert (first.siblings, first.replies, first.reply) == (("q1",), ("g1",), "g1")
    assert (second.siblings, second.replies, second.reply) == (("q2", "q2b"), ("g2",), "g2")
    assert (thought.role, thought.channel, thought.token_count) == (Role.ASSISTANT, Channel.ANALYSIS, 7)
    assert thought.created_at == WHEN
    migrated.select_branch(OWNER, "c1", message_id="q1")
    assert texts(migrated, "c1") == ["q1", "a1", "f1", "q2", "f2"]
    migrated.select_branch(OWNER, "c1", message_id="q2b")
    assert texts(migrated, "c1") == ["q1", "a1", "f1", "q2b", "f2b"]
    assert texts(migrated, "c3") == ["q3", "q4", "f4"]
    assert migrated.path(OWNER, "c3")[0].reply == "g3"


def test_replies_keep_all_figures_and_tokens(migrated: Store) -> None:
    reply = migrated.get_generation(OWNER, "g1")
    assert (reply.status, reply.finish_reason) == (GenerationStatus.FINISHED, FinishReason.LENGTH)
    assert (reply.temperature, reply.top_p, reply.seed, reply.max_tokens) == (0.5, 0.25, 2**53, 99)
    assert reply.usage == Usage(prompt=1, cached=2, completion=3, reasoning=4, final=5)
    assert (reply.timings, reply.reasoning_seconds) == (Timings(0.1, 0.2, 0.3, 0.4), 0.5)
    assert (reply.model, reply.revision, reply.error, reply.error_code) == ("demo", "r1", "e", "c")
    assert (reply.created_at, reply.started_at, reply.finished_at) == (WHEN, WHEN, WHEN)
    assert (reply.continues_id, reply.mode, reply.primed_tokens, reply.dropped_turns) == (None, None, 0, 0)
    tokens = migrated.generation_tokens(OWNER, "g1")
    assert (tokens.prompt_ids, tokens.output_ids) == (tuple(range(200)), (1, 2))
    again = migrated.find_turn(OWNER, "client g1")
    assert again is not None
    assert again.generation == reply
    assert migrated.get_generation(OWNER, "g4").status is GenerationStatus.INTERRUPTED


def test_everything_is_found(migrated: Store) -> None:
    for query, kind in (
        ("title", SearchKind.TITLE),
        ("q1", SearchKind.QUESTION),
        ("f1", SearchKind.ANSWER),
        ("a1", SearchKind.REASONING),
        ("f4", SearchKind.ANSWER),  # was being written when the last process ended
    ):
        hits, _ = migrated.search(OWNER, query, ALL)
        assert {hit.kind for hit in hits} == {kind}, query
    assert migrated.search(OWNER, "q9", ALL) == ([], None)
    assert len(migrated.search(STRANGER, "q9", ALL)[0]) == 1


def test_it_goes_on_and_can_be_opened_again(migrated: Store, old: Path) -> None:
    before = migrated.changes(OWNER).sequence
    turn = begin(migrated, OWNER, "more", conversation_id="c1")
    assert (turn.user_message.parent_id, turn.conversation.sequence) == ("f2", before + 1)
    assert migrated.list_conversations(OWNER)[0][0].id == "c1"
    migrated.close()
    again = Store.open(old)
    try:
        assert texts(again, "c1")[-1] == "more"
    finally:
        again.close()
    with closing(sqlite3.connect(old)) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert raw.execute("PRAGMA foreign_key_check").fetchall() == []

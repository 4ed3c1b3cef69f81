"""What is read is what was written, or it is not shown."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from sqlalchemy import NullPool

from inference.types import Channel, Message, Role
from storage import checksums
from storage.checksums import row_checksum
from storage.database import connect
from storage.drafts import ConversationDraft, GenerationDraft, MessageNode
from storage.errors import DatabaseCorrupt
from storage.migrate import configuration
from storage.records import ChatSettings, MessageDraft, new_id
from storage.store import Store
from tests.storage.accounts_helpers import EVERY_KIND, Things, fill
from tests.storage.helpers import begin, draft, finish, identity

DAMAGES = {
    "content": "'Answer walrus'",
    "role": "'tool'",
    "channel": "'analysis'",
    "recipient": "'functions.x'",
    "name": "'x'",
    "content_type": "'x'",
    "complete": "0",
    "recovered": "1",
    "token_count": "token_count + 1",
    "id": "'x' || substr(id, 2)",
    "generation_id": "NULL",
    "checksum": "checksum + 1",
}
"""Another value for each column that a message has."""


def damage(path: Path, statement: str) -> None:
    """Change what is stored behind the store's back."""
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute(statement).rowcount == 1
        raw.commit()


@pytest.fixture
def things(store: Store) -> Things:
    return fill(store, "cookie", "walrus")


def readings(store: Store, things: Things) -> dict[str, Callable[[], object]]:
    """Every way out for the last message of the first conversation."""
    user, talk = things.user, things.conversation
    (generation,) = store.conversation_generations(user, talk)
    return {
        "path": lambda: store.path(user, talk),
        "export": lambda: store.export_conversation(user, talk),
        "messages": lambda: store.generation_messages(user, generation.id),
        "search": lambda: store.search(user, "answer", EVERY_KIND),
    }


@pytest.mark.parametrize("column", sorted(DAMAGES))
def test_a_damaged_column_is_never_shown(store: Store, path: Path, things: Things, column: str) -> None:
    ways = readings(store, things)
    for read in ways.values():
        read()
    last = "content = 'answer walrus'"
    damage(path, f"UPDATE messages SET {column} = {DAMAGES[column]} WHERE {last}")  # noqa: S608
    if column == "generation_id":
        del ways["messages"]  # it is the question that it is asked by
    for name, read in ways.items():
        with pytest.raises(DatabaseCorrupt) as caught:
            pytest.fail(f"{name} shows {read()}")
        assert "python app.py restore" in str(caught.value), name
        assert "walrus" not in str(caught.value)


@pytest.mark.parametrize(
    "statement", ["DELETE FROM messages WHERE {}", "UPDATE messages SET parent_id = NULL WHERE {}"]
)
def test_a_path_with_a_gap_is_never_shown(store: Store, path: Path, things: Things, statement: str) -> None:
    damage(path, statement.format("content = 'thought walrus'"))
    for read in (store.path, store.export_conversation):
        with pytest.raises(DatabaseCorrupt):
            read(things.user, things.conversation)


def test_a_path_in_another_order_is_never_shown(store: Store, path: Path, things: Things) -> None:
    damage(path, "UPDATE messages SET sequence = 10000 WHERE content = 'thought walrus'")
    for read in (store.path, store.export_conversation):
        with pytest.raises(DatabaseCorrupt):
            read(things.user, things.conversation)


def test_a_lost_end_is_noticed(store: Store, path: Path, things: Things) -> None:
    damage(path, "DELETE FROM messages WHERE content = 'answer walrus'")
    with pytest.raises(DatabaseCorrupt):
        store.path(things.user, things.conversation)


def test_a_damaged_question_is_not_asked_again(store: Store, path: Path, things: Things) -> None:
    damage(path, "UPDATE messages SET content = 'question Walrus' WHERE content = 'question walrus'")
    with pytest.raises(DatabaseCorrupt):
        store.find_turn(things.user, "client 1")
    question = "SELECT id FROM messages WHERE content = 'question Walrus'"
    with closing(sqlite3.connect(path)) as raw:
        (message,) = raw.execute(question).fetchone()
    with pytest.raises(DatabaseCorrupt):
        begin(store, things.user, conversation_id=things.conversation, regenerate=message)


@pytest.mark.parametrize("table", ["search_messages", "search_titles"])
def test_a_damaged_index_is_never_quoted(store: Store, path: Path, things: Things, table: str) -> None:
    damage(
        path,
        f"UPDATE {table}_content SET c0 = replace(c0, 'walrus', 'Walrus') "  # noqa: S608
        "WHERE c0 IN ('answer walrus', 'title walrus')",
    )
    with pytest.raises(DatabaseCorrupt):
        store.search(things.user, "walrus", EVERY_KIND)


@pytest.mark.parametrize(
    "change", ["snapshot = 'x'", "include_reasoning = 0", "title = 'x'", "message_count = 5", "checksum = 0"]
)
def test_a_damaged_share_is_not_shown(store: Store, path: Path, things: Things, change: str) -> None:
    assert store.shared_snapshot(things.share_token)
    damage(path, f"UPDATE shares SET {change}")  # noqa: S608
    with pytest.raises(DatabaseCorrupt):
        store.shared_snapshot(things.share_token)


@pytest.mark.parametrize(
    "change",
    ["role = 'usor'", "created_at = 'yesterday'", "content = CAST(x'ff' AS TEXT)", "content = x'ff'"],
)
def test_what_is_no_value_at_all_is_damage_too(store: Store, path: Path, things: Things, change: str) -> None:
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA ignore_check_constraints = ON")
        raw.execute(f"UPDATE messages SET {change} WHERE content = 'answer walrus'")  # noqa: S608
        raw.commit()
    with pytest.raises(DatabaseCorrupt):
        store.path(things.user, things.conversation)


def test_with_checksums_off_a_damaged_text_is_shown(
    store: Store, path: Path, things: Things, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hole that the tests above are about."""
    damage(path, "UPDATE messages SET content = 'Answer walrus' WHERE content = 'answer walrus'")
    monkeypatch.setattr("storage.tree.check_message", lambda _: None)
    assert store.path(things.user, things.conversation)[-1].content == "Answer walrus"


def test_a_reply_that_grows_is_whole_at_every_save(store: Store, owner: str) -> None:
    turn = begin(store, owner)
    first, second = draft(0, "a"), draft(1, "b", Channel.FINAL)
    for step in range(5):
        grown = [
            replace(first, message=replace(first.message, content="a" * step), complete=step > 2),
            replace(second, message=replace(second.message, content="ü" * step), token_count=step),
        ]
        store.save_progress(owner, turn.generation.id, grown, [1] * step)
        assert [each.content for each in store.path(owner, turn.conversation.id)[1:]] == [
            "a" * step,
            "ü" * step,
        ]
    finish(store, owner, turn.generation.id, messages=[replace(second, complete=True)])
    assert store.path(owner, turn.conversation.id)[-1].complete


def test_what_was_put_in_can_be_read(store: Store, owner: str) -> None:
    now, generation = datetime.now(UTC), GenerationDraft("g")
    nodes = (
        MessageNode("q", None, Message(Role.USER, "walrus\0\n"), now),
        MessageNode(
            "t", "q", Message(Role.TOOL, "", name="functions.x", recipient="assistant"), now, generation
        ),
        MessageNode(
            "a", "t", Message(Role.ASSISTANT, "𝒲", Channel.FINAL, recovered=True), now, generation, False
        ),
    )
    talk = store.insert_conversation(owner, ConversationDraft("t", ChatSettings(), now, nodes))
    assert [each.content for each in store.path(owner, talk.id)] == ["walrus\0\n", "", "𝒲"]


def test_each_covered_field_counts() -> None:
    row: list[Any] = ["i", "c", None, None, Role.USER, None, None, None, "text", None, True, False, 0]
    assert len(row) == len(checksums.COVERED)
    others: list[Any] = ["x", "x", "x", "x", Role.TOOL, "x", "x", "x", "x", "x", False, True, 7]
    changed = [[*row[:place], other, *row[place + 1 :]] for place, other in enumerate(others)]
    assert len({checksums.message_checksum(*each) for each in [row, *changed]}) == len(row) + 1


def test_a_row_and_its_columns_have_the_same_checksum(store: Store, owner: str) -> None:
    turn = begin(store, owner)
    reply = MessageDraft(
        new_id(), 0, Message(Role.ASSISTANT, "x", Channel.FINAL, "a", "b", "c", True), 3, True
    )
    store.save_progress(owner, turn.generation.id, [reply], [])
    (message,) = store.generation_messages(owner, turn.generation.id)
    with store._database.read() as session:
        stored = session.connection().exec_driver_sql("SELECT checksum FROM messages ORDER BY sequence").all()
    assert row_checksum(message) == stored[-1][0]


def test_the_migration_gives_everything_its_checksum(path: Path) -> None:
    """Rows of the tables before, of every kind, can be read afterwards."""
    path.parent.mkdir()
    engine = connect(str(path), "BEGIN IMMEDIATE", ("journal_mode=WAL", "foreign_keys=OFF"), NullPool)
    with engine.begin() as connection:
        config = configuration()
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
    time = "2025-01-02 03:04:05.000600"
    user, talk = "u" * 32, "c" * 32
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("INSERT INTO users VALUES (1, ?, ?, 1, 0, ?, ?)", (user, identity("cookie"), time, time))
        raw.execute("INSERT INTO preferences VALUES (?, 'high', 1, 'dark', '{}')", (user,))
        raw.execute(
            "INSERT INTO conversations VALUES (1, ?, ?, 't', 1, 0, 0, '{}', 'a', 'q', 1, ?, ?, NULL)",
            (talk, user, time, time),
        )
        columns = (
            "id, conversation_id, parent_id, generation_id, role, channel, recipient, name, content, "
            "content_type, complete, recovered, token_count, created_at"
        )
        for row in (
            ("q", talk, None, None, "user", None, None, None, "wälrus\0 ", None, 1, 0, 0, time),
            ("a", talk, "q", "g", "assistant", "final", "r", "n", "", "code", 0, 1, 12345, time),
        ):
            marks = ", ".join("?" * len(row))
            raw.execute(f"INSERT INTO messages ({columns}) VALUES ({marks})", row)  # noqa: S608
        raw.execute(
            "INSERT INTO generations VALUES (1, 'g', ?, 'q', ?, NULL, 'finished', 'low', 0.5, 0.5, 1, 9,"
            " 'demo', 'r', 1, 2, 3, 4, 0, 5, 0, 0, 0, 0, 0, 'stop', NULL, NULL, NULL, 0, NULL, 0, 0,"
            " NULL, ?, ?, ?, x'')",
            (talk, user, time, time, time),
        )
        raw.execute(
            "INSERT INTO shares VALUES (1, 's', 'token', ?, ?, 'tïtle', 1, 2, ?, 'snäpshot')",
            (user, talk, time),
        )
        raw.commit()
    store = Store.open(path)
    try:
        assert [message.content for message in store.path(user, talk)] == ["wälrus\0 ", ""]
        assert len(store.export_conversation(user, talk).messages) == 2
        assert store.shared_snapshot("token")[1] == "snäpshot"
        assert store.user_for_identity(identity("cookie")).id == user
    finally:
        store.close()

"""A database that the first tables hold is brought along, with all that is in it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from inference.types import Channel, FinishReason, ReasoningEffort, Role, Timings, Usage
from storage.records import ChatSettings, GenerationStatus, Preferences, SearchKind, Theme
from storage.store import Store
from tests.storage.helpers import begin, identity
from tests.storage.old_database import OWNER, STRANGER, make_old_database

WHEN = datetime(2025, 1, 2, 3, 4, 5, 600, tzinfo=UTC)
ALL = frozenset(SearchKind)


@pytest.fixture
def old(path: Path) -> Path:
    """Branches, a failed reply, an open one, an empty conversation, and two owners."""
    make_old_database(path)
    return path


@pytest.fixture
def migrated(old: Path) -> Iterator[Store]:
    """The same, opened by this version."""
    store = Store.open(old)
    yield store
    store.close()


def texts(store: Store, talk: str) -> list[str]:
    return [message.content.removeprefix("text ") for message in store.path(OWNER, talk)]


def test_the_log_tells_of_a_change_that_may_take_long_and_of_nothing_else(
    old: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="storage")
    Store.open(tmp_path / "new" / "playground.sqlite3").close()
    assert caplog.messages == []
    for _ in range(2):
        Store.open(old).close()
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("The database is brought to this version's tables")


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

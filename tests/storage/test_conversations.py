"""Conversations: list, read, rename, delete, and their paths."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select

from inference.types import Channel, ReasoningEffort, Role
from storage.errors import InvalidText, InvalidValue, NotFound
from storage.records import ChatSettings, MessageRecord, WhenFull
from storage.schema import ConversationRow, GenerationRow, MessageRow, OutputTokensRow
from storage.store import Store
from tests.storage.helpers import begin, draft, finish


def contents(messages: list[MessageRecord]) -> list[str]:
    return [message.content for message in messages]


def answered(store: Store, owner: str, text: str, answer: str, conversation_id: str | None = None) -> str:
    """A whole turn; returns the conversation's id."""
    turn = begin(store, owner, text, conversation_id=conversation_id)
    reply = draft(0, answer, Channel.FINAL, complete=True)
    finish(store, owner, turn.generation.id, messages=[reply], output_ids=[1, 2])
    return turn.conversation.id


def test_the_list_is_newest_first_and_comes_in_pages(store: Store, owner: str) -> None:
    ids = [answered(store, owner, f"question {number}", "answer") for number in range(7)]
    seen: list[str] = []
    cursor = None
    sizes = []
    while True:
        page, cursor = store.list_conversations(owner, 3, cursor)
        seen += [item.id for item in page]
        sizes.append(len(page))
        if cursor is None:
            break
    assert seen == ids[::-1]
    assert sizes == [3, 3, 1]


def test_a_full_last_page_has_no_next(store: Store, owner: str) -> None:
    for number in range(3):
        answered(store, owner, f"question {number}", "answer")
    page, cursor = store.list_conversations(owner, 3)
    assert len(page) == 3
    assert cursor is None


def test_a_new_turn_moves_a_conversation_to_the_top(store: Store, owner: str) -> None:
    first = answered(store, owner, "first", "answer")
    second = answered(store, owner, "second", "answer")
    answered(store, owner, "again", "answer", first)
    assert [item.id for item in store.list_conversations(owner)[0]] == [first, second]


def test_a_page_stays_whole_when_the_newest_is_deleted_between_pages(store: Store, owner: str) -> None:
    ids = [answered(store, owner, f"question {number}", "answer") for number in range(5)]
    page, cursor = store.list_conversations(owner, 2)
    store.delete_conversation(owner, page[0].id)
    following, _ = store.list_conversations(owner, 5, cursor)
    assert [item.id for item in following] == ids[2::-1]


@pytest.mark.parametrize("cursor", ["", "abc", "-1", "1.5", "١", "9" * 40, "\0"])
def test_a_cursor_that_is_none_of_ours_is_refused(store: Store, owner: str, cursor: str) -> None:
    with pytest.raises(InvalidValue):
        store.list_conversations(owner, 3, cursor)


@pytest.mark.parametrize("limit", [0, -1, 201])
def test_a_limit_outside_of_the_bounds_is_refused(store: Store, owner: str, limit: int) -> None:
    with pytest.raises(InvalidValue):
        store.list_conversations(owner, limit)


def test_the_list_and_the_conversation_name_the_open_generation(store: Store, owner: str) -> None:
    turn = begin(store, owner)
    (item,), _ = store.list_conversations(owner)
    assert item.running_generation_id == turn.generation.id
    assert store.get_conversation(owner, item.id) == item
    finish(store, owner, turn.generation.id)
    (item,), _ = store.list_conversations(owner)
    assert item.running_generation_id is None


def test_the_path_goes_from_the_root_to_the_leaf(store: Store, owner: str) -> None:
    conversation = answered(store, owner, "one", "1")
    answered(store, owner, "two", "2", conversation)
    path = store.path(owner, conversation)
    assert contents(path) == ["one", "1", "two", "2"]
    assert [message.parent_id for message in path] == [None, *(message.id for message in path[:-1])]
    assert [message.role for message in path] == [Role.USER, Role.ASSISTANT] * 2
    assert path[-1].id == store.get_conversation(owner, conversation).leaf_id
    assert contents(store.path(owner, conversation, path[1].id)) == ["one", "1"]


def test_branches_share_their_trunk(store: Store, owner: str) -> None:
    conversation = answered(store, owner, "one", "1")
    trunk = store.path(owner, conversation)[-1]
    answered(store, owner, "two", "2", conversation)
    old_leaf = store.get_conversation(owner, conversation).leaf_id
    turn = begin(store, owner, "other", conversation_id=conversation, parent_id=trunk.id)
    finish(store, owner, turn.generation.id, messages=[draft(0, "o", Channel.FINAL)])
    assert contents(store.path(owner, conversation)) == ["one", "1", "other", "o"]
    assert contents(store.path(owner, conversation, old_leaf)) == ["one", "1", "two", "2"]
    assert len(store.conversation_generations(owner, conversation)) == 3


def test_a_leaf_of_another_conversation_is_not_found(store: Store, owner: str) -> None:
    one = answered(store, owner, "one", "1")
    two = answered(store, owner, "two", "2")
    leaf = store.get_conversation(owner, two).leaf_id
    for wrong in (leaf, "", "0" * 32):
        with pytest.raises(NotFound):
            store.path(owner, one, wrong)


def test_generations_of_a_conversation_are_listed_oldest_first(store: Store, owner: str) -> None:
    conversation = answered(store, owner, "one", "1")
    answered(store, owner, "two", "2", conversation)
    generations = store.conversation_generations(owner, conversation)
    users = [message.id for message in store.path(owner, conversation) if message.role is Role.USER]
    assert [generation.user_message_id for generation in generations] == users


def test_what_is_given_changes_and_the_rest_stays(store: Store, owner: str) -> None:
    conversation = answered(store, owner, "one", "1")
    before = store.get_conversation(owner, conversation)
    changed = store.update_conversation(owner, conversation, title="Sums", title_by_hand=True)
    assert changed == replace(before, title="Sums", title_by_hand=True, sequence=before.sequence + 1)
    settings = ChatSettings(
        instructions="Answer in capitals.",
        effort=ReasoningEffort.LOW,
        temperature=0.0,
        seed=0,
        show_reasoning=False,
        when_full=WhenFull.DROP_OLDEST,
    )
    changed = store.update_conversation(owner, conversation, settings=settings, pinned=True, archived=True)
    assert changed == replace(
        before,
        title="Sums",
        title_by_hand=True,
        settings=settings,
        pinned=True,
        archived=True,
        sequence=before.sequence + 2,
    )
    assert store.get_conversation(owner, conversation) == changed
    assert store.update_conversation(owner, conversation, pinned=True) == changed
    changed = store.update_conversation(owner, conversation, settings=ChatSettings(), pinned=False)
    assert (changed.settings, changed.pinned, changed.archived) == (ChatSettings(), False, True)


def test_a_lone_surrogate_in_a_title_changes_nothing(store: Store, owner: str) -> None:
    conversation = answered(store, owner, "one", "1")
    before = store.get_conversation(owner, conversation)
    with pytest.raises(InvalidText):
        store.update_conversation(owner, conversation, title="broken \ud83d", pinned=True)
    assert store.get_conversation(owner, conversation) == before


def test_purging_takes_messages_generations_and_tokens_along(store: Store, owner: str) -> None:
    kept = answered(store, owner, "kept", "1")
    gone = answered(store, owner, "gone", "2")
    turn = begin(store, owner, "still open", conversation_id=gone)
    store.save_progress(owner, turn.generation.id, [draft(0, "half")], [5])
    store.delete_conversation(owner, gone)
    assert store.purge_deleted(datetime.now(UTC)) == [gone]
    with pytest.raises(NotFound):
        store.get_conversation(owner, gone)
    with pytest.raises(NotFound):
        store.save_progress(owner, turn.generation.id, [], [5, 6])
    assert contents(store.path(owner, kept)) == ["kept", "1"]
    with store._database.read() as session:
        counts = [
            session.scalar(select(func.count()).select_from(table))
            for table in (ConversationRow, MessageRow, GenerationRow, OutputTokensRow)
        ]
    assert counts == [1, 2, 1, 1]


def test_a_reply_of_two_thousand_messages_can_be_read_and_deleted(store: Store, owner: str) -> None:
    turn = begin(store, owner)
    drafts = [draft(index, str(index)) for index in range(2000)]
    store.save_progress(owner, turn.generation.id, drafts, [])
    assert contents(store.path(owner, turn.conversation.id))[1:] == [str(index) for index in range(2000)]
    store.delete_conversation(owner, turn.conversation.id)
    assert store.list_conversations(owner) == ([], None)
    assert store.purge_deleted(datetime.now(UTC)) == [turn.conversation.id]


def test_deleting_twice_says_that_it_is_gone(store: Store, owner: str) -> None:
    conversation = answered(store, owner, "one", "1")
    store.delete_conversation(owner, conversation)
    with pytest.raises(NotFound):
        store.delete_conversation(owner, conversation)

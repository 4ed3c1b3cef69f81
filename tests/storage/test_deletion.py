"""Deleting with undo, the list's order and its changes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage.conversations import LARGEST_PAGE
from storage.drafts import ConversationDraft
from storage.errors import NotFound
from storage.records import Changes, ChatSettings, GenerationStatus, SearchKind
from storage.store import Store
from tests.storage.helpers import begin, draft, finish

ALL = frozenset(SearchKind)


def talk(store: Store, owner: str, text: str) -> str:
    turn = begin(store, owner, text)
    finish(store, owner, turn.generation.id, messages=[draft(0, f"{text} answered", complete=True)])
    return turn.conversation.id


def listed(store: Store, owner: str, archived: bool = False) -> list[str]:
    return [item.id for item in store.list_conversations(owner, 30, None, archived)[0]]


def test_what_is_deleted_is_hidden_everywhere_and_comes_back(store: Store, owner: str) -> None:
    turn = begin(store, owner, "pelican", client_id="once")
    finish(store, owner, turn.generation.id, messages=[draft(0, "a bird")])
    gone, kept = turn.conversation.id, talk(store, owner, "heron")
    share = store.create_share(owner, gone, title="t", include_reasoning=False, snapshot="s", message_count=1)
    before = store.get_conversation(owner, gone)
    hidden: list[Callable[[], object]] = [
        lambda: store.get_conversation(owner, gone),
        lambda: store.path(owner, gone),
        lambda: store.conversation_generations(owner, gone),
        lambda: store.export_conversation(owner, gone),
        lambda: store.select_branch(owner, gone, message_id=turn.user_message.id),
        lambda: store.update_conversation(owner, gone, title="x"),
        lambda: store.open_generation(owner, gone),
        lambda: begin(store, owner, conversation_id=gone),
        lambda: store.find_turn(owner, "once"),
        lambda: store.get_generation(owner, turn.generation.id),
        lambda: store.generation_messages(owner, turn.generation.id),
        lambda: store.generation_tokens(owner, turn.generation.id),
        lambda: store.shared_snapshot(share.token),
        lambda: store.delete_share(owner, share.id),
        lambda: store.create_share(
            owner, gone, title="t", include_reasoning=False, snapshot="s", message_count=1
        ),
    ]
    store.delete_conversation(owner, gone)
    for call in hidden:
        with pytest.raises(NotFound):
            call()
    assert listed(store, owner) == store.conversation_ids(owner) == [kept]
    assert store.search(owner, "pelican", ALL) == ([], None)
    assert store.list_shares(owner) == []
    back = store.restore_conversation(owner, gone)
    assert (back.title, back.updated_at) == (before.title, before.updated_at)
    assert listed(store, owner) == [kept, gone]
    assert len(store.search(owner, "pelican", ALL)[0]) == 2
    assert store.shared_snapshot(share.token) == (share, "s")
    assert store.restore_conversation(owner, gone) == back


def test_only_what_was_deleted_long_ago_is_purged(store: Store, owner: str) -> None:
    gone, back = talk(store, owner, "one"), talk(store, owner, "two")
    store.delete_conversation(owner, gone)
    store.delete_conversation(owner, back)
    assert store.purge_deleted(datetime.now(UTC) - timedelta(minutes=1)) == []
    store.restore_conversation(owner, back)
    assert store.purge_deleted(datetime.now(UTC)) == [gone]
    with pytest.raises(NotFound):
        store.restore_conversation(owner, gone)
    assert listed(store, owner) == [back]


def test_the_next_start_purges_what_was_deleted(path: Path, store: Store, owner: str) -> None:
    gone, kept = talk(store, owner, "one"), talk(store, owner, "two")
    store.delete_conversation(owner, gone)
    store.close()
    again = Store.open(path)
    try:
        with pytest.raises(NotFound):
            again.restore_conversation(owner, gone)
        assert listed(again, owner) == [kept]
    finally:
        again.close()


def test_a_reply_that_runs_in_a_deleted_conversation_keeps_its_text(store: Store, owner: str) -> None:
    turn = begin(store, owner)
    store.delete_conversation(owner, turn.conversation.id)
    store.mark_running(owner, turn.generation.id, "demo", "r1")
    store.save_progress(owner, turn.generation.id, [draft(0, "half")], [1])
    finish(store, owner, turn.generation.id, status=GenerationStatus.CANCELLED)
    assert store.restore_conversation(owner, turn.conversation.id).running_generation_id is None
    assert store.path(owner, turn.conversation.id)[-1].content == "half"


def test_pinned_ones_come_first_and_archived_ones_have_their_own_list(store: Store, owner: str) -> None:
    one, two, three, four = (talk(store, owner, text) for text in ("one", "two", "three", "four"))
    store.update_conversation(owner, one, pinned=True)
    store.update_conversation(owner, two, pinned=True)
    store.update_conversation(owner, four, archived=True)
    store.update_conversation(owner, three, title="a new title does not move it")
    assert listed(store, owner) == [two, one, three]
    assert listed(store, owner, archived=True) == [four]
    assert store.conversation_ids(owner) == [four, three, two, one]


def test_pages_tell_everything_once_though_others_move(store: Store, owner: str) -> None:
    ids = [talk(store, owner, str(number)) for number in range(8)]
    for pinned in ids[:3]:
        store.update_conversation(owner, pinned, pinned=True)
    page, cursor = store.list_conversations(owner, 2)
    seen = [item.id for item in page]
    begin(store, owner, conversation_id=ids[0])  # moves to the top of the pinned ones
    talk(store, owner, "new")
    store.update_conversation(owner, seen[0], archived=True)
    while cursor is not None:
        page, cursor = store.list_conversations(owner, 2, cursor)
        seen += [item.id for item in page]
    assert seen == [ids[2], ids[1], seen[2], *ids[:2:-1]]


def test_a_clock_that_goes_back_does_not_change_the_order(store: Store, owner: str) -> None:
    first = talk(store, owner, "one")
    ahead = datetime.now(UTC) + timedelta(days=1)
    store._database.write(
        lambda session: session.connection().exec_driver_sql(
            "UPDATE conversations SET updated_at = ?", (ahead.strftime("%Y-%m-%d %H:%M:%S.%f"),)
        )
    )
    second = talk(store, owner, "two")
    assert listed(store, owner) == [second, first]


def test_changes_name_what_changed_since(store: Store, owner: str, stranger: str) -> None:
    start = store.changes(owner)
    assert start == Changes(sequence=0)
    one, two, three = (talk(store, owner, text) for text in ("one", "two", "three"))
    talk(store, stranger, "theirs")
    seen = store.changes(owner, 0)
    assert [item.id for item in seen.conversations] == [one, two, three]
    assert (seen.removed, seen.complete) == ((), True)
    assert store.changes(owner, seen.sequence) == Changes(sequence=seen.sequence)
    store.update_conversation(owner, one, title="new")
    store.delete_conversation(owner, two)
    turn = begin(store, owner, conversation_id=three)
    later = store.changes(owner, seen.sequence)
    assert [(item.id, item.running_generation_id) for item in later.conversations] == [
        (one, None),
        (three, turn.generation.id),
    ]
    assert later.removed == (two,)
    assert max(item.sequence for item in later.conversations) == later.sequence
    finish(store, owner, turn.generation.id)
    store.restore_conversation(owner, two)
    last = store.changes(owner, later.sequence)
    assert [item.id for item in last.conversations] == [three, two]
    assert last.removed == ()


def test_changes_say_when_they_are_not_all(store: Store, owner: str) -> None:
    gone = talk(store, owner, "gone")
    before = store.changes(owner).sequence
    drafts = [ConversationDraft(str(n), ChatSettings(), datetime.now(UTC), ()) for n in range(LARGEST_PAGE)]
    store.insert_conversations(owner, drafts)
    assert store.changes(owner, before).complete
    talk(store, owner, "one more")
    assert store.changes(owner, before).complete is False
    assert store.changes(owner, store.changes(owner).sequence + 1).complete is False
    now = store.changes(owner).sequence
    store.delete_conversation(owner, gone)
    deleted = store.changes(owner, now).sequence
    assert store.changes(owner, now).removed == (gone,)
    store.purge_deleted(datetime.now(UTC))
    assert store.changes(owner, now) == Changes(sequence=deleted, complete=False)
    assert store.changes(owner, deleted) == Changes(sequence=deleted)
    assert begin(store, owner).conversation.sequence > deleted


def test_a_reply_that_a_crash_ended_is_a_change(path: Path, store: Store, owner: str) -> None:
    turn = begin(store, owner)
    before = store.changes(owner).sequence
    store.close()
    again = Store.open(path)
    try:
        (item,) = again.changes(owner, before).conversations
        assert (item.id, item.running_generation_id) == (turn.conversation.id, None)
    finally:
        again.close()

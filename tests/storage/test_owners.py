"""Two owners never meet, whichever method is called.

Every public method of the store has a case here; a new method without one fails the first test. A case
calls the method with an id of the owner's or with an id that never existed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from inference.types import Channel, Message, ReasoningEffort, Role, Timings, Usage
from storage.drafts import ConversationDraft
from storage.errors import NotFound
from storage.records import Changes, ChatSettings, MessageDraft, SearchKind, TurnRecord, new_id
from storage.store import Store
from tests.storage.helpers import begin, draft, finish, identity, response

ABSENT = "0" * 32


@dataclass(frozen=True)
class Ids:
    """What a case may ask for."""

    conversation: str
    message: str
    generation: str
    share: str
    preset: str
    response: str


Case = Callable[[Store, str, Ids], object]

BY_ID: dict[str, Case] = {
    "begin_turn": lambda store, who, ids: begin(store, who, conversation_id=ids.conversation),
    "get_conversation": lambda store, who, ids: store.get_conversation(who, ids.conversation),
    "path": lambda store, who, ids: store.path(who, ids.conversation),
    "conversation_generations": lambda store, who, ids: store.conversation_generations(who, ids.conversation),
    "update_conversation": lambda store, who, ids: store.update_conversation(
        who, ids.conversation, title="x"
    ),
    "delete_conversation": lambda store, who, ids: store.delete_conversation(who, ids.conversation),
    "restore_conversation": lambda store, who, ids: store.restore_conversation(who, ids.conversation),
    "select_branch": lambda store, who, ids: store.select_branch(
        who, ids.conversation, message_id=ids.message
    ),
    "export_conversation": lambda store, who, ids: store.export_conversation(who, ids.conversation),
    "create_share": lambda store, who, ids: store.create_share(
        who, ids.conversation, title="x", include_reasoning=True, snapshot="x", message_count=1
    ),
    "delete_share": lambda store, who, ids: store.delete_share(who, ids.share),
    "update_preset": lambda store, who, ids: store.update_preset(who, ids.preset, name="x"),
    "delete_preset": lambda store, who, ids: store.delete_preset(who, ids.preset),
    "get_response": lambda store, who, ids: store.get_response(who, ids.response),
    "response_chain": lambda store, who, ids: store.response_chain(who, ids.response),
    "delete_response": lambda store, who, ids: store.delete_response(who, ids.response),
    "open_generation": lambda store, who, ids: store.open_generation(who, ids.conversation),
    "get_generation": lambda store, who, ids: store.get_generation(who, ids.generation),
    "generation_messages": lambda store, who, ids: store.generation_messages(who, ids.generation),
    "generation_tokens": lambda store, who, ids: store.generation_tokens(who, ids.generation),
    "mark_running": lambda store, who, ids: store.mark_running(who, ids.generation, "x", "x"),
    "save_progress": lambda store, who, ids: store.save_progress(who, ids.generation, [draft(0, "x")], [1]),
    "finish_generation": lambda store, who, ids: finish(store, who, ids.generation),
    "await_results": lambda store, who, ids: store.await_results(
        who, ids.generation, usage=Usage(), timings=Timings()
    ),
    "answers_to": lambda store, who, ids: store.answers_to(who, ids.generation),
}
"""Methods that take the id of something."""

BY_OWNER = {
    "list_conversations",
    "conversation_ids",
    "changes",
    "get_preferences",
    "update_preferences",
    "find_turn",
    "list_presets",
    "create_preset",
    "list_shares",
    "search",
    "insert_conversation",
    "insert_conversations",
    "save_response",
    "find_responses",
    "all_responses",
    "stored_bytes",
}
"""Methods that take the owner alone; each has a test of its own below."""

BY_USER = {
    "account_of",
    "take_over",
    "delete_user",
    "sessions_of",
    "end_session",
    "end_sessions",
    "add_key",
    "keys_of",
    "revoke_key",
    "add_usage",
    "usage_of",
    "set_ban",
    "set_role",
    "check_may_leave",
}
"""Methods about a user himself; tests/storage/test_sessions_keys.py lets two of them meet."""

WITHOUT_OWNER = {
    "open",
    "open_in_memory",
    "close",
    "user_for_identity",
    "add_owner",
    "purge_deleted",
    "forget_responses",
    "forget_owners",
    "shared_snapshot",
    "sign_in",
    "has_guest",
    "session_for",
    "key_for",
    "access_token_of",
    "tidy_sessions",
    "users_overview",
    "user_counts",
    "admins",
    "totals",
}
"""Methods that come before any owner is known, are about all of them, or are for everybody."""


@pytest.fixture
def turn(store: Store, owner: str) -> TurnRecord:
    """A running reply of the owner."""
    turn = begin(store, owner, "a secret question")
    store.save_progress(owner, turn.generation.id, [draft(0, "a secret thought")], [4, 5])
    return turn


@pytest.fixture
def ids(store: Store, owner: str, turn: TurnRecord) -> Ids:
    """What the owner has."""
    share = store.create_share(
        owner, turn.conversation.id, title="t", include_reasoning=True, snapshot="s", message_count=1
    )
    preset = store.create_preset(owner, "mine", ChatSettings(seed=1))
    store.save_response(owner, response("resp_mine"))
    return Ids(
        turn.conversation.id, turn.user_message.id, turn.generation.id, share.id, preset.id, "resp_mine"
    )


def everything(store: Store, owner: str, turn: TurnRecord) -> list[Any]:
    """All that the owner can see."""
    return [
        store.list_conversations(owner),
        store.path(owner, turn.conversation.id),
        store.conversation_generations(owner, turn.conversation.id),
        store.generation_tokens(owner, turn.generation.id),
        store.get_preferences(owner),
        store.list_presets(owner),
        store.list_shares(owner),
        list(store.all_responses(owner)),
        store.changes(owner),
    ]


def test_every_public_method_is_sorted_into_a_group_here() -> None:
    public = {name for name, _ in inspect.getmembers(Store, callable) if not name.startswith("_")}
    assert public == set(BY_ID) | BY_OWNER | BY_USER | WITHOUT_OWNER


@pytest.mark.parametrize("name", sorted(set(BY_ID) | BY_OWNER))
def test_the_owner_is_the_first_parameter(name: str) -> None:
    assert list(inspect.signature(getattr(Store, name)).parameters)[1] == "owner_id"


@pytest.mark.parametrize("name", sorted(BY_USER))
def test_the_user_is_the_first_parameter(name: str) -> None:
    assert list(inspect.signature(getattr(Store, name)).parameters)[1] == "user_id"


@pytest.mark.parametrize("name", sorted(BY_ID))
def test_a_foreign_id_reads_like_an_absent_one_and_changes_nothing(
    store: Store, owner: str, stranger: str, turn: TurnRecord, ids: Ids, name: str
) -> None:
    before = everything(store, owner, turn)
    answers = []
    for asked in (ids, Ids(ABSENT, ABSENT, ABSENT, ABSENT, ABSENT, ABSENT)):
        with pytest.raises(NotFound) as caught:
            BY_ID[name](store, stranger, asked)
        answers.append((type(caught.value), str(caught.value), caught.value.code))
    assert answers[0] == answers[1]
    assert everything(store, owner, turn) == before
    assert store.list_conversations(stranger) == ([], None)


@pytest.mark.parametrize("name", sorted(set(BY_ID) - {"begin_turn"}))
def test_the_owner_may(store: Store, owner: str, ids: Ids, name: str) -> None:
    """The other side: the same call fits the owner, so the refusal above is about ownership."""
    if name == "save_progress":
        store.save_progress(owner, ids.generation, [draft(1, "x")], [4, 5, 6])
    else:
        BY_ID[name](store, owner, ids)


def test_a_foreign_message_is_no_parent_and_no_leaf(
    store: Store, owner: str, stranger: str, turn: TurnRecord
) -> None:
    theirs = begin(store, stranger)
    finish(store, stranger, theirs.generation.id)
    for message in (turn.user_message.id, ABSENT):
        with pytest.raises(NotFound):
            begin(store, stranger, conversation_id=theirs.conversation.id, parent_id=message)
        with pytest.raises(NotFound):
            store.path(stranger, theirs.conversation.id, message)


def test_lists_hold_only_what_is_theirs(store: Store, owner: str, stranger: str, turn: TurnRecord) -> None:
    theirs = begin(store, stranger)
    assert [item.id for item in store.list_conversations(owner)[0]] == [turn.conversation.id]
    assert [item.id for item in store.list_conversations(stranger)[0]] == [theirs.conversation.id]
    assert store.list_conversations(ABSENT) == ([], None)
    assert store.conversation_ids(owner) == [turn.conversation.id]
    assert store.conversation_ids(stranger) == [theirs.conversation.id]
    assert store.conversation_ids(ABSENT) == []
    assert [item.id for item in store.changes(stranger, 0).conversations] == [theirs.conversation.id]
    assert store.changes(ABSENT, 0) == Changes(0)


def test_presets_and_shares_are_apart(store: Store, owner: str, stranger: str, ids: Ids) -> None:
    assert [each.id for each in store.list_presets(owner)] == [ids.preset]
    assert [each.id for each in store.list_shares(owner)] == [ids.share]
    for other in (stranger, ABSENT):
        assert store.list_presets(other) == []
        assert store.list_shares(other) == store.list_shares(other, ids.conversation) == []
    assert store.create_preset(stranger, "mine", ChatSettings()).name == "mine"


@pytest.mark.parametrize("kind", SearchKind)
def test_a_search_finds_only_what_is_theirs(
    store: Store, owner: str, stranger: str, turn: TurnRecord, kind: SearchKind
) -> None:
    drafts = [
        draft(0, "a secret thought", complete=True),
        MessageDraft(new_id(), 1, Message(Role.TOOL, "a secret result", recipient="assistant")),
        draft(2, "a secret answer", Channel.FINAL),
    ]
    finish(
        store,
        owner,
        turn.generation.id,
        messages=[
            replace(drafts[0], id=store.generation_messages(owner, turn.generation.id)[0].id),
            *drafts[1:],
        ],
    )
    begin(store, stranger, "a public question")
    assert len(store.search(owner, "secret", frozenset([kind]))[0]) == 1
    for other in (stranger, ABSENT):
        assert store.search(other, "secret", frozenset(SearchKind)) == ([], None)


def test_nothing_is_made_for_an_unknown_owner(store: Store) -> None:
    with pytest.raises(NotFound):
        store.create_preset(ABSENT, "x", ChatSettings())
    with pytest.raises(NotFound):
        store.insert_conversation(ABSENT, ConversationDraft("x", ChatSettings(), datetime.now(UTC), ()))
    assert store.list_conversations(ABSENT) == ([], None)


def test_preferences_are_apart(store: Store, owner: str, stranger: str) -> None:
    before = store.get_preferences(stranger)
    store.update_preferences(owner, effort=ReasoningEffort.LOW, show_reasoning=True)
    assert store.get_preferences(stranger) == before
    assert store.user_for_identity(identity("stranger")).id == stranger

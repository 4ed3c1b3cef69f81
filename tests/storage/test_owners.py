"""Two owners never meet, whichever method is called.

Every public method of the store has a case here; a new method without one fails the first test. A case
calls the method with an id of the owner's or with an id that never existed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from inference.types import ReasoningEffort
from storage.errors import NotFound
from storage.records import TurnRecord
from storage.store import Store
from tests.storage.helpers import begin, draft, finish, identity

ABSENT = "0" * 32


@dataclass(frozen=True)
class Ids:
    """What a case may ask for."""

    conversation: str
    message: str
    generation: str


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
    "open_generation": lambda store, who, ids: store.open_generation(who, ids.conversation),
    "get_generation": lambda store, who, ids: store.get_generation(who, ids.generation),
    "generation_messages": lambda store, who, ids: store.generation_messages(who, ids.generation),
    "generation_tokens": lambda store, who, ids: store.generation_tokens(who, ids.generation),
    "mark_running": lambda store, who, ids: store.mark_running(who, ids.generation, "x", "x"),
    "save_progress": lambda store, who, ids: store.save_progress(who, ids.generation, [draft(0, "x")], [1]),
    "finish_generation": lambda store, who, ids: finish(store, who, ids.generation),
}
"""Methods that take the id of something."""

BY_OWNER = {"list_conversations", "get_preferences", "update_preferences", "find_turn"}
"""Methods that take the owner alone; each has a test of its own below."""

WITHOUT_OWNER = {"open", "close", "user_for_identity"}
"""Methods that come before any owner is known."""


@pytest.fixture
def turn(store: Store, owner: str) -> TurnRecord:
    """A running reply of the owner."""
    turn = begin(store, owner, "a secret question")
    store.save_progress(owner, turn.generation.id, [draft(0, "a secret thought")], [4, 5])
    return turn


def everything(store: Store, owner: str, turn: TurnRecord) -> list[Any]:
    """All that the owner can see."""
    return [
        store.list_conversations(owner),
        store.path(owner, turn.conversation.id),
        store.conversation_generations(owner, turn.conversation.id),
        store.generation_tokens(owner, turn.generation.id),
        store.get_preferences(owner),
    ]


def test_every_public_method_is_sorted_into_a_group_here() -> None:
    public = {name for name, _ in inspect.getmembers(Store, callable) if not name.startswith("_")}
    assert public == set(BY_ID) | BY_OWNER | WITHOUT_OWNER


@pytest.mark.parametrize("name", sorted(set(BY_ID) | BY_OWNER))
def test_the_owner_is_the_first_parameter(name: str) -> None:
    assert list(inspect.signature(getattr(Store, name)).parameters)[1] == "owner_id"


@pytest.mark.parametrize("name", sorted(BY_ID))
def test_a_foreign_id_reads_like_an_absent_one_and_changes_nothing(
    store: Store, owner: str, stranger: str, turn: TurnRecord, name: str
) -> None:
    before = everything(store, owner, turn)
    foreign = Ids(turn.conversation.id, turn.user_message.id, turn.generation.id)
    answers = []
    for ids in (foreign, Ids(ABSENT, ABSENT, ABSENT)):
        with pytest.raises(NotFound) as caught:
            BY_ID[name](store, stranger, ids)
        answers.append((type(caught.value), str(caught.value), caught.value.code))
    assert answers[0] == answers[1]
    assert everything(store, owner, turn) == before
    assert store.list_conversations(stranger) == ([], None)


@pytest.mark.parametrize("name", sorted(set(BY_ID) - {"begin_turn"}))
def test_the_owner_may(store: Store, owner: str, turn: TurnRecord, name: str) -> None:
    """The other side: the same call fits the owner, so the refusal above is about ownership."""
    ids = Ids(turn.conversation.id, turn.user_message.id, turn.generation.id)
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


def test_preferences_are_apart(store: Store, owner: str, stranger: str) -> None:
    before = store.get_preferences(stranger)
    store.update_preferences(owner, effort=ReasoningEffort.LOW, show_reasoning=True)
    assert store.get_preferences(stranger) == before
    assert store.user_for_identity(identity("stranger")).id == stranger

"""The beginning of a turn: one commit, safe to repeat."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from inference.types import ReasoningEffort, Role, SamplingParams
from storage.errors import Conflict, InvalidText, InvalidValue, NotFound
from storage.records import GenerationStatus, TurnRecord
from storage.schema import ConversationRow, GenerationRow, MessageRow
from storage.store import Store
from tests.storage.helpers import SAMPLING, begin, draft, finish


def row_counts(store: Store) -> list[int]:
    with store._database.read() as session:
        return [
            session.scalar(select(func.count()).select_from(table)) or 0
            for table in (ConversationRow, MessageRow, GenerationRow)
        ]


def test_a_first_turn_makes_conversation_message_and_generation(store: Store, owner: str) -> None:
    turn = begin(store, owner, "What is 12 + 30?", title="Sum", client_id="once", prompt_ids=[1, 2**32 - 1])
    assert turn.existing is False
    assert turn.conversation.title == "Sum"
    assert turn.conversation.leaf_id == turn.user_message.id
    assert turn.conversation.running_generation_id == turn.generation.id
    message = turn.user_message
    assert (message.role, message.content, message.complete) == (Role.USER, "What is 12 + 30?", True)
    assert (message.parent_id, message.generation_id) == (None, None)
    generation = turn.generation
    assert generation.status is GenerationStatus.QUEUED
    assert generation.effort is ReasoningEffort.HIGH
    assert (generation.temperature, generation.top_p) == (SAMPLING.temperature, SAMPLING.top_p)
    assert (generation.seed, generation.max_tokens) == (SAMPLING.seed, SAMPLING.max_tokens)
    assert (generation.model, generation.revision, generation.client_id) == ("demo", "", "once")
    assert (generation.started_at, generation.finished_at, generation.finish_reason) == (None, None, None)
    assert generation.usage.prompt == 2
    assert store.generation_tokens(owner, generation.id).prompt_ids == (1, 2**32 - 1)
    assert store.get_generation(owner, generation.id) == generation
    assert store.get_conversation(owner, turn.conversation.id) == turn.conversation
    assert store.path(owner, turn.conversation.id) == [message]


def test_a_second_turn_continues_at_the_leaf(store: Store, owner: str) -> None:
    first = begin(store, owner)
    reply = draft(0, "42")
    finish(store, owner, first.generation.id, messages=[reply])
    second = begin(store, owner, "And 1 more?", conversation_id=first.conversation.id, title="ignored")
    assert second.user_message.parent_id == reply.id
    assert second.conversation.title == first.conversation.title
    assert second.conversation.updated_at > first.conversation.updated_at
    assert second.user_message.sequence > first.user_message.sequence


def test_the_same_client_id_gives_the_same_turn_and_writes_nothing(store: Store, owner: str) -> None:
    first = begin(store, owner, client_id="abc")
    before = row_counts(store)
    again = begin(store, owner, "something else", client_id="abc")
    assert again == TurnRecord(first.conversation, first.user_message, first.generation, existing=True)
    assert row_counts(store) == before
    finish(store, owner, first.generation.id)
    assert begin(store, owner, client_id="abc").generation.status is GenerationStatus.FINISHED


def test_a_turn_is_found_by_its_client_id_and_only_by_its_owner(
    store: Store, owner: str, stranger: str
) -> None:
    turn = begin(store, owner, client_id="abc")
    found = store.find_turn(owner, "abc")
    assert found is not None
    assert (found.generation, found.user_message) == (turn.generation, turn.user_message)
    assert found.existing
    assert store.find_turn(owner, "abd") is None
    assert store.find_turn(stranger, "abc") is None


def test_a_client_id_is_of_one_owner(store: Store, owner: str, stranger: str) -> None:
    mine = begin(store, owner, client_id="abc")
    theirs = begin(store, stranger, client_id="abc")
    assert theirs.existing is False
    assert theirs.conversation.id != mine.conversation.id


def test_turns_without_a_client_id_are_never_the_same(store: Store, owner: str) -> None:
    assert begin(store, owner).generation.id != begin(store, owner).generation.id


def test_eight_threads_with_one_client_id_begin_one_turn(store: Store, owner: str) -> None:
    with ThreadPoolExecutor(8) as threads:
        turns = list(threads.map(lambda _: begin(store, owner, client_id="abc"), range(24)))
    assert len({turn.generation.id for turn in turns}) == 1
    assert sum(not turn.existing for turn in turns) == 1
    assert row_counts(store) == [1, 1, 1]


def test_eight_threads_in_one_conversation_begin_one_turn(store: Store, owner: str) -> None:
    first = begin(store, owner)
    finish(store, owner, first.generation.id)

    def attempt(number: int) -> bool:
        try:
            begin(store, owner, str(number), conversation_id=first.conversation.id)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(attempt, range(8))) == 1
    assert row_counts(store) == [1, 2, 2]


@pytest.mark.parametrize("running", [False, True])
def test_a_conversation_that_answers_takes_no_second_turn(store: Store, owner: str, running: bool) -> None:
    first = begin(store, owner)
    if running:
        store.mark_running(owner, first.generation.id, "demo", "r1")
    with pytest.raises(Conflict, match="still answering"):
        begin(store, owner, conversation_id=first.conversation.id)
    assert row_counts(store) == [1, 1, 1]


def test_a_leaf_that_moved_is_a_conflict(store: Store, owner: str) -> None:
    first = begin(store, owner)
    rendered_from = first.conversation.leaf_id
    finish(store, owner, first.generation.id, messages=[draft(0, "42")])
    with pytest.raises(Conflict):
        begin(store, owner, conversation_id=first.conversation.id, expected_leaf_id=rendered_from)
    leaf = store.get_conversation(owner, first.conversation.id).leaf_id
    begin(store, owner, conversation_id=first.conversation.id, expected_leaf_id=leaf)


def test_a_parent_outside_of_the_conversation_is_not_found(store: Store, owner: str) -> None:
    first, other = begin(store, owner), begin(store, owner)
    finish(store, owner, first.generation.id)
    before = row_counts(store)
    for parent in (other.user_message.id, "0" * 32, ""):
        with pytest.raises(NotFound):
            begin(store, owner, conversation_id=first.conversation.id, parent_id=parent)
    with pytest.raises(NotFound):
        begin(store, owner, parent_id=first.user_message.id)  # a new conversation has no parent yet
    assert row_counts(store) == before


def test_an_unknown_owner_or_conversation_is_not_found(store: Store, owner: str) -> None:
    with pytest.raises(NotFound):
        begin(store, "0" * 32)
    with pytest.raises(NotFound):
        begin(store, owner, conversation_id="0" * 32)
    assert row_counts(store) == [0, 0, 0]


@pytest.mark.parametrize("field", ["text", "title", "model", "client_id"])
def test_a_lone_surrogate_is_refused_and_nothing_is_written(store: Store, owner: str, field: str) -> None:
    with pytest.raises(InvalidText) as caught:
        begin(store, owner, **{field: "half \udc00 pair"})
    assert isinstance(caught.value, ValueError)
    assert caught.value.code == "invalid_text"
    assert row_counts(store) == [0, 0, 0]


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt_ids": [2**32]},
        {"prompt_ids": [-1]},
        {"sampling": SamplingParams(seed=2**63)},
        {"sampling": SamplingParams(temperature=float("nan"))},
        {"effort": "extreme"},
    ],
)
def test_values_that_do_not_fit_are_refused(store: Store, owner: str, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        begin(store, owner, **changes)
    assert row_counts(store) == [0, 0, 0]


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_every_valid_text_comes_back_as_it_was(store: Store, owner: str, text: str) -> None:
    turn = begin(store, owner, text)
    finish(store, owner, turn.generation.id, messages=[draft(0, text)])
    question, reply = store.path(owner, turn.conversation.id)
    assert (question.content, reply.content) == (text, text)


@pytest.mark.parametrize(
    "text", ["\0", "a\0b\0", "\U0010ffff\ufffe", "e\u0301", "\u202e<|end|>", " " * 100_000]
)
def test_awkward_texts_come_back_as_they_were(store: Store, owner: str, text: str) -> None:
    turn = begin(store, owner, text, title=text)
    assert store.path(owner, turn.conversation.id)[0].content == text
    assert store.get_conversation(owner, turn.conversation.id).title == text

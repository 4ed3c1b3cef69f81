"""Branches: editing, regenerating, continuing, and going back and forth between what came of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inference.types import Channel
from storage.errors import Conflict, InvalidValue, NotFound
from storage.records import GenerationStatus, MessageRecord, ReplyMode, TurnRecord
from storage.store import Store
from tests.storage.helpers import begin, draft, finish


def ended(store: Store, owner: str, turn: TurnRecord, *texts: str) -> TurnRecord:
    """Give a turn its reply."""
    drafts = [draft(index, text, Channel.FINAL, complete=True) for index, text in enumerate(texts)]
    finish(store, owner, turn.generation.id, messages=drafts)
    return turn


def shown(store: Store, owner: str, conversation_id: str) -> list[str]:
    return [message.content for message in store.path(owner, conversation_id)]


def questions(store: Store, owner: str, conversation_id: str) -> list[MessageRecord]:
    return [message for message in store.path(owner, conversation_id) if message.generation_id is None]


@pytest.fixture
def first(store: Store, owner: str) -> TurnRecord:
    """Two turns: one-1-two-2."""
    first = ended(store, owner, begin(store, owner, "one"), "think", "1")
    ended(store, owner, begin(store, owner, "two", conversation_id=first.conversation.id), "2")
    return first


def test_an_edit_is_a_sibling_also_of_the_first_question(store: Store, owner: str, first: TurnRecord) -> None:
    talk = first.conversation.id
    edit = begin(store, owner, "uno", conversation_id=talk, edit_of=first.user_message.id)
    assert edit.user_message.parent_id is None
    assert edit.user_message.siblings == (first.user_message.id, edit.user_message.id)
    assert (edit.user_message.replies, edit.user_message.reply) == ((edit.generation.id,), edit.generation.id)
    assert edit.conversation.leaf_id == edit.user_message.id
    ended(store, owner, edit, "1!")
    assert shown(store, owner, talk) == ["uno", "1!"]
    back = store.select_branch(owner, talk, message_id=first.user_message.id)
    assert shown(store, owner, talk) == ["one", "think", "1", "two", "2"]
    assert back == store.get_conversation(owner, talk)
    store.select_branch(owner, talk, generation_id=edit.generation.id)
    assert shown(store, owner, talk) == ["uno", "1!"]


def test_regenerating_makes_no_message_and_each_reply_keeps_its_continuation(
    store: Store, owner: str, first: TurnRecord
) -> None:
    talk, question = first.conversation.id, first.user_message
    again = begin(store, owner, conversation_id=talk, regenerate=question.id)
    assert again.user_message.id == question.id
    assert again.user_message.replies == (first.generation.id, again.generation.id)
    assert again.user_message.reply == again.generation.id
    ended(store, owner, again, "one again")
    assert shown(store, owner, talk) == ["one", "one again"]
    ended(store, owner, begin(store, owner, "three", conversation_id=talk), "3")
    for generation, texts in (
        (first.generation.id, ["one", "think", "1", "two", "2"]),
        (again.generation.id, ["one", "one again", "three", "3"]),
    ):
        store.select_branch(owner, talk, generation_id=generation)
        assert shown(store, owner, talk) == texts
        assert questions(store, owner, talk)[0].reply == generation
    assert len(store.export_conversation(owner, talk).messages) == 8


def test_a_message_inside_of_a_reply_selects_the_reply_and_keeps_its_continuation(
    store: Store, owner: str, first: TurnRecord
) -> None:
    talk = first.conversation.id
    thought = store.path(owner, talk)[1]
    ended(store, owner, begin(store, owner, conversation_id=talk, regenerate=first.user_message.id), "x")
    store.select_branch(owner, talk, message_id=thought.id)
    assert shown(store, owner, talk) == ["one", "think", "1", "two", "2"]


def test_a_question_below_the_middle_of_a_reply_can_be_left_again(
    store: Store, owner: str, first: TurnRecord
) -> None:
    talk = first.conversation.id
    _, thought, answer, *_ = store.path(owner, talk)
    ended(store, owner, begin(store, owner, "why", conversation_id=talk, parent_id=thought.id), "so")
    assert shown(store, owner, talk) == ["one", "think", "why", "so"]
    store.select_branch(owner, talk, message_id=answer.id)
    assert shown(store, owner, talk) == ["one", "think", "1", "two", "2"]


def test_a_continued_reply_begins_with_what_was_taken_over(store: Store, owner: str) -> None:
    turn = begin(store, owner, "count")
    finish(store, owner, turn.generation.id, messages=[draft(0, "1 2")], output_ids=[5, 6])
    talk = turn.conversation.id
    more = begin(
        store,
        owner,
        conversation_id=talk,
        continues_id=turn.generation.id,
        primed_ids=[5, 6],
        mode=ReplyMode.CONTINUE,
        dropped_reasoning=2,
        dropped_turns=1,
        context_length=4096,
    )
    assert more.user_message.id == turn.user_message.id
    made = more.generation
    assert (made.continues_id, made.primed_tokens, made.mode) == (turn.generation.id, 2, ReplyMode.CONTINUE)
    assert (made.dropped_reasoning, made.dropped_turns, made.context_length) == (2, 1, 4096)
    assert store.generation_tokens(owner, made.id).output_ids == (5, 6)
    finish(store, owner, made.id, messages=[draft(0, "1 2 3")], output_ids=[5, 6, 7])
    assert store.generation_tokens(owner, made.id).output_ids == (5, 6, 7)
    assert shown(store, owner, talk) == ["count", "1 2 3"]


def test_replies_without_messages_can_be_selected_and_asked_below(store: Store, owner: str) -> None:
    turn = begin(store, owner, "one")
    finish(store, owner, turn.generation.id, status=GenerationStatus.FAILED)
    talk = turn.conversation.id
    ended(store, owner, begin(store, owner, "two", conversation_id=talk), "2")
    again = ended(
        store, owner, begin(store, owner, conversation_id=talk, regenerate=turn.user_message.id), "1"
    )
    assert shown(store, owner, talk) == ["one", "1"]
    store.select_branch(owner, talk, generation_id=turn.generation.id)
    assert shown(store, owner, talk) == ["one", "two", "2"]
    assert questions(store, owner, talk)[0].reply == turn.generation.id
    store.select_branch(owner, talk, generation_id=again.generation.id)
    assert shown(store, owner, talk) == ["one", "1"]
    two = next(each for each in store.export_conversation(owner, talk).messages if each.content == "two")
    store.select_branch(owner, talk, message_id=two.id)
    assert shown(store, owner, talk) == ["one", "two", "2"]
    assert questions(store, owner, talk)[0].reply == turn.generation.id


def test_another_branch_can_be_shown_while_one_is_answering(
    store: Store, owner: str, first: TurnRecord
) -> None:
    talk = first.conversation.id
    again = begin(store, owner, conversation_id=talk, regenerate=first.user_message.id)
    store.select_branch(owner, talk, generation_id=first.generation.id)
    grown = draft(0, "growing", Channel.FINAL)
    store.save_progress(owner, again.generation.id, [grown], [1])
    assert shown(store, owner, talk) == ["one", "think", "1", "two", "2"]
    with pytest.raises(Conflict, match="still answering"):
        begin(store, owner, conversation_id=talk)
    store.select_branch(owner, talk, generation_id=again.generation.id)
    assert shown(store, owner, talk) == ["one", "growing"]
    end = replace(grown, message=replace(grown.message, content="grown"))
    finish(store, owner, again.generation.id, messages=[end, draft(1, "more", Channel.FINAL)])
    assert shown(store, owner, talk) == ["one", "grown", "more"]


def test_a_running_reply_does_not_steal_the_place_of_an_empty_one(store: Store, owner: str) -> None:
    turn = begin(store, owner, "one")
    finish(store, owner, turn.generation.id, status=GenerationStatus.FAILED)
    talk = turn.conversation.id
    again = begin(store, owner, conversation_id=talk, regenerate=turn.user_message.id)
    store.select_branch(owner, talk, generation_id=turn.generation.id)
    finish(store, owner, again.generation.id, messages=[draft(0, "1", Channel.FINAL)])
    assert shown(store, owner, talk) == ["one"]
    assert questions(store, owner, talk)[0].reply == turn.generation.id


def test_a_turn_has_one_place_and_it_is_in_the_conversation(
    store: Store, owner: str, first: TurnRecord
) -> None:
    talk, question = first.conversation.id, first.user_message.id
    reply = store.path(owner, talk)[1].id
    other = ended(store, owner, begin(store, owner, "elsewhere"), "x")
    for wrong in (
        {"edit_of": reply},
        {"regenerate": reply},
        {"edit_of": other.user_message.id},
        {"regenerate": other.user_message.id},
        {"continues_id": other.generation.id},
        {"edit_of": "0" * 32},
    ):
        with pytest.raises(NotFound):
            begin(store, owner, conversation_id=talk, **wrong)
        with pytest.raises(NotFound):
            begin(store, owner, conversation_id=None, **wrong)
    with pytest.raises(InvalidValue):
        begin(store, owner, conversation_id=talk, edit_of=question, regenerate=question)
    for unknown in (other.user_message.id, "0" * 32, ""):
        with pytest.raises(NotFound):
            store.select_branch(owner, talk, message_id=unknown)
        with pytest.raises(NotFound):
            store.select_branch(owner, talk, generation_id=unknown)
    with pytest.raises(InvalidValue):
        store.select_branch(owner, talk)
    assert shown(store, owner, talk) == ["one", "think", "1", "two", "2"]

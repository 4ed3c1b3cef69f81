"""Generations: from queued to an end, with the text saved on the way."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select

from inference.types import Channel, FinishReason, Message, Role, Timings, Usage
from storage.errors import Conflict, InvalidText, InvalidValue
from storage.records import GenerationStatus, MessageDraft, new_id
from storage.schema import OutputTokensRow
from storage.store import Store
from tests.storage.helpers import SAMPLING, begin, draft, finish

ENDED = [status for status in GenerationStatus if not status.is_open]


def pieces(store: Store) -> int:
    with store._database.read() as session:
        return session.scalar(select(func.count()).select_from(OutputTokensRow)) or 0


def changes_made(store: Store) -> int:
    """How many rows the writing connection has changed since it was opened."""
    return store._database.write(
        lambda session: int(session.connection().exec_driver_sql("SELECT total_changes()").scalar_one())
    )


def test_running_names_the_model_and_its_revision(store: Store, owner: str) -> None:
    generation = begin(store, owner).generation
    running = store.mark_running(owner, generation.id, "openai/gpt-oss-20b", "abc123")
    assert running.status is GenerationStatus.RUNNING
    assert (running.model, running.revision) == ("openai/gpt-oss-20b", "abc123")
    assert running.started_at is not None
    assert running.started_at <= datetime.now(UTC)
    assert store.mark_running(owner, generation.id, "openai/gpt-oss-20b", "abc123") == running
    assert store.get_generation(owner, generation.id) == running


@pytest.mark.parametrize(("asked", "kept"), [(None, 2**53 - 1), (5, 5), (0, 0)])
def test_a_seed_that_was_drawn_is_kept_and_one_that_was_asked_for_stays(
    store: Store, owner: str, asked: int | None, kept: int
) -> None:
    generation = begin(store, owner, sampling=replace(SAMPLING, seed=asked)).generation
    assert store.mark_running(owner, generation.id, "demo", "r1", 2**53 - 1).seed == kept


def test_progress_chains_the_messages_and_moves_the_leaf(store: Store, owner: str) -> None:
    turn = begin(store, owner)
    thought, answer = draft(0, "12 + 30"), draft(1, "42", Channel.FINAL)
    store.save_progress(owner, turn.generation.id, [thought], [7, 8])
    assert store.get_conversation(owner, turn.conversation.id).leaf_id == thought.id
    thought = replace(thought, message=replace(thought.message, content="12 + 30 = 42"), complete=True)
    store.save_progress(owner, turn.generation.id, [thought, answer], [7, 8, 9])
    first, second = store.generation_messages(owner, turn.generation.id)
    assert (first.id, first.content, first.complete) == (thought.id, "12 + 30 = 42", True)
    assert (second.id, second.content, second.complete) == (answer.id, "42", False)
    assert (first.parent_id, second.parent_id) == (turn.user_message.id, thought.id)
    assert first.generation_id == second.generation_id == turn.generation.id
    assert store.path(owner, turn.conversation.id) == [turn.user_message, first, second]
    assert store.get_conversation(owner, turn.conversation.id).leaf_id == answer.id
    assert store.generation_tokens(owner, turn.generation.id).output_ids == (7, 8, 9)


def test_every_field_of_a_message_is_kept(store: Store, owner: str) -> None:
    turn = begin(store, owner)
    call = Message(Role.ASSISTANT, '{"n": 1}', Channel.COMMENTARY, "functions.f", None, "json", True)
    result = Message(Role.TOOL, "2", Channel.COMMENTARY, "assistant", "functions.f")
    drafts = [MessageDraft(new_id(), 0, call, 5, True), MessageDraft(new_id(), 1, result, 1, True)]
    store.save_progress(owner, turn.generation.id, drafts, [])
    stored = store.generation_messages(owner, turn.generation.id)
    assert [message.message for message in stored] == [call, result]
    assert [(message.token_count, message.complete) for message in stored] == [(5, True), (1, True)]


def test_only_changed_messages_need_to_be_given(store: Store, owner: str) -> None:
    turn = begin(store, owner)
    first, second = draft(0, "one"), draft(1, "two")
    store.save_progress(owner, turn.generation.id, [first], [])
    store.save_progress(owner, turn.generation.id, [second], [])
    store.save_progress(owner, turn.generation.id, [], [])
    assert [message.id for message in store.generation_messages(owner, turn.generation.id)] == [
        first.id,
        second.id,
    ]


def test_saving_the_same_again_changes_no_row(store: Store, owner: str) -> None:
    turn = begin(store, owner)
    drafts = [draft(0, "one", complete=True), draft(1, "two")]
    store.save_progress(owner, turn.generation.id, drafts, [1, 2, 3])
    before = changes_made(store)
    store.save_progress(owner, turn.generation.id, drafts, [1, 2, 3])
    assert changes_made(store) == before
    grown = replace(drafts[1], message=replace(drafts[1].message, content="two and more"))
    store.save_progress(owner, turn.generation.id, [drafts[0], grown], [1, 2, 3, 4])
    assert changes_made(store) == before + 2  # one message, one piece of token ids


def test_output_ids_are_appended_in_pieces_and_joined_at_the_end(store: Store, owner: str) -> None:
    turn = begin(store, owner)
    ids = list(range(100_000, 100_050))
    for end in (10, 10, 30, 20):  # a late, shorter list takes nothing away
        store.save_progress(owner, turn.generation.id, [], ids[:end])
    assert pieces(store) == 2
    assert store.generation_tokens(owner, turn.generation.id).output_ids == tuple(ids[:30])
    finish(store, owner, turn.generation.id, output_ids=ids)
    assert pieces(store) == 1
    assert store.generation_tokens(owner, turn.generation.id).output_ids == tuple(ids)


def test_another_id_for_a_saved_message_is_a_conflict(store: Store, owner: str) -> None:
    turn = begin(store, owner)
    first = draft(0, "one")
    store.save_progress(owner, turn.generation.id, [first], [1])
    for wrong in (draft(0, "other id"), draft(2, "a gap"), draft(-1, "negative"), replace(first, index=1)):
        with pytest.raises(Conflict):
            store.save_progress(owner, turn.generation.id, [wrong], [1, 2])
    assert [message.content for message in store.generation_messages(owner, turn.generation.id)] == ["one"]
    assert store.generation_tokens(owner, turn.generation.id).output_ids == (1,)


def test_a_message_of_another_reply_cannot_be_taken_over(store: Store, owner: str, stranger: str) -> None:
    theirs = begin(store, stranger)
    their_draft = draft(0, "theirs")
    store.save_progress(stranger, theirs.generation.id, [their_draft], [])
    mine = begin(store, owner)
    with pytest.raises(Conflict):
        store.save_progress(
            owner, mine.generation.id, [replace(their_draft, message=Message(Role.USER, "mine"))], []
        )
    assert store.generation_messages(stranger, theirs.generation.id)[0].content == "theirs"
    assert store.generation_messages(owner, mine.generation.id) == []


def test_a_lone_surrogate_in_a_reply_leaves_the_last_save(store: Store, owner: str) -> None:
    turn = begin(store, owner)
    kept = draft(0, "good")
    store.save_progress(owner, turn.generation.id, [kept], [1])
    with pytest.raises(InvalidText):
        store.save_progress(
            owner, turn.generation.id, [replace(kept, complete=True), draft(1, "bad \ud800")], [1, 2]
        )
    (message,) = store.generation_messages(owner, turn.generation.id)
    assert (message.content, message.complete) == ("good", False)
    assert store.generation_tokens(owner, turn.generation.id).output_ids == (1,)


@pytest.mark.parametrize("status", ENDED)
def test_an_end_keeps_all_figures(store: Store, owner: str, status: GenerationStatus) -> None:
    turn = begin(store, owner)
    store.mark_running(owner, turn.generation.id, "demo", "r1")
    usage = Usage(prompt=11, cached=2, completion=33, reasoning=20, final=4)
    timings = Timings(queued=0.1, ttft=0.2, total=3.0, tokens_per_second=44.5)
    ended = store.finish_generation(
        owner,
        turn.generation.id,
        status=status,
        finish_reason=FinishReason.ERROR,
        usage=usage,
        timings=timings,
        reasoning_seconds=1.25,
        error="The model stopped.",
        error_code="worker_failed",
        messages=[draft(0, "42", Channel.FINAL, complete=True)],
        output_ids=[1],
    )
    assert (ended.status, ended.finish_reason) == (status, FinishReason.ERROR)
    assert (ended.usage, ended.timings, ended.reasoning_seconds) == (usage, timings, 1.25)
    assert (ended.error, ended.error_code) == ("The model stopped.", "worker_failed")
    assert ended.finished_at is not None
    assert store.get_generation(owner, turn.generation.id) == ended
    assert store.open_generation(owner, turn.conversation.id) is None
    assert [message.content for message in store.generation_messages(owner, turn.generation.id)] == ["42"]


def test_an_end_without_messages_keeps_what_was_saved(store: Store, owner: str) -> None:
    turn = begin(store, owner)
    store.save_progress(owner, turn.generation.id, [draft(0, "half a tho")], [1, 2])
    finish(store, owner, turn.generation.id, status=GenerationStatus.CANCELLED)
    (message,) = store.generation_messages(owner, turn.generation.id)
    assert (message.content, message.complete) == ("half a tho", False)
    assert store.generation_tokens(owner, turn.generation.id).output_ids == (1, 2)


def test_the_first_end_stands(store: Store, owner: str) -> None:
    turn = begin(store, owner)
    ended = finish(store, owner, turn.generation.id, messages=[draft(0, "42")], output_ids=[1])
    again = finish(
        store,
        owner,
        turn.generation.id,
        status=GenerationStatus.FAILED,
        error="late",
        messages=[draft(0, "late")],
        output_ids=[1, 2],
    )
    assert again == ended
    assert [message.content for message in store.generation_messages(owner, turn.generation.id)] == ["42"]
    assert store.generation_tokens(owner, turn.generation.id).output_ids == (1,)


def test_nothing_is_added_after_the_end(store: Store, owner: str) -> None:
    turn = begin(store, owner)
    finish(store, owner, turn.generation.id)
    with pytest.raises(Conflict):
        store.save_progress(owner, turn.generation.id, [draft(0, "late")], [1])
    with pytest.raises(Conflict):
        store.mark_running(owner, turn.generation.id, "demo", "r1")
    assert store.generation_messages(owner, turn.generation.id) == []


@pytest.mark.parametrize("status", [GenerationStatus.QUEUED, GenerationStatus.RUNNING])
def test_an_open_status_is_not_an_end(store: Store, owner: str, status: GenerationStatus) -> None:
    turn = begin(store, owner)
    with pytest.raises(InvalidValue):
        finish(store, owner, turn.generation.id, status=status)
    assert store.get_generation(owner, turn.generation.id).status is GenerationStatus.QUEUED


def test_the_open_generation_is_found_until_its_end(store: Store, owner: str) -> None:
    turn = begin(store, owner)
    assert store.open_generation(owner, turn.conversation.id) == turn.generation
    running = store.mark_running(owner, turn.generation.id, "demo", "r1")
    assert store.open_generation(owner, turn.conversation.id) == running
    finish(store, owner, turn.generation.id)
    assert store.open_generation(owner, turn.conversation.id) is None


def test_the_leaf_stays_where_the_user_moved_it(store: Store, owner: str) -> None:
    turn = begin(store, owner)
    store.save_progress(owner, turn.generation.id, [draft(0, "one")], [])
    conversation_id, elsewhere = turn.conversation.id, turn.user_message.id
    store._database.write(
        lambda session: session.connection().exec_driver_sql(
            "UPDATE conversations SET leaf_id = ? WHERE id = ?", (elsewhere, conversation_id)
        )
    )
    store.save_progress(owner, turn.generation.id, [draft(1, "two")], [])
    assert store.get_conversation(owner, conversation_id).leaf_id == elsewhere

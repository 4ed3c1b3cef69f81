"""Replies that go on from the results of calls: their place, their end, and what is kept of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from inference.types import (
    Channel,
    FinishReason,
    Message,
    ResponseFormat,
    Role,
    Timings,
    ToolSpec,
    Usage,
)
from storage.drafts import ConversationDraft, GenerationDraft, MessageNode
from storage.errors import Conflict, InvalidValue, NotFound
from storage.records import ChatSettings, GenerationStatus, MessageDraft, TurnRecord, new_id
from storage.store import Store
from tests.storage.helpers import begin, draft, finish

CALL = Message(Role.ASSISTANT, "{}", Channel.COMMENTARY, "functions.f", content_type="json")
RESULT = Message(Role.TOOL, "42", Channel.COMMENTARY, "assistant", "functions.f")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def called(store: Store, owner: str, turn: TurnRecord, *, waits: bool = False) -> str:
    """The reply of a turn ends with a call: its id."""
    messages = [
        draft(0, "thinking", complete=True),
        MessageDraft(new_id(), 1, CALL, 2, complete=True),
    ]
    name = turn.generation.id
    if waits:
        record = store.await_results(
            owner, name, usage=Usage(completion=9), timings=Timings(), messages=messages, output_ids=[1, 2]
        )
        assert (record.status.is_open, record.finish_reason) == (True, FinishReason.TOOL_CALL)
    else:
        finish(store, owner, name, finish_reason=FinishReason.TOOL_CALL, messages=messages, output_ids=[1, 2])
    return name


def answered(store: Store, owner: str, turn: TurnRecord, *results: Message, **changes: Any) -> TurnRecord:
    """Go on from the calls of a turn's reply."""
    arguments: dict[str, Any] = {"answers_id": turn.generation.id, "results": results or (RESULT,)}
    return begin(store, owner, conversation_id=turn.conversation.id, **(arguments | changes))


def contents(store: Store, owner: str, turn: TurnRecord) -> list[str]:
    return [each.content for each in store.path(owner, turn.conversation.id)]


def test_results_begin_the_next_reply_below_the_calls(store: Store, owner: str) -> None:
    turn = begin(store, owner, "ask")
    called(store, owner, turn)
    going = answered(store, owner, turn, replace(RESULT, content="1"), replace(RESULT, content="2"))
    assert going.user_message.id == turn.user_message.id
    assert [each.message for each in going.tool_messages] == [
        replace(RESULT, content="1"),
        replace(RESULT, content="2"),
    ]
    assert going.generation.answers_id == turn.generation.id
    assert contents(store, owner, turn) == ["ask", "thinking", "{}", "1", "2"]
    store.save_progress(owner, going.generation.id, [draft(0, "so")], [7])
    later = [draft(0, "so"), draft(1, "forty-two", Channel.FINAL)]
    with pytest.raises(Conflict):
        store.save_progress(owner, going.generation.id, later, [7])
    first = store.generation_messages(owner, going.generation.id)[2]
    later[0] = replace(later[0], id=first.id)
    finish(store, owner, going.generation.id, messages=later, output_ids=[7, 8])
    assert contents(store, owner, turn) == ["ask", "thinking", "{}", "1", "2", "so", "forty-two"]
    [question, *_] = store.path(owner, turn.conversation.id)
    assert (question.replies, question.reply) == ((turn.generation.id,), turn.generation.id)
    assert store.answers_to(owner, turn.generation.id) == ([going.generation.id], going.generation.id)


def test_the_reply_that_waits_ends_when_the_next_one_begins(store: Store, owner: str) -> None:
    turn = begin(store, owner, "ask")
    called(store, owner, turn, waits=True)
    with pytest.raises(Conflict):
        begin(store, owner, conversation_id=turn.conversation.id)
    day = datetime.now(UTC).date().isoformat()
    assert store.usage_of(owner, day).tokens == 0
    going = answered(store, owner, turn)
    old = store.get_generation(owner, turn.generation.id)
    assert (old.status, old.finish_reason) == (GenerationStatus.FINISHED, FinishReason.TOOL_CALL)
    assert old.usage.completion == 9
    assert store.usage_of(owner, day).tokens == 2, "it is counted once, when it ends"
    with pytest.raises(Conflict):  # the next one is open now
        answered(store, owner, turn)
    assert finish(store, owner, turn.generation.id) == old
    assert store.open_generation(owner, turn.conversation.id) == going.generation


def test_a_reply_that_waited_when_the_process_died_is_finished(tmp_path: Path) -> None:
    path = tmp_path / "playground.sqlite3"
    store = Store.open(path)
    owner = store.user_for_identity("0" * 64).id
    turn = begin(store, owner, "ask")
    called(store, owner, turn, waits=True)
    store.close()
    store = Store.open(path)
    record = store.get_generation(owner, turn.generation.id)
    assert (record.status, record.finish_reason) == (GenerationStatus.FINISHED, FinishReason.TOOL_CALL)
    assert contents(store, owner, turn) == ["ask", "thinking", "{}"]
    answered(store, owner, turn)
    store.close()


def test_other_results_are_a_branch_and_each_is_remembered(store: Store, owner: str) -> None:
    turn = begin(store, owner, "ask")
    called(store, owner, turn)
    one = answered(store, owner, turn, replace(RESULT, content="1"), client_id="one")
    finish(store, owner, one.generation.id, messages=[draft(0, "uno", Channel.FINAL)])
    two = answered(store, owner, turn, replace(RESULT, content="2"))
    finish(store, owner, two.generation.id, messages=[draft(0, "due", Channel.FINAL)])
    both = [one.generation.id, two.generation.id]
    assert store.answers_to(owner, turn.generation.id) == (both, both[1])
    assert contents(store, owner, turn)[-2:] == ["2", "due"]
    store.select_branch(owner, turn.conversation.id, generation_id=both[0])
    assert contents(store, owner, turn) == ["ask", "thinking", "{}", "1", "uno"]
    assert store.answers_to(owner, turn.generation.id) == (both, both[0])
    again = answered(store, owner, turn, replace(RESULT, content="9"), client_id="one")
    assert (again.existing, again.generation.id, again.tool_messages) == (True, both[0], one.tool_messages)
    more = begin(store, owner, "more", conversation_id=turn.conversation.id)
    finish(store, owner, more.generation.id)
    store.select_branch(owner, turn.conversation.id, message_id=turn.user_message.id)
    assert contents(store, owner, turn) == ["ask", "thinking", "{}", "1", "uno", "more"]


def test_a_continued_reply_takes_the_results_with_it(store: Store, owner: str) -> None:
    turn = begin(store, owner, "ask")
    called(store, owner, turn)
    cut = answered(store, owner, turn)
    finish(store, owner, cut.generation.id, messages=[draft(0, "half")], output_ids=[5])
    longer = begin(
        store, owner, conversation_id=turn.conversation.id, continues_id=cut.generation.id, primed_ids=[5]
    )
    assert longer.generation.answers_id == turn.generation.id
    assert [each.message for each in longer.tool_messages] == [RESULT]
    finish(store, owner, longer.generation.id, messages=[draft(0, "half and whole")], output_ids=[5, 6])
    assert contents(store, owner, turn) == ["ask", "thinking", "{}", "42", "half and whole"]


def test_results_of_nothing_are_refused(store: Store, owner: str) -> None:
    turn = begin(store, owner, "ask")
    with pytest.raises(Conflict):  # it has no calls yet
        answered(store, owner, turn)
    finish(store, owner, turn.generation.id)
    with pytest.raises(InvalidValue):
        answered(store, owner, turn)
    with pytest.raises(InvalidValue):
        answered(store, owner, turn, answers_id=None)
    with pytest.raises(NotFound):
        answered(store, owner, turn, answers_id=new_id())


def test_settings_of_a_turn_and_checks_of_an_answer_are_kept(store: Store, owner: str) -> None:
    tool = ToolSpec("f", "does", {"type": "object", "properties": {"a": {"default": None}}}, True)
    settings = ChatSettings(
        functions=(tool, ToolSpec("g", "")),
        operator_functions=("h",),
        response_schema=ResponseFormat("answer", "", {"type": "object"}),
    )
    turn = begin(store, owner, turn_settings=settings, conversation_settings=settings)
    assert turn.generation.turn_settings == settings == turn.conversation.settings
    end = finish(store, owner, turn.generation.id, schema_valid=False, schema_reason="no")
    assert (end.schema_valid, end.schema_reason, end.turn_settings) == (False, "no", settings)
    assert store.get_generation(owner, turn.generation.id) == end
    plain = begin(store, owner)
    assert plain.generation.turn_settings is None
    checked = finish(store, owner, plain.generation.id, schema_valid=True)
    assert (checked.schema_valid, checked.answers_id) == (True, None)
    saved = store.update_preferences(owner, settings=ChatSettings(functions=()))
    assert saved.settings.functions == (), "none is not the same as not set"


def node(key: str, parent: str | None, message: Message, reply: GenerationDraft | None = None) -> MessageNode:
    return MessageNode(key, parent, message, NOW, reply)


def drafted(first: GenerationDraft, second: GenerationDraft, below: str) -> ConversationDraft:
    nodes = (
        node("q", None, Message(Role.USER, "ask")),
        node("c", "q", CALL, first),
        node("r", below, RESULT, second),
        node("a", "r", Message(Role.ASSISTANT, "done", Channel.FINAL), second),
    )
    return ConversationDraft("t", ChatSettings(), NOW, nodes)


def test_such_replies_come_in_from_elsewhere(store: Store, owner: str) -> None:
    first = GenerationDraft("one", finish_reason=FinishReason.TOOL_CALL)
    second = GenerationDraft("two", answers_key="one", schema_valid=True)
    record = store.insert_conversation(owner, drafted(first, second, "c"))
    assert [each.content for each in store.path(owner, record.id)] == ["ask", "{}", "42", "done"]
    one, two = store.conversation_generations(owner, record.id)
    assert (two.answers_id, two.schema_valid) == (one.id, True)
    for wrong in (drafted(first, second, "q"), drafted(first, replace(second, answers_key="none"), "c")):
        with pytest.raises(InvalidValue):
            store.insert_conversation(owner, wrong)

"""Items that clients send back, and the messages that the model reads of them."""

from __future__ import annotations

from typing import Any

import pytest

from inference.types import Channel, Message, Role
from inference.vocabulary import CALL, END
from playground.api.openai.notes import Notes
from playground.completions.replays import Replay
from playground.errors import PlaygroundError
from playground.responses.item_ids import input_item_id, new_response_id, output_item_id, response_of
from playground.responses.items import Reader
from playground.responses.known import Known, named_responses
from storage.response_records import ResponseRecord
from tests.storage.helpers import response

ASK = {"role": "user", "content": "The tide?"}
THOUGHT = Message(Role.ASSISTANT, "I look.", Channel.ANALYSIS, written=(1, END))
WORD = Message(Role.ASSISTANT, "A moment.", Channel.COMMENTARY, written=(2, END))
CALLED = Message(
    Role.ASSISTANT, '{"a": 1}', Channel.COMMENTARY, "functions.look", content_type="json", written=(3, CALL)
)
SECOND = Message(
    Role.ASSISTANT, '{"a": 2}', Channel.COMMENTARY, "functions.look", content_type="json", written=(4, CALL)
)
REPLAY = Replay((THOUGHT, WORD, CALLED, SECOND), {2: "call_1", 3: "call_2"})
CALL_1 = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": '{ "a":1 }'}
CALL_2 = {"type": "function_call", "call_id": "call_2", "name": "look", "arguments": '{"a": 2}'}
RESULT = {"type": "function_call_output", "call_id": "call_1", "output": "2 m"}


def reasoning(text: str | None, item_id: str = "rs_x") -> dict[str, Any]:
    content = [] if text is None else [{"type": "reasoning_text", "text": text}]
    return {"type": "reasoning", "id": item_id, "summary": [], "content": content}


def said(text: str, **fields: Any) -> dict[str, Any]:
    return {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": text}],
        **fields,
    }


def read(*items: dict[str, Any], known: Known | None = None) -> tuple[list[Message], Notes]:
    """What comes of these items where one reply with calls is remembered."""
    notes = Notes()
    calls = set(REPLAY.calls.values())
    reader = Reader(known or Known((), lambda call: REPLAY if call in calls else None), notes)
    reader.read(items)
    return reader.messages, notes


def stored() -> tuple[ResponseRecord, Known]:
    """A response that called a function, and what is known by it."""
    made = new_response_id()
    items = (
        {**reasoning("I look.", output_item_id("rs", made, 0)), "status": "completed"},
        {**CALL_1, "id": output_item_id("fc", made, 1), "arguments": '{"a": 1}', "call_id": "call_9"},
    )
    record = response(made, output_items=items, written=((1, END), (3, CALL)), deltas=((7,), (8,)))
    return record, Known([record])


RESULT_MESSAGE = Message(Role.TOOL, "2 m", None, "assistant", "functions.look")
QUESTION = Message(Role.USER, "The tide?")


@pytest.mark.parametrize(
    "before",
    [
        [reasoning("I look."), said("A moment."), CALL_1],
        [said("A moment."), CALL_1],
        [reasoning(None), CALL_1],
        [CALL_1],
    ],
    ids=["all", "without reasoning", "reasoning without its text", "the call alone"],
)
def test_what_was_written_before_a_call_comes_back_with_it(before: list[dict[str, Any]]) -> None:
    messages, _ = read(ASK, *before, RESULT)
    assert messages == [QUESTION, THOUGHT, WORD, CALLED, RESULT_MESSAGE]


def test_two_calls_of_one_reply() -> None:
    messages, _ = read(ASK, reasoning("I look."), CALL_1, CALL_2, RESULT)
    assert messages == [QUESTION, THOUGHT, WORD, CALLED, SECOND, RESULT_MESSAGE]


def test_what_a_client_has_changed_counts() -> None:
    messages, _ = read(ASK, reasoning("Otherwise."), CALL_1, RESULT)
    assert [message.content for message in messages] == ["The tide?", "Otherwise.", '{"a": 1}', "2 m"]
    assert messages[1].written == ()
    changed, _ = read(ASK, {**CALL_1, "arguments": '{"a": 7}'}, RESULT)
    assert [(message.content, message.written) for message in changed[1:2]] == [('{"a": 7}', ())]


def test_an_earlier_answer_stays_before_a_call() -> None:
    messages, _ = read(ASK, said("Low.", phase="final_answer"), CALL_1, RESULT)
    assert [message.channel for message in messages[1:3]] == [Channel.FINAL, Channel.ANALYSIS]
    assert messages[1:5] == [Message(Role.ASSISTANT, "Low.", Channel.FINAL), THOUGHT, WORD, CALLED]


@pytest.mark.parametrize(
    ("item", "after", "channel"),
    [
        (said("x"), [], Channel.FINAL),
        (said("x"), [{**CALL_1, "call_id": "unknown"}], Channel.COMMENTARY),
        (said("x", phase="final_answer"), [{**CALL_1, "call_id": "unknown"}], Channel.FINAL),
        (said("x", phase="commentary"), [], Channel.COMMENTARY),
    ],
)
def test_an_answer_or_words_before_a_call(item: Any, after: Any, channel: Channel) -> None:
    messages, _ = read(ASK, item, *after)
    assert messages[1].channel is channel


def test_reasoning_and_calls_by_their_ids() -> None:
    record, known = stored()
    thought, call = record.output_items
    assert named_responses([{"id": thought["id"]}, {"id": call["id"]}, {"id": 5}, {}]) == [record.id]
    messages, notes = read(ASK, {"type": "reasoning", "id": thought["id"], "summary": []}, call, known=known)
    assert [message.written for message in messages] == [(), (1, END), (3, CALL)]
    assert notes.items == []
    messages, notes = read(ASK, reasoning(None, "rs_unknown"), known=known)
    assert messages == [QUESTION]
    assert [note["param"] for note in notes.items] == ["input[1]"]


def test_ids_that_were_not_sound_are_not_repeated() -> None:
    record, _ = stored()
    cut = response(record.id, output_items=record.output_items, written=((1, END), (3,)), deltas=((7,), (8,)))
    reader = Reader(Known(), Notes())
    reader.read_stored(cut)
    assert [message.written for message in reader.messages] == [(), (1, END), ()]
    lost = response(record.id, output_items=record.output_items, written=((1, END),), deltas=())
    reader = Reader(Known(), Notes())
    reader.read_stored(lost)
    assert [message.written for message in reader.messages] == [(), (), ()]


def test_a_result_goes_to_a_call_of_before() -> None:
    record, _ = stored()
    reader = Reader(Known([record]), Notes())
    reader.read_stored(record)
    reader.read([{**RESULT, "call_id": "call_9"}])
    assert reader.messages[-1] == RESULT_MESSAGE
    with pytest.raises(PlaygroundError):
        reader.read([{**RESULT, "call_id": "call_8"}])


def test_an_image_in_a_result_is_named() -> None:
    picture = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
    parts = [{"type": "input_text", "text": "Here:"}, picture]
    messages, notes = read(ASK, CALL_1, {**RESULT, "output": parts})
    assert messages[-1].content == 'Here:\n{"omitted": "input_image"}'
    assert [note["param"] for note in notes.items] == ["input[2].output[1]"]


def test_an_input_items_id_is_no_output_items() -> None:
    made = new_response_id()
    assert response_of(output_item_id("msg", made, 3)) == made
    assert response_of(input_item_id("msg", made, 3)) is None
    assert response_of("msg_1") is None

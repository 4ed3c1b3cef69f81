"""Replies with calls come back as the ids that the model wrote."""

from __future__ import annotations

import pytest

from inference.harmony import HarmonyCodec
from inference.types import (
    Channel,
    FinishReason,
    Message,
    MessageFinished,
    Prompt,
    Role,
    StreamEvent,
    ToolSpec,
)
from inference.vocabulary import END
from playground.completions.replays import Replay, Replays, with_ids

codec = HarmonyCodec.load()
TOOL = ToolSpec("add", "Add two numbers.", {"type": "object", "properties": {}})
CALLED = (
    "<|channel|>analysis<|message|>I add.<|end|><|start|>assistant<|channel|>commentary to=functions.add "
    '<|constrain|>json<|message|>{"a": 1}<|call|>'
)


def ids_of(text: str) -> list[int]:
    """Text with markers as the ids that a model would write."""
    return list(codec._encoding.encode(text, allowed_special="all"))


def read(ids: list[int]) -> list[Message]:
    """The messages of a reply."""
    parser = codec.parser(tools=["add"])
    events: list[StreamEvent] = [*parser.feed(ids), *parser.finish(FinishReason.STOP)]
    return [event.message for event in events if isinstance(event, MessageFinished)]


def prompt_of(*messages: Message) -> Prompt:
    return Prompt(messages, tools=[TOOL])


def test_within_a_turn_the_prompt_repeats_what_was_written_byte_for_byte() -> None:
    question = Message(Role.USER, "1 + 2?")
    before = codec.render(prompt_of(question))
    written = ids_of(CALLED)
    messages = with_ids(read(written), written, before[-2:])
    result = Message(Role.TOOL, "3", name="functions.add")
    after = codec.render(prompt_of(question, *messages, result))
    assert after[: len(before) + len(written)] == before + written
    rendered = codec.render(prompt_of(question, *read(written), result))
    assert rendered != after  # the library puts the recipient elsewhere


def test_in_later_turns_the_reasoning_is_gone_and_the_call_still_as_it_was() -> None:
    written = ids_of(CALLED)
    reasoning, call = with_ids(read(written), written, ids_of("<|start|>assistant"))
    after = codec.render(
        prompt_of(
            Message(Role.USER, "1 + 2?"),
            reasoning,
            call,
            Message(Role.TOOL, "3", name="functions.add"),
            Message(Role.ASSISTANT, "3.", channel=Channel.FINAL),
            Message(Role.USER, "And 4?"),
        )
    )
    text = codec.decode(after)
    assert "I add." not in text
    assert codec.decode(call.written) in text


def test_an_answer_ends_as_in_every_history() -> None:
    written = ids_of("<|channel|>final<|message|>3.<|return|>")
    (answer,) = with_ids(read(written), written, ids_of("<|start|>assistant"))
    assert answer.written[-1] == END


@pytest.mark.parametrize(
    "text",
    [
        "<|channel|>analysis<|message|>I add.<|start|>assistant<|channel|>final<|message|>3.<|return|>",
        "<|channel|>analysis<|message|>I add.<|end|><|start|>assistant<|channel|>commentary to=functions.add",
        "<|channel|>banana<|message|>3.<|return|>",
    ],
    ids=["an end is missing", "cut in a header", "no such channel"],
)
def test_what_had_to_be_mended_is_written_anew(text: str) -> None:
    written = ids_of(text)
    messages = read(written)
    assert with_ids(messages, written, ids_of("<|start|>assistant")) == messages
    assert not any(message.written for message in messages)


def test_a_call_that_the_client_changed_is_not_the_models() -> None:
    written = ids_of(CALLED)
    replay = Replay(tuple(read(written)), {1: "call_1"})
    assert replay.has_call("call_1", "functions.add", '{"a": 1}')
    assert replay.has_call("call_1", "functions.add", '{"a":1}')
    assert not replay.has_call("call_1", "functions.add", '{"a": 2}')
    assert not replay.has_call("call_1", "functions.pay", '{"a": 1}')
    assert not replay.has_call("call_2", "functions.add", '{"a": 1}')
    assert not replay.has_call("call_1", "functions.add", "not JSON")


def test_nobody_finds_anothers_calls_and_the_oldest_make_room() -> None:
    written = ids_of(CALLED)
    messages = tuple(with_ids(read(written), written, ids_of("<|start|>assistant")))
    replays = Replays(most_ids=5 * len(written))
    for number in range(20):
        replays.keep("one", Replay(messages, {1: f"call_{number}"}))
    assert replays.find("one", "call_19") is not None
    assert replays.find("one", "call_0") is None
    assert replays.find("two", "call_19") is None


def test_replies_without_ids_take_room_too() -> None:
    kept = Replays(most_ids=1000)
    call = Message(Role.ASSISTANT, "x" * 600, Channel.COMMENTARY, "functions.add", recovered=True)
    kept.keep("ada", Replay((call,), {0: "one"}))
    kept.keep("ada", Replay((call,), {0: "two"}))
    assert kept.find("ada", "one") is None
    assert kept.find("ada", "two") is not None


def test_a_call_may_come_back_in_other_writing_but_not_many_times_as_long() -> None:
    call = Message(Role.ASSISTANT, '{"a": "\u00e9"}', channel=Channel.COMMENTARY, recipient="functions.add")
    replay = Replay((call,), {0: "call_1"})
    for blanks, same in ((0, True), (1_000, True), (100_000, False)):
        arguments = '{"a":"\\u00e9"' + " " * blanks + "}"
        assert replay.has_call("call_1", "functions.add", arguments) is same

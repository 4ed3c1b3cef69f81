"""Which ids a reply begins with that goes on with another one."""

from __future__ import annotations

import pytest

from inference.harmony_stream import Place
from inference.types import Channel
from inference.vocabulary import CALL, RETURN
from tests.inference.harmony_cases import ids_of
from tests.inference.harmony_replies import codec

REASONING = "<|channel|>analysis<|message|>12 + 30 is 42. 🙂<|end|>"
CALLED = "<|start|>assistant<|channel|>commentary to=functions.add <|constrain|>json<|message|>{}<|end|>"
ANSWER = "<|start|>assistant<|channel|>final<|message|>It is 42, and not 41."
FORCED = "<|start|>assistant<|channel|>final<|message|>"


@pytest.mark.parametrize("cut", range(len(ids_of(REASONING + CALLED + ANSWER)) + 1))
def test_a_reply_that_was_cut_anywhere_goes_on_from_its_own_ids(cut: int) -> None:
    written = ids_of(REASONING + CALLED + ANSWER)[:cut]
    assert codec.beginning_of(written, answer_now=False) == tuple(written)


@pytest.mark.parametrize("cut", range(len(ids_of(REASONING + CALLED + ANSWER)) + 1))
def test_an_answer_can_be_asked_for_wherever_a_reply_was_cut(cut: int) -> None:
    written = ids_of(REASONING + CALLED + ANSWER)[:cut]
    primed = codec.beginning_of(written, answer_now=True)
    assert primed is not None
    parser = codec.parser()
    parser.feed(primed)
    assert parser.place is Place.CONTENT
    assert parser.open_channel is Channel.FINAL
    channels = [message.channel for message in parser.messages]
    before = codec.parser()
    before.feed(written)
    if before.open_channel is Channel.FINAL:
        assert primed == tuple(written)
    else:
        assert len(channels) == len(before.messages) + (before.open_channel is not None)
        kept = written[: before.header_start] if before.place is Place.HEADER else written
        assert primed[: len(kept)] == tuple(kept), "what was written stays as it is"
        assert codec.decode(primed).endswith("<|channel|>final<|message|>")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("", "<|channel|>final<|message|>"),
        ("<|channel|>analysis", "<|channel|>final<|message|>"),
        ("<|channel|>analysis<|message|>Hm", "<|channel|>analysis<|message|>Hm<|end|>" + FORCED),
        (REASONING, REASONING + FORCED),
        (REASONING + "<|start|>assistant<|channel|>comm", REASONING + FORCED),
        ("Hello", "Hello"),
    ],
)
def test_what_is_open_is_closed_before_the_answer(written: str, expected: str) -> None:
    primed = codec.beginning_of(ids_of(written), answer_now=True)
    assert primed is not None
    assert primed == tuple(ids_of(expected))


@pytest.mark.parametrize("answer_now", [False, True])
@pytest.mark.parametrize("rest", [[], [12194]])
def test_an_answer_that_ended_is_not_gone_on_with(answer_now: bool, rest: list[int]) -> None:
    assert codec.beginning_of([*ids_of(REASONING + ANSWER), RETURN, *rest], answer_now=answer_now) is None


@pytest.mark.parametrize("stop", [RETURN, CALL])
@pytest.mark.parametrize(
    ("written", "closed"),
    [
        ("<|channel|>analysis<|message|>Hm", "<|channel|>analysis<|message|>Hm<|end|>"),
        (REASONING, REASONING),
        (REASONING + "<|start|>assistant<|channel|>analysis", REASONING),
        (REASONING + CALLED.removesuffix("<|end|>"), REASONING + CALLED),
    ],
)
def test_a_reply_that_stopped_without_an_answer_goes_on_with_a_new_message(
    stop: int, written: str, closed: str
) -> None:
    ids = [*ids_of(written), stop]
    assert codec.beginning_of(ids, answer_now=False) == tuple(ids_of(closed + "<|start|>assistant"))
    assert codec.beginning_of(ids, answer_now=True) == tuple(ids_of(closed + FORCED))


def test_a_stop_without_a_word_begins_from_the_prompt() -> None:
    assert codec.beginning_of([RETURN], answer_now=False) == ()
    assert codec.beginning_of([RETURN], answer_now=True) == tuple(ids_of("<|channel|>final<|message|>"))

"""Stop strings cut the answer where the first of them begins, however the text comes in pieces."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from inference.types import (
    Channel,
    Message,
    MessageFinished,
    MessageStarted,
    Role,
    StreamEvent,
    TextDelta,
)
from playground.completions.stops import StopStrings

LETTERS = st.text(alphabet="ab<", min_size=0, max_size=12)


def reply(index: int, channel: Channel, pieces: list[str]) -> list[StreamEvent]:
    """One message in these pieces."""
    message = Message(Role.ASSISTANT, "".join(pieces), channel=channel)
    deltas: list[StreamEvent] = [TextDelta(index, piece) for piece in pieces]
    return [MessageStarted(index, channel), *deltas, MessageFinished(index, message, len(pieces))]


def text_of(events: list[StreamEvent], index: int) -> tuple[str, str]:
    """What was streamed of a message, and what its end says that it is."""
    shown = "".join(each.text for each in events if isinstance(each, TextDelta) and each.index == index)
    ends = [each for each in events if isinstance(each, MessageFinished) and each.index == index]
    assert len(ends) == 1
    assert ends[0].complete
    return shown, ends[0].message.content


@settings(max_examples=200, deadline=None)
@given(
    pieces=st.lists(LETTERS, max_size=8),
    strings=st.lists(st.text(alphabet="ab<", min_size=1, max_size=4), min_size=1, max_size=3),
)
def test_the_answer_ends_where_the_first_one_begins(pieces: list[str], strings: list[str]) -> None:
    whole = "".join(pieces)
    stops = StopStrings(strings)
    passed = [each for event in reply(0, Channel.FINAL, pieces) for each in stops.take([event])]
    places = [place for each in strings if (place := whole.find(each)) >= 0]
    expected = whole[: min(places)] if places else whole
    assert text_of(passed, 0) == (expected, expected)
    assert (stops.found is not None) == bool(places)
    if stops.found is not None:
        assert whole.startswith(stops.found, min(places))


def test_reasoning_and_calls_are_not_looked_at() -> None:
    stops = StopStrings(["stop"])
    reasoning = reply(0, Channel.ANALYSIS, ["I must not stop here"])
    assert list(stops.take(reasoning)) == reasoning
    answer = list(stops.take(reply(1, Channel.FINAL, ["Go on, st", "op it."])))
    assert text_of(answer, 1) == ("Go on, ", "Go on, ")


def test_nothing_comes_after_a_stop_string() -> None:
    stops = StopStrings(["."])
    events = [*reply(0, Channel.FINAL, ["One. Two"]), *reply(1, Channel.FINAL, ["Three"])]
    passed = list(stops.take(events))
    assert text_of(passed, 0) == ("One", "One")
    assert not any(each.index == 1 for each in passed)


def test_one_that_begins_before_another_counts_when_it_is_completed_later() -> None:
    for last, expected in ((["<"], "x"), (["a"], "x<"), ([], "x<")):
        stops = StopStrings(["<b<", "b"])
        passed = list(stops.take(reply(0, Channel.FINAL, ["x", "<", "b", *last])))
        assert text_of(passed, 0) == (expected, expected)
        assert stops.found == ("<b<" if expected == "x" else "b")


def test_without_strings_everything_passes_as_it_is() -> None:
    events = reply(0, Channel.FINAL, ["a", "b"])
    assert StopStrings([""]).take(events) == tuple(events)

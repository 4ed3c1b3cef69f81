"""Prompts that do not fit are refused for little work, and what fits is written as ever."""

from __future__ import annotations

import json
import random
import string

import pytest

from inference import harmony
from inference.errors import HarmonyFormatError, PromptTooLong
from inference.harmony import HarmonyCodec
from inference.message_rules import MOST_TOOL_CHARS, MOST_TOOL_VALUES
from inference.types import Channel, Message, Prompt, Role, ToolSpec
from tests.inference.harmony_cases import user

codec = HarmonyCodec.load()
CONTEXT = 1000
LETTERS = "".join(random.Random(3).choices(string.ascii_letters, k=400_000))


class Work:
    """How many characters were encoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.chars = 0
        self._encode = codec._encode
        monkeypatch.setattr(codec, "_encode", self._counted)

    def _counted(self, text: str) -> list[int]:
        self.chars += len(text)
        return self._encode(text)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    return Work(monkeypatch)


def turns(*texts: str) -> list[Message]:
    """Questions, each with its answer."""
    return [each for text in texts for each in (user(text), Message(Role.ASSISTANT, "Yes.", Channel.FINAL))]


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt([user("one word and another " * 20_000)]),
        Prompt([user("x")], instructions="one word and another " * 20_000),
        Prompt([user(" " * 400_000)]),
        Prompt([user("1234567890" * 40_000)]),
        Prompt([user("Hello, how are you?")] * 10_000),
    ],
    ids=["words", "instructions", "blanks", "digits", "messages"],
)
def test_what_is_far_too_long_is_not_encoded(work: Work, prompt: Prompt) -> None:
    with pytest.raises(PromptTooLong, match=r"has at least [\d,]+ tokens, and the model holds 1,000\."):
        codec.render(prompt, CONTEXT)
    assert work.chars == 0


@pytest.mark.parametrize("text", [LETTERS[:25_000], "é" * 60_000, "?!" * 60_000, LETTERS[:900] + " "])
def test_encoding_ends_where_the_context_does(work: Work, text: str) -> None:
    with pytest.raises(PromptTooLong):
        codec.render(Prompt([user(text * (20_000 // len(text) + 1))]), CONTEXT)
    assert 0 < work.chars < 40_000


@pytest.mark.parametrize("text", ["Hello.", "a1 b2 " * 300, LETTERS[:3000], "\n" * 5000])
def test_one_token_decides(text: str) -> None:
    prompt = Prompt([user("Before."), user(text)], instructions="Be brief.")
    ids = codec.render(prompt)
    assert codec.render(prompt, len(ids) + 1) == ids
    with pytest.raises(PromptTooLong):
        codec.render(prompt, len(ids))


@pytest.mark.parametrize("limit", range(70, 200, 7))
def test_the_turns_that_fit_stay(limit: int) -> None:
    texts = [f"Question {number}" + ", and more" * number for number in range(9)]
    rendered = codec.render_within(Prompt(turns(*texts)), limit, CONTEXT)
    fitting = [
        first for first in range(len(texts)) if len(codec.render(Prompt(turns(*texts[first:])))) <= limit
    ]
    assert rendered.dropped_turns == (fitting[0] if fitting else len(texts) - 1)
    assert list(rendered.ids) == codec.render(Prompt(turns(*texts[rendered.dropped_turns :])))


def test_old_turns_that_are_left_out_are_not_encoded(work: Work) -> None:
    prompt = Prompt([*turns(*[f"{number} {LETTERS[:600]}" for number in range(500)]), user("And now?")])
    rendered = codec.render_within(prompt, 700, CONTEXT)
    assert len(rendered.ids) <= 700
    assert rendered.dropped_turns > 490
    assert work.chars < 20_000


def test_a_last_turn_that_is_too_long_stays_too_long(work: Work) -> None:
    with pytest.raises(PromptTooLong):
        codec.render_within(Prompt([*turns("Hello."), user("a b " * 100_000)]), 700, CONTEXT)
    assert work.chars == 0


def functions(chars: int, values: int) -> list[ToolSpec]:
    """Two with so many characters of JSON, and so many lists, objects and commas."""
    listed = {"enum": [1] * (values - 1)}
    first = ToolSpec("a", "", listed)
    rest = chars - len(json.dumps(listed, separators=(",", ":"))) - len("ab" + "null")
    return [first, ToolSpec("b", ("word " * (rest // 5 + 1))[:rest])]


def test_long_functions_are_written() -> None:
    ids = codec.render(Prompt([user("x")], tools=functions(MOST_TOOL_CHARS, MOST_TOOL_VALUES)))
    assert codec.decode(ids).count(" word") > MOST_TOOL_CHARS // 5 - 2 * MOST_TOOL_VALUES // 5 - 10


@pytest.mark.parametrize(
    ("more_chars", "more_values", "sentence"),
    [
        (1, 0, "longer than 250,000 characters of JSON together"),
        (1_700_000, 0, "longer than 250,000 characters of JSON together"),
        (0, 1, "more than about 20,000 values together"),
        (0, 80_000, "more than about 20,000 values together"),
    ],
)
def test_functions_that_are_too_long_are_not_written(
    monkeypatch: pytest.MonkeyPatch, more_chars: int, more_values: int, sentence: str
) -> None:
    """Written by the library all at once, they would hold up everybody."""
    written: list[object] = []
    monkeypatch.setattr(harmony, "_developer_message", written.append)
    tools = functions(MOST_TOOL_CHARS + more_chars, MOST_TOOL_VALUES + more_values)
    with pytest.raises(HarmonyFormatError, match=sentence):
        codec.render(Prompt([user("x")], tools=tools))
    assert written == []

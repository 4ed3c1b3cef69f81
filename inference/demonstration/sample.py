"""What the demonstration model's data is made of: one exchange, one sample, and what is held out."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from inference.types import Message, Prompt, ReasoningEffort

HELD_OUT_SHARE = 16  # one key in so many is kept for the evaluation


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question and its reply, before a conversation is built around it.

    ``key`` names what is asked, whatever the wording: samples are held out by it. ``number`` and
    ``items`` are what a follow-up question may refer to.
    """

    task: str
    key: str
    question: str
    analysis: str
    final: str
    number: int | None = None
    items: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """A prompt and the assistant's messages that should follow it.

    For a tool call ``reply`` ends with the call; ``result`` then holds what the tool answers and
    ``answer`` the final text that should follow it.
    """

    task: str
    key: str
    prompt: Prompt
    reply: tuple[Message, ...]
    result: str | None = None
    answer: str | None = None
    tags: frozenset[str] = field(default_factory=frozenset)


Maker = Callable[[random.Random, ReasoningEffort], Exchange]


def held_out(key: str) -> bool:
    """True for the keys that are never trained on. Stable between runs and machines."""
    return zlib.crc32(key.encode()) % HELD_OUT_SHARE == 0


_OPENERS = ("please ", "Please ", "Hi, ", "Hello, ", "Can you tell me: ", "Tell me, ", "Quick question: ")


def vary(rng: random.Random, text: str) -> str:
    """The same question as another person would type it: case, punctuation, a polite word."""
    roll = rng.random()
    if roll < 0.15:
        text = text.lower()
    elif roll < 0.22:
        text = text[:1].lower() + text[1:]
    if rng.random() < 0.2:
        text = text.rstrip("?.!")
    elif rng.random() < 0.05:
        text = text.rstrip("?.!") + rng.choice(("?", ".", "!", " ?", "??"))
    if rng.random() < 0.08:
        text = rng.choice(_OPENERS) + text
    elif rng.random() < 0.05:
        text = text.rstrip("?.!") + ", please" + rng.choice(("", ".", "?"))
    return text


def by_effort(effort: ReasoningEffort, low: str, medium: str, high: str) -> str:
    """The reasoning that belongs to an effort."""
    return {ReasoningEffort.LOW: low, ReasoningEffort.MEDIUM: medium, ReasoningEffort.HIGH: high}[effort]

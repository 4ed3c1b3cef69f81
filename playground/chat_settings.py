"""How replies are made: what was set for one turn, a conversation or a user, else what is recommended."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping
from typing import Any

from inference.types import ReasoningEffort, ResponseFormat, ToolSpec
from storage.records import ChatSettings, Preferences, WhenFull

RECOMMENDED = ChatSettings(
    effort=ReasoningEffort.MEDIUM,
    temperature=1.0,
    top_p=1.0,
    show_reasoning=False,
    when_full=WhenFull.ASK,
)
"""What the makers of gpt-oss advise. A seed is drawn, and a reply may be as long as the server says."""

one_at_a_time = threading.Lock()
"""Held from reading settings to writing them: of two changes that come together, none is lost."""


@dataclasses.dataclass(frozen=True, slots=True)
class Effective:
    """What one turn runs with; None is: no such text, the server's default length, a seed to be drawn."""

    instructions: str | None
    model_identity: str | None
    effort: ReasoningEffort
    temperature: float
    top_p: float
    max_tokens: int | None
    seed: int | None
    when_full: WhenFull
    functions: tuple[ToolSpec, ...] = ()
    operator_functions: tuple[str, ...] = ()
    response_format: ResponseFormat | None = None


def effective(request: ChatSettings, conversation: ChatSettings, preferences: Preferences) -> Effective:
    """Of every field the first that is set: in the request, the conversation, by the user, as recommended."""
    own = ChatSettings(effort=preferences.effort)
    chosen = first_set(request, conversation, preferences.settings, own, RECOMMENDED)
    return Effective(
        instructions=chosen.instructions,
        model_identity=chosen.model_identity,
        effort=chosen.effort or ReasoningEffort.MEDIUM,
        temperature=1.0 if chosen.temperature is None else chosen.temperature,
        top_p=1.0 if chosen.top_p is None else chosen.top_p,
        max_tokens=chosen.max_tokens,
        seed=chosen.seed,
        when_full=chosen.when_full or WhenFull.ASK,
        functions=chosen.functions or (),
        operator_functions=chosen.operator_functions or (),
        response_format=None if chosen.response_schema == "text" else chosen.response_schema,
    )


def first_set(*levels: ChatSettings) -> ChatSettings:
    """Of every field the first value that is not None."""
    values = {
        field.name: next(
            (value for level in levels if (value := getattr(level, field.name)) is not None), None
        )
        for field in dataclasses.fields(ChatSettings)
    }
    return ChatSettings(**values)


def changed(settings: ChatSettings, change: Mapping[str, Any]) -> ChatSettings:
    """The settings with the given fields set; None resets one."""
    return dataclasses.replace(settings, **change)

"""What the page may send. Unknown fields are refused; numbers must be numbers, finite and within bounds."""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
)

from inference.types import ReasoningEffort
from playground.errors import PlaygroundError
from storage.records import Theme

TITLE_CHARS = 200
INSTRUCTIONS_CHARS = 32_000
LARGEST_INTEGER = 2**63 - 1


def _effort(value: object) -> object:
    if value is not None and value not in tuple(ReasoningEffort):
        raise PlaygroundError("invalid_effort", "Effort is one of low, medium and high.", param="effort")
    return value


Id = Annotated[StrictStr, Field(min_length=1, max_length=64)]
Effort = Annotated[ReasoningEffort, BeforeValidator(_effort)]
Number = StrictFloat | StrictInt


class Body(BaseModel):
    """Base of all bodies."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class TurnBody(Body):
    """``POST /api/turns``."""

    text: StrictStr
    conversation_id: Id | None = None
    parent_id: Id | None = None
    effort: Effort = ReasoningEffort.MEDIUM
    temperature: Annotated[Number, Field(ge=0, le=2)] = 1.0
    top_p: Annotated[Number, Field(gt=0, le=1)] = 1.0
    seed: Annotated[StrictInt, Field(ge=0, le=LARGEST_INTEGER)] | None = None
    max_tokens: Annotated[StrictInt, Field(ge=1, le=1_000_000)] | None = None
    client_id: Annotated[StrictStr, Field(min_length=1, max_length=200)] | None = None


class ConversationBody(Body):
    """``PATCH /api/conversations/{id}``; what is left out or null stays as it is."""

    title: Annotated[StrictStr, Field(max_length=TITLE_CHARS)] | None = None
    instructions: Annotated[StrictStr, Field(max_length=INSTRUCTIONS_CHARS)] | None = None


class ModelBody(Body):
    """``POST /api/model``. ``even_if_too_large``: the asker knows that it may not fit, and wants it."""

    name: Annotated[StrictStr, Field(min_length=1, max_length=200)]
    even_if_too_large: StrictBool = False


class PreferencesBody(Body):
    """``PATCH /api/preferences``; what is left out or null stays as it is."""

    effort: Effort | None = None
    show_reasoning: StrictBool | None = None
    theme: Theme | None = None

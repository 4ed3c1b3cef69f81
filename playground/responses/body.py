"""What ``POST /v1/responses`` takes. What is unknown is ignored and named in the reply, never refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

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

from playground.api.bodies import LARGEST_INTEGER

Json = dict[str, Any]
Number = StrictFloat | StrictInt
ShortText = Annotated[StrictStr, Field(max_length=512)]
MetadataKey = Annotated[StrictStr, Field(max_length=64)]
MOST_LOGPROBS = 20
MOST_ITEMS = 10_000
MOST_METADATA = 16
LONGEST_ID = 128


def _an_input(value: object) -> object:
    """Refuse here what is neither, so that the fault names the parameter and not one of its types."""
    if not isinstance(value, str | list | None):
        raise ValueError("it must be a text, or a list of items")
    if isinstance(value, list) and len(value) > MOST_ITEMS:
        raise ValueError(f"it may hold {MOST_ITEMS} items")
    if isinstance(value, list) and not all(isinstance(item, dict) for item in value):
        raise ValueError("each of its items must be an object")
    return value


def _not_far_too_many(value: object) -> object:
    """Cut what is refused in any case: every wrong key would be noted as a fault of its own, for seconds."""
    if isinstance(value, dict) and len(value) > 10 * MOST_METADATA:
        return dict.fromkeys(map(str, range(MOST_METADATA + 1)), "")
    return value


def _a_choice(value: object) -> object:
    if not isinstance(value, str | dict | None):
        raise ValueError("it must be a word, or an object that names a function")
    return value


Input = Annotated[StrictStr | list[Json] | None, BeforeValidator(_an_input)]
Choice = Annotated[StrictStr | Json | None, BeforeValidator(_a_choice)]


class Part(BaseModel):
    """Base of all parts; ``model_extra`` holds what is not known."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, frozen=True)


class ReasoningBody(Part):
    """``reasoning``."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    summary: StrictStr | None = None
    generate_summary: StrictStr | None = None


class FormatBody(Part):
    """``text.format``."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    name: Annotated[StrictStr, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")] = "response"
    description: StrictStr | None = None
    json_schema: Annotated[Json | None, Field(alias="schema")] = None
    strict: StrictBool | None = None


class TextBody(Part):
    """``text``."""

    format: FormatBody | None = None
    verbosity: StrictStr | None = None


class ResponseBody(Part):
    """The whole body. ``null`` is the same as leaving a field out. ``seed`` is an addition of this server."""

    model: StrictStr | None = None
    input: Input = None
    instructions: StrictStr | None = None
    previous_response_id: Annotated[StrictStr, Field(max_length=LONGEST_ID)] | None = None
    max_output_tokens: Annotated[StrictInt, Field(ge=1, le=1_000_000)] | None = None
    temperature: Annotated[Number, Field(ge=0, le=2)] | None = None
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    seed: Annotated[StrictInt, Field(ge=0, le=LARGEST_INTEGER)] | None = None
    top_logprobs: Annotated[StrictInt, Field(ge=0, le=MOST_LOGPROBS)] | None = None
    tools: Annotated[list[Json], Field(fail_fast=True)] | None = None
    tool_choice: Choice = None
    parallel_tool_calls: StrictBool | None = None
    max_tool_calls: StrictInt | None = None
    text: TextBody | None = None
    reasoning: ReasoningBody | None = None
    include: Annotated[list[StrictStr], Field(fail_fast=True)] | None = None
    metadata: (
        Annotated[
            dict[MetadataKey, ShortText], Field(max_length=MOST_METADATA), BeforeValidator(_not_far_too_many)
        ]
        | None
    ) = None
    store: StrictBool | None = None
    stream: StrictBool | None = None
    background: StrictBool | None = None
    truncation: Literal["auto", "disabled"] | None = None
    user: ShortText | None = None
    safety_identifier: ShortText | None = None
    prompt_cache_key: ShortText | None = None
    service_tier: ShortText | None = None
    conversation: Any = None
    prompt: Any = None

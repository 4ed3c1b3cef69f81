"""The playground's own file format, version 1, as pydantic models; docs/formats.md has their JSON schema.

What is null is left out of a file. Keys name messages and generations within their conversation only.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
)

from inference.types import Channel, FinishReason, ReasoningEffort, Role
from playground.api.bodies import (
    TITLE_CHARS,
    MaxTokens,
    Number,
    Seed,
    SettingsFields,
    Temperature,
    TopP,
)
from playground.exchange.import_draft import MODEL_CHARS, TEXT_CHARS
from playground.strict import Strict
from storage.records import GenerationStatus, ReplyMode

FORMAT: Literal["gpt-oss-playground"] = "gpt-oss-playground"
VERSION: Literal[1] = 1
ERROR_CHARS = 2_000

Key = Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Name = Annotated[StrictStr, Field(max_length=MODEL_CHARS)]
Count = Annotated[StrictInt, Field(ge=0, le=2**31 - 1)]
Seconds = Annotated[Number, Field(ge=0, le=1e9)]
Time = Annotated[AwareDatetime, Field(ge=datetime.fromisoformat("1970-01-01T00:00:00+00:00"))]


class SettingsItem(SettingsFields):
    """How replies are made; what is absent was not set for the conversation."""


class MessageItem(Strict):
    """One harmony message. ``parent`` is the message before it, ``generation`` the reply that it belongs to.

    A user's message has no generation; an assistant's or a tool's has one. ``tokens`` counts its content.
    """

    key: Key
    parent: Key | None = None
    generation: Key | None = None
    role: Role
    channel: Channel | None = None
    recipient: Annotated[StrictStr, Field(max_length=100)] | None = None
    name: Annotated[StrictStr, Field(max_length=100)] | None = None
    content_type: Literal["json"] | None = None
    content: Annotated[StrictStr, Field(max_length=TEXT_CHARS)]
    complete: StrictBool = True
    recovered: StrictBool = False
    tokens: Count = 0
    created_at: Time


class UsageItem(Strict):
    """Tokens: read, read from the cache, written, and those inside of messages by channel."""

    prompt: Count = 0
    cached: Count = 0
    completion: Count = 0
    reasoning: Count = 0
    commentary: Count = 0
    final: Count = 0


class TimingsItem(Strict):
    """Seconds, and the speed of writing."""

    queued: Seconds = 0.0
    ttft: Seconds = 0.0
    total: Seconds = 0.0
    tokens_per_second: Seconds = 0.0
    reasoning_seconds: Seconds = 0.0


class GenerationItem(Strict):
    """One reply and how it was made. ``question`` is the user's message that it answers.

    ``continues`` is an earlier reply to the same question that this one takes up by ``mode``, with
    ``primed_tokens`` of its tokens. ``dropped_reasoning`` messages and ``dropped_turns`` oldest turns are not
    in its prompt. ``answers`` is the reply whose calls of functions this one goes on from: its messages, the
    results first, stand below the last one of that. ``turn_settings`` were set for its turn alone.
    """

    key: Key
    question: Key
    status: Literal[
        GenerationStatus.FINISHED,
        GenerationStatus.CANCELLED,
        GenerationStatus.FAILED,
        GenerationStatus.INTERRUPTED,
    ]
    effort: ReasoningEffort
    temperature: Temperature
    top_p: TopP
    seed: Seed | None = None
    max_tokens: MaxTokens
    model: Name
    revision: Name = ""
    usage: UsageItem
    timings: TimingsItem
    finish_reason: FinishReason | None = None
    error: Annotated[StrictStr, Field(max_length=ERROR_CHARS)] | None = None
    error_code: Name | None = None
    continues: Key | None = None
    primed_tokens: Count = 0
    mode: ReplyMode | None = None
    dropped_reasoning: Count = 0
    dropped_turns: Count = 0
    context_length: Count | None = None
    answers: Key | None = None
    turn_settings: SettingsItem | None = None
    schema_valid: StrictBool | None = None
    schema_reason: Annotated[StrictStr, Field(max_length=ERROR_CHARS)] | None = None
    created_at: Time
    started_at: Time | None = None
    finished_at: Time | None = None


class ConversationItem(Strict):
    """One conversation with all its branches. ``shown`` is the last message of the branch that was shown.

    Messages and generations stand oldest first, a message after its parent.
    """

    title: Annotated[StrictStr, Field(min_length=1, max_length=TITLE_CHARS)]
    title_by_hand: StrictBool = False
    pinned: StrictBool = False
    archived: StrictBool = False
    created_at: Time
    updated_at: Time
    settings: SettingsItem = SettingsItem()
    shown: Key | None = None
    messages: Annotated[list[MessageItem], Field(fail_fast=True)]
    generations: Annotated[list[GenerationItem], Field(fail_fast=True)]


class PlaygroundFile(Strict):
    """A whole file. ``reasoning`` is False where the model's reasoning was left out when it was made."""

    format: Literal["gpt-oss-playground"]
    version: Literal[1]
    exported_at: Time
    reasoning: StrictBool = True
    conversations: Annotated[list[ConversationItem], Field(fail_fast=True)]


def schema() -> dict[str, Any]:
    """The JSON schema of a file."""
    return PlaygroundFile.model_json_schema()

"""The body of ``POST /v1/chat/completions``: which fields there are, and what their values may be."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Number = Annotated[float, Field(allow_inf_nan=False)]
Words = Annotated[str, Field(max_length=1000)]
LONGEST_STOP = 500

HARMLESS = {
    "user": "Noted by nobody: who asks is known by the API key.",
    "safety_identifier": "Noted by nobody: who asks is known by the API key.",
    "metadata": "Chat completions are not kept here, and so neither is what is noted on them.",
    "store": "Chat completions are not kept here.",
    "service_tier": "There is one tier here.",
    "prompt_cache_key": "What a prompt begins with is found again without a key.",
    "prompt_cache_retention": "How long beginnings of prompts are remembered depends on the memory alone.",
    "prediction": "Answers are not made faster by a prediction here; they are the same.",
}
"""Known fields that change nothing in an answer, and what the reply says of them."""


class StreamOptions(BaseModel):
    """How a stream looks; ``include_obfuscation`` pads chunks elsewhere and is not needed here."""

    model_config = ConfigDict(extra="allow")

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatBody(BaseModel):
    """What a client asks. The inner parts are looked through in ``chat_messages`` and ``chat_request``."""

    model_config = ConfigDict(extra="allow")

    messages: list[dict[str, Any]] = Field(min_length=1, max_length=10_000, fail_fast=True)
    model: Words | None = Field(
        default=None, description="Any name of the active model; its own if left out."
    )
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = Field(default=None, ge=1, le=8)
    temperature: Number | None = Field(default=None, ge=0, le=2)
    top_p: Number | None = Field(default=None, ge=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1, le=10_000_000)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=10_000_000)
    seed: int | None = Field(default=None, ge=-(2**63), le=2**63 - 1)
    stop: (
        Annotated[str, Field(max_length=LONGEST_STOP)] | Annotated[list[str], Field(fail_fast=True)] | None
    ) = Field(default=None, description="One text or up to four that end the answer before them.")
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    reasoning_effort: Words | None = None
    reasoning: dict[str, Any] | None = Field(
        default=None, description="effort, and exclude: whether replies leave the reasoning out."
    )
    include_reasoning: bool | None = None
    tools: Annotated[list[dict[str, Any]], Field(fail_fast=True)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = Field(
        default=None, description="false: a reply ends with its first call. gpt-oss hardly ever makes two."
    )
    response_format: dict[str, Any] | None = None
    presence_penalty: Number | None = None
    frequency_penalty: Number | None = None
    logit_bias: dict[str, Any] | None = None

    @property
    def extra(self) -> dict[str, Any]:
        """The fields that are not named above."""
        return dict(self.model_extra or {})

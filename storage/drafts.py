"""Conversations that were made elsewhere, as ``Store.insert_conversation`` takes them: values without ids."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from inference.types import FinishReason, Message, ReasoningEffort, SamplingParams, Timings, Usage
from storage.records import ChatSettings, GenerationStatus, ReplyMode


@dataclass(frozen=True, slots=True)
class GenerationDraft:
    """A reply that was made elsewhere; ``key`` names it within its ``ConversationDraft``.

    ``status`` is a final one. ``continues_key`` is the key of a reply to the same question, ``answers_key``
    that of the reply whose calls this one goes on from: below the last message of that one its own stand,
    results first.
    """

    key: str
    status: GenerationStatus = GenerationStatus.FINISHED
    effort: ReasoningEffort = ReasoningEffort.MEDIUM
    sampling: SamplingParams = field(default_factory=SamplingParams)
    model: str = ""
    revision: str = ""
    usage: Usage = field(default_factory=Usage)
    timings: Timings = field(default_factory=Timings)
    reasoning_seconds: float = 0.0
    finish_reason: FinishReason | None = FinishReason.STOP
    error: str | None = None
    error_code: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    continues_key: str | None = None
    answers_key: str | None = None
    primed_tokens: int = 0
    mode: ReplyMode | None = None
    dropped_reasoning: int = 0
    dropped_turns: int = 0
    context_length: int | None = None
    prompt_ids: tuple[int, ...] = ()
    output_ids: tuple[int, ...] = ()
    turn_settings: ChatSettings | None = None
    schema_valid: bool | None = None
    schema_reason: str | None = None


@dataclass(frozen=True, slots=True)
class MessageNode:
    """A message of a ``ConversationDraft``, listed after its parent.

    A user message has no generation, an assistant's or tool's has one; there are no others. The messages of
    one generation (equal ``generation.key``) are a chain below one user message, or below a reply with calls.
    """

    key: str
    parent_key: str | None
    message: Message
    created_at: datetime
    generation: GenerationDraft | None = None
    complete: bool = True
    token_count: int = 0


@dataclass(frozen=True, slots=True)
class EmptyReply:
    """A reply of a ``ConversationDraft`` that has no message: it failed or was stopped before its first."""

    question_key: str
    generation: GenerationDraft


@dataclass(frozen=True, slots=True)
class ConversationDraft:
    """A conversation that was made elsewhere: imported, or copied from a share.

    ``nodes`` may hold several branches; ``leaf_key`` is the last message of the one that is shown (None: the
    newest everywhere). ``updated_at`` None is the latest time of its messages.
    """

    title: str
    settings: ChatSettings
    created_at: datetime
    nodes: tuple[MessageNode, ...]
    leaf_key: str | None = None
    updated_at: datetime | None = None
    title_by_hand: bool = False
    pinned: bool = False
    archived: bool = False
    empty_replies: tuple[EmptyReply, ...] = ()

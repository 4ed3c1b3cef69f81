"""The values that storage hands out and takes: frozen, free of sessions and rows.

Ids are 128 random bits in lowercase hexadecimal. Times are in UTC and carry their time zone. Order comes
from integer sequences, never from a clock.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from inference.types import Channel, FinishReason, Message, ReasoningEffort, Role, Timings, Usage


def new_id() -> str:
    """A fresh id that nobody can guess."""
    return secrets.token_hex(16)


class GenerationStatus(StrEnum):
    """Where a reply stands. ``queued`` and ``running`` are open; the others are final."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def is_open(self) -> bool:
        """True while the reply may still grow."""
        return self in OPEN_STATUSES


OPEN_STATUSES = (GenerationStatus.QUEUED, GenerationStatus.RUNNING)


class Theme(StrEnum):
    """The page's colours; ``system`` follows the device."""

    SYSTEM = "system"
    LIGHT = "light"
    DARK = "dark"


@dataclass(frozen=True, slots=True)
class User:
    """One identity. ``identity_hash`` is the SHA-256 of the secret in the browser's cookie, in hex."""

    id: str
    identity_hash: str
    created_at: datetime
    last_seen_at: datetime


@dataclass(frozen=True, slots=True)
class Preferences:
    """What the user set in the page."""

    effort: ReasoningEffort = ReasoningEffort.MEDIUM
    show_reasoning: bool = False
    theme: Theme = Theme.SYSTEM


@dataclass(frozen=True, slots=True)
class ConversationRecord:
    """One conversation; ``leaf_id`` is the last message of the branch that is shown."""

    id: str
    title: str
    instructions: str | None
    leaf_id: str | None
    running_generation_id: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class MessageRecord:
    """One harmony message of the tree. ``generation_id`` is None for what the user wrote.

    ``sequence`` grows with every message of the database; a parent's is always smaller than its child's.
    ``token_count`` counts content tokens. ``complete`` is False when the text ends before the message did.
    """

    id: str
    conversation_id: str
    parent_id: str | None
    generation_id: str | None
    sequence: int
    role: Role
    channel: Channel | None
    recipient: str | None
    name: str | None
    content: str
    content_type: str | None
    complete: bool
    recovered: bool
    token_count: int
    created_at: datetime

    @property
    def message(self) -> Message:
        """The same message as harmony takes it."""
        return Message(
            role=self.role,
            content=self.content,
            channel=self.channel,
            recipient=self.recipient,
            name=self.name,
            content_type=self.content_type,
            recovered=self.recovered,
        )


@dataclass(frozen=True, slots=True)
class MessageDraft:
    """Message number ``index`` (from 0) of a running reply as it stands now.

    The caller makes ``id`` with ``new_id()`` once and repeats it at every save.
    """

    id: str
    index: int
    message: Message
    token_count: int = 0
    complete: bool = False


@dataclass(frozen=True, slots=True)
class GenerationRecord:
    """One reply of the model and how it was made; the token ids are read by ``Store.generation_tokens``."""

    id: str
    conversation_id: str
    user_message_id: str
    client_id: str | None
    sequence: int
    status: GenerationStatus
    effort: ReasoningEffort
    temperature: float
    top_p: float
    seed: int | None
    max_tokens: int
    model: str
    revision: str
    usage: Usage
    timings: Timings
    reasoning_seconds: float
    finish_reason: FinishReason | None
    error: str | None
    error_code: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class GenerationTokens:
    """The exact token ids that went into the model and came out of it."""

    prompt_ids: tuple[int, ...]
    output_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """What one begun turn consists of. ``existing`` is True when its ``client_id`` had been used before."""

    conversation: ConversationRecord
    user_message: MessageRecord
    generation: GenerationRecord
    existing: bool = False

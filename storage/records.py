"""The values that storage hands out and takes: frozen, free of sessions and rows.

Ids are 128 random bits in lowercase hexadecimal. Times are in UTC and carry their time zone. Order comes
from integer sequences, never from a clock.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from inference.types import (
    Channel,
    FinishReason,
    Message,
    ReasoningEffort,
    ResponseFormat,
    Role,
    Timings,
    ToolSpec,
    Usage,
)


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


class WhenFull(StrEnum):
    """What happens when a prompt does not fit: refuse and let the person choose, or leave old turns out."""

    ASK = "ask"
    DROP_OLDEST = "drop_oldest"


class ReplyMode(StrEnum):
    """How a reply takes up an earlier one: where it stopped, or straight with the answer."""

    CONTINUE = "continue"
    ANSWER_NOW = "answer_now"


class SearchKind(StrEnum):
    """What a search looks through."""

    TITLE = "title"
    QUESTION = "question"
    ANSWER = "answer"
    REASONING = "reasoning"
    TOOL = "tool"


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """How replies are made; None is "not set at this level".

    ``functions`` are the person's own, ``operator_functions`` names of those that the server's operator
    declared. ``response_schema`` is what answers look like; "text" is none, whatever another level says.
    """

    instructions: str | None = None
    model_identity: str | None = None
    effort: ReasoningEffort | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    show_reasoning: bool | None = None
    when_full: WhenFull | None = None
    functions: tuple[ToolSpec, ...] | None = None
    operator_functions: tuple[str, ...] | None = None
    response_schema: ResponseFormat | Literal["text"] | None = None


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
    settings: ChatSettings = ChatSettings()


@dataclass(frozen=True, slots=True)
class PresetRecord:
    """Settings under a name."""

    id: str
    name: str
    settings: ChatSettings
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ConversationRecord:
    """One conversation; ``leaf_id`` is the last message of the branch that is shown.

    ``sequence`` is the place of its latest change among all changes of its owner. ``updated_at`` is the time
    of the latest turn: what does not answer anything (a new title, a pin) leaves it.
    """

    id: str
    title: str
    title_by_hand: bool
    pinned: bool
    archived: bool
    settings: ChatSettings
    leaf_id: str | None
    running_generation_id: str | None
    sequence: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed in an owner's list. ``complete`` False: too much changed, read the list again."""

    sequence: int
    conversations: tuple[ConversationRecord, ...] = ()
    removed: tuple[str, ...] = ()
    complete: bool = True


@dataclass(frozen=True, slots=True)
class MessageRecord:
    """One harmony message of the tree. ``generation_id`` is None for what the user wrote.

    ``sequence`` grows with every message of the database; a parent's is always smaller than its child's.
    ``token_count`` counts content tokens. ``complete`` is False when the text ends before the message did.

    ``Store.path`` and ``Store.export_conversation`` fill the last three of user messages: ``siblings`` are
    the questions at the same place (itself included) and ``replies`` its generations, both oldest first;
    ``reply`` is the generation that is shown below it, None when none is.
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
    siblings: tuple[str, ...] = ()
    replies: tuple[str, ...] = ()
    reply: str | None = None

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
    """One reply of the model and how it was made; the token ids are read by ``Store.generation_tokens``.

    ``continues_id`` is the reply that this one takes up by ``mode``, with ``primed_tokens`` of its tokens.
    ``dropped_reasoning`` messages and ``dropped_turns`` oldest turns were left out of the prompt.
    ``context_length`` is the model's, in tokens, None when it was not known. Without ``tokens_known``
    the reply came from elsewhere as text alone, and nothing can go on with it.

    ``answers_id`` is the reply whose calls this one goes on from: it begins with their results.
    ``turn_settings`` were set for its turn alone. ``schema_valid`` says whether the answer matches the schema
    that it was asked for, None where there is no schema or no answer.
    """

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
    continues_id: str | None = None
    primed_tokens: int = 0
    mode: ReplyMode | None = None
    dropped_reasoning: int = 0
    dropped_turns: int = 0
    context_length: int | None = None
    tokens_known: bool = True
    answers_id: str | None = None
    turn_settings: ChatSettings | None = None
    schema_valid: bool | None = None
    schema_reason: str | None = None


@dataclass(frozen=True, slots=True)
class GenerationTokens:
    """The exact token ids that went into the model and came out of it."""

    prompt_ids: tuple[int, ...]
    output_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """What one begun turn consists of. ``existing`` is True when its ``client_id`` had been used before.

    ``tool_messages`` are the results that the reply begins with.
    """

    conversation: ConversationRecord
    user_message: MessageRecord
    generation: GenerationRecord
    existing: bool = False
    tool_messages: tuple[MessageRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class SearchHit:
    """One place where all words were found.

    A title has neither message nor generation, a question no generation. ``snippet`` is the text around the
    words in pieces; True marks a piece that was searched for.
    """

    conversation: ConversationRecord
    message_id: str | None
    generation_id: str | None
    kind: SearchKind
    created_at: datetime
    snippet: tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True)
class ShareRecord:
    """A snapshot of a conversation that whoever knows ``token`` may read."""

    id: str
    token: str
    conversation_id: str
    title: str
    include_reasoning: bool
    message_count: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ConversationTree:
    """All of a conversation, every branch included; messages and generations are oldest first."""

    conversation: ConversationRecord
    messages: tuple[MessageRecord, ...]
    generations: tuple[GenerationRecord, ...]

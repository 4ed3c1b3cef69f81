"""The tables, as SQLAlchemy 2 typed models.

The migrations in ``storage/migrations/versions`` build the same tables; a test compares the two word for
word. Those of accounts are in ``storage.account_schema``, and the index of the search is in
``storage.search_schema``.

Foreign keys: deleting a user or a conversation cascades to all that it owns, always through one level. The
links inside the tree (parent, leaf, user message, generation) do not cascade: they vanish in the same
statement, and a cascade along ``parent_id`` would stop at SQLite's trigger depth in a conversation of 1,000
messages. ``chosen_...`` and ``continues_id`` point inside of their own conversation, so they vanish with it
and need no foreign key, whose check would cost an index each.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    ScalarSelect,
    UniqueConstraint,
    event,
    func,
    select,
    text,
)
from sqlalchemy.orm import Mapped, column_property, mapped_column

from inference.types import Channel, FinishReason, ReasoningEffort, Role
from storage.column_types import TokenIds
from storage.records import ChatSettings, GenerationStatus, ReplyMode, Theme
from storage.response_records import ResponseStatus
from storage.schema_base import Base
from storage.search_schema import make_search_index


class UserRow(Base):
    """One identity; the secret itself is never stored.

    ``change_sequence`` counts the changes of this user's conversations; ``purged_sequence`` is the highest
    one that a conversation had which is gone for good. ``number`` is the user's part of the search index.
    """

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint("length(identity_hash) = 64", name="identity_hash"),
        {"sqlite_autoincrement": True},
    )

    number: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    identity_hash: Mapped[str] = mapped_column(unique=True)
    change_sequence: Mapped[int]
    purged_sequence: Mapped[int]
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]


class PreferencesRow(Base):
    """One row for each user, made together with the user."""

    __tablename__ = "preferences"

    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    effort: Mapped[ReasoningEffort]
    show_reasoning: Mapped[bool]
    theme: Mapped[Theme]
    settings: Mapped[ChatSettings] = mapped_column(server_default="{}")


class PresetRow(Base):
    """Settings under a name."""

    __tablename__ = "presets"
    __table_args__ = (UniqueConstraint("owner_id", "name"), {"sqlite_autoincrement": True})

    sequence: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str]
    settings: Mapped[ChatSettings]
    created_at: Mapped[datetime]


class ConversationRow(Base):
    """``updated_sequence`` is the owner's ``change_sequence`` at the latest change.

    ``updated_at`` is the time of the latest turn; it never goes back, whatever the clock does.
    ``chosen_root_id`` is the first question that is shown. ``deleted_at`` marks what may still be restored.
    """

    __tablename__ = "conversations"
    __table_args__ = (
        UniqueConstraint("owner_id", "updated_sequence"),
        Index(
            "ix_conversations_shown",
            "owner_id",
            "archived",
            "pinned",
            "updated_at",
            "number",
            sqlite_where=text("deleted_at IS NULL"),
        ),
        Index("ix_conversations_updated", "owner_id", "updated_at"),
        Index("ix_conversations_deleted", "deleted_at", sqlite_where=text("deleted_at IS NOT NULL")),
        {"sqlite_autoincrement": True},
    )

    number: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    title: Mapped[str]
    title_by_hand: Mapped[bool]
    pinned: Mapped[bool]
    archived: Mapped[bool]
    settings: Mapped[ChatSettings]
    leaf_id: Mapped[str | None] = mapped_column(ForeignKey("messages.id", use_alter=True), index=True)
    chosen_root_id: Mapped[str | None]
    updated_sequence: Mapped[int]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]


class MessageRow(Base):
    """One harmony message; the rows of a conversation are a tree by ``parent_id``.

    Each place remembers where it goes on: a question by the reply in ``chosen_generation_id``, the last
    message before a question (also one below which other replies go on) by ``chosen_child_id``.
    ``checksum`` is that of ``storage.checksums``; what was stored without one is taken for damaged.
    """

    __tablename__ = "messages"
    __table_args__ = (
        Index(
            "ix_messages_questions",
            "conversation_id",
            "parent_id",
            "id",
            sqlite_where=text("role = 'user'"),
        ),
        {"sqlite_autoincrement": True},
    )

    sequence: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    conversation_id: Mapped[str] = mapped_column(
        ForeignKey("conversations.id", ondelete="CASCADE"), index=True
    )
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("messages.id"), index=True)
    generation_id: Mapped[str | None] = mapped_column(
        ForeignKey("generations.id", use_alter=True), index=True
    )
    role: Mapped[Role]
    channel: Mapped[Channel | None]
    recipient: Mapped[str | None]
    name: Mapped[str | None]
    content: Mapped[str]
    content_type: Mapped[str | None]
    complete: Mapped[bool]
    recovered: Mapped[bool]
    token_count: Mapped[int]
    created_at: Mapped[datetime]
    chosen_generation_id: Mapped[str | None]
    chosen_child_id: Mapped[str | None]
    checksum: Mapped[int] = mapped_column(server_default=text("0"))


class ReplyDetailsRow(Base):
    """What few replies have.

    ``answers_id`` is the reply whose calls this one goes on from, ``settings`` what was set for the turn
    alone, and ``schema_...`` whether the answer matches what it was asked to match.
    """

    __tablename__ = "reply_details"

    generation_id: Mapped[str] = mapped_column(
        ForeignKey("generations.id", ondelete="CASCADE"), primary_key=True
    )
    answers_id: Mapped[str | None] = mapped_column(index=True)
    settings: Mapped[ChatSettings]
    schema_valid: Mapped[bool | None]
    schema_reason: Mapped[str | None]


IS_OPEN = text("generations.status IN ('queued', 'running')")
"""Bound values would keep SQLite from the index of open generations."""


def _detail(column: Any, generation_id: Any) -> ScalarSelect[Any]:
    return select(column).where(ReplyDetailsRow.generation_id == generation_id).scalar_subquery()


class GenerationRow(Base):
    """One reply; at most one in a conversation is open at a time."""

    __tablename__ = "generations"
    __table_args__ = (
        UniqueConstraint("owner_id", "client_id"),
        Index(
            "ix_generations_open",
            "conversation_id",
            unique=True,
            sqlite_where=text("status IN ('queued', 'running')"),
        ),
        {"sqlite_autoincrement": True},
    )

    sequence: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    conversation_id: Mapped[str] = mapped_column(
        ForeignKey("conversations.id", ondelete="CASCADE"), index=True
    )
    user_message_id: Mapped[str] = mapped_column(ForeignKey("messages.id"), index=True)
    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    client_id: Mapped[str | None]
    status: Mapped[GenerationStatus]
    effort: Mapped[ReasoningEffort]
    temperature: Mapped[float]
    top_p: Mapped[float]
    seed: Mapped[int | None]
    max_tokens: Mapped[int]
    model: Mapped[str]
    revision: Mapped[str]
    prompt_tokens: Mapped[int]
    cached_tokens: Mapped[int]
    completion_tokens: Mapped[int]
    reasoning_tokens: Mapped[int]
    commentary_tokens: Mapped[int]
    final_tokens: Mapped[int]
    queued_seconds: Mapped[float]
    ttft_seconds: Mapped[float]
    total_seconds: Mapped[float]
    tokens_per_second: Mapped[float]
    reasoning_seconds: Mapped[float]
    finish_reason: Mapped[FinishReason | None]
    error: Mapped[str | None]
    error_code: Mapped[str | None]
    continues_id: Mapped[str | None]
    primed_tokens: Mapped[int]
    mode: Mapped[ReplyMode | None]
    dropped_reasoning: Mapped[int]
    dropped_turns: Mapped[int]
    context_length: Mapped[int | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    # Last, so that reading the columns above never walks through the pages of a long prompt.
    prompt_ids: Mapped[tuple[int, ...]] = mapped_column(TokenIds(), deferred=True)
    tokens_known: Mapped[bool] = column_property(func.length(prompt_ids) > 0)
    answers_id: Mapped[str | None] = column_property(_detail(ReplyDetailsRow.answers_id, id))
    turn_settings: Mapped[ChatSettings | None] = column_property(_detail(ReplyDetailsRow.settings, id))
    schema_valid: Mapped[bool | None] = column_property(_detail(ReplyDetailsRow.schema_valid, id))
    schema_reason: Mapped[str | None] = column_property(_detail(ReplyDetailsRow.schema_reason, id))


class OutputTokensRow(Base):
    """Token ids that a generation made, in pieces: ``start`` is the place of the piece's first id.

    A running reply appends a piece at each save instead of writing a growing row again; its end joins them
    to one.
    """

    __tablename__ = "output_tokens"

    generation_id: Mapped[str] = mapped_column(
        ForeignKey("generations.id", ondelete="CASCADE"), primary_key=True
    )
    start: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    ids: Mapped[tuple[int, ...]] = mapped_column(TokenIds())


class ShareRow(Base):
    """A snapshot of a conversation for everybody who knows ``token``."""

    __tablename__ = "shares"
    __table_args__ = ({"sqlite_autoincrement": True},)

    sequence: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    token: Mapped[str] = mapped_column(unique=True)
    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    conversation_id: Mapped[str] = mapped_column(
        ForeignKey("conversations.id", ondelete="CASCADE"), index=True
    )
    title: Mapped[str]
    include_reasoning: Mapped[bool]
    message_count: Mapped[int]
    created_at: Mapped[datetime]
    snapshot: Mapped[str] = mapped_column(deferred=True)
    checksum: Mapped[int] = mapped_column(server_default=text("0"), deferred=True)


class ResponseRow(Base):
    """A stored response of the OpenAI API, its texts as JSON. Going on from it moves ``used_at``."""

    __tablename__ = "responses"
    __table_args__ = (
        Index("ix_responses_owner", "owner_id", "used_at", "size"),
        Index("ix_responses_open", "status", sqlite_where=text("status IN ('queued', 'in_progress')")),
        {"sqlite_autoincrement": True},
    )

    sequence: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    created_at: Mapped[datetime]
    used_at: Mapped[datetime] = mapped_column(index=True)
    finished_at: Mapped[datetime | None]
    status: Mapped[ResponseStatus]
    background: Mapped[bool]
    model: Mapped[str]
    previous_response_id: Mapped[str | None]
    size: Mapped[int]
    checksum: Mapped[int]
    usage: Mapped[str | None]
    error: Mapped[str | None]
    incomplete_reason: Mapped[str | None]
    echo: Mapped[str]
    input_items: Mapped[str]
    output_items: Mapped[str]
    written: Mapped[tuple[int, ...]] = mapped_column(TokenIds())
    deltas: Mapped[tuple[int, ...]] = mapped_column(TokenIds())


event.listen(Base.metadata, "after_create", make_search_index)

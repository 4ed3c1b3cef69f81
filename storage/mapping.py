"""Rows to records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inference.types import Timings, Usage
from storage.checksums import check_message
from storage.records import (
    ConversationRecord,
    GenerationRecord,
    MessageRecord,
    Preferences,
    PresetRecord,
    ShareRecord,
    User,
)
from storage.schema import (
    ConversationRow,
    GenerationRow,
    MessageRow,
    PreferencesRow,
    PresetRow,
    ShareRow,
    UserRow,
)

MESSAGE_COLUMNS = (
    MessageRow.id,
    MessageRow.conversation_id,
    MessageRow.parent_id,
    MessageRow.generation_id,
    MessageRow.sequence,
    MessageRow.role,
    MessageRow.channel,
    MessageRow.recipient,
    MessageRow.name,
    MessageRow.content,
    MessageRow.content_type,
    MessageRow.complete,
    MessageRow.recovered,
    MessageRow.token_count,
    MessageRow.created_at,
)
"""The fields of a ``MessageRecord`` in its order: rows of the mapper would take many times as long."""

CHECKED_COLUMNS = (*MESSAGE_COLUMNS, MessageRow.checksum)
"""The same and what tells whether they are as they were written; see ``storage.checksums``."""

GENERATION_COLUMNS = (
    GenerationRow.id,
    GenerationRow.conversation_id,
    GenerationRow.user_message_id,
    GenerationRow.client_id,
    GenerationRow.sequence,
    GenerationRow.status,
    GenerationRow.effort,
    GenerationRow.temperature,
    GenerationRow.top_p,
    GenerationRow.seed,
    GenerationRow.max_tokens,
    GenerationRow.model,
    GenerationRow.revision,
    GenerationRow.reasoning_seconds,
    GenerationRow.finish_reason,
    GenerationRow.error,
    GenerationRow.error_code,
    GenerationRow.created_at,
    GenerationRow.started_at,
    GenerationRow.finished_at,
    GenerationRow.continues_id,
    GenerationRow.primed_tokens,
    GenerationRow.mode,
    GenerationRow.dropped_reasoning,
    GenerationRow.dropped_turns,
    GenerationRow.context_length,
    GenerationRow.tokens_known,
    GenerationRow.answers_id,
    GenerationRow.turn_settings,
    GenerationRow.schema_valid,
    GenerationRow.schema_reason,
    GenerationRow.prompt_tokens,
    GenerationRow.cached_tokens,
    GenerationRow.completion_tokens,
    GenerationRow.reasoning_tokens,
    GenerationRow.commentary_tokens,
    GenerationRow.final_tokens,
    GenerationRow.queued_seconds,
    GenerationRow.ttft_seconds,
    GenerationRow.total_seconds,
    GenerationRow.tokens_per_second,
)
"""The fields of a ``GenerationRecord`` in its order without usage and timings, then theirs."""

_MEASURED = 13
"""Where usage and timings stand among the fields."""
_USAGE = 31
_TIMINGS = 37


def user_record(row: UserRow) -> User:
    """One user."""
    return User(
        id=row.id,
        identity_hash=row.identity_hash,
        created_at=row.created_at,
        last_seen_at=row.last_seen_at,
    )


def preferences_record(row: PreferencesRow) -> Preferences:
    """One user's preferences."""
    return Preferences(
        effort=row.effort, show_reasoning=row.show_reasoning, theme=row.theme, settings=row.settings
    )


def preset_record(row: PresetRow) -> PresetRecord:
    """One preset."""
    return PresetRecord(id=row.id, name=row.name, settings=row.settings, created_at=row.created_at)


def share_record(row: ShareRow) -> ShareRecord:
    """One share, without its snapshot."""
    return ShareRecord(
        id=row.id,
        token=row.token,
        conversation_id=row.conversation_id,
        title=row.title,
        include_reasoning=row.include_reasoning,
        message_count=row.message_count,
        created_at=row.created_at,
    )


def conversation_record(row: ConversationRow, running_generation_id: str | None) -> ConversationRecord:
    """One conversation with its open generation, if there is one."""
    return ConversationRecord(
        id=row.id,
        title=row.title,
        title_by_hand=row.title_by_hand,
        pinned=row.pinned,
        archived=row.archived,
        settings=row.settings,
        leaf_id=row.leaf_id,
        running_generation_id=running_generation_id,
        sequence=row.updated_sequence,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def message_record(row: MessageRow) -> MessageRecord:
    """One message. Raises DatabaseCorrupt."""
    return message_of([getattr(row, column.key) for column in CHECKED_COLUMNS])


def message_of(columns: Sequence[Any]) -> MessageRecord:
    """One message from its ``CHECKED_COLUMNS``. Raises DatabaseCorrupt."""
    check_message(columns)
    return MessageRecord(*columns[: len(MESSAGE_COLUMNS)])


def generation_record(row: GenerationRow) -> GenerationRecord:
    """One generation, without its token ids."""
    return generation_of([getattr(row, column.key) for column in GENERATION_COLUMNS])


def generation_of(columns: Sequence[Any]) -> GenerationRecord:
    """One generation from its ``GENERATION_COLUMNS``."""
    measured: list[Any] = [Usage(*columns[_USAGE:_TIMINGS]), Timings(*columns[_TIMINGS:])]
    fields = [*columns[:_MEASURED], *measured, *columns[_MEASURED:_USAGE]]
    return GenerationRecord(*fields)

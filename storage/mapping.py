"""Rows to records."""

from __future__ import annotations

from inference.types import Timings, Usage
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


def message_record(
    row: MessageRow,
    siblings: tuple[str, ...] = (),
    replies: tuple[str, ...] = (),
    reply: str | None = None,
) -> MessageRecord:
    """One message, and for a question its neighbours in the tree."""
    return MessageRecord(
        id=row.id,
        conversation_id=row.conversation_id,
        parent_id=row.parent_id,
        generation_id=row.generation_id,
        sequence=row.sequence,
        role=row.role,
        channel=row.channel,
        recipient=row.recipient,
        name=row.name,
        content=row.content,
        content_type=row.content_type,
        complete=row.complete,
        recovered=row.recovered,
        token_count=row.token_count,
        created_at=row.created_at,
        siblings=siblings,
        replies=replies,
        reply=reply,
    )


def generation_record(row: GenerationRow) -> GenerationRecord:
    """One generation, without its token ids."""
    return GenerationRecord(
        id=row.id,
        conversation_id=row.conversation_id,
        user_message_id=row.user_message_id,
        client_id=row.client_id,
        sequence=row.sequence,
        status=row.status,
        effort=row.effort,
        temperature=row.temperature,
        top_p=row.top_p,
        seed=row.seed,
        max_tokens=row.max_tokens,
        model=row.model,
        revision=row.revision,
        usage=Usage(
            prompt=row.prompt_tokens,
            cached=row.cached_tokens,
            completion=row.completion_tokens,
            reasoning=row.reasoning_tokens,
            commentary=row.commentary_tokens,
            final=row.final_tokens,
        ),
        timings=Timings(
            queued=row.queued_seconds,
            ttft=row.ttft_seconds,
            total=row.total_seconds,
            tokens_per_second=row.tokens_per_second,
        ),
        reasoning_seconds=row.reasoning_seconds,
        finish_reason=row.finish_reason,
        error=row.error,
        error_code=row.error_code,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        continues_id=row.continues_id,
        primed_tokens=row.primed_tokens,
        mode=row.mode,
        dropped_reasoning=row.dropped_reasoning,
        dropped_turns=row.dropped_turns,
        context_length=row.context_length,
    )

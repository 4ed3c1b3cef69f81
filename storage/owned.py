"""Look-ups by id that always ask for the owner too: a foreign id reads exactly like an absent one.

What was deleted reads like that as well, also while it can still be restored.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from storage.errors import NotFound
from storage.mapping import conversation_record
from storage.records import ConversationRecord
from storage.schema import IS_OPEN, ConversationRow, GenerationRow, UserRow

TICK = timedelta(microseconds=1)
"""The smallest step of a stored time."""


def owned_conversation(
    session: Session, owner_id: str, conversation_id: str, deleted: bool = False
) -> ConversationRow:
    """This owner's conversation, or NotFound; ``deleted`` finds one that is deleted too."""
    statement = select(ConversationRow).where(
        ConversationRow.id == conversation_id, ConversationRow.owner_id == owner_id
    )
    row = session.scalar(statement)
    if row is None or (row.deleted_at is not None and not deleted):
        raise NotFound
    return row


def owned_generation(
    session: Session, owner_id: str, generation_id: str, deleted: bool = False
) -> GenerationRow:
    """This owner's generation, or NotFound; ``deleted`` finds one of a deleted conversation too."""
    statement = select(GenerationRow).where(
        GenerationRow.id == generation_id, GenerationRow.owner_id == owner_id
    )
    if not deleted:
        statement = statement.join(
            ConversationRow, ConversationRow.id == GenerationRow.conversation_id
        ).where(ConversationRow.deleted_at.is_(None))
    row = session.scalar(statement)
    if row is None:
        raise NotFound
    return row


def open_generation_row(session: Session, conversation_id: str) -> GenerationRow | None:
    """The one generation of a conversation (already known to be the owner's) that may still grow."""
    return session.scalar(
        select(GenerationRow).where(GenerationRow.conversation_id == conversation_id, IS_OPEN)
    )


def described(session: Session, row: ConversationRow) -> ConversationRecord:
    """The record of a row, with its open generation."""
    running = open_generation_row(session, row.id)
    return conversation_record(row, None if running is None else running.id)


def next_sequence(session: Session, owner_id: str) -> int:
    """Count one more change of this owner. Raises NotFound for an unknown one."""
    sequence: int | None = session.scalar(
        update(UserRow)
        .where(UserRow.id == owner_id)
        .values(change_sequence=UserRow.change_sequence + 1)
        .returning(UserRow.change_sequence),
        execution_options={"synchronize_session": False},
    )
    if sequence is None:
        raise NotFound
    return sequence


def note_change(session: Session, row: ConversationRow) -> None:
    """Let ``changes`` name this conversation."""
    row.updated_sequence = next_sequence(session, row.owner_id)


def note_turn(session: Session, row: ConversationRow) -> None:
    """Make this the first of the owner's list, and let ``changes`` name it."""
    row.updated_at = next_time(session, row.owner_id)
    note_change(session, row)


def next_time(session: Session, owner_id: str) -> datetime:
    """Now, or later than every conversation of this owner when the clock went back."""
    latest = session.scalar(
        select(func.max(ConversationRow.updated_at)).where(ConversationRow.owner_id == owner_id)
    )
    now = datetime.now(UTC)
    return now if latest is None else max(now, latest + TICK)

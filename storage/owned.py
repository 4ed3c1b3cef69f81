"""Look-ups by id that always ask for the owner too: a foreign id reads exactly like an absent one."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.errors import NotFound
from storage.records import OPEN_STATUSES
from storage.schema import ConversationRow, GenerationRow


def owned_conversation(session: Session, owner_id: str, conversation_id: str) -> ConversationRow:
    """This owner's conversation, or NotFound."""
    row = session.scalar(
        select(ConversationRow).where(
            ConversationRow.id == conversation_id, ConversationRow.owner_id == owner_id
        )
    )
    if row is None:
        raise NotFound
    return row


def owned_generation(session: Session, owner_id: str, generation_id: str) -> GenerationRow:
    """This owner's generation, or NotFound."""
    row = session.scalar(
        select(GenerationRow).where(GenerationRow.id == generation_id, GenerationRow.owner_id == owner_id)
    )
    if row is None:
        raise NotFound
    return row


def open_generation_row(session: Session, conversation_id: str) -> GenerationRow | None:
    """The one generation of a conversation (already known to be the owner's) that may still grow."""
    return session.scalar(
        select(GenerationRow).where(
            GenerationRow.conversation_id == conversation_id, GenerationRow.status.in_(OPEN_STATUSES)
        )
    )

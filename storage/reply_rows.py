"""The rows of a reply as it grows: its chain of messages and the pieces of its token ids."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import takewhile

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from inference.types import Message, Role
from storage.checksums import row_checksum
from storage.column_types import BYTES_PER_ID
from storage.database import fresh_id
from storage.errors import Conflict
from storage.records import MessageDraft
from storage.schema import ConversationRow, GenerationRow, MessageRow, OutputTokensRow


def message_rows(session: Session, generation_id: str) -> list[MessageRow]:
    """The messages of a generation in the order in which they were begun."""
    statement = select(MessageRow).where(MessageRow.generation_id == generation_id)
    return list(session.scalars(statement.order_by(MessageRow.sequence)))


def save_messages(session: Session, generation: GenerationRow, drafts: Sequence[MessageDraft]) -> None:
    """Insert and change what differs; rows that are as they were cost nothing.

    Drafts may leave out messages that were saved before, and never hold the results that a reply begins
    with. Raises Conflict when an id is not the one that this index was saved with, or an index is left out.
    """
    rows = message_rows(session, generation.id)
    given = len(leading_results(rows)) if generation.answers_id is not None else 0
    for draft in sorted(drafts, key=lambda each: each.index):
        place = draft.index + given
        if place == len(rows):
            rows.append(_append(session, generation, rows, draft))
        elif not given <= place < len(rows) or rows[place].id != draft.id:
            raise Conflict("The messages of this reply do not fit what was saved before.")
        _fill(rows[place], draft)  # SQLAlchemy writes the columns that changed only
    session.flush()


def leading_results(rows: Sequence[MessageRow]) -> list[MessageRow]:
    """The results of functions that a reply begins with."""
    return list(takewhile(lambda row: row.role is Role.TOOL, rows))


def add_results(
    session: Session, generation: GenerationRow, before: MessageRow, results: Sequence[Message]
) -> MessageRow:
    """Begin a reply with the results of calls, below the last message of the reply that called; the last."""
    for result in results:
        row = MessageRow(
            id=fresh_id(session),
            conversation_id=generation.conversation_id,
            parent_id=before.id,
            generation_id=generation.id,
            created_at=datetime.now(UTC),
        )
        _fill(row, MessageDraft(row.id, 0, result, complete=True))
        session.add(row)
        session.flush()
        before = row
    return before


def _append(
    session: Session, generation: GenerationRow, rows: Sequence[MessageRow], draft: MessageDraft
) -> MessageRow:
    """A new end of the chain; the conversation follows when it stood at the old end."""
    before = rows[-1].id if rows else generation.user_message_id
    row = MessageRow(
        id=draft.id,
        conversation_id=generation.conversation_id,
        parent_id=before,
        generation_id=generation.id,
        created_at=datetime.now(UTC),
    )
    _fill(row, draft)
    session.add(row)
    session.flush()
    follows = [ConversationRow.id == generation.conversation_id, ConversationRow.leaf_id == before]
    if not rows:  # another reply without messages, which ends at the same question, may be shown
        shown = select(MessageRow.chosen_generation_id).where(MessageRow.id == before).scalar_subquery()
        follows.append(shown == generation.id)
    session.execute(update(ConversationRow).where(*follows).values(leaf_id=row.id))
    return row


def _fill(row: MessageRow, draft: MessageDraft) -> None:
    """Copy a draft into its row."""
    message = draft.message
    row.role = message.role
    row.channel = message.channel
    row.recipient = message.recipient
    row.name = message.name
    row.content = message.content
    row.content_type = message.content_type
    row.recovered = message.recovered
    row.complete = draft.complete
    row.token_count = draft.token_count
    row.checksum = row_checksum(row)


def append_output(session: Session, generation_id: str, output_ids: Sequence[int]) -> None:
    """Add the ids that are not stored yet as one piece. ``output_ids`` holds all ids from the first on."""
    saved = saved_output_length(session, generation_id)
    new = tuple(output_ids[saved:])
    if new:
        session.add(OutputTokensRow(generation_id=generation_id, start=saved, ids=new))
        session.flush()


def join_output(session: Session, generation_id: str) -> None:
    """Replace the pieces by one."""
    ids = output_ids(session, generation_id)
    session.execute(delete(OutputTokensRow).where(OutputTokensRow.generation_id == generation_id))
    if ids:
        session.add(OutputTokensRow(generation_id=generation_id, start=0, ids=ids))
        session.flush()


def saved_output_length(session: Session, generation_id: str) -> int:
    """How many ids are stored."""
    end = func.max(OutputTokensRow.start + func.length(OutputTokensRow.ids) // BYTES_PER_ID)
    return session.scalar(select(end).where(OutputTokensRow.generation_id == generation_id)) or 0


def output_ids(session: Session, generation_id: str) -> tuple[int, ...]:
    """All ids that are stored, in order."""
    statement = select(OutputTokensRow.ids).where(OutputTokensRow.generation_id == generation_id)
    pieces = session.scalars(statement.order_by(OutputTokensRow.start))
    return tuple(token for piece in pieces for token in piece)

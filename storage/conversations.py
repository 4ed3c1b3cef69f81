"""Conversations: list, read, rename, delete, and the path of messages that is shown."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import and_, delete, func, literal, select
from sqlalchemy.orm import Session

from storage.database import Queries
from storage.errors import InvalidValue, NotFound
from storage.mapping import conversation_record, generation_record, message_record
from storage.owned import open_generation_row, owned_conversation
from storage.records import OPEN_STATUSES, ConversationRecord, GenerationRecord, MessageRecord
from storage.schema import ConversationRow, GenerationRow, MessageRow

LARGEST_PAGE = 200


class ConversationQueries(Queries):
    """The store's part for conversations."""

    def list_conversations(
        self, owner_id: str, limit: int = 30, cursor: str | None = None
    ) -> tuple[list[ConversationRecord], str | None]:
        """One page, the latest changed first, and the cursor of the next page (None at the end).

        ``limit`` is 1 to 200. Raises InvalidValue for another limit or a cursor that is none of ours.
        """
        if not 1 <= limit <= LARGEST_PAGE:
            raise InvalidValue(f"A page holds 1 to {LARGEST_PAGE} conversations.")
        statement = (
            select(ConversationRow, GenerationRow.id)
            .outerjoin(
                GenerationRow,
                and_(
                    GenerationRow.conversation_id == ConversationRow.id,
                    GenerationRow.status.in_(OPEN_STATUSES),
                ),
            )
            .where(ConversationRow.owner_id == owner_id)
            .order_by(ConversationRow.updated_sequence.desc())
            .limit(limit + 1)
        )
        if cursor is not None:
            statement = statement.where(ConversationRow.updated_sequence < _sequence_of(cursor))
        with self._database.read() as session:
            rows = session.execute(statement).all()
            page = rows[:limit]
            following = str(page[-1][0].updated_sequence) if len(rows) > limit else None
            return [conversation_record(row, running) for row, running in page], following

    def get_conversation(self, owner_id: str, conversation_id: str) -> ConversationRecord:
        """One conversation. Raises NotFound."""
        with self._database.read() as session:
            return described(session, owned_conversation(session, owner_id, conversation_id))

    def path(self, owner_id: str, conversation_id: str, leaf_id: str | None = None) -> list[MessageRecord]:
        """The messages from the root to the leaf (the one shown, or ``leaf_id``), the oldest first.

        Raises NotFound when the conversation is not the owner's or the leaf is not in it.
        """
        with self._database.read() as session:
            row = owned_conversation(session, owner_id, conversation_id)
            leaf = row.leaf_id if leaf_id is None else leaf_id
            messages = [] if leaf is None else _path(session, row.id, leaf)
            if leaf is not None and not messages:
                raise NotFound
            return messages

    def conversation_generations(self, owner_id: str, conversation_id: str) -> list[GenerationRecord]:
        """Every generation of a conversation, those of other branches included, the oldest first."""
        with self._database.read() as session:
            row = owned_conversation(session, owner_id, conversation_id)
            statement = select(GenerationRow).where(GenerationRow.conversation_id == row.id)
            generations = session.scalars(statement.order_by(GenerationRow.sequence))
            return [generation_record(generation) for generation in generations]

    def update_conversation(
        self,
        owner_id: str,
        conversation_id: str,
        *,
        title: str | None = None,
        instructions: str | None = None,
    ) -> ConversationRecord:
        """Change what is given (None keeps it, empty instructions remove them). Raises NotFound."""

        def work(session: Session) -> ConversationRecord:
            row = owned_conversation(session, owner_id, conversation_id)
            if title is not None:
                row.title = title
            if instructions is not None:
                row.instructions = instructions or None
            touch(session, row)
            return described(session, row)

        return self._database.write(work)

    def delete_conversation(self, owner_id: str, conversation_id: str) -> None:
        """Remove a conversation with all its messages and generations. Raises NotFound."""

        def work(session: Session) -> None:
            row = owned_conversation(session, owner_id, conversation_id)
            session.execute(delete(ConversationRow).where(ConversationRow.id == row.id))

        self._database.write(work)


def described(session: Session, row: ConversationRow) -> ConversationRecord:
    """The record of a row, with its open generation."""
    running = open_generation_row(session, row.id)
    return conversation_record(row, None if running is None else running.id)


def touch(session: Session, row: ConversationRow) -> None:
    """Make this the owner's latest changed conversation."""
    row.updated_at = datetime.now(UTC)
    row.updated_sequence = next_sequence(session, row.owner_id)


def next_sequence(session: Session, owner_id: str) -> int:
    """One more than the highest of this owner's conversations."""
    highest = session.scalar(
        select(func.max(ConversationRow.updated_sequence)).where(ConversationRow.owner_id == owner_id)
    )
    return (highest or 0) + 1


def _sequence_of(cursor: str) -> int:
    """A cursor is the sequence of the last conversation of the page before."""
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) <= 18):
        raise InvalidValue("This is not a cursor of this list.")
    return int(cursor)


def _path(session: Session, conversation_id: str, leaf_id: str) -> list[MessageRecord]:
    """Walk from the leaf up in one query; empty when the leaf is not in the conversation."""
    chain = (
        select(MessageRow.id, MessageRow.parent_id, literal(0).label("depth"))
        .where(MessageRow.id == leaf_id, MessageRow.conversation_id == conversation_id)
        .cte("chain", recursive=True)
    )
    chain = chain.union_all(
        select(MessageRow.id, MessageRow.parent_id, chain.c.depth + 1).where(
            MessageRow.id == chain.c.parent_id
        )
    )
    statement = select(MessageRow).join(chain, MessageRow.id == chain.c.id).order_by(chain.c.depth.desc())
    return [message_record(row) for row in session.scalars(statement)]

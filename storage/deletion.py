"""Deleting conversations: hidden at once, restored on demand, removed for good later."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from storage.clock import steady_now
from storage.database import Database, Queries
from storage.owned import described, note_change, owned_conversation
from storage.records import ConversationRecord
from storage.schema import ConversationRow, UserRow


class DeletionQueries(Queries):
    """The store's part for deleting."""

    def delete_conversation(self, owner_id: str, conversation_id: str) -> None:
        """Hide a conversation everywhere until it is restored or purged. Raises NotFound.

        A reply that runs in it is saved until the caller stops it: its text is there after a restore.
        """

        def work(session: Session) -> None:
            row = owned_conversation(session, owner_id, conversation_id)
            row.deleted_at = steady_now()
            note_change(session, row)

        self._database.write(work)

    def restore_conversation(self, owner_id: str, conversation_id: str) -> ConversationRecord:
        """Take a delete back; one that is not deleted stays as it is. Raises NotFound once it is purged."""

        def work(session: Session) -> ConversationRecord:
            row = owned_conversation(session, owner_id, conversation_id, deleted=True)
            if row.deleted_at is not None:
                row.deleted_at = None
                note_change(session, row)
            return described(session, row)

        return self._database.write(work)

    def purge_deleted(self, older_than: datetime) -> list[str]:
        """Remove for good, of all owners, what was deleted before this time; returns the ids.

        The time is one of ``storage.clock``.
        """
        return purge(self._database, older_than)


def purge(database: Database, older_than: datetime | None = None) -> list[str]:
    """Remove what was deleted before this time, or all that was deleted: what other processes deleted has
    times of their clocks. Each goes in a transaction of its own, so that others need not wait.
    """
    statement = select(ConversationRow.id).where(ConversationRow.deleted_at.is_not(None))
    if older_than is not None:
        statement = statement.where(ConversationRow.deleted_at < older_than)
    with database.read() as session:
        ids = session.scalars(statement).all()
    return [conversation_id for conversation_id in ids if database.write(_purging(conversation_id))]


def _purging(conversation_id: str) -> Callable[[Session], bool]:
    """Remove one with all that it owns; False when it was restored meanwhile."""

    def work(session: Session) -> bool:
        row = session.scalar(
            select(ConversationRow).where(
                ConversationRow.id == conversation_id, ConversationRow.deleted_at.is_not(None)
            )
        )
        if row is None:
            return False
        session.execute(
            update(UserRow)
            .where(UserRow.id == row.owner_id, UserRow.purged_sequence < row.updated_sequence)
            .values(purged_sequence=row.updated_sequence)
        )
        session.execute(delete(ConversationRow).where(ConversationRow.id == conversation_id))
        return True

    return work

"""Conversations: the list, its changes, reading one and changing it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, and_, select, true, tuple_
from sqlalchemy.orm import Session

from storage.database import Queries
from storage.errors import InvalidValue
from storage.mapping import conversation_record
from storage.owned import TICK, described, note_change, owned_conversation
from storage.records import Changes, ChatSettings, ConversationRecord
from storage.schema import IS_OPEN, ConversationRow, GenerationRow, UserRow

LARGEST_PAGE = 200
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR = re.compile(r"([01])\.([0-9]{1,17})\.([0-9]{1,18})")


class ConversationQueries(Queries):
    """The store's part for conversations."""

    def list_conversations(
        self, owner_id: str, limit: int = 30, cursor: str | None = None, archived: bool = False
    ) -> tuple[list[ConversationRecord], str | None]:
        """One page and the cursor of the next one (None at the end).

        Pinned ones first, then the others, each by their latest turn, newest first. ``limit`` is 1 to 200. A
        cursor names a place, so that nothing is left out or told twice when others move meanwhile. Raises
        InvalidValue for another limit or a cursor that is none of ours.
        """
        check_limit(limit)
        place = (ConversationRow.pinned, ConversationRow.updated_at, ConversationRow.number)
        statement = listed().where(
            ConversationRow.owner_id == owner_id,
            ConversationRow.archived.is_(archived),
            ConversationRow.deleted_at.is_(None),
            true() if cursor is None else tuple_(*place) < tuple_(*_place_of(cursor)),
        )
        statement = statement.order_by(*(column.desc() for column in place)).limit(limit + 1)
        with self._database.read() as session:
            rows = session.execute(statement).all()
            following = _cursor(rows[limit - 1][0]) if len(rows) > limit else None
            return [conversation_record(row, running) for row, running in rows[:limit]], following

    def conversation_ids(self, owner_id: str) -> list[str]:
        """The ids of all conversations, archived ones included, the latest changed first."""
        statement = select(ConversationRow.id).where(
            ConversationRow.owner_id == owner_id, ConversationRow.deleted_at.is_(None)
        )
        with self._database.read() as session:
            return list(session.scalars(statement.order_by(ConversationRow.updated_at.desc())))

    def changes(self, owner_id: str, after: int | None = None, limit: int = LARGEST_PAGE) -> Changes:
        """What changed since the change number ``after``; without it only the number of the latest change.

        ``complete`` is False when more than ``limit`` conversations changed, or when nobody knows any more
        what was deleted since.
        """
        check_limit(limit)
        with self._database.read() as session:
            owner = session.scalar(select(UserRow).where(UserRow.id == owner_id))
            if owner is None:
                return Changes(sequence=0)
            if after is None:
                return Changes(sequence=owner.change_sequence)
            if not owner.purged_sequence <= after <= owner.change_sequence:
                return Changes(sequence=owner.change_sequence, complete=False)
            statement = listed().where(
                ConversationRow.owner_id == owner_id, ConversationRow.updated_sequence > after
            )
            rows = session.execute(
                statement.order_by(ConversationRow.updated_sequence).limit(limit + 1)
            ).all()
            if len(rows) > limit:
                return Changes(sequence=owner.change_sequence, complete=False)
            return Changes(
                sequence=owner.change_sequence,
                conversations=tuple(
                    conversation_record(row, running) for row, running in rows if row.deleted_at is None
                ),
                removed=tuple(row.id for row, _ in rows if row.deleted_at is not None),
            )

    def get_conversation(self, owner_id: str, conversation_id: str) -> ConversationRecord:
        """One conversation. Raises NotFound."""
        with self._database.read() as session:
            return described(session, owned_conversation(session, owner_id, conversation_id))

    def update_conversation(
        self,
        owner_id: str,
        conversation_id: str,
        *,
        title: str | None = None,
        title_by_hand: bool | None = None,
        pinned: bool | None = None,
        archived: bool | None = None,
        settings: ChatSettings | None = None,
    ) -> ConversationRecord:
        """Change what is given (None keeps it); ``settings`` replaces the whole. Raises NotFound."""
        given: dict[str, Any] = {
            "title": title,
            "title_by_hand": title_by_hand,
            "pinned": pinned,
            "archived": archived,
            "settings": settings,
        }

        def work(session: Session) -> ConversationRecord:
            row = owned_conversation(session, owner_id, conversation_id)
            for name, value in given.items():
                if value is not None:
                    setattr(row, name, value)
            if session.is_modified(row):
                note_change(session, row)
            return described(session, row)

        return self._database.write(work)


def check_limit(limit: int) -> None:
    """Raise InvalidValue for a page of another size than 1 to 200."""
    if not 1 <= limit <= LARGEST_PAGE:
        raise InvalidValue(f"A page holds 1 to {LARGEST_PAGE} items.")


def listed() -> Select[ConversationRow, str]:
    """Conversations with the id of their open generation."""
    return select(ConversationRow, GenerationRow.id).outerjoin(
        GenerationRow,
        and_(
            GenerationRow.conversation_id == ConversationRow.id,
            IS_OPEN,
        ),
    )


def _cursor(row: ConversationRow) -> str:
    """The place of a conversation in the list: pinned or not, microseconds of its latest turn, number."""
    return f"{int(row.pinned)}.{(row.updated_at - EPOCH) // TICK}.{row.number}"


def _place_of(cursor: str) -> tuple[bool, datetime, int]:
    """What ``_cursor`` wrote; InvalidValue for anything else."""
    parts = _CURSOR.fullmatch(cursor)
    if parts is None:
        raise InvalidValue("This is not a cursor of this list.")
    pinned, microseconds, number = (int(part) for part in parts.groups())
    return bool(pinned), EPOCH + microseconds * TICK, number

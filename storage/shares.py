"""Shares: snapshots of conversations that whoever knows the token may read."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Select, delete, exists, func, select
from sqlalchemy.orm import Session

from storage.account_schema import AccountRow
from storage.checksums import DAMAGED_SHARE, share_checksum
from storage.database import Queries, fresh_id
from storage.errors import DatabaseCorrupt, NotFound, TooMany
from storage.mapping import share_record
from storage.owned import owned_conversation
from storage.records import ShareRecord
from storage.schema import ConversationRow, ShareRow

TOKEN_BYTES = 24
MOST_SHARES = 200


class ShareQueries(Queries):
    """The store's part for shares. The shares of a deleted conversation are hidden with it."""

    def create_share(
        self,
        owner_id: str,
        conversation_id: str,
        *,
        title: str,
        include_reasoning: bool,
        snapshot: str,
        message_count: int,
    ) -> ShareRecord:
        """Keep a snapshot under a new token of 192 random bits. Raises NotFound, TooMany for the 201st.

        Those of conversations that can still be restored count.
        """

        def work(session: Session) -> ShareRecord:
            conversation = owned_conversation(session, owner_id, conversation_id)
            of_owner = select(func.count()).select_from(ShareRow).where(ShareRow.owner_id == owner_id)
            if (session.scalar(of_owner) or 0) >= MOST_SHARES:
                raise TooMany(f"There is room for {MOST_SHARES} links. Take some back first.")
            token = secrets.token_urlsafe(TOKEN_BYTES)
            row = ShareRow(
                id=fresh_id(session),
                token=token,
                owner_id=owner_id,
                conversation_id=conversation.id,
                title=title,
                include_reasoning=include_reasoning,
                message_count=message_count,
                created_at=datetime.now(UTC),
                snapshot=snapshot,
                checksum=share_checksum(token, title, include_reasoning, message_count, snapshot),
            )
            session.add(row)
            session.flush()
            return share_record(row)

        return self._database.write(work)

    def list_shares(self, owner_id: str, conversation_id: str | None = None) -> list[ShareRecord]:
        """This owner's shares, of one conversation or of all, the newest first."""
        statement = _shared().where(ShareRow.owner_id == owner_id)
        if conversation_id is not None:
            statement = statement.where(ShareRow.conversation_id == conversation_id)
        with self._database.read() as session:
            return [
                share_record(row) for row in session.scalars(statement.order_by(ShareRow.sequence.desc()))
            ]

    def delete_share(self, owner_id: str, share_id: str) -> None:
        """Revoke a share: its token leads nowhere from now on. Raises NotFound."""

        def work(session: Session) -> None:
            statement = _shared().where(ShareRow.id == share_id, ShareRow.owner_id == owner_id)
            if session.scalar(statement) is None:
                raise NotFound
            session.execute(delete(ShareRow).where(ShareRow.id == share_id))

        self._database.write(work)

    def shared_snapshot(self, token: str) -> tuple[ShareRecord, str]:
        """What this token shows to everybody; nothing while its owner is banned.

        Raises NotFound, or DatabaseCorrupt.
        """
        with self._database.read() as session:
            row = session.scalar(_shared().where(ShareRow.token == token, ~_of_somebody_banned()))
            if row is None:
                raise NotFound
            stored = (row.title, row.include_reasoning, row.message_count, row.snapshot)
            if row.token != token or row.checksum != share_checksum(token, *stored):
                raise DatabaseCorrupt(DAMAGED_SHARE)
            return share_record(row), row.snapshot


def _shared() -> Select[ShareRow]:
    """Shares of conversations that are not deleted."""
    return (
        select(ShareRow)
        .join(ConversationRow, ConversationRow.id == ShareRow.conversation_id)
        .where(ConversationRow.deleted_at.is_(None))
    )


def _of_somebody_banned() -> ColumnElement[bool]:
    return exists().where(AccountRow.user_id == ShareRow.owner_id, AccountRow.banned_at.is_not(None))

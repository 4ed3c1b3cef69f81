"""API keys, found by the hash of their secret."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from storage.account_mapping import account_record, key_record
from storage.account_records import Account, ApiKey, KeyScope
from storage.account_schema import AccountRow, ApiKeyRow
from storage.database import Queries, fresh_id
from storage.errors import NotFound, TooMany

MOST_KEYS = 20
USED_EVERY = timedelta(minutes=1)
"""How stale ``last_used_at`` may be."""


class KeyQueries(Queries):
    """The store's part for API keys."""

    def add_key(
        self,
        user_id: str,
        name: str,
        key_hash: str,
        hint: str,
        scopes: Iterable[KeyScope],
        now: datetime,
    ) -> ApiKey:
        """Keep the SHA-256 of a new key. Raises TooMany for the 21st, NotFound for an unknown user."""
        words = " ".join(sorted(scopes))

        def work(session: Session) -> ApiKey:
            of_user = select(func.count()).select_from(ApiKeyRow).where(ApiKeyRow.user_id == user_id)
            if (session.scalar(of_user) or 0) >= MOST_KEYS:
                raise TooMany(f"There is room for {MOST_KEYS} keys. Revoke one first.")
            row = ApiKeyRow(
                id=fresh_id(session),
                user_id=user_id,
                name=name,
                key_hash=key_hash,
                hint=hint,
                scopes=words,
                created_at=now,
            )
            session.add(row)
            session.flush()
            return key_record(row)

        return self._database.write(work)

    def keys_of(self, user_id: str) -> list[ApiKey]:
        """A user's keys, the newest first."""
        statement = select(ApiKeyRow).where(ApiKeyRow.user_id == user_id)
        with self._database.read() as session:
            return [key_record(row) for row in session.scalars(statement.order_by(ApiKeyRow.sequence.desc()))]

    def revoke_key(self, user_id: str, key_id: str) -> None:
        """End one of the user's keys. Raises NotFound."""

        def work(session: Session) -> None:
            revoked = session.scalar(
                delete(ApiKeyRow)
                .where(ApiKeyRow.id == key_id, ApiKeyRow.user_id == user_id)
                .returning(ApiKeyRow.id)
            )
            if revoked is None:
                raise NotFound

        self._database.write(work)

    def key_for(self, key_hash: str, now: datetime) -> tuple[Account | None, ApiKey, str] | None:
        """The account (None for a guest's key), the key and its user's id.

        None for a key that is unknown, or whose owner is banned.
        """
        with self._database.read() as session:
            found = session.execute(
                select(ApiKeyRow, AccountRow)
                .outerjoin(AccountRow, AccountRow.user_id == ApiKeyRow.user_id)
                .where(ApiKeyRow.key_hash == key_hash, AccountRow.banned_at.is_(None))
            ).one_or_none()
            if found is None:
                return None
            row, owner = found
            account = None if owner is None else account_record(owner)
            key, user_id = key_record(row), row.user_id
        if key.last_used_at is None or now - key.last_used_at >= USED_EVERY:
            self._database.note(
                lambda session: session.execute(
                    update(ApiKeyRow).where(ApiKeyRow.id == key.id).values(last_used_at=now)
                )
            )
        return account, key, user_id

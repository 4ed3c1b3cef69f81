"""Who owns what: one user for each identity."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.database import Queries
from storage.mapping import user_record
from storage.records import Preferences, User, new_id
from storage.schema import PreferencesRow, UserRow

SEEN_EVERY = timedelta(hours=1)
"""How stale ``last_seen_at`` may be: most requests must not cost a write."""


class UserQueries(Queries):
    """The store's part for users."""

    def user_for_identity(self, identity_hash: str) -> User:
        """The user of this identity, made at first sight. ``identity_hash`` is a SHA-256 in hexadecimal."""
        with self._database.read() as session:
            row = _by_identity(session, identity_hash)
            if row is not None and datetime.now(UTC) - row.last_seen_at < SEEN_EVERY:
                return user_record(row)
        return self._database.write(lambda session: _seen(session, identity_hash))


def _by_identity(session: Session, identity_hash: str) -> UserRow | None:
    return session.scalar(select(UserRow).where(UserRow.identity_hash == identity_hash))


def _seen(session: Session, identity_hash: str) -> User:
    """Note the visit; make user and preferences when they are new."""
    now = datetime.now(UTC)
    row = _by_identity(session, identity_hash)
    if row is None:
        row = UserRow(id=new_id(), identity_hash=identity_hash, created_at=now, last_seen_at=now)
        session.add(row)
        session.flush()
        defaults = Preferences()
        session.add(
            PreferencesRow(
                owner_id=row.id,
                effort=defaults.effort,
                show_reasoning=defaults.show_reasoning,
                theme=defaults.theme,
            )
        )
    row.last_seen_at = now
    return user_record(row)

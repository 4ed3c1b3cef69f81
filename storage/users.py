"""Who owns what: one user for each identity."""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from storage.database import Queries
from storage.mapping import user_record
from storage.records import Preferences, User, new_id
from storage.schema import ConversationRow, PreferencesRow, UserRow

SEEN_EVERY = timedelta(hours=1)
"""How stale ``last_seen_at`` may be: most requests must not cost a write."""


class UserQueries(Queries):
    """The store's part for users."""

    def user_for_identity(self, identity_hash: str) -> User:
        """The user of this identity, made at first sight. ``identity_hash`` is a SHA-256 in hexadecimal."""
        with self._database.read() as session:
            row = by_identity(session, identity_hash)
            known = None if row is None else user_record(row)
            fresh = row is not None and datetime.now(UTC) - row.last_seen_at < SEEN_EVERY
        if known is None:
            return self._database.write(lambda session: _seen(session, identity_hash))
        if fresh:
            return known
        return self._database.note(lambda session: _seen(session, identity_hash)) or known

    def add_owner(self, owner_id: str) -> None:
        """Know a user of another store under the same id, so that he can own things here too.

        No identity leads to the copy. May be repeated.
        """
        self._database.write(lambda session: _known(session, owner_id))

    def forget_owners(self, unused_since: datetime) -> None:
        """Remove the copies that own no conversation and were not asked for (``add_owner``) since this time.

        For a store of copies only.
        """
        owns = exists().where(ConversationRow.owner_id == UserRow.id)

        def work(session: Session) -> None:
            session.execute(delete(UserRow).where(UserRow.last_seen_at < unused_since, ~owns))

        self._database.write(work)


def by_identity(session: Session, identity_hash: str) -> UserRow | None:
    """The user of this identity, if there is one."""
    return session.scalar(select(UserRow).where(UserRow.identity_hash == identity_hash))


def _seen(session: Session, identity_hash: str) -> User:
    """Note the visit; make user and preferences when they are new."""
    now = datetime.now(UTC)
    row = by_identity(session, identity_hash)
    if row is None:
        row = new_user(session, new_id(), identity_hash)
    row.last_seen_at = now
    return user_record(row)


def _known(session: Session, owner_id: str) -> None:
    """Make the user when it is new, and note that it was asked for."""
    row = session.scalar(select(UserRow).where(UserRow.id == owner_id))
    if row is None:
        row = new_user(session, owner_id, hashlib.sha256(secrets.token_bytes()).hexdigest())
    row.last_seen_at = datetime.now(UTC)


def new_user(session: Session, user_id: str, identity_hash: str) -> UserRow:
    """A user who has set nothing yet."""
    now = datetime.now(UTC)
    row = UserRow(
        id=user_id,
        identity_hash=identity_hash,
        change_sequence=0,
        purged_sequence=0,
        created_at=now,
        last_seen_at=now,
    )
    session.add(row)
    session.flush()
    defaults = Preferences()
    session.add(
        PreferencesRow(
            owner_id=row.id,
            effort=defaults.effort,
            show_reasoning=defaults.show_reasoning,
            theme=defaults.theme,
            settings=defaults.settings,
        )
    )
    return row

"""Sessions: the browsers that are signed in, found by the hash of their cookie."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, and_, delete, exists, select, update
from sqlalchemy.orm import Session

from storage.account_mapping import account_record, login_record
from storage.account_records import Account, LoginSession
from storage.account_schema import AccountRow, ApiKeyRow, LoginSessionRow
from storage.database import Queries
from storage.errors import NotFound
from storage.schema import ConversationRow, PresetRow, ResponseRow, UserRow

SEEN_EVERY = timedelta(minutes=5)
"""How stale ``last_seen_at`` may be: most requests must not cost a write."""
GUESTS_KEPT = timedelta(days=90)
"""How long a guest without anything is remembered."""
GUESTS_AT_ONCE = 200
CLOCK_ERROR = timedelta(days=1)
"""How far a clock may be set back before sessions seem to begin in the future, and end."""


class SessionQueries(Queries):
    """The store's part for sessions. ``idle`` is how long one lasts without being used."""

    def session_for(
        self, token_hash: str, *, now: datetime, idle: timedelta
    ) -> tuple[Account, LoginSession] | None:
        """Who has this cookie; None when its session is over, or its account banned.

        A session that is found to be over is removed: a clock that is set back does not bring it back.
        """
        with self._database.read() as session:
            found = session.execute(
                select(AccountRow, LoginSessionRow, _valid(now, idle))
                .join(LoginSessionRow, LoginSessionRow.user_id == AccountRow.user_id)
                .where(LoginSessionRow.token_hash == token_hash, AccountRow.banned_at.is_(None))
            ).one_or_none()
            if found is None:
                return None
            account, login, valid = account_record(found[0]), login_record(found[1]), bool(found[2])
        if not valid:
            over = delete(LoginSessionRow).where(LoginSessionRow.id == login.id, ~_valid(now, idle))
            self._database.note(lambda session: session.execute(over))
            return None
        if now - login.last_seen_at >= SEEN_EVERY:
            self._database.note(lambda session: _seen(session, login, now))
        return account, login

    def sessions_of(self, user_id: str, now: datetime, idle: timedelta) -> list[LoginSession]:
        """A user's sessions that are not over, the latest used first."""
        statement = select(LoginSessionRow).where(LoginSessionRow.user_id == user_id, _valid(now, idle))
        order = (LoginSessionRow.last_seen_at.desc(), LoginSessionRow.sequence.desc())
        with self._database.read() as session:
            return [login_record(row) for row in session.scalars(statement.order_by(*order))]

    def end_session(self, user_id: str, session_id: str) -> None:
        """End one of the user's sessions; its token of the provider is forgotten. Raises NotFound."""

        def work(session: Session) -> None:
            ended = session.scalar(
                delete(LoginSessionRow)
                .where(LoginSessionRow.id == session_id, LoginSessionRow.user_id == user_id)
                .returning(LoginSessionRow.id)
            )
            if ended is None:
                raise NotFound

        self._database.write(work)

    def end_sessions(self, user_id: str, *, except_id: str | None = None) -> int:
        """End all sessions of a user, or all but one; returns how many."""

        def work(session: Session) -> int:
            statement = delete(LoginSessionRow).where(
                LoginSessionRow.user_id == user_id, LoginSessionRow.id.is_not(except_id)
            )
            return len(session.scalars(statement.returning(LoginSessionRow.id)).all())

        return self._database.write(work)

    def access_token_of(self, session_id: str) -> bytes | None:
        """The provider's token of a session, as ``sign_in`` got it."""
        with self._database.read() as session:
            return session.scalar(
                select(LoginSessionRow.access_token).where(LoginSessionRow.id == session_id)
            )

    def tidy_sessions(self, now: datetime, idle: timedelta) -> int:
        """Remove sessions that are over, and guests without anything who did not come for 90 days.

        Returns how many sessions and guests went.
        """

        def sessions(session: Session) -> int:
            over = delete(LoginSessionRow).where(~_valid(now, idle)).returning(LoginSessionRow.id)
            return len(session.scalars(over).all())

        def guests(session: Session) -> int:
            ids = session.scalars(_forgotten(now)).all()
            session.execute(delete(UserRow).where(UserRow.id.in_(ids)))
            return len(ids)

        removed = self._database.write(sessions)
        while True:
            count = self._database.write(guests)
            removed += count
            if count < GUESTS_AT_ONCE:
                return removed


def _valid(now: datetime, idle: timedelta) -> ColumnElement[bool]:
    """Sessions that are not over, and were not begun while the clock was far ahead of what it is now."""
    return and_(
        LoginSessionRow.expires_at > now,
        LoginSessionRow.last_seen_at > now - idle,
        LoginSessionRow.created_at < now + CLOCK_ERROR,
    )


def _seen(session: Session, login: LoginSession, now: datetime) -> None:
    """Note the visit; a clock that went back changes nothing."""
    session.execute(
        update(LoginSessionRow)
        .where(LoginSessionRow.id == login.id, LoginSessionRow.last_seen_at < now)
        .values(last_seen_at=now)
    )
    session.execute(
        update(UserRow)
        .where(UserRow.id == login.user_id, UserRow.last_seen_at < now)
        .values(last_seen_at=now)
    )


def _forgotten(now: datetime) -> Select[str]:
    """Some of the users whom nobody would miss."""
    owned = (
        exists().where(AccountRow.user_id == UserRow.id),
        exists().where(ApiKeyRow.user_id == UserRow.id),
        exists().where(ConversationRow.owner_id == UserRow.id),
        exists().where(PresetRow.owner_id == UserRow.id),
        exists().where(ResponseRow.owner_id == UserRow.id),
    )
    statement = select(UserRow.id).where(UserRow.last_seen_at < now - GUESTS_KEPT, *(~each for each in owned))
    return statement.limit(GUESTS_AT_ONCE)

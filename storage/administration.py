"""What admins see and do: counts of users, never a text of theirs; roles and bans."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Select, delete, func, select, text
from sqlalchemy.orm import Session

from storage.account_mapping import account_record
from storage.account_records import Account, AccountRole, Totals, UserCounts, UserKind, UserSummary
from storage.account_schema import AccountRow, LoginSessionRow, UsageRow
from storage.conversations import check_limit
from storage.database import Queries
from storage.errors import Conflict, InvalidValue, NotFound
from storage.schema import ConversationRow, MessageRow, UserRow

DAYS_SUMMED = 30
KINDS = {
    UserKind.ACCOUNTS: AccountRow.user_id.is_not(None),
    UserKind.GUESTS: AccountRow.user_id.is_(None),
    UserKind.BANNED: AccountRow.banned_at.is_not(None),
}
LAST_ADMIN = "This is the last admin. Make somebody else an admin first."


class AdministrationQueries(Queries):
    """The store's part for admins; whoever calls it checks that it is one who asks."""

    def users_overview(
        self, after: str | None = None, limit: int = 50, kind: UserKind = UserKind.ALL
    ) -> list[UserSummary]:
        """One page of users, the newest first; ``after`` is the id of the last one of the page before.

        Raises InvalidValue for a limit outside of 1 to 200, NotFound for a user who is gone.
        """
        check_limit(limit)
        with self._database.read() as session:
            statement = _summaries(datetime.now(UTC)).order_by(UserRow.number.desc()).limit(limit)
            if kind in KINDS:
                statement = statement.where(KINDS[kind])
            if after is not None:
                number = session.scalar(select(UserRow.number).where(UserRow.id == after))
                if number is None:
                    raise NotFound
                statement = statement.where(UserRow.number < number)
            return [_summary(row) for row in session.execute(statement)]

    def user_counts(self) -> UserCounts:
        """How many users there are of each kind."""
        with self._database.read() as session:
            users = session.scalar(select(func.count()).select_from(UserRow)) or 0
            accounts, banned = session.execute(
                select(func.count(), func.count(AccountRow.banned_at)).select_from(AccountRow)
            ).one()
            return UserCounts(accounts, users - accounts, banned)

    def set_ban(self, user_id: str, banned_at: datetime | None) -> UserSummary:
        """Ban an account, whose sessions end, or (None) let it in again.

        Raises NotFound, InvalidValue for a guest, Conflict for the last admin.
        """

        def work(session: Session) -> UserSummary:
            row = _account(session, user_id)
            if banned_at is not None:
                if row.role is AccountRole.ADMIN:
                    check_other_admin(session, user_id)
                session.execute(delete(LoginSessionRow).where(LoginSessionRow.user_id == user_id))
            row.banned_at = banned_at
            return _summary_of(session, user_id)

        return self._database.write(work)

    def set_role(self, user_id: str, role: AccountRole) -> UserSummary:
        """Give an account another role.

        Raises NotFound, InvalidValue for a guest, Conflict for the last admin.
        """

        def work(session: Session) -> UserSummary:
            row = _account(session, user_id)
            if row.role is AccountRole.ADMIN and role is not AccountRole.ADMIN:
                check_other_admin(session, user_id)
            row.role = role
            return _summary_of(session, user_id)

        return self._database.write(work)

    def admins(self) -> list[Account]:
        """The admins who can sign in."""
        theirs = (AccountRow.role == AccountRole.ADMIN, AccountRow.banned_at.is_(None))
        with self._database.read() as session:
            return [account_record(row) for row in session.scalars(select(AccountRow).where(*theirs))]

    def totals(self, now: datetime) -> Totals:
        """What the whole database holds."""
        today = UsageRow.day == now.astimezone(UTC).date().isoformat()
        shown = select(func.count()).select_from(ConversationRow).where(ConversationRow.deleted_at.is_(None))
        with self._database.read() as session:
            requests, tokens = session.execute(_used(today)).one()
            return Totals(
                users=session.scalar(select(func.count()).select_from(UserRow)) or 0,
                accounts=session.scalar(select(func.count()).select_from(AccountRow)) or 0,
                conversations=session.scalar(shown) or 0,
                messages=session.scalar(select(func.count()).select_from(MessageRow)) or 0,
                database_bytes=_pragma(session, "page_count") * _pragma(session, "page_size"),
                requests_today=requests,
                tokens_today=tokens,
            )


def _used(*conditions: Any) -> Select[int, int]:
    """Sums of requests and tokens."""
    requests = func.coalesce(func.sum(UsageRow.requests), 0)
    return select(requests, func.coalesce(func.sum(UsageRow.tokens), 0)).where(*conditions)


def _pragma(session: Session, name: str) -> int:
    """One of SQLite's figures."""
    return int(session.execute(text(f"PRAGMA {name}")).scalar_one())


def _summaries(now: datetime) -> Select[Any]:
    """Users with their counts, in the order of the fields of ``UserSummary``."""
    since = (now - timedelta(days=DAYS_SUMMED)).date().isoformat()
    shown = (ConversationRow.owner_id == UserRow.id, ConversationRow.deleted_at.is_(None))
    used = (UsageRow.user_id == UserRow.id, UsageRow.day > since)
    counted = (
        select(func.count()).select_from(ConversationRow).where(*shown),
        select(func.count())
        .select_from(ConversationRow)
        .join(MessageRow, MessageRow.conversation_id == ConversationRow.id)
        .where(*shown),
        *(
            select(func.coalesce(func.sum(each), 0)).where(*used)
            for each in (UsageRow.requests, UsageRow.tokens)
        ),
    )
    return select(
        UserRow.id,
        AccountRow.handle,
        AccountRow.display_name,
        AccountRow.role,
        AccountRow.banned_at,
        UserRow.created_at,
        UserRow.last_seen_at,
        *(each.correlate(UserRow).scalar_subquery() for each in counted),
    ).outerjoin(AccountRow, AccountRow.user_id == UserRow.id)


def _summary(row: Any) -> UserSummary:
    """One user; a guest is a member."""
    user_id, handle, display_name, role, *rest = row
    return UserSummary(user_id, handle, display_name, role or AccountRole.MEMBER, *rest)


def _summary_of(session: Session, user_id: str) -> UserSummary:
    """One user as he is now."""
    session.flush()
    return _summary(session.execute(_summaries(datetime.now(UTC)).where(UserRow.id == user_id)).one())


def _account(session: Session, user_id: str) -> AccountRow:
    """The account of this user. Raises NotFound, or InvalidValue for a guest."""
    row = session.get(AccountRow, user_id)
    if row is not None:
        return row
    if session.scalar(select(UserRow.id).where(UserRow.id == user_id)) is None:
        raise NotFound
    raise InvalidValue("This is a guest, who has no account.")


def check_other_admin(session: Session, user_id: str) -> None:
    """Refuse to leave the playground without an admin who can sign in. Raises Conflict."""
    others = select(AccountRow.user_id).where(
        AccountRow.role == AccountRole.ADMIN, AccountRow.banned_at.is_(None), AccountRow.user_id != user_id
    )
    if session.scalar(others.limit(1)) is None:
        raise Conflict(LAST_ADMIN)

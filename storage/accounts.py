"""Accounts: signing in, which brings along what the guest of that browser made, and leaving for good."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from storage.account_mapping import account_record, login_record
from storage.account_records import Account, AccountRole, Identity, LoginSession
from storage.account_schema import AccountRow, ApiKeyRow, LoginSessionRow, MilestoneRow, UsageRow
from storage.administration import check_other_admin
from storage.database import Queries, fresh_id
from storage.errors import AccountBanned, NotFound
from storage.records import new_id
from storage.schema import ConversationRow, PresetRow, ResponseRow, ShareRow, UserRow
from storage.take_over import take_over
from storage.users import by_identity, new_user

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_ACCOUNT = "first_account"


class AccountQueries(Queries):
    """The store's part for accounts."""

    def sign_in(
        self,
        identity: Identity,
        *,
        token_hash: str,
        client: str,
        now: datetime,
        expires_at: datetime,
        access_token: bytes | None = None,
        guest_hash: str | None = None,
        role: AccountRole | None = None,
        first_is_admin: bool = True,
    ) -> tuple[Account, LoginSession]:
        """Begin a session of the account of ``identity``, which is made at the first time.

        ``token_hash`` and ``guest_hash`` are SHA-256 in hexadecimal: of the new cookie, and of the one that
        the browser had. All that its guest has goes to the account, and the old cookie leads nowhere. The
        first account that there has ever been is an admin, unless ``first_is_admin`` is false; ``role``
        decides otherwise where it is given. ``access_token`` is the provider's, encrypted by the caller.
        Raises AccountBanned, which changes nothing.
        """

        def work(session: Session) -> tuple[Account, LoginSession]:
            guest = None if guest_hash is None else by_identity(session, guest_hash)
            account = _account(session, identity, guest, now, role, first_is_admin)
            login = LoginSessionRow(
                id=fresh_id(session),
                token_hash=token_hash,
                user_id=account.user_id,
                client=client,
                created_at=now,
                last_seen_at=now,
                expires_at=expires_at,
                access_token=access_token,
            )
            session.add(login)
            session.flush()
            return account_record(account), login_record(login)

        return self._database.write(work)

    def account_of(self, user_id: str) -> Account | None:
        """The account of a user; None for a guest and for nobody."""
        with self._database.read() as session:
            row = session.get(AccountRow, user_id)
            return None if row is None else account_record(row)

    def has_guest(self, identity_hash: str) -> bool:
        """Whether this cookie is that of a guest who has been here."""
        with self._database.read() as session:
            return by_identity(session, identity_hash) is not None

    def take_over(self, user_id: str, guest_id: str) -> None:
        """Give all of one user to another, as ``sign_in`` does; nothing happens without the first.

        For the store in memory, which knows no cookies: call it before ``sign_in`` returns to the browser.
        """

        def work(session: Session) -> None:
            known = set(session.scalars(select(UserRow.id).where(UserRow.id.in_((user_id, guest_id)))))
            if guest_id not in known or user_id == guest_id:
                return
            if user_id not in known:
                new_user(session, user_id, nobody())
            take_over(session, user_id, guest_id)

        self._database.write(work)

    def check_may_leave(self, user_id: str) -> None:
        """Raises Conflict for the last admin while there are other accounts, as ``delete_user`` does."""
        with self._database.read() as session:
            _check_may_leave(session, user_id)

    def delete_user(self, user_id: str) -> None:
        """Remove a user with all that he has. Raises NotFound, Conflict for the last admin among others.

        Nobody can get in any more from the first moment on; conversations go one after the other, so that
        the writes of others come in between. What a crash leaves of it the next start removes.
        """
        conversations = self._database.write(lambda session: _close_account(session, user_id))
        for conversation_id in conversations:
            self._database.write(_deleting(conversation_id))
        self._database.write(lambda session: session.execute(delete(UserRow).where(UserRow.id == user_id)))


def nobody() -> str:
    """The hash of a secret that no cookie has."""
    return hashlib.sha256(secrets.token_bytes()).hexdigest()


def _account(
    session: Session,
    identity: Identity,
    guest: UserRow | None,
    now: datetime,
    role: AccountRole | None,
    first_is_admin: bool,
) -> AccountRow:
    """The account of this identity with all that the guest had."""
    row = session.scalar(
        select(AccountRow).where(
            AccountRow.provider == identity.provider, AccountRow.subject == identity.subject
        )
    )
    if row is None:
        usual = AccountRole.ADMIN if _is_first(session) and first_is_admin else AccountRole.MEMBER
        return _new_account(session, identity, guest, now, role or usual)
    if row.banned_at is not None:
        raise AccountBanned
    if guest is not None and guest.id != row.user_id:
        take_over(session, row.user_id, guest.id)
    row.handle = identity.handle
    row.display_name = identity.display_name
    row.email = identity.email
    row.user_name = identity.user_name
    row.role = role or row.role
    row.signed_in_at = now
    session.execute(update(UserRow).where(UserRow.id == row.user_id).values(last_seen_at=now))
    return row


def _is_first(session: Session) -> bool:
    """Whether nobody has ever signed in here before; asked once, for it is noted."""
    if session.get(MilestoneRow, FIRST_ACCOUNT) is not None:
        return False
    session.add(MilestoneRow(name=FIRST_ACCOUNT))
    return True


def _new_account(
    session: Session, identity: Identity, guest: UserRow | None, now: datetime, role: AccountRole
) -> AccountRow:
    """The guest becomes the account, under a cookie that nobody has; without a guest there is a new user."""
    if guest is None:
        user = new_user(session, new_id(), nobody())
    else:
        user = guest
        user.identity_hash = nobody()
        user.last_seen_at = now
    row = AccountRow(
        user_id=user.id,
        provider=identity.provider,
        subject=identity.subject,
        handle=identity.handle,
        display_name=identity.display_name,
        email=identity.email,
        user_name=identity.user_name,
        role=role,
        created_at=now,
        signed_in_at=now,
    )
    session.add(row)
    session.flush()
    return row


def _check_may_leave(session: Session, user_id: str) -> None:
    """Refuse to leave other accounts without an admin: nobody could become one any more."""
    row = session.get(AccountRow, user_id)
    others = select(AccountRow.user_id).where(AccountRow.user_id != user_id).limit(1)
    if row is not None and row.role is AccountRole.ADMIN and session.scalar(others) is not None:
        check_other_admin(session, user_id)


def _close_account(session: Session, user_id: str) -> list[str]:
    """Hide and remove what is small; the ids of the conversations, which are hidden now."""
    if session.scalar(select(UserRow.id).where(UserRow.id == user_id)) is None:
        raise NotFound
    _check_may_leave(session, user_id)
    for table in (AccountRow, LoginSessionRow, ApiKeyRow, UsageRow):
        session.execute(delete(table).where(table.user_id == user_id))
    for owned in (ShareRow, PresetRow, ResponseRow):
        session.execute(delete(owned).where(owned.owner_id == user_id))
    session.execute(
        update(UserRow).where(UserRow.id == user_id).values(identity_hash=nobody(), last_seen_at=LONG_AGO)
    )
    theirs = ConversationRow.owner_id == user_id
    session.execute(update(ConversationRow).where(theirs).values(deleted_at=datetime.now(UTC)))
    return list(session.scalars(select(ConversationRow.id).where(theirs)))


def _deleting(conversation_id: str) -> Callable[[Session], None]:
    """Remove one conversation for good."""

    def work(session: Session) -> None:
        session.execute(delete(ConversationRow).where(ConversationRow.id == conversation_id))

    return work

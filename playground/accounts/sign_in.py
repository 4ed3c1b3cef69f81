"""Signing in: from the first click to the session, with all that the browser's guest has made.

Only installations with an OAuth client import this.
"""

from __future__ import annotations

import contextlib
import logging

from starlette.concurrency import run_in_threadpool

from playground.accounts.identity import Visit, new_token, token_hash
from playground.accounts.pending import Pending, PendingSignIns, Returned, SignInFailed, digest
from playground.accounts.provider import Granted, Provider
from playground.accounts.rules import Person, first_is_admin, may_enter, person, role_at_sign_in
from playground.accounts.secret_box import SecretBox, open_box
from playground.accounts.service import Accounts
from playground.runs import Owner, RunRegistry
from playground.temporary import Stores
from storage.account_records import Account, LoginSession
from storage.errors import AccountBanned, NotFound, StorageError

log = logging.getLogger(__name__)

MOST_CHARS = 4096
"""Of a code, a state or an issuer in the address that the provider sends back to."""


class SignIn:
    """The sign-ins of one server. Belongs to its event loop."""

    def __init__(self, accounts: Accounts, stores: Stores, runs: RunRegistry) -> None:
        settings = accounts.settings
        secret = settings.oauth_client_secret
        self.settings = settings
        self.pending = PendingSignIns()
        self.provider = Provider(
            settings.openid_provider_url,
            settings.oauth_client_id or "",
            secret.get_secret_value() if secret is not None else None,
            settings.oauth_scopes,
        )
        self._accounts = accounts
        self._stores = stores
        self._runs = runs
        self._opened: SecretBox | None = None

    async def begin(
        self, visit: Visit, *, browser: str, next_path: str, redirect_uri: str, another: bool = False
    ) -> str:
        """The provider's address for a new sign-in of the browser with these cookies.

        ``another``: whoever is signed in there is not to be taken for granted.

        Raises:
            SignInFailed: the provider cannot be used now.
        """
        state, pending = self.pending.begin(
            redirect_uri=redirect_uri,
            next_path=next_path,
            browser=digest(browser),
            identity=_identity(visit),
        )
        try:
            return await self.provider.address(state, pending, another=another)
        except SignInFailed:
            self.pending.take(state, browser=pending.browser, identity=pending.identity)
            raise

    async def finish(self, returned: Returned, visit: Visit, *, browser: str | None, client: str) -> str:
        """Begin a session for whoever the provider vouches for; the page to show then.

        The visit gets its token. Raises:
            SignInFailed: nobody is signed in; the visit stays whose it was.
        """
        pending = self._take(returned, visit, browser)
        await self.provider.check_issuer(returned.issuer)
        if returned.error is not None:
            raise SignInFailed(_code_for(returned.error))
        if not returned.code or len(returned.code) > MOST_CHARS:
            raise SignInFailed("failed")
        granted = await self.provider.redeem(returned.code, pending)
        who = person(self.settings.openid_provider_url, granted.claims, granted.userinfo)
        if not may_enter(self.settings, who):
            _log_refused(who)
            raise SignInFailed("not_allowed", who.identity.handle)
        await self._begin_session(who, granted, visit, client)
        return pending.next_path

    def access_token(self, account: Account, session_id: str) -> str | None:
        """The provider's token of a session, if it can be read; never for the browser. Blocks."""
        sealed = self._accounts.store.access_token_of(session_id)
        context = _context(account.provider, account.subject)
        return None if sealed is None else self._box().open(sealed, context)

    def _take(self, returned: Returned, visit: Visit, browser: str | None) -> Pending:
        state = returned.state
        pending = None
        if state is not None and len(state) <= MOST_CHARS:
            bound = None if browser is None else digest(browser)
            pending = self.pending.take(state, browser=bound, identity=_identity(visit))
        if pending is None:
            raise SignInFailed("expired")
        return pending

    async def _begin_session(self, who: Person, granted: Granted, visit: Visit, client: str) -> None:
        """One session in place of whatever the browser was, under a token that nobody has seen."""
        guest_hash = None if visit.token is None else token_hash(visit.token)
        guest_id = None
        if guest_hash is not None and await run_in_threadpool(self._accounts.store.has_guest, guest_hash):
            guest_id = (await run_in_threadpool(self._accounts.store.user_for_identity, guest_hash)).id
        owner = Owner("") if guest_id is None else self._runs.owner(guest_id)
        token = new_token()
        self._accounts.replaced.note(visit.token)
        try:
            await run_in_threadpool(
                self._move, owner, who, granted.access_token, token, guest_hash=guest_hash, client=client
            )
        except AccountBanned:
            self._accounts.replaced.forget(visit.token)
            raise SignInFailed("banned", who.identity.handle) from None
        except StorageError as error:
            self._accounts.replaced.forget(visit.token)
            log.warning("a sign-in could not be saved: %s", error.code)
            raise SignInFailed("unavailable") from None
        if visit.token is not None:
            self._accounts.forget(visit.token)
        visit.give = token

    def _move(
        self, owner: Owner, who: Person, access_token: str, token: str, *, guest_hash: str | None, client: str
    ) -> None:
        """Sign in and take along what the guest has, with the replies that are being written for him."""
        now, accounts = self._accounts.clock(), self._accounts
        sealed = self._box().seal(access_token, _context(who.identity.provider, who.identity.subject))
        before = None
        if guest_hash is not None:  # signed in already, perhaps as somebody else
            before = accounts.store.session_for(guest_hash, now=now, idle=accounts.idle)
        with owner.lock:
            account, _ = accounts.store.sign_in(
                who.identity,
                token_hash=token_hash(token),
                client=client,
                now=now,
                expires_at=now + accounts.lifetime,
                access_token=sealed,
                guest_hash=guest_hash,
                role=role_at_sign_in(self.settings, who),
                first_is_admin=first_is_admin(self.settings),
            )
            guest_id, owner.id = owner.id, account.user_id
            if guest_id and guest_id != account.user_id:
                self._stores.take_over(account.user_id, guest_id)
        if before is not None:
            self._end(*before)

    def _end(self, account: Account, session: LoginSession) -> None:
        with contextlib.suppress(NotFound):  # ended meanwhile
            self._accounts.store.end_session(account.user_id, session.id)

    def _box(self) -> SecretBox:
        """The box for tokens; its key is read or made at the first use. Blocks."""
        if self._opened is None:
            secret = self.settings.secret_key
            given = None if secret is None else secret.get_secret_value()
            self._opened = open_box(given, self.settings.data_dir)
        return self._opened


def _log_refused(who: Person) -> None:
    """Tell the operator who knocked, so that a name that is spelled otherwise in the settings is found."""
    log.warning(
        "not let in: %r, subject %r, %s verified mail address: not in ALLOWED_USERS or ALLOWED_ORGS",
        who.identity.handle,
        who.identity.subject,
        "without a" if who.identity.email is None else "with a",
    )


def _identity(visit: Visit) -> str | None:
    """What a pending sign-in keeps of the browser's identity."""
    return None if visit.token is None else digest(visit.token)


def _context(provider: str, subject: str) -> str:
    """Whose a sealed token is."""
    return f"{provider}\n{subject}"


def _code_for(error: str) -> str:
    """What the page says for an error of the provider (RFC 6749, 4.1.2.1)."""
    if error == "access_denied":
        return "denied"
    return "unavailable" if error in {"server_error", "temporarily_unavailable"} else "failed"

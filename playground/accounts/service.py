"""Who a request acts for: the one place that turns cookies and API keys into people.

``Accounts`` blocks for the database: routes call it on a thread.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from playground.accounts.identity import (
    KEY_PREFIX,
    MOST_GUESTS,
    Replaced,
    Tokens,
    Visit,
    new_token,
    token_hash,
)
from playground.accounts.rules import still_listed
from playground.errors import PlaygroundError
from playground.settings import Settings
from storage.account_records import Account, AccountRole, ApiKey, KeyScope
from storage.errors import NotFound
from storage.store import Store

KEY = re.compile(rf"{KEY_PREFIX}[A-Za-z0-9_-]{{43}}\Z")
HINT_CHARS = 4
CHANGED = "Who you are in this browser has just changed. Please try again."


@dataclass(frozen=True, slots=True)
class Actor:
    """Whom a request acts for. ``scopes`` is what it may do: all of them but for an API key.

    ``session_id`` is the session of an account in a browser, ``key_id`` the API key that was sent. ``role``
    is the account's; a key never administers.
    """

    user_id: str
    kind: Literal["guest", "account", "key"]
    role: AccountRole = AccountRole.MEMBER
    session_id: str | None = None
    scopes: frozenset[KeyScope] = frozenset(KeyScope)
    account: Account | None = None
    key_id: str = ""


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


class Accounts:
    """Guests, sessions and keys of one store. ``clock`` gives aware UTC times. Safe from many threads."""

    def __init__(self, settings: Settings, store: Store, clock: Callable[[], datetime] = utc_now) -> None:
        self.settings = settings
        self.store = store
        self.clock = clock
        self.issued = Tokens()
        """Those that were not used yet, nor are in the database. One that is in neither was not made here, or
        stands for nothing any more: its bearer gets another one, as does a page loaded before a restart."""
        self.guests = Tokens(MOST_GUESTS)
        """The latest that stand for a guest, as the database has said before."""
        self.sessions = Tokens()
        """Those of sessions that were seen, also when they are over: one that ended by a ban says so."""
        self.replaced = Replaced()
        self.idle = timedelta(days=settings.session_idle_days)
        self.lifetime = timedelta(days=settings.session_days)

    def welcome(self, visit: Visit) -> None:
        """See that a page's visitor has a token that stands for somebody, or soon will, unless his was just
        replaced: then the other one is on its way."""
        token = visit.token
        known = token is not None and (token in self.guests or token in self.issued or self.is_known(token))
        if known or token is None or token not in self.replaced:
            visit.give = token if known else self._new_token()

    def find(self, visit: Visit, admit: Callable[[], None] = lambda: None) -> Actor | None:
        """Whom this request acts for; None for a stranger where everybody must sign in.

        A stranger becomes a guest otherwise, and gets a cookie; ``admit`` is asked before and may refuse.

        Raises:
            PlaygroundError: 401 for a key that is none, 403 for somebody who may not come in any more, 409
                where the browser has another token meanwhile.
        """
        if visit.keys:
            return self._by_key(visit.keys)
        token = visit.token
        is_guest = token is not None and token in self.guests and token not in self.replaced
        if not is_guest:
            signed_in = self._by_session(token)
            if signed_in is not None:
                return signed_in
            self._check_ban(token)
        if self.settings.sign_in_required:
            return None
        if token is None or not is_guest:
            if token is None or not self.store.has_guest(token_hash(token)):
                if token is not None and token in self.replaced and token not in self.issued:
                    raise PlaygroundError("identity_changed", CHANGED, status=409)
                admit()
                # In this order: another request of the same page may just be moving it from here to there.
                if token is None or not (token in self.issued or token in self.guests):
                    token = visit.give = self._new_token()
            self.guests.note(token)
            self.issued.forget(token)
        return Actor(self.store.user_for_identity(token_hash(token)).id, "guest")

    def still_stands_for(self, visit: Visit, user_id: str) -> bool:
        """Whether a visit that goes on for long is still this user's. Makes nobody a guest."""
        try:
            actor = self._by_key(visit.keys) if visit.keys else self._by_session(visit.token)
        except PlaygroundError:
            return False
        if actor is not None:
            return actor.user_id == user_id
        token = None if self.settings.sign_in_required else visit.give or visit.token
        if token is None or not self.store.has_guest(token_hash(token)):
            return False
        return self.store.user_for_identity(token_hash(token)).id == user_id

    def is_admin(self, visit: Visit) -> bool:
        """Whether an admin asks, in a browser. Makes nobody a guest."""
        actor = None if visit.keys else self._by_session(visit.token)
        return actor is not None and actor.role is AccountRole.ADMIN

    def start_over(self, visit: Visit) -> None:
        """The visitor's token stands for nothing any more; the answer gives another one."""
        if visit.token is not None:
            self.forget(visit.token)
        visit.give = self._new_token()

    def forget(self, token: str) -> None:
        """A token stands for no guest any more."""
        self.issued.forget(token)
        self.guests.forget(token)
        self.sessions.forget(token)

    def sign_out(self, visit: Visit, actor: Actor) -> None:
        """End this browser's session; a guest stays who he is, for nobody could find his things again."""
        if actor.session_id is None:
            return
        self.replaced.note(visit.token)
        with contextlib.suppress(NotFound):  # ended meanwhile
            self.store.end_session(actor.user_id, actor.session_id)
        self.start_over(visit)

    def make_key(self, actor: Actor, name: str, scopes: frozenset[KeyScope]) -> tuple[ApiKey, str]:
        """A new key and its secret, which is not kept."""
        secret = KEY_PREFIX + new_token()
        hint = f"{KEY_PREFIX}…{secret[-HINT_CHARS:]}"
        key = self.store.add_key(actor.user_id, name, token_hash(secret), hint, scopes, self.clock())
        return key, secret

    def _new_token(self) -> str:
        token = new_token()
        self.issued.note(token)
        return token

    def is_outdated(self, visit: Visit) -> bool:
        """Whether what the visit would be given is what its browser has had replaced meanwhile."""
        return visit.give is not None and visit.give == visit.token and visit.give in self.replaced

    def is_known(self, token: str) -> bool:
        """Whether this cookie stands for a guest who has been here, or for a session. Blocks."""
        hashed = token_hash(token)
        session = self.store.session_for(hashed, now=self.clock(), idle=self.idle)
        return session is not None or self.store.has_guest(hashed)

    def _by_session(self, token: str | None) -> Actor | None:
        """Who has signed in with this token; raises PlaygroundError when he may not come in any more."""
        if token is None:
            return None
        found = self.store.session_for(token_hash(token), now=self.clock(), idle=self.idle)
        if found is None:
            return None
        account, session = found
        self.sessions.note(token, account.user_id)
        self._check_listed(account)
        return Actor(account.user_id, "account", account.role, session.id, account=account)

    def _check_ban(self, token: str | None) -> None:
        """Tell a page that is open whose session a ban has ended. It is a guest's once it is loaded anew."""
        holder = "" if token is None else self.sessions.holder(token)
        account = self.store.account_of(holder) if holder else None
        if account is not None and account.banned_at is not None:
            raise _banned()

    def _by_key(self, keys: tuple[str, ...]) -> Actor:
        """The owner of an API key; a cookie that comes with it counts for nothing."""
        now = self.clock()
        found = None
        if len(keys) == 1 and KEY.match(keys[0]):
            found = self.store.key_for(token_hash(keys[0]), now)
        if found is None:
            sentence = "This API key does not exist, or it was revoked."
            raise PlaygroundError("invalid_api_key", sentence, status=401)
        account, key, user_id = found
        if account is None:
            if self.settings.sign_in_available:
                sentence = "This API key belongs to nobody who has signed in."
                raise PlaygroundError("invalid_api_key", sentence, status=401)
        else:
            self._check_listed(account)
            # Whether somebody still belongs to an organisation is only asked when they sign in.
            if self.settings.sign_in_restricted and now - account.signed_in_at > self.lifetime:
                sentence = "Sign in to the playground again to use this API key."
                raise PlaygroundError("sign_in_required", sentence, status=401)
        return Actor(user_id, "key", scopes=key.scopes, account=account, key_id=key.id)

    def _check_listed(self, account: Account) -> None:
        if account.banned_at is not None:
            raise _banned()
        if not still_listed(self.settings, account):
            sentence = "This playground is open to chosen people only, and you are not among them."
            raise PlaygroundError("not_allowed", sentence, status=403)


def _banned() -> PlaygroundError:
    return PlaygroundError("banned", "This account has been banned from this playground.", status=403)

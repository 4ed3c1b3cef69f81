"""The browser's cookie: a random token that stands for a guest, or for a session of somebody who signed in.

The token has 256 random bits and scripts cannot read it; the database holds only its SHA-256. Whoever has
the cookie is the owner, and nobody else can be.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Protocol

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from playground.security import CONVERSATION_PAGE, SHARED_ADDRESS

PLAIN_NAME = "playground"
SECURE_NAME = "__Host-playground"
MAX_AGE = 400 * 24 * 3600  # the longest that browsers keep a cookie
TOKEN = re.compile(r"[A-Za-z0-9_-]{43}\Z")
KEY_PREFIX = "gop_"
MOST_TOKENS = 20_000
MOST_GUESTS = 2_000
"""Whoever is not among them costs three more reads of the database, once."""
OTHER_PATHS = re.compile(r"/(oauth/|login/|metrics\Z)")


def new_token() -> str:
    """A fresh token: 43 characters that carry 256 random bits."""
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """What is stored of a token or a key: its SHA-256, 64 hexadecimal digits."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def cookie_header(token: str, *, secure: bool, embedded: bool) -> str:
    """The Set-Cookie value.

    ``secure`` is for https: the ``__Host-`` prefix keeps other subdomains from planting a cookie.
    ``embedded`` is for pages that live in another site's frame (Hugging Face Spaces): only a
    partitioned cookie comes back from there.
    """
    name = SECURE_NAME if secure else PLAIN_NAME
    value = f"{name}={token}; Path=/; Max-Age={MAX_AGE}; HttpOnly"
    if not secure:
        return value + "; SameSite=Lax"
    return value + ("; Secure; SameSite=None; Partitioned" if embedded else "; Secure; SameSite=Lax")


def read_token(headers: Headers, *, secure: bool) -> str | None:
    """The token of the request's cookie, or ``None`` if there is none of the right form."""
    return read_cookie(headers, SECURE_NAME if secure else PLAIN_NAME)


def read_cookie(headers: Headers, name: str) -> str | None:
    """The token in the cookie of this name; ``None`` if it has not the right form, or several differ."""
    found: set[str] = set()
    for line in headers.getlist("cookie"):
        for part in line.split(";"):
            if not part.strip().startswith(name + "="):
                continue
            cookies: SimpleCookie = SimpleCookie()
            try:
                cookies.load(part.strip())
            except CookieError:
                continue
            found |= {cookies[name].value} if name in cookies else set()
    token = found.pop() if len(found) == 1 else ""
    return token if TOKEN.match(token) else None


@dataclass(slots=True)
class Visit:
    """What one request says of who sends it, and the token that its answer shall set, if any."""

    token: str | None
    keys: tuple[str, ...]
    secure: bool
    give: str | None = None


def visit_of(headers: Headers, *, secure: bool) -> Visit:
    """Read the cookie and the ``Authorization`` header; ``keys`` are the API keys in there."""
    given = (value.partition(" ") for value in headers.getlist("authorization"))
    bearers = (rest.strip() for kind, _, rest in given if kind.lower() == "bearer")
    keys = tuple(value for value in bearers if value.startswith(KEY_PREFIX))
    return Visit(read_token(headers, secure=secure), keys, secure)


class Tokens:
    """The latest of some tokens, by their hashes, and whose they are if that was said. Thread-safe."""

    def __init__(self, most: int = MOST_TOKENS) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._hashes: OrderedDict[str, str] = OrderedDict()

    def note(self, token: str, holder: str = "") -> None:
        """Remember this token; the one that was remembered first makes room."""
        with self._lock:
            self._hashes[token_hash(token)] = holder
            while len(self._hashes) > self._most:
                self._hashes.popitem(last=False)

    def forget(self, token: str) -> None:
        """This token is none of them any more."""
        with self._lock:
            self._hashes.pop(token_hash(token), None)

    def holder(self, token: str) -> str:
        """Whose this token is or was; "" where that is not known."""
        return self._hashes.get(token_hash(token), "")

    def __contains__(self, token: str) -> bool:
        return token_hash(token) in self._hashes


class Replaced:
    """Tokens in whose place their browsers get another one, for ``seconds``. Thread-safe.

    What a browser sent before it had the new one may arrive later than what brought it. Nobody becomes a
    guest by that: the answer's cookie would take the place of the new one. Where the new one was lost on its
    way, the browser's next cookie comes after this time.
    """

    def __init__(self, seconds: float = 30, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._tokens = Tokens()

    def note(self, token: str | None) -> None:
        """This one is about to be replaced."""
        if token is not None:
            self._tokens.forget(token)  # so that it is the latest
            self._tokens.note(token, str(self._clock()))

    def forget(self, token: str | None) -> None:
        """It was not replaced after all."""
        if token is not None:
            self._tokens.forget(token)

    def __contains__(self, token: str) -> bool:
        noted = self._tokens.holder(token)
        return bool(noted) and self._clock() - float(noted) < self._seconds


class Doorman(Protocol):
    """Knows which tokens stand for somebody."""

    def welcome(self, visit: Visit) -> None:
        """Give the visit a token where it has none that stands for somebody. Blocks."""
        ...

    def is_outdated(self, visit: Visit) -> bool:
        """Whether the visit's token must not be set any more."""
        ...


class IdentityMiddleware:
    """Reads who asks, and sets the cookie that the answer shall set.

    A page has one, a new one where the browser's stands for nobody, unless that was just replaced; any other
    answer only where a route gave one (see ``playground.accounts.actor``). Readers of a shared conversation
    get none: they need no identity. The ``Visit`` is in ``scope["state"]["visit"]``.
    """

    def __init__(self, app: ASGIApp, *, doorman: Doorman, always_secure: bool, embedded: bool) -> None:
        self.app = app
        self.doorman = doorman
        self.always_secure = always_secure
        self.embedded = embedded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path: str = scope["path"]
        is_page = path == "/" or CONVERSATION_PAGE.match(path) is not None
        asks = path.startswith(("/api/", "/v1/")) and not SHARED_ADDRESS.match(path)
        if not (is_page or asks or OTHER_PATHS.match(path)):
            await self.app(scope, receive, send)
            return
        visit = visit_of(Headers(scope=scope), secure=self.always_secure or scope["scheme"] == "https")
        scope.setdefault("state", {})["visit"] = visit
        if is_page:
            await run_in_threadpool(self.doorman.welcome, visit)

        async def send_with_cookie(message: Message) -> None:
            begins = message["type"] == "http.response.start" and not self.doorman.is_outdated(visit)
            if begins and visit.give is not None:
                cookie = cookie_header(visit.give, secure=visit.secure, embedded=self.embedded)
                headers = MutableHeaders(scope=message)
                headers.append("set-cookie", cookie)
                headers["cache-control"] = "no-store"
            await send(message)

        await self.app(scope, receive, send_with_cookie)

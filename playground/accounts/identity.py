"""Who is asking: every browser has a private identity of its own.

The browser holds a random token of 256 bits in a cookie that scripts cannot read; the database holds
only the token's SHA-256. Whoever has the cookie is the owner, and nobody else can be.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from http.cookies import CookieError, SimpleCookie
from typing import Annotated, cast

from fastapi import Depends, Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from playground.security import CONVERSATION_PAGE, SHARED_ADDRESS
from storage.store import Store

PLAIN_NAME = "playground"
SECURE_NAME = "__Host-playground"
MAX_AGE = 400 * 24 * 3600  # the longest that browsers keep a cookie
TOKEN = re.compile(r"[A-Za-z0-9_-]{43}\Z")


def new_token() -> str:
    """A fresh token: 43 characters that carry 256 random bits."""
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """What is stored of a token: its SHA-256, 64 hexadecimal digits."""
    return hashlib.sha256(token.encode("ascii")).hexdigest()


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
    name = SECURE_NAME if secure else PLAIN_NAME
    cookies: SimpleCookie = SimpleCookie()
    for line in headers.getlist("cookie"):
        for part in line.split(";"):
            if part.strip().startswith(name + "="):
                try:
                    cookies.load(part.strip())
                except CookieError:
                    continue
    token = cookies[name].value if name in cookies else ""
    return token if TOKEN.match(token) else None


class IdentityMiddleware:
    """Gives every browser its cookie: with the first page, and with any API answer that lacks one.

    Readers of a shared conversation get none: they need no identity.

    The token stands in ``scope["state"]["identity_token"]`` for ``current_owner``. A page renews the
    cookie's age.
    """

    def __init__(self, app: ASGIApp, *, always_secure: bool, embedded: bool) -> None:
        self.app = app
        self.always_secure = always_secure
        self.embedded = embedded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path: str = scope["path"]
        is_page = path == "/" or CONVERSATION_PAGE.match(path) is not None
        if not is_page and (not path.startswith("/api/") or SHARED_ADDRESS.match(path)):
            await self.app(scope, receive, send)
            return
        secure = self.always_secure or scope["scheme"] == "https"
        known = read_token(Headers(scope=scope), secure=secure)
        token = known or new_token()
        scope.setdefault("state", {})["identity_token"] = token
        cookie = cookie_header(token, secure=secure, embedded=self.embedded)

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start" and (is_page or known is None):
                headers = MutableHeaders(scope=message)
                headers.append("set-cookie", cookie)
                headers["cache-control"] = "no-store"
            await send(message)

        await self.app(scope, receive, send_with_cookie)


def current_owner(request: Request) -> str:
    """The id of the user that the cookie stands for, made at its first use. Blocks for the database."""
    store = cast(Store, request.app.state.store)
    return store.user_for_identity(token_hash(request.state.identity_token)).id


CurrentOwner = Annotated[str, Depends(current_owner)]

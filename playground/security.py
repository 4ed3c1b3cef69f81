"""What every request passes before it reaches a route: pure ASGI, so that streams and cancellation work.

``SecurityHeaders``  the same headers on every answer, errors included; stricter ones for shared conversations
``HostCheck``        only this server's own names
``OriginCheck``      what changes something must come from the page's own origin
``Surface``          only the addresses that the page needs; the rest of Gradio's is closed
``PageRewrite``      ``/c/<id>`` shows the page of ``/``
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from playground.errors import PlaygroundError, method_not_allowed, not_found
from playground.hosts import HEALTH, HostNames
from playground.settings import HOST_NAME

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        # Gradio's front end compiles templates, and its page carries its configuration in inline scripts.
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self' https://huggingface.co",
    )
)
HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}
SHARED_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
SHARED_HEADERS = {
    **HEADERS,
    "content-security-policy": SHARED_POLICY,
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "x-robots-tag": "noindex, nofollow",
}
"""Of the page that readers of a shared conversation see, which is not Gradio's, and of what it shows."""
SHARED_ADDRESS = re.compile(r"/(s|api/shared)/[A-Za-z0-9_-]{1,64}\Z")
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CONVERSATION_PAGE = re.compile(r"/c/[A-Za-z0-9_-]{1,64}/?\Z")
OPEN_PATHS = re.compile(
    r"/(c/[A-Za-z0-9_-]{1,64}/?|s/[A-Za-z0-9_-]{1,64}|(api|v1)/.*|(static|assets)/[A-Za-z0-9._/-]{1,200}"
    r"|theme\.css|favicon\.ico|healthz|metrics|oauth/login|oauth/callback|login/callback)?\Z",
    re.DOTALL,
)


class SecurityHeaders:
    """Adds the headers above to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        chosen = SHARED_HEADERS if SHARED_ADDRESS.match(scope["path"]) else HEADERS

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in chosen.items():
                    headers[name] = value
            await send(message)

        await self.app(scope, receive, send_with_headers)


HOW_TO_ALLOW = "Its operator can allow it in ALLOWED_HOSTS."


class HostCheck:
    """Refuses requests for other host names than ``names``."""

    def __init__(self, app: ASGIApp, names: HostNames) -> None:
        self.app = app
        self.names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] != HEALTH:
            host = _split("//" + Headers(scope=scope).get("host", "").lower())
            name = host.hostname or ""
            if not self.names.serves(host.netloc, name):
                called = f"the name {name}" if HOST_NAME.match(name) else "that name"
                sentence = f"This server does not answer under {called}. {HOW_TO_ALLOW}"
                await PlaygroundError("invalid_host", sentence).response()(scope, receive, send)
                return
        await self.app(scope, receive, send)


class OriginCheck:
    """Refuses unsafe methods that another site's page sent.

    Browsers name the sender in ``Sec-Fetch-Site`` or ``Origin``. A request with neither comes from a
    program, which carries no cookie that it was not given.
    """

    def __init__(self, app: ASGIApp, own_hosts: Collection[str]) -> None:
        self.app = app
        self.own_hosts = frozenset(own_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        unsafe = scope["type"] == "http" and scope["method"] not in SAFE_METHODS
        if unsafe and not self._is_own(Headers(scope=scope)):
            sentence = "This request did not come from the playground's own page."
            await PlaygroundError("forbidden_origin", sentence, status=403).response()(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _is_own(self, headers: Headers) -> bool:
        site = headers.get("sec-fetch-site")
        if site is not None:
            return site in {"same-origin", "none"}
        origin = headers.get("origin")
        if origin is None:
            return True
        netloc = _split(origin.lower()).netloc
        return bool(netloc) and (netloc == headers.get("host", "").lower() or netloc in self.own_hosts)


def _split(address: str) -> SplitResult:
    """The parts of an address that a stranger sent; all of them empty where it is none."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


class Surface:
    """Answers 404 outside of ``OPEN_PATHS``, and 405 to whatever would change something outside of the APIs.

    Gradio's queue, uploads and files do not know who asks, and the page uses none of them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan" and not OPEN_PATHS.match(scope["path"]):
            if scope["type"] == "http":
                await not_found().response()(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})
            return
        changes = scope["type"] == "http" and scope["method"] not in {"GET", "HEAD"}
        if changes and not scope["path"].startswith(("/api/", "/v1/")):
            await method_not_allowed().response()(scope, receive, send)
            return
        await self.app(scope, receive, send)


class PageRewrite:
    """Serves ``/c/<id>`` as ``/``, with the page's base address fixed so that its assets are found.

    ``on_page`` is called after a page was sent.
    """

    def __init__(self, app: ASGIApp, on_page: Callable[[], None] | None = None) -> None:
        self.app = app
        self.on_page = on_page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in {"GET", "HEAD"}:
            await self.app(scope, receive, send)
            return
        if CONVERSATION_PAGE.match(scope["path"]):
            inner = {**scope, "path": "/", "raw_path": b"/", "headers": _uncompressed(scope)}
            await self.app(inner, receive, _BaseAddress(send))
        else:
            await self.app(scope, receive, send)
            if scope["path"] != "/":
                return
        if self.on_page is not None:
            self.on_page()


def _uncompressed(scope: Scope) -> list[tuple[bytes, bytes]]:
    """The request's headers without those that would bring back compressed bytes or an empty 304."""
    drop = {b"accept-encoding", b"if-none-match", b"if-modified-since"}
    return [pair for pair in scope["headers"] if pair[0].lower() not in drop]


class _BaseAddress:
    """A ``send`` that collects the page and sends it with ``<base href="/">``."""

    def __init__(self, send: Send) -> None:
        self.send = send
        self.start: Message | None = None
        self.body = bytearray()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.start = message
            return
        self.body += message.get("body", b"")
        if message.get("more_body", False) or self.start is None:
            return
        page = bytes(self.body).replace(b'<base href="./"', b'<base href="/"', 1)
        if page:  # the answer to HEAD keeps the length that it names
            MutableHeaders(scope=self.start)["content-length"] = str(len(page))
        await self.send(self.start)
        await self.send({"type": "http.response.body", "body": page})

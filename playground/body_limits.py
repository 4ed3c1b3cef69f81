"""What a request's body may be, asked while it arrives and before anybody reads it, as ASGI.

All bodies but the file of an import are JSON, which is parsed as a whole on the thread that serves everybody.
The time that takes depends less on the bytes than on the values: nested lists take many times as long as one
text of the same length, so both are bounded.
"""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from playground.errors import BodyRefused, PlaygroundError, body_too_large

BODY_BYTES = 2_000_000
BODY_SECONDS = 20.0
IMPORT_PATH = "/api/import"
IMPORT_BYTES = 50_000_000
IMPORT_SECONDS = 300.0
BODY_BYTES_PER_SECOND = 50_000
"""A long body gets more time, as long as it comes at least this fast."""
MOST_VALUES = 100_000
"""Strings, keys included, or lists, objects and what is parted by commas in the JSON of a body."""
END: Message = {"type": "http.disconnect"}


def has_too_many_values(body: bytes, most: int = MOST_VALUES) -> bool:
    """Whether JSON text holds more than ``most`` strings, or more than ``most`` lists, objects and commas.

    What stands inside strings is text. Nothing is parsed: what costs more than the answer is worth is not
    done here either.
    """
    if _marks(body) <= most and body.count(b'"') <= 2 * most:
        return False
    if b"\0" in body:  # UTF-16 or 32, which parsers take as well: quotes in it are not found by their bytes
        return True
    unescaped = body.replace(rb"\\", b"").replace(rb"\"", b"")
    pieces = unescaped.split(b'"', 2 * most + 1)
    return len(pieces) > 2 * most + 1 or _marks(b"".join(pieces[::2])) > most


def _marks(text: bytes) -> int:
    return sum(text.count(mark) for mark in (b",", b"[", b"{"))


class BodyLimits:
    """Refuses bodies above ``max_bytes`` or of very many values, and ends a request whose body takes longer
    than ``seconds``.

    The file of an import may be larger and take longer; it is the one body that is written to disk, and
    has bounds of its own on what is in it.
    """

    def __init__(self, app: ASGIApp, max_bytes: int = BODY_BYTES, seconds: float = BODY_SECONDS) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        is_import = scope["path"] == IMPORT_PATH
        max_bytes, longest = (IMPORT_BYTES, IMPORT_SECONDS) if is_import else (self.max_bytes, self.seconds)
        too_large = body_too_large(max_bytes // 1_000_000)
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and (len(length) > 12 or int(length) > max_bytes):
            await too_large.response()(scope, receive, send)
            return
        began = asyncio.get_running_loop().time()
        complete = answered = False
        received = 0
        parts: list[bytes] = []

        def refused(error: PlaygroundError) -> Message:
            parts.clear()
            if answered:  # by a route that takes no body, and only waits for its reader to leave
                return END
            raise BodyRefused(error)

        async def limited_receive() -> Message:
            nonlocal complete, received
            if complete:
                return await receive()
            try:
                seconds = min(longest, self.seconds + received / BODY_BYTES_PER_SECOND)
                async with asyncio.timeout_at(began + seconds):
                    message = await receive()
            except TimeoutError:
                message = END
            complete = message["type"] != "http.request" or not message.get("more_body", False)
            part = message.get("body", b"")
            received += len(part)
            if received > max_bytes:
                return refused(too_large)
            if is_import or answered:
                return message
            parts.append(part)
            if complete:
                whole = b"".join(parts)
                parts.clear()
                if message["type"] == "http.request" and has_too_many_values(whole):
                    return refused(_too_many_values())
            return message

        async def watched_send(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        await self.app(scope, limited_receive, watched_send)


def _too_many_values() -> PlaygroundError:
    sentence = f"This request holds more than about {MOST_VALUES:,} values."
    return PlaygroundError("body_too_large", sentence, status=413)

"""Answers that are large: few of an address at once, in a file while they are on their way, sent in pieces.

A reader who takes his time then costs a file and a few pieces of memory, and not a copy of all that he asked
for. Pure ASGI; it stands inside the compression, which gets the pieces one by one.
"""

from __future__ import annotations

import re
from collections import Counter
from contextlib import suppress
from tempfile import TemporaryFile
from typing import IO

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from playground.errors import PlaygroundError
from playground.limits.addresses import asking_address
from playground.limits.line import FairLine
from playground.limits.words import try_again

PIECE_BYTES = 64 * 1024
LARGE_BYTES = 256 * 1024
MAY_BE_LARGE = re.compile(
    r"(GET /api/(conversations/[^/]+(/export)?|export(/responses)?|shared/[^/]+)"
    r"|POST /api/(conversations/[^/]+/select|shared/[^/]+/import|shares))\Z"
)
"""What shows or copies whole conversations, which may be as large as an import."""
MADE_AT_ONCE = 4
MADE_OF_ADDRESS = 2
SENT_OF_ADDRESS = 8
RETRY_SECONDS = 5


class LargeAnswers:
    """Bounds how many large answers are made at once, and how many of an address are on their way."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._line = FairLine(MADE_AT_ONCE, MADE_OF_ADDRESS)
        self._sent: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = _Answer(send)
        try:
            if MAY_BE_LARGE.match(f"{scope['method']} {scope['path']}"):
                await self._bounded(scope, receive, answer)
            else:
                await self.app(scope, receive, answer.take)
                await answer.finish()
        finally:
            answer.close()

    async def _bounded(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        address = asking_address.get()
        try:
            if self._sent[address] >= SENT_OF_ADDRESS:
                raise _too_many()
            ticket = await self._line.enter()
        except PlaygroundError as error:
            await error.response()(scope, receive, answer.send)
            return
        made = counted = False

        async def take(message: Message) -> None:
            nonlocal made, counted
            if not made:  # what is sent from here on needs no more memory
                made = True
                self._line.leave(ticket)
            if not counted and answer.is_large(message):
                counted = True
                self._sent[address] += 1
            await answer.take(message)

        try:
            await self.app(scope, receive, take)
            await answer.finish()
        finally:
            if not made:
                self._line.leave(ticket)
            if counted:
                self._sent[address] -= 1
                self._sent += Counter()  # forgets who has none


class _Answer:
    """One answer on its way to ``send``."""

    def __init__(self, send: Send) -> None:
        self.send = send
        self._start: Message | None = None
        self._file: IO[bytes] | None = None

    def is_large(self, message: Message) -> bool:
        """Whether this is the start of a large answer, or of one whose size nobody knows."""
        if message["type"] != "http.response.start":
            return False
        length = Headers(raw=message["headers"]).get("content-length")
        return length is None or int(length) > LARGE_BYTES

    async def take(self, message: Message) -> None:
        """Send a message of the application, or keep it in a file until ``finish``."""
        if message["type"] == "http.response.start":
            if self.is_large(message) and "content-length" in Headers(raw=message["headers"]):
                self._start = message
            else:
                await self.send(message)
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        if self._start is not None and not more:
            with suppress(OSError):  # where no file can be written, memory has to do
                self._file = await run_in_threadpool(_kept, body)
                return
        if self._start is not None:
            start, self._start = self._start, None
            await self.send(start)
        for place in range(0, len(body) - PIECE_BYTES, PIECE_BYTES):
            await self._piece(body[place : place + PIECE_BYTES], more=True)
        last = (len(body) - 1) // PIECE_BYTES * PIECE_BYTES if body else 0
        await self._piece(body[last:], more=more)

    async def finish(self) -> None:
        """Send what is kept. The application has let go of it by now."""
        if self._start is None or self._file is None:
            return
        await self.send(self._start)
        size = self._file.tell()
        self._file.seek(0)
        while piece := self._file.read(PIECE_BYTES):
            await self._piece(piece, more=self._file.tell() < size)

    def close(self) -> None:
        """Forget what was kept."""
        if self._file is not None:
            self._file.close()

    async def _piece(self, body: bytes, *, more: bool) -> None:
        await self.send({"type": "http.response.body", "body": body, "more_body": more})


def _kept(body: bytes) -> IO[bytes]:
    file = TemporaryFile()  # noqa: SIM115 - closed by ``close``
    try:
        file.write(body)
        file.flush()
    except OSError:
        file.close()
        raise
    return file


def _too_many() -> PlaygroundError:
    return PlaygroundError(
        "rate_limited",
        f"Too many large answers are still on their way to your network. {try_again(RETRY_SECONDS)}",
        status=429,
        retry_after=RETRY_SECONDS,
    )

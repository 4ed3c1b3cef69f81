"""Server-sent events: how one event is written, and the streaming answer with its heartbeat."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from starlette.concurrency import run_in_threadpool

from playground.runs import Run

PING_SECONDS = 15.0
ASK_SECONDS = 5.0
PIECE_BYTES = 32 * 1024
"""So much is written at once: what a reader has not taken yet waits in the log, which all readers share."""
HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


def encode(number: int, event: str, data: Any) -> bytes:
    """One event; ``data`` becomes compact JSON on a single line.

    Half of a character pair, which has no UTF-8, becomes a question mark.
    """
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return format_sse_event(data_str=text.encode("utf-8", "replace").decode(), event=event, id=str(number))


async def while_allowed(pieces: AsyncGenerator[bytes], may_read: Callable[[], bool]) -> AsyncGenerator[bytes]:
    """A stream that ends with the session or key that it began with.

    ``may_read`` is asked every few seconds, on a thread, before the next piece is given.
    """
    clock = asyncio.get_running_loop().time
    asked = clock()
    async with aclosing(pieces):
        async for piece in pieces:
            if clock() - asked >= ASK_SECONDS:
                if not await run_in_threadpool(may_read):
                    return
                asked = clock()
            yield piece


async def follow(run: Run, after: int) -> AsyncGenerator[bytes]:
    """The run's events after number ``after``, several due ones at once, and a comment in quiet times."""
    async for events in run.follow(after, PING_SECONDS):
        piece = b"" if events else KEEPALIVE_COMMENT
        for event in events:
            piece += encode(*event)
            if len(piece) >= PIECE_BYTES:
                yield piece
                piece = b""
        if piece:
            yield piece


async def replay(after: int, *events: tuple[str, Any]) -> AsyncIterator[bytes]:
    """A stream that is over: ``events`` as (name, data), numbered above what the reader saw."""
    yield b"".join(encode(number, event, data) for number, (event, data) in enumerate(events, after + 1))


def response(events: AsyncIterator[bytes]) -> EventSourceResponse:
    """The streaming answer; proxies are asked not to hold it back."""
    return EventSourceResponse(events, headers=HEADERS)

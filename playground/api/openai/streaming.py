"""What is shared by streamed answers: all replies of a request followed at once, and the response itself."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from playground.completions.run import CompletionRun
from playground.completions.service import Completion
from playground.generation import BROKEN, GenerationEvent, Outcome
from playground.sse import HEADERS

log = logging.getLogger(__name__)

QUIET_SECONDS = 15.0
"""After so long without anything a comment tells proxies and clients that the connection lives."""


class Followers:
    """Follows every reply of a completion, from now on, in a task of its own for each.

    Who makes it must call ``stop`` in the end, whatever happened: the replies end then.
    """

    def __init__(self, completion: Completion) -> None:
        self._completion = completion
        self._events: asyncio.Queue[tuple[int, GenerationEvent]] = asyncio.Queue()
        self._tasks = [
            asyncio.get_running_loop().create_task(self._follow(number, run))
            for number, run in enumerate(completion.runs)
        ]

    async def batches(self, quiet: float = QUIET_SECONDS) -> AsyncIterator[list[tuple[int, GenerationEvent]]]:
        """All that has come, as pairs of a reply's number and its event, until every reply has ended.

        Nothing came for ``quiet`` seconds: an empty list.
        """
        left = len(self._tasks)
        while left:
            try:
                async with asyncio.timeout(quiet):
                    batch = [await self._events.get()]
            except TimeoutError:
                yield []
                continue
            while not self._events.empty():
                batch.append(self._events.get_nowait())
            left -= sum(isinstance(event, Outcome) for _, event in batch)
            yield batch

    def stop(self) -> None:
        """End what is still being written."""
        for task in self._tasks:
            task.cancel()

    async def _follow(self, number: int, run: CompletionRun) -> None:
        try:
            async for event in self._completion.follow(run):
                self._events.put_nowait((number, event))
        except Exception:
            log.exception("a reply ended with an error")
            run.outcome = BROKEN
            self._events.put_nowait((number, BROKEN))


class EventStream(StreamingResponse):
    """A stream of server-sent events; ``over`` is called when it has ended, even before its first byte."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[bytes], over: Callable[[], None]) -> None:
        super().__init__(events, headers=HEADERS)
        self._over = over

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events until they, or the client's patience, end."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._over()


def data_line(data: Any) -> bytes:
    """One event without a name, as Chat Completions has them."""
    return b"data: " + json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"

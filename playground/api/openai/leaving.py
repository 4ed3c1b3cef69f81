"""What waits for a client ends when the client leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request

from playground.errors import PlaygroundError

Result = TypeVar("Result")

GONE_STATUS = 499
"""What servers write into their logs for a client that left; nobody reads the answer."""


async def while_here(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of ``work``, which is cancelled as soon as the client closes the connection.

    The request's body must have been read.

    Raises:
        PlaygroundError: the client has left.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise PlaygroundError("client_left", "The client has closed the connection.", status=GONE_STATUS)
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.wait({working, leaving})


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass

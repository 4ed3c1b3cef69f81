"""Asking the operator's functions: one POST to a declared address for each call.

Where a request goes, and with which headers, comes from the operator's file alone. What comes back is data
from outside: bounded in size and time, never followed elsewhere, and text that can be stored, or else the
result says what went wrong.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import Mapping, Sequence
from typing import Any

import httpx2

from inference.types import ToolSpec
from playground.settings_functions import OperatorFunction

log = logging.getLogger(__name__)

AT_ONCE = 4
"""Calls of one reply that are asked together."""
BYTES_PER_CHARACTER = 4


class _Failed(Exception):
    """A call has no answer; ``str(error)`` ends the sentence that says so."""


class OperatorFunctions:
    """All declared functions. ``most_chars`` bounds an answer. Belongs to one event loop."""

    def __init__(self, functions: Sequence[OperatorFunction], most_chars: int) -> None:
        self._functions = {function.spec.name: function for function in functions}
        self._most_chars = most_chars
        self._tls: ssl.SSLContext | None = None

    @property
    def specs(self) -> Mapping[str, ToolSpec]:
        """What the model and people get to know of them, by name."""
        return {name: function.spec for name, function in self._functions.items()}

    async def answer_all(self, calls: Sequence[tuple[str, str]], conversation_id: str) -> list[str]:
        """The results of calls, (name, arguments) each, in their order; a failure is a text that says so."""
        places = asyncio.Semaphore(AT_ONCE)

        async def one(name: str, arguments: str) -> str:
            async with places:
                return await self.answer(name, arguments, conversation_id)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(*call)) for call in calls]
        return [task.result() for task in tasks]

    async def answer(self, name: str, arguments: str, conversation_id: str) -> str:
        """The result of one call; ``arguments`` is what the model wrote."""
        function = self._functions[name]
        try:
            sent = {"name": name, "arguments": _parsed(arguments), "conversation_id": conversation_id}
            async with asyncio.timeout(function.timeout_seconds):
                return await self._ask(function, json.dumps(sent).encode())
        except _Failed as error:
            reason = str(error)
        except TimeoutError:
            reason = "it took too long"
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            log.warning("the function %s cannot be asked: %s", name, type(error).__name__)
            reason = "it cannot be reached"
        else:
            raise AssertionError
        log.warning("the function %s gave no answer: %s", name, reason)
        return f"Error: the function {name} gave no answer: {reason}."

    async def _ask(self, function: OperatorFunction, body: bytes) -> str:
        if self._tls is None:  # reads all certificates of this machine
            self._tls = await asyncio.to_thread(httpx2.create_ssl_context)
        headers = {
            "Accept": "application/json, text/plain;q=0.9, */*;q=0.1",
            **{name: secret.get_secret_value() for name, secret in function.headers.items()},
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
        }
        async with (
            httpx2.AsyncClient(
                verify=self._tls,
                timeout=function.timeout_seconds,
                follow_redirects=False,
                trust_env=False,
            ) as client,
            client.stream("POST", function.url, content=body, headers=headers) as answer,
        ):
            if answer.is_redirect or 300 <= answer.status_code < 400:
                raise _Failed("it points elsewhere, which is not followed")
            if not 200 <= answer.status_code < 300:
                raise _Failed(f"it failed with status {answer.status_code}")
            return self._text(await self._read(answer))

    async def _read(self, answer: httpx2.Response) -> bytes:
        """The body, as far as anybody needs it; a packed one could become any size."""
        if answer.headers.get("content-encoding", "identity").lower() != "identity":
            raise _Failed("its answer is packed")
        data = bytearray()
        async for piece in answer.aiter_raw():
            data += piece
            if len(data) > self._most_chars * BYTES_PER_CHARACTER:
                raise _Failed(f"its answer has more than {self._most_chars:,} characters")
        return bytes(data)

    def _text(self, data: bytes) -> str:
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            raise _Failed("its answer is not valid text") from None
        if "\x00" in text:
            raise _Failed("its answer is not valid text")
        if len(text) > self._most_chars:
            raise _Failed(f"its answer has more than {self._most_chars:,} characters")
        return text


def _no_number(name: str) -> float:
    raise ValueError(name)


def _parsed(arguments: str) -> Any:
    """The arguments of a call, which are an object; none at all are an empty one."""
    try:
        value = json.loads(arguments, parse_constant=_no_number) if arguments.strip() else {}
    except (ValueError, RecursionError):
        raise _Failed("the arguments are not valid JSON") from None
    if not isinstance(value, dict):
        raise _Failed("the arguments are not a JSON object")
    return value

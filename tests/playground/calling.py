"""What tests of functions need: scripts that call, and an operator's endpoint on this machine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from inference.types import GenerationRequest
from tests.playground.scripted import Script
from tests.playground.world import World, settled

Json = dict[str, Any]
THING = {"type": "object", "properties": {"thing": {"type": "string"}}, "required": ["thing"]}
PRICE: Json = {
    "name": "get_price",
    "description": "The price of a thing.",
    "parameters": THING,
    "strict": False,
}
STOCK: Json = {
    "name": "get_stock",
    "description": "How many there are.",
    "parameters": THING,
    "strict": False,
}
APPLE, PEAR = '{"thing": "apple"}', '{"thing": "pear"}'
SECRET = "Bearer the-operators-own-secret"


def calling(*calls: tuple[str, str], thought: str = "I call it.") -> Script:
    """A reply that calls functions, (name, arguments) each."""
    made = [(f"commentary to=functions.{name}", arguments) for name, arguments in calls]
    return Script([("analysis", thought), *made])


CALL = calling(("get_price", APPLE))
ANSWER = Script([("analysis", "It is 3."), ("final", "An apple costs 3.")])


def plays(world: World, *scripts: Script) -> None:
    """Each request gets the next script; the last one is repeated."""
    left = list(scripts)

    def choose(_: GenerationRequest) -> Script:
        return left.pop(0) if len(left) > 1 else left[0]

    world.engine.choose = choose


async def results(
    browser: httpx.AsyncClient, turn: Json, *pairs: tuple[str, str], **fields: Any
) -> httpx.Response:
    """Type results of calls, (message id, text) each."""
    body = {
        "conversation_id": turn["conversation"]["id"],
        "results": [{"message_id": message_id, "content": text} for message_id, text in pairs],
    }
    return await browser.post("/api/turns", json=body | fields)


async def waits(browser: httpx.AsyncClient, turn: Json) -> list[str]:
    """The calls that wait once the reply is over."""
    over = (await settled(browser, turn["generation"]["id"]))["generation"]
    assert (over["status"], over["finish_reason"]) == ("finished", "tool_call")
    calls: list[str] = over["waiting_calls"]
    return calls


async def page_of(browser: httpx.AsyncClient, turn: Json) -> Json:
    """The conversation as the page shows it."""
    page: Json = (await browser.get(f"/api/conversations/{turn['conversation']['id']}")).json()
    return page


def said(page: Json) -> list[tuple[str, str]]:
    """Who said what on the shown path: a call and a result by the function's name."""
    return [
        (each["name"] or each["recipient"] or each["channel"] or each["role"], each["content"])
        for each in page["messages"]
    ]


Reply = Callable[[asyncio.StreamWriter, Json], Awaitable[None]]


@dataclass
class Endpoint:
    """An operator's HTTP endpoint. ``replies`` by function's name write the whole answer themselves."""

    port: int = 0
    replies: dict[str, Reply] = field(default_factory=dict)
    requests: list[Json] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: set[asyncio.Task[None] | None] = field(default_factory=set)

    def declared(self, *names: str, **fields: Any) -> list[Json]:
        """Entries of the operator's file."""
        return [
            {
                "name": name,
                "description": f"The {name}.",
                "parameters": THING,
                "url": f"http://127.0.0.1:{self.port}/{name}?key=hidden",
                "headers": {"Authorization": SECRET},
                **fields,
            }
            for name in names
        ]

    async def hold(self, _: asyncio.StreamWriter, __: Json) -> None:
        """Answer nothing until the test is over."""
        await self.over.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one request and answer it."""
        self.tasks.add(asyncio.current_task())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        self.requests.append({"line": head.split("\r\n")[0], "headers": headers, "body": body})
        self.asked.set()
        try:
            await self.replies[body["name"]](writer, body)
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


def text(content: str | bytes, status: str = "200 OK", *headers: str) -> Reply:
    """An endpoint's whole answer."""

    async def reply(writer: asyncio.StreamWriter, _: Json) -> None:
        data = content.encode() if isinstance(content, str) else content
        lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(data)}", "Connection: close", *headers)
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + data)

    return reply


@asynccontextmanager
async def endpoint() -> AsyncIterator[Endpoint]:
    """One that listens on this machine."""
    made = Endpoint()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        made.over.set()
        server.close()
        await asyncio.gather(*(task for task in made.tasks if task is not None))


def functions_file(folder: Path, entries: Any) -> Path:
    """The operator's file."""
    path = folder / "functions.json"
    path.write_text(json.dumps(entries))
    return path

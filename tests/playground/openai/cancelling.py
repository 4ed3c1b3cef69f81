"""The application on the demonstration model, clients that give up at any moment, and what they leave."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from inference.engine import LocalEngine
from inference.harmony import HarmonyCodec
from inference.types import FinishReason, GenerationRequest
from playground.connections import Guard
from playground.engines import engine_config
from playground.server import Server, configure
from playground.web import create_app
from storage.store import Store
from tests.attacks.limits import UNLIMITED
from tests.inference.engines import ready
from tests.playground.openai.chats import RAIN, Json
from tests.playground.world import TIMEOUT, settings_for

PLACES = 4
"""Fewer than clients that ask at once, so that some of them give up in line."""
LONGEST_WAIT = 0.5

ENDLESS: Json = {
    "type": "object",
    "properties": {"numbers": {"type": "array", "items": {"type": "integer"}, "minItems": 3000}},
    "required": ["numbers"],
    "additionalProperties": False,
}
"""An answer of this shape fills the context: it ends early only if somebody ends it."""

CHAT, RESPONSES, HEALTH = "/v1/chat/completions", "/v1/responses", "/healthz"
FORMS = (
    "chat",
    "chat n",
    "chat tools",
    "chat schema",
    "responses",
    "responses tools",
    "responses schema",
    "background",
    "background schema",
)
SENDING, BEFORE, REASONING, ANSWER = "sending", "before the first byte", "reasoning", "answer"
MOMENTS = (SENDING, BEFORE, REASONING, ANSWER)
SEEN = {
    REASONING: re.compile(rb'"reasoning_content":"|response\.reasoning_text\.delta'),
    ANSWER: re.compile(
        rb'"content":"[^"]|"tool_calls":|response\.(output_text|function_call_arguments)\.delta'
    ),
}
BEGUN = re.compile(rb'"id":"(resp_[^"]+)"')
RESET, CLOSE, TASK, CANCEL, DELETE = "reset", "close", "task", "cancel", "delete"


@dataclass
class ModelWorld:
    """One process's worth of playground with a model that computes."""

    app: FastAPI
    engine: LocalEngine
    url: str
    guard: Guard
    submitted: int = 0
    own_tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    own_sockets: int = 0

    def client(self) -> httpx.AsyncClient:
        """A program with connections of its own."""
        return httpx.AsyncClient(base_url=self.url, timeout=TIMEOUT, trust_env=False)

    def overlong(self) -> int:
        """How many replies the engine wrote to the end of their room, because nobody ended them."""
        metrics = self.engine.health().metrics
        return 0 if metrics is None else metrics.finished.get(FinishReason.LENGTH.value, 0)


@dataclass(frozen=True)
class Left:
    """What is there of requests that nobody waits for. All zeros: nothing.

    ``untold`` are requests whose end the worker has not counted yet, so that its other figures are older.
    """

    requests: int = 0
    untold: int = 0
    pages: int = 0
    replies: int = 0
    responses: int = 0
    work: int = 0
    places: int = 0
    tasks: int = 0
    connections: int = 0
    sockets: int = 0

    @classmethod
    def now(cls, world: ModelWorld) -> Left:
        """Everything that can be looked at."""
        health, completions = world.engine.health(), world.app.state.completions
        places = completions._places
        metrics = health.metrics
        assert metrics is not None
        tasks = asyncio.all_tasks() - world.own_tasks - {asyncio.current_task()}
        return cls(
            requests=health.running + health.waiting + len(world.engine._requests._streams),
            untold=world.submitted - sum(metrics.finished.values()),
            pages=metrics.pages_used,
            replies=completions.open_count,
            responses=world.app.state.responses.open_count,
            work=len(completions._tasks) + len(completions._placed),
            places=sum(places._taken.values()) + sum(map(len, places._lines.values())),
            tasks=len(tasks),
            connections=world.guard.count,
            sockets=len(list(_sockets())) - world.own_sockets,
        )


NOTHING = Left()


async def until_left(world: ModelWorld, wanted: Left = NOTHING) -> None:
    """Wait until this, and no more, is left. Raises AssertionError with what is there instead."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(TIMEOUT):
            while Left.now(world) != wanted:  # noqa: ASYNC110  # what is looked at tells nobody
                await asyncio.sleep(0.01)
    assert (left := Left.now(world)) == wanted, left


def _sockets() -> Iterator[str]:
    """The sockets of this process."""
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one that reads this folder is gone
            if (name := str(descriptor.readlink())).startswith("socket:"):
                yield name


@asynccontextmanager
async def running_model(folder: Path) -> AsyncIterator[ModelWorld]:
    """Serve the demonstration model until the block ends, then stop in the product's own order."""
    limits = {**UNLIMITED, "replies_at_once": PLACES, "guest_replies_at_once": PLACES}
    settings = settings_for(folder, model="demo", engine_isolation="thread", **limits)
    codec, store = HarmonyCodec.load(), Store.open(settings.database_path)
    engine = LocalEngine(engine_config(settings))
    app = create_app(settings, store, engine, codec)
    listener = socket.create_server(("127.0.0.1", 0))
    config = configure(app, settings)
    answers = asyncio.Event()

    async def on_ready() -> None:
        answers.set()

    server = Server(config, on_ready, app.state.completions.close)
    # The test runner keeps its own signals.
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        engine.start()
        async with asyncio.timeout(TIMEOUT):
            await answers.wait()
        await ready(engine)
        world = ModelWorld(app, engine, f"http://127.0.0.1:{listener.getsockname()[1]}", config.guard)
        _count_submissions(world)
        async with world.client() as client:
            await answered(client)  # what is made once, is made now
        async with asyncio.timeout(TIMEOUT):
            while Left.now(world).untold or world.guard.count:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        world.own_tasks = asyncio.all_tasks()
        world.own_sockets = len(list(_sockets()))
        yield world
    finally:
        server.should_exit = True
        async with asyncio.timeout(TIMEOUT):
            await serving


def _count_submissions(world: ModelWorld) -> None:
    submit = world.engine.submit

    def counted(request: GenerationRequest) -> Any:
        stream = submit(request)
        world.submitted += 1
        return stream

    world.engine.submit = counted  # type: ignore[method-assign]


async def answered(client: httpx.AsyncClient) -> None:
    """A plain question to each API, which must be answered."""
    chat = await client.post(CHAT, json=_question(CHAT, {"temperature": 0}))
    assert chat.status_code == 200, chat.text
    assert "42" in chat.json()["choices"][0]["message"]["content"]
    response = await client.post(RESPONSES, json=_question(RESPONSES, {"temperature": 0}))
    assert response.status_code == 200, response.text
    assert response.json()["status"] == "completed"


def _question(path: str, fields: Json) -> Json:
    text = "What is 12 + 30?"
    asked = {"messages": [{"role": "user", "content": text}]} if path == CHAT else {"input": text}
    return {**asked, **fields}


@dataclass(frozen=True)
class Attempt:
    """A request, when it is given up, and how. ``wait`` are seconds, where nothing can be seen before.

    ``choices`` are those of a request for several, ``most`` the tokens that a reply may have.
    """

    form: str
    moment: str
    way: str
    stream: bool
    wait: float
    choices: int = 2
    most: int | None = None

    @property
    def path(self) -> str:
        """The address."""
        return CHAT if self.form.startswith("chat") else RESPONSES

    @property
    def body(self) -> Json:
        """What is asked."""
        limit = "max_tokens" if self.path == CHAT else "max_output_tokens"
        fields: Json = {"stream": self.stream, limit: self.most}
        kind = self.form.rpartition(" ")[2]
        chat = self.path == CHAT
        if kind == "n":
            fields["n"] = self.choices
        elif kind == "tools":
            fields["tools"] = [RAIN if chat else {"type": "function", **RAIN["function"]}]
            fields["tool_choice"] = "required" if self.moment == ANSWER else "auto"
        elif kind == "schema" and chat:
            schema = {"name": "numbers", "schema": ENDLESS}
            fields["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif kind == "schema":
            fields["text"] = {"format": {"type": "json_schema", "name": "numbers", "schema": ENDLESS}}
        if self.form.startswith("background"):
            fields["background"] = True
        return _question(self.path, fields)


def attempts(rng: random.Random, count: int) -> list[Attempt]:
    """So many, of each form at each moment in turn, in a random order."""
    kinds = list(product(FORMS, MOMENTS))
    made = [_attempt(rng, *kinds[number % len(kinds)]) for number in range(count)]
    rng.shuffle(made)
    return made


def _attempt(rng: random.Random, form: str, moment: str) -> Attempt:
    stream = rng.random() < (0.75 if moment in SEEN else 0.5)
    ways = [RESET, CLOSE, TASK]
    if form.startswith("background") and moment != SENDING:
        ways = [CANCEL, DELETE]  # nothing else ends these
    elif form.startswith("responses") and stream and moment in SEEN:
        ways += [CANCEL, DELETE]
    if moment == SENDING:
        ways = [RESET, CLOSE]
    longest = LONGEST_WAIT if moment in SEEN else 0.02
    return Attempt(form, moment, rng.choice(ways), stream, rng.uniform(0, longest), rng.randint(2, 8))


class GivenUp:
    """One client that asks and gives up."""

    def __init__(self, world: ModelWorld, attempt: Attempt) -> None:
        self._world = world
        self._attempt = attempt
        self._received = b""

    async def run(self) -> None:
        """Ask, wait for the moment, and leave in the attempt's way."""
        async with asyncio.timeout(TIMEOUT):
            match self._attempt.way:
                case "task":
                    await self._task()
                case "cancel" | "delete":
                    await self._by_request()
                case _:
                    await self._socket()

    async def _socket(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(self._world.url).port)
        body = json.dumps(self._attempt.body).encode()
        head = f"POST {self._attempt.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        cut = int(len(body) * self._attempt.wait * 50) % len(body)
        writer.write(head.encode() + (body[:cut] if self._attempt.moment == SENDING else body))
        await writer.drain()
        if self._attempt.moment != SENDING:
            await self._moment(self._pieces(reader))
        if self._attempt.way == RESET:
            writer.transport.abort()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def _pieces(self, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
        while piece := await reader.read(65_536):
            yield piece

    async def _task(self) -> None:
        now = asyncio.Event()
        asking = asyncio.create_task(self._ask(now))
        waiting = asyncio.create_task(now.wait())
        await asyncio.wait({asking, waiting}, return_when=asyncio.FIRST_COMPLETED)
        for task in (asking, waiting):
            task.cancel()
        await asyncio.wait({asking, waiting})
        if not asking.cancelled():
            asking.result()  # raises what went wrong

    async def _ask(self, now: asyncio.Event) -> None:
        body, path = self._attempt.body, self._attempt.path
        async with self._world.client() as client:
            await client.get(HEALTH)  # anyio forgets a socket whose task is cancelled while it connects
            if not self._sees:
                asyncio.get_running_loop().call_later(self._attempt.wait, now.set)
            async with client.stream("POST", path, json=body) as answer:
                assert answer.status_code == 200
                await self._moment(answer.aiter_bytes())
                now.set()
                await asyncio.Event().wait()  # the connection stays until this task is cancelled

    async def _by_request(self) -> None:
        """Another request ends the response: ``cancel`` or ``delete``. Its own stream ends by itself."""
        attempt = self._attempt
        async with (
            self._world.client() as client,
            self._world.client() as other,
            client.stream("POST", attempt.path, json=attempt.body) as answer,
        ):
            assert answer.status_code == 200
            pieces = answer.aiter_bytes()
            await self._moment(pieces, BEGUN)
            found = BEGUN.search(self._received)
            assert found is not None, self._received
            address = f"{RESPONSES}/{found[1].decode()}"
            if attempt.way == DELETE:
                assert (await other.delete(address)).json()["deleted"] is True
            else:
                ended = (await other.post(f"{address}/cancel")).json()
                assert ended["status"] in ("cancelled", "completed"), ended
                assert (await other.get(address)).json() == ended
            async for _ in pieces:
                pass

    @property
    def _sees(self) -> bool:
        return self._attempt.stream and self._attempt.moment in SEEN

    async def _moment(self, pieces: AsyncIterator[bytes], least: re.Pattern[bytes] | None = None) -> None:
        """Read until the moment is seen, or wait for as long as the attempt says. The end is a moment, too.

        ``least``: what must have been seen in any case.
        """
        wanted = [SEEN[self._attempt.moment]] if self._sees else []
        wanted += [] if least is None else [least]
        if wanted:
            async for piece in pieces:
                self._received += piece
                if all(pattern.search(self._received) for pattern in wanted):
                    break
        if not self._sees:
            await asyncio.sleep(self._attempt.wait)

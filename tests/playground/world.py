"""A running playground for tests: the real application on a real socket, with the scripted engine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from inference.harmony import HarmonyCodec
from playground.connections import ConnectionLimits, Guard
from playground.server import Server, configure
from playground.settings import Settings
from playground.web import create_app
from storage.store import Store
from tests.playground.scripted import Script, ScriptedEngine

TIMEOUT = 60.0


@dataclass(frozen=True)
class Event:
    """One server-sent event as a reader sees it."""

    id: int
    name: str
    data: Any


@dataclass
class World:
    """One process's worth of playground."""

    app: FastAPI
    store: Store
    engine: ScriptedEngine
    url: str
    guard: Guard

    def browser(self) -> httpx.AsyncClient:
        """A browser of its own, with an empty cookie jar."""
        return httpx.AsyncClient(base_url=self.url, timeout=TIMEOUT)


def settings_for(folder: Path, **values: Any) -> Settings:
    """Settings that no environment variable of this machine reaches."""
    return Settings(data_dir=folder, host="127.0.0.1", port=7999, log_level="error", **values)


def _as_it_is(app: FastAPI) -> None:
    pass


@asynccontextmanager
async def running(
    folder: Path,
    script: Script | None = None,
    *,
    connections: ConnectionLimits | None = None,
    prepare: Callable[[FastAPI], None] = _as_it_is,
    **values: Any,
) -> AsyncIterator[World]:
    """Serve until the block ends, then stop in the product's own order.

    ``values`` are settings, ``connections`` other limits than theirs; ``prepare`` may change the app before
    it answers.
    """
    settings = settings_for(folder, **values)
    codec = HarmonyCodec.load()
    store = Store.open(settings.database_path)
    engine = ScriptedEngine(codec, script)
    app = create_app(settings, store, engine, codec)
    prepare(app)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1000)
    ready = asyncio.Event()

    async def on_ready() -> None:
        ready.set()

    config = configure(app, settings, connections)
    server = Server(config, on_ready, app.state.turns.close)
    # The test runner keeps its own signals.
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        async with asyncio.timeout(TIMEOUT):
            await ready.wait()
        yield World(app, store, engine, f"http://127.0.0.1:{listener.getsockname()[1]}", config.guard)
    finally:
        server.should_exit = True
        async with asyncio.timeout(TIMEOUT):
            await serving


async def ask(browser: httpx.AsyncClient, text: str = "What is 12 + 30?", **fields: Any) -> dict[str, Any]:
    """Start a turn that is expected to be taken."""
    answer = await browser.post("/api/turns", json={"text": text, **fields})
    assert answer.status_code == 202, answer.text
    result: dict[str, Any] = answer.json()
    return result


async def events(
    browser: httpx.AsyncClient, generation_id: str, last_event_id: int | None = None, until: int | None = None
) -> list[Event]:
    """Follow a generation to its end, or until ``until`` events were seen."""
    headers = {} if last_event_id is None else {"Last-Event-ID": str(last_event_id)}
    seen: list[Event] = []
    address = f"/api/generations/{generation_id}/events"
    async with asyncio.timeout(TIMEOUT), browser.stream("GET", address, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        fields: dict[str, str] = {}
        async for line in answer.aiter_lines():
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value
            elif fields:
                seen.append(Event(int(fields["id"]), fields["event"], json.loads(fields["data"])))
                fields = {}
                if len(seen) == until:
                    break
    return seen


def text_of(seen: list[Event], index: int) -> str:
    """The deltas of one message, joined."""
    return "".join(each.data["t"] for each in seen if each.name == "delta" and each.data["i"] == index)


async def settled(browser: httpx.AsyncClient, generation_id: str) -> dict[str, Any]:
    """The generation once it is over."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            answer = (await browser.get(f"/api/generations/{generation_id}")).json()
            if answer["generation"]["status"] not in {"queued", "running"}:
                result: dict[str, Any] = answer
                return result
            await asyncio.sleep(0.02)

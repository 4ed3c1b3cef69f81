"""The real application with its page, on a thread of its own, for a browser that is driven from the test."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from inference.harmony import HarmonyCodec
from playground.server import configure
from playground.ui import shell
from playground.web import create_app
from storage.store import Store
from tests.playground.scripted import Script, ScriptedEngine
from tests.playground.world import settings_for

TIMEOUT = 30.0


@dataclass
class Served:
    """Where the page is, and what answers there."""

    url: str
    engine: ScriptedEngine
    loop: asyncio.AbstractEventLoop
    store: Store

    def play(self, script: Script) -> Script:
        """The next replies follow this script."""
        self.engine.script = script
        return script

    def held(self, at: int, *messages: tuple[str, str]) -> Script:
        """The next reply waits before token ``at`` until it is let go."""
        return self.play(Script(list(messages), hold=asyncio.Event(), hold_at=at))

    def let_go(self, script: Script) -> None:
        """Let a held reply go on."""
        assert script.hold is not None
        self.loop.call_soon_threadsafe(script.hold.set)


@contextmanager
def serving(
    folder: Path, make_engine: Callable[[HarmonyCodec], ScriptedEngine] = ScriptedEngine, **values: Any
) -> Iterator[Served]:
    """Serve the page until the block ends; ``values`` are settings."""
    settings = settings_for(folder, **values)
    codec = HarmonyCodec.load()
    store = Store.open(settings.database_path)
    engine = make_engine(codec)
    app = create_app(settings, store, engine, codec)
    shell.mount(app, blocked_paths=[str(folder)])
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(configure(app, settings))
    started = threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        started.set()
        await server.serve(sockets=[listener])

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="served page")
    thread.start()
    try:
        assert started.wait(TIMEOUT)
        yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", engine, loops[0], store)
    finally:
        asyncio.run_coroutine_threadsafe(app.state.turns.close(), loops[0]).result(TIMEOUT)
        server.should_exit = True
        thread.join(TIMEOUT)
        listener.close()
        assert not thread.is_alive()

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
from playground.turns import TurnService
from playground.ui import shell
from playground.web import create_app
from storage.store import Store
from tests.playground.scripted import Script, ScriptedEngine
from tests.playground.world import settings_for

TIMEOUT = 60.0
ANY_NUMBER = {"address_requests_per_minute": 0, "visitors_per_hour": 0, "share_reads_per_minute": 0}


@dataclass
class Served:
    """Where the page is, and what answers there."""

    url: str
    engine: ScriptedEngine
    loop: asyncio.AbstractEventLoop
    store: Store
    turns: TurnService
    engine_at_first: dict[str, Any]

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

    def start_afresh(self) -> None:
        """End every reply and make the engine as it was; the store keeps what others have."""
        asyncio.run_coroutine_threadsafe(self._end_replies(), self.loop).result(TIMEOUT)
        vars(self.engine).update(_copied(self.engine_at_first))

    async def _end_replies(self) -> None:
        while self.engine._cancels or self.turns.task_count:
            for name in list(self.engine._cancels):
                await self.engine.cancel(name)
            await asyncio.sleep(0.01)


def _copied(values: dict[str, Any]) -> dict[str, Any]:
    """The same attributes, with lists of their own."""
    return {name: list(value) if isinstance(value, list) else value for name, value in values.items()}


@contextmanager
def serving(
    folder: Path, make_engine: Callable[[HarmonyCodec], ScriptedEngine] = ScriptedEngine, **values: Any
) -> Iterator[Served]:
    """Serve the page until the block ends; ``values`` are settings.

    All visitors come from one address, so nothing is limited by the address unless ``values`` say so.
    """
    settings = settings_for(folder, **{**ANY_NUMBER, **values})
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
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        yield Served(url, engine, loops[0], store, app.state.turns, _copied(vars(engine)))
    finally:
        asyncio.run_coroutine_threadsafe(app.state.turns.close(), loops[0]).result(TIMEOUT)
        server.should_exit = True
        thread.join(TIMEOUT)
        listener.close()
        assert not thread.is_alive()

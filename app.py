"""The composition root: settings, then the store, the engine and the web application; the command line."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Callable
from socket import socket

import typer

from playground.cli import common
from playground.cli.root import make_cli
from playground.settings import Settings

# Importing torch holds the interpreter for seconds. The first page goes before it, if one is asked for soon.
WAIT_FOR_PAGE_SECONDS = 1.5
ASSETS_SECONDS = 1.5


def run(settings: Settings, listener: socket) -> None:
    """Put the parts together and serve until the process is asked to stop."""
    from inference.engine import LocalEngine
    from inference.errors import InferenceError
    from inference.harmony import HarmonyCodec
    from playground import server
    from playground.backups import how_to_restore
    from playground.engines import engine_config
    from playground.ui import shell
    from playground.web import create_app
    from storage.errors import DatabaseCorrupt, StorageError
    from storage.store import Store

    try:
        codec = HarmonyCodec.load()
        store = Store.open(settings.database_path)
    except (InferenceError, StorageError) as error:
        listener.close()
        help_with_it = f"\n{how_to_restore(settings)}" if isinstance(error, DatabaseCorrupt) else ""
        raise common.stop(f"{error}{help_with_it}") from None
    engine = LocalEngine(engine_config(settings))
    app = create_app(settings, store, engine, codec)
    shell.mount(
        app, blocked_paths=[str(path.resolve()) for path in (settings.data_dir, settings.backup_dir) if path]
    )
    starting: list[asyncio.Task[None]] = []

    async def on_ready() -> None:
        gc.freeze()
        gc.enable()
        typer.echo(f"gpt-oss Playground is running at {server.page_address(settings)}")
        starting.append(asyncio.create_task(_start_engine(engine.start, app.state.page_served)))
        if settings.sign_in_available:
            starting.append(asyncio.create_task(app.state.sign_in.provider.probe()))

    async def on_drain() -> None:
        for task in starting:
            task.cancel()
        if count := app.state.turns.open_count + app.state.completions.open_count:
            replies = "one reply" if count == 1 else f"{count} replies"
            typer.echo(f"Waiting for {replies} to end. Press Ctrl-C again to stop now.")
        await asyncio.gather(
            app.state.turns.drain(settings.drain_seconds),
            app.state.completions.drain(settings.drain_seconds),
        )

    async def on_stop() -> None:
        for task in starting:
            task.cancel()
        await asyncio.gather(app.state.completions.close(), app.state.turns.close())

    with contextlib.suppress(KeyboardInterrupt):  # raised again after an orderly end
        config = server.configure(app, settings)
        server.Server(config, on_ready, on_stop, on_drain).run(sockets=[listener])


async def _start_engine(start: Callable[[], None], page_served: asyncio.Event) -> None:
    """Start the worker once the first page and its files are out, or nobody asked for one."""
    try:
        async with asyncio.timeout(WAIT_FOR_PAGE_SECONDS):
            await page_served.wait()
        await asyncio.sleep(ASSETS_SECONDS)
    except TimeoutError:
        pass
    start()


cli = make_cli(run)

if __name__ == "__main__":
    cli()

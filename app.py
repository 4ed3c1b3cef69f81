"""The command line and the composition root: settings, then the store, the engine and the web application."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import Callable
from pathlib import Path
from socket import socket
from typing import Annotated

import typer

from playground import commands
from playground.settings import Settings, SettingsError, load_settings, quiet_libraries

# Importing torch holds the interpreter for seconds. The first page goes before it, if one is asked for soon.
WAIT_FOR_PAGE_SECONDS = 1.5
ASSETS_SECONDS = 1.5
LOG_FORMAT = "%(levelname)s %(name)s: %(message)s"

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
commands.add_to(cli)


@cli.callback(invoke_without_command=True)
def main(context: typer.Context) -> None:
    """Run, watch and compare OpenAI's gpt-oss models. Without a command: serve."""
    if context.invoked_subcommand is None:
        serve()


@cli.command()
def serve(
    host: Annotated[str | None, typer.Option(help="The address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="The port to listen on.")] = None,
    model: Annotated[str | None, typer.Option(help="auto, demo, a name on the hub, or a folder.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="The folder of the database.")] = None,
) -> None:
    """Start the playground in this terminal; Ctrl-C ends it."""
    try:
        settings = load_settings(host=host, port=port, model=model, data_dir=data_dir)
    except SettingsError as error:
        raise _stop(str(error), code=2) from None
    _set_up_logs(settings.log_level.upper())
    quiet_libraries()
    gc.disable()  # importing makes many objects and no garbage: a fifth of the start is spent looking for it
    from playground import server

    try:
        listener = server.listen(settings)
    except server.PortUnavailable as error:
        raise _stop(str(error), code=1) from None
    run(settings, listener)


def run(settings: Settings, listener: socket) -> None:
    """Put the parts together and serve until the process is asked to stop."""
    from inference.engine import EngineConfig, LocalEngine
    from inference.errors import InferenceError
    from inference.harmony import HarmonyCodec
    from playground import server
    from playground.backups import how_to_restore
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
        raise _stop(f"{error}{help_with_it}", code=1) from None
    engine = LocalEngine(
        EngineConfig(
            model=settings.model,
            demo_folder=settings.data_dir / "models",
            token=settings.hf_token.get_secret_value() if settings.hf_token else None,
            queue_limit=settings.queue_limit,
            isolation=settings.isolation,
            step_limit=settings.engine_step_limit,
            cpu_dtype=settings.cpu_dtype,
            reproducible=settings.reproducible,
        )
    )
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


def _set_up_logs(level: str) -> None:
    """The playground's own packages at ``level``; libraries speak up from warnings on."""
    logging.basicConfig(level=max(logging.WARNING, logging.getLevelNamesMapping()[level]), format=LOG_FORMAT)
    for name in ("playground", "inference", "storage"):
        logging.getLogger(name).setLevel(level)


def _stop(sentence: str, code: int) -> typer.Exit:
    """Say why, without a trace, and end with this status."""
    typer.echo(sentence, err=True)
    return typer.Exit(code)


if __name__ == "__main__":
    cli()

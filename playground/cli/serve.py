"""``serve``: the playground's web server; what it runs is put together by the composition root."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from pathlib import Path
from socket import socket
from typing import Annotated

import typer

from playground.allocator import use_few_arenas
from playground.cli import common
from playground.settings import Settings, quiet_libraries

LOG_FORMAT = "%(levelname)s %(name)s: %(message)s"

Run = Callable[[Settings, socket], None]


def command(run: Run) -> Callable[..., None]:
    """The command around ``run``, which serves on a socket until the process is asked to stop."""

    def serve(
        host: Annotated[str | None, typer.Option(help="The address to listen on.")] = None,
        port: Annotated[int | None, typer.Option(help="The port to listen on.")] = None,
        model: Annotated[
            str | None, typer.Option("--model", "-m", help="auto, demo, a name on the hub, or a folder.")
        ] = None,
        data_dir: Annotated[Path | None, typer.Option(help="The folder of the database.")] = None,
    ) -> None:
        """Start the playground in this terminal; Ctrl-C ends it."""
        settings = common.settings_or_stop(host=host, port=port, model=model, data_dir=data_dir)
        _set_up_logs(settings.log_level.upper())
        quiet_libraries()
        # Importing makes many objects and no garbage: a fifth of the start is spent looking for it.
        gc.disable()
        use_few_arenas()
        from playground import server

        try:
            listener = server.listen(settings)
        except server.PortUnavailable as error:
            raise common.stop(error) from None
        run(settings, listener)

    return serve


def _set_up_logs(level: str) -> None:
    """The playground's own packages at ``level``; libraries speak up from warnings on."""
    logging.basicConfig(level=max(logging.WARNING, logging.getLevelNamesMapping()[level]), format=LOG_FORMAT)
    for name in ("playground", "inference", "storage"):
        logging.getLogger(name).setLevel(level)

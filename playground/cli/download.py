"""``download``: a model from the hub, with progress, resumed where it broke off, and checked."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from playground.cli import common
from playground.settings import Settings

if TYPE_CHECKING:
    from inference.download import DownloadProgress

Show = Callable[[str, int, int], None]


def download(
    model: Annotated[str, typer.Argument(help="20b, 120b, or owner/name on the hub.")],
    to: Annotated[
        Path | None,
        typer.Option("--to", help="The cache folder; else the hub library's own.", show_default=False),
    ] = None,
) -> None:
    """Fetch a model's files and check every one of them.

    What is here already is not fetched again; what broke off, or was stopped by Ctrl-C, goes on where it was.
    Room on the disk is checked first. Gated models need HF_TOKEN.
    """
    folder = fetch_and_check(model, to, common.settings_or_stop())
    typer.echo(f"Complete and checked: {folder}")
    if to is not None:
        typer.echo(f"Run it: python app.py --model {folder}")


def fetch_and_check(model: str, to: Path | None, settings: Settings) -> Path:
    """The folder of the whole model; ends the command with one sentence where there is none."""
    from inference import download as hub
    from inference.catalog import resolve
    from inference.errors import ModelLoadError
    from playground.cli.verification import verify
    from playground.settings import quiet_libraries

    quiet_libraries()
    try:
        source = resolve(model)
        if source.repo is None:
            raise ModelLoadError(f"{source.name} is here already: it is not fetched from the hub.")
        token = settings.hf_token.get_secret_value() if settings.hf_token else None
        with _showing() as show:
            fetched = hub.fetch(source.repo, _progress(source.repo, show), cache_dir=to, token=token)
            damaged = verify(fetched.folder, lambda done, total: show("Checking", done, total))
    except ModelLoadError as error:
        raise common.stop(error) from None
    except KeyboardInterrupt:
        raise common.stop("Stopped. What was fetched is kept; the same command goes on there.", 130) from None
    if damaged:
        raise common.stop(
            f"Damaged, and removed: {', '.join(damaged)}. The same command fetches only that again."
        )
    return fetched.folder


def _progress(name: str, show: Show) -> DownloadProgress:
    return lambda done, total, _eta: show(f"Fetching {name}", done, total)


@contextmanager
def _showing() -> Iterator[Show]:
    """A bar on stderr, or one line for each step where nobody looks."""
    if not sys.stderr.isatty():
        said: set[str] = set()

        def line(what: str, _done: int, total: int) -> None:
            from inference.catalog import gigabytes

            if what not in said:
                said.add(what)
                typer.echo(f"{what}: {gigabytes(total)}", err=True)

        yield line
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, object] = {}

        def bar(what: str, done: int, total: int) -> None:
            task = tasks.setdefault(what, None) or bars.add_task(what, total=total)
            tasks[what] = task
            bars.update(task, completed=done)  # type: ignore[arg-type]

        yield bar

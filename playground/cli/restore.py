"""``restore``: a backup in the place of the database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from playground.cli import common
from playground.cli.database import told
from playground.settings import Settings


def restore(
    file: Annotated[
        Path | None, typer.Argument(help="The backup; else the newest.", show_default=False)
    ] = None,
    data_dir: common.DataDir = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Put a backup in the place of the database. Stop the playground first.

    The database that was there is kept beside it, each time; remove it when you do not need it any more.
    """
    from storage import backup as files
    from storage.errors import StorageError

    settings = common.settings_or_stop(data_dir=data_dir)
    try:
        source = file or _newest(settings)
        if settings.database_path.exists() and source.is_file() and not yes:
            typer.confirm(f"Restore {source} in the place of {settings.database_path}?", abort=True)
        restored = files.restore(settings.database_path, source)
    except StorageError as error:
        raise common.stop(error) from None
    typer.echo(f"Restored {source}: {told(restored.content)}.")
    if restored.replaced is not None:
        typer.echo(f"The database that was there before is kept as {restored.replaced}.")
    typer.echo(
        "Everybody has to sign in again. Bans and API keys are what they were when the backup was made."
    )


def _newest(settings: Settings) -> Path:
    """The newest backup; ends the command when there is none."""
    from playground.backups import folder_of
    from storage.backup import backups_in

    folder = folder_of(settings)
    found = backups_in(folder)
    if not found:
        raise common.stop(f"There is no backup in {folder}. Name the file of one.")
    return found[0]

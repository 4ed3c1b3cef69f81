"""``backup``: a checked copy of the database."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from playground.cli import common
from playground.cli.database import told


def backup(
    file: Annotated[Path | None, typer.Argument(help="The file to write.", show_default=False)] = None,
    data_dir: common.DataDir = None,
) -> None:
    """Write a checked copy of the database, also while the playground runs."""
    from playground.backups import folder_of
    from storage import backup as files
    from storage.errors import StorageError

    settings = common.settings_or_stop(data_dir=data_dir)
    target = file or folder_of(settings) / files.backup_name(datetime.now(UTC))
    try:
        content = files.backup(settings.database_path, target)
    except StorageError as error:
        raise common.stop(error) from None
    typer.echo(f"Wrote {target}: {told(content)}.")

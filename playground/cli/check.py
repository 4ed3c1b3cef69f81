"""``check``: whether all that is stored can be read."""

from __future__ import annotations

import typer

from playground.cli import common
from playground.cli.database import told


def check(data_dir: common.DataDir = None) -> None:
    """Read all of the database and say whether it is whole, also while the playground runs."""
    from playground.backups import how_to_restore
    from storage.backup import NO_DATABASE
    from storage.errors import DatabaseCorrupt, StorageError
    from storage.verification import verify

    settings = common.settings_or_stop(data_dir=data_dir)
    if not settings.database_path.exists():
        raise common.stop(NO_DATABASE)
    try:
        content = verify(settings.database_path)
    except DatabaseCorrupt as error:
        raise common.stop(f"{error}\n{how_to_restore(settings)}") from None
    except StorageError as error:
        raise common.stop(error) from None
    typer.echo(f"The database is whole: {told(content)}.")

"""``backup``, ``restore`` and ``check`` of the command line."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from playground.settings import Settings, SettingsError, load_settings

if TYPE_CHECKING:
    from storage.verification import Content

DataDir = Annotated[Path | None, typer.Option(help="The folder of the database.")]


def add_to(cli: typer.Typer) -> None:
    """Let the command line have these commands."""
    for command in (backup, restore, check):
        cli.command()(command)


def backup(
    file: Annotated[Path | None, typer.Argument(help="The file to write.", show_default=False)] = None,
    data_dir: DataDir = None,
) -> None:
    """Write a checked copy of the database, also while the playground runs."""
    from playground.backups import folder_of
    from storage import backup as files
    from storage.errors import StorageError

    settings = _settings(data_dir)
    target = file or folder_of(settings) / files.backup_name(datetime.now(UTC))
    try:
        content = files.backup(settings.database_path, target)
    except StorageError as error:
        raise _stop(error) from None
    typer.echo(f"Wrote {target}: {_told(content)}.")


def restore(
    file: Annotated[
        Path | None, typer.Argument(help="The backup; else the newest.", show_default=False)
    ] = None,
    data_dir: DataDir = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Put a backup in the place of the database, which is kept too. Stop the playground first."""
    from storage import backup as files
    from storage.errors import StorageError

    settings = _settings(data_dir)
    try:
        source = file or _newest(settings)
        if file is None and not yes:
            typer.confirm(f"Restore {source}?", abort=True)
        restored = files.restore(settings.database_path, source)
    except StorageError as error:
        raise _stop(error) from None
    typer.echo(f"Restored {source}: {_told(restored.content)}.")
    if restored.replaced is not None:
        typer.echo(f"The database that was there before is kept as {restored.replaced}.")
    typer.echo(
        "Everybody has to sign in again. Bans and API keys are what they were when the backup was made."
    )


def check(data_dir: DataDir = None) -> None:
    """Read all of the database and say whether it is whole, also while the playground runs."""
    from playground.backups import how_to_restore
    from storage.backup import NO_DATABASE
    from storage.errors import DatabaseCorrupt, StorageError
    from storage.verification import verify

    settings = _settings(data_dir)
    if not settings.database_path.exists():
        raise _stop(NO_DATABASE)
    try:
        content = verify(settings.database_path)
    except DatabaseCorrupt as error:
        raise _stop(f"{error}\n{how_to_restore(settings)}") from None
    except StorageError as error:
        raise _stop(error) from None
    typer.echo(f"The database is whole: {_told(content)}.")


def _newest(settings: Settings) -> Path:
    """The newest backup; ends the command when there is none."""
    from playground.backups import folder_of
    from storage.backup import backups_in

    folder = folder_of(settings)
    found = backups_in(folder)
    if not found:
        raise _stop(f"There is no backup in {folder}. Name the file of one.")
    return found[0]


def _settings(data_dir: Path | None) -> Settings:
    """The settings, or the end of the command."""
    try:
        return load_settings(data_dir=data_dir)
    except SettingsError as error:
        raise _stop(error, code=2) from None


def _told(content: Content) -> str:
    """Counts for people."""
    return f"{content.conversations:,} conversations with {content.messages:,} messages"


def _stop(sentence: object, code: int = 1) -> typer.Exit:
    """Say why, without a trace, and end with this status."""
    typer.echo(str(sentence), err=True)
    return typer.Exit(code)

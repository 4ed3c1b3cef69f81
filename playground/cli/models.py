"""``models``: what can run on this machine, or what a server has."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from playground.cli import common
from playground.cli.backend import BackendError
from playground.settings import Settings

if TYPE_CHECKING:
    from inference.types import MachineInfo


@dataclass(frozen=True, slots=True)
class Row:
    """One model. ``where`` is its folder, ``None`` while it is not here; sizes are bytes."""

    name: str
    parameters: int | None
    download_bytes: int | None
    memory_bytes: int
    context_length: int | None
    fit: str
    sentence: str
    where: str | None


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    url: common.Url = None,
    api_key: common.ApiKey = None,
    data_dir: common.DataDir = None,
) -> None:
    """List the models that can run here: size, whether they fit, context, and where they are."""
    settings = common.settings_or_stop(data_dir=data_dir)
    if url is not None:
        names = _of_server(url, api_key)
        typer.echo(json.dumps(names, indent=2) if as_json else "\n".join(names))
        return
    machine = look_at_machine()
    rows = rows_of(settings, machine)
    if as_json:
        typer.echo(
            json.dumps({"machine": asdict(machine), "models": [asdict(row) for row in rows]}, indent=2)
        )
    else:
        _print_table(rows, machine)


def look_at_machine() -> MachineInfo:
    """The device that models run on, with its memory. Imports torch."""
    from inference.worker.device import look

    return look(None).info()


def rows_of(settings: Settings, machine: MachineInfo | None) -> list[Row]:
    """The published models, the demonstration's, and that of the settings; smallest first."""
    from inference.types import EngineHealth
    from playground.models import offers

    health = EngineHealth(alive=True, active=None, target=None, machine=machine)
    rows: list[Row] = []
    for offer in offers(settings.model, settings.context_tokens, health):
        known = offer.known
        rows.append(
            Row(
                name=offer.name,
                parameters=None if known is None else known.parameters,
                download_bytes=None if known is None else known.download_bytes,
                memory_bytes=offer.fit.weights_bytes,
                context_length=None if known is None else known.context_length,
                fit=str(offer.fit.verdict),
                sentence=offer.fit.sentence,
                where=_where(offer.source.repo, offer.source.folder, settings),
            )
        )
    return rows


def _where(repo: str | None, folder: Path | None, settings: Settings) -> str | None:
    """Where a model's files are; the demonstration model is a part of the program."""
    from inference.download import cached

    if folder is not None:
        return str(folder)
    if repo is None:
        return "in the program"
    found = cached(repo)
    return None if found is None else str(found.folder)


def _of_server(url: str, api_key: str | None) -> list[str]:
    from playground.cli.asking import Target, names_at

    try:
        return asyncio.run(names_at(Target(None, url, api_key)))
    except BackendError as error:
        raise common.stop(error) from None


def _print_table(rows: list[Row], machine: MachineInfo) -> None:
    from rich.console import Console
    from rich.table import Table

    from inference.catalog import gigabytes

    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(
        f"{machine.device}: {machine.name}, {gigabytes(machine.free_bytes)} of "
        f"{gigabytes(machine.total_bytes)} free",
        highlight=False,
        markup=False,
    )
    table = Table()
    for title in ("model", "parameters", "download", "context", "fit", "where"):
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(
            row.name,
            "?" if row.parameters is None else f"{row.parameters / 1e9:.1f} B",
            gigabytes(row.download_bytes) if row.download_bytes else "-",
            "?" if row.context_length is None else f"{row.context_length:,}",
            row.sentence,
            row.where or "not downloaded",
        )
    console.print(table)

"""``setup``: what the playground needs, what of it is wrong here, and how to mend it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from playground.cli import common
from playground.cli.setup_checks import Check, State, all_checks

COLOURS = {State.OK: "green", State.WARN: "yellow", State.BAD: "red"}


def setup(
    model: common.Model = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch the model if it is not here and fits.")
    ] = False,
    host: Annotated[str | None, typer.Option(help="The address of the server.", show_default=False)] = None,
    port: Annotated[int | None, typer.Option(help="The port of the server.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    data_dir: common.DataDir = None,
) -> None:
    """Check this machine: Python, torch, the GPU and its kernels, vocabulary, disk, memory, port and model.

    Each line is ok, warn or bad, with what is wrong and how to mend it. The status is 1 if something stops
    the playground.
    """
    settings = common.settings_or_stop(model=model, data_dir=data_dir, host=host, port=port)
    checks: list[Check] = []
    for check in all_checks(settings):
        checks.append(check)
        if not as_json:
            _print(check)
    stops = any(check.state is State.BAD for check in checks)
    if as_json:
        body = {"ok": not stops, "checks": [{**asdict(each), "state": str(each.state)} for each in checks]}
        typer.echo(json.dumps(body, indent=2))
    if download and not stops:
        _download(checks)
    if stops:
        raise typer.Exit(common.FAILED)


def _download(checks: list[Check]) -> None:
    """Fetch what the check of the model named."""
    from playground.cli.download import fetch_and_check

    repo = next((each.repo for each in checks if each.repo is not None), None)
    if repo is None:
        typer.echo("Nothing is to be downloaded.", err=True)
        return
    folder = fetch_and_check(repo, None, common.settings_or_stop())
    typer.echo(f"Complete and checked: {folder}", err=True)


def _print(check: Check) -> None:
    typer.echo(typer.style(f"{check.state!s:5}", COLOURS[check.state]) + f"{check.name}: {check.says}")
    if check.mend:
        typer.echo(f"     → {check.mend}")

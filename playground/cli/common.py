"""What the commands share: options, the settings, and an end that says why without a trace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from inference.types import ReasoningEffort
from playground.settings import Settings, SettingsError, load_settings

FAILED = 1
WRONG_USE = 2

DataDir = Annotated[
    Path | None, typer.Option(help="The folder of the database and the models' files.", show_default=False)
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="auto, demo, 20b, 120b, owner/name on the hub, or a folder; with --url a name of the server's.",
        show_default=False,
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        help="Ask a running server instead of loading a model: any with an OpenAI-compatible API.",
        show_default=False,
    ),
]
ApiKey = Annotated[
    str | None,
    typer.Option("--api-key", help="The key for --url; else OPENAI_API_KEY is sent.", show_default=False),
]
Effort = Annotated[
    ReasoningEffort,
    typer.Option("--reasoning-level", "--effort", help="How long the model reasons."),
]
Seed = Annotated[
    int | None,
    typer.Option(
        min=0, help="The same seed gives the same reply; without one it is drawn.", show_default=False
    ),
]


def settings_or_stop(**given: object) -> Settings:
    """The settings with what the command line says, or the end of the command with status 2."""
    try:
        return load_settings(**given)
    except SettingsError as error:
        raise stop(error, WRONG_USE) from None


def stop(sentence: object, code: int = FAILED) -> typer.Exit:
    """Say why on stderr, without a trace; raise what this returns to end with this status."""
    typer.echo(str(sentence), err=True)
    return typer.Exit(code)

"""The command line: which commands there are, in which groups, and that ``serve`` needs no name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from playground.cli import backup, chat, check, download, evaluate, infer, models, restore, serve, setup
from playground.version import VERSION

ASK, MODELS, DATA = "Talk to a model", "Models and this machine", "The database"


@dataclass(frozen=True, slots=True)
class Command:
    """What runs, the group it is shown in, examples, and the name where it is not the function's."""

    run: Callable[..., None]
    group: str
    examples: tuple[str, ...] = ()
    name: str | None = None


COMMANDS: tuple[Command, ...] = (
    Command(
        chat.chat,
        ASK,
        (
            "chat",
            "chat --effort high --tools functions.json",
            "chat --continue last",
            "chat --url http://localhost:7860",
        ),
    ),
    Command(
        infer.infer,
        ASK,
        (
            'infer "What is 2+2?"',
            "infer --input request.json --outfile reply.json",
            "cat requests.jsonl | python app.py infer --model 20b > replies.jsonl",
        ),
    ),
    Command(setup.setup, MODELS, ("setup", "setup --model 20b --download", "setup --json")),
    Command(models.models, MODELS, ("models", "models --json", "models --url http://localhost:7860")),
    Command(download.download, MODELS, ("download 20b", "download openai/gpt-oss-120b --to /big/disk")),
    Command(
        evaluate.evaluate,
        MODELS,
        (
            "eval",
            "eval --samples 50 --effort high --min 0.9",
            "eval --model 20b --task sum --task sort --json",
        ),
        name="eval",
    ),
    Command(backup.backup, DATA, ("backup", "backup /mnt/bucket/today.sqlite3")),
    Command(restore.restore, DATA, ("restore", "restore data/backups/FILE")),
    Command(check.check, DATA),
)
"""The next command is a file of its own and a line here; ``serve`` comes first by itself."""


class ServesByDefault(TyperGroup):
    """``app.py --port 7861`` is ``app.py serve --port 7861``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Name the command where none is named and this is no option of the whole program."""
        if not args or (args[0].startswith("-") and args[0] not in {"--help", "--version"}):
            args = ["serve", *args]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


def make_cli(run: serve.Run) -> typer.Typer:
    """All commands; ``run`` is what ``serve`` does once it has a socket."""
    cli = typer.Typer(
        cls=ServesByDefault, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich"
    )
    cli.callback(epilog=_epilog(("--port 7861", 'infer "What is 2+2?"', "chat", "COMMAND --help")))(_main)
    serving = Command(serve.command(run), ASK, ("serve", "--port 7861 --model demo"))
    for command in (serving, *COMMANDS):
        cli.command(command.name, rich_help_panel=command.group, epilog=_epilog(command.examples))(
            command.run
        )
    return cli


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(VERSION)
        raise typer.Exit


def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Run, watch and compare OpenAI's gpt-oss models. Without a command: serve."""


def _epilog(examples: tuple[str, ...]) -> str | None:
    """Examples, one to a line. A line that is a whole command of the shell stands as it is."""
    lines = [each if "app.py" in each else f"python app.py {each}" for each in examples]
    return "\n\n".join(("Examples:", *(line.replace("[", r"\[") for line in lines))) if lines else None

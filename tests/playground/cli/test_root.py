"""The command line as a whole: fast to ask for help, and ``serve`` without its name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from playground.cli import serve
from playground.cli.root import COMMANDS, make_cli
from playground.version import VERSION

ROOT = Path(__file__).parents[3]
HEAVY = (
    "torch",
    "transformers",
    "gradio",
    "fastapi",
    "sqlalchemy",
    "openai_harmony",
    "huggingface_hub",
    "numpy",
)


def test_help_imports_nothing_heavy() -> None:
    code = f"import sys, app; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    child = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert child.stdout.split() == []


def test_serve_needs_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[tuple[int, str, Path]] = []
    monkeypatch.setattr(serve, "_set_up_logs", lambda _level: None)

    def run(settings: Any, listener: Any) -> None:
        served.append((settings.port, settings.model, settings.data_dir))
        listener.close()

    cli = make_cli(run)
    options = ["--port", "7999", "-m", "demo", "--data-dir", str(tmp_path)]
    for words in (["serve", *options], options):
        result = CliRunner().invoke(cli, words)
        assert result.exit_code == 0, result.output
    assert served == [(7999, "demo", tmp_path)] * 2


def test_every_command_has_a_sentence_and_its_examples_are_real() -> None:
    cli = make_cli(lambda _settings, _listener: None)
    top = CliRunner().invoke(cli, ["--help"]).output
    assert CliRunner().invoke(cli, ["--version"]).output == f"{VERSION}\n"
    for command in COMMANDS:
        name = command.name or command.run.__name__
        assert f" {name} " in top
        said = CliRunner().invoke(cli, [name, "--help"]).output
        first = (command.run.__doc__ or "").split(".")[0].split(":")[0].split()
        assert " ".join(first[:4]) in " ".join(said.split())
        for example in command.examples:
            assert example.split()[0] in (name, "cat")


def test_an_unknown_command_is_status_2() -> None:
    assert CliRunner().invoke(make_cli(lambda _settings, _listener: None), ["fly"]).exit_code == 2

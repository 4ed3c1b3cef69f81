"""The commands in this process, on the scripted engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app import cli
from inference.harmony import HarmonyCodec
from playground.cli import local
from tests.playground.scripted import Script, ScriptedEngine


@dataclass
class Terminal:
    """``run`` is one command; the engine that it makes plays ``scripts``, and the last of them again."""

    data_dir: Path
    scripts: list[Script] = field(default_factory=lambda: [Script()])
    engines: list[ScriptedEngine] = field(default_factory=list)

    def engine(self) -> ScriptedEngine:
        engine = ScriptedEngine(HarmonyCodec.load())
        asked = iter(range(10_000))
        engine.choose = lambda _request: self.scripts[min(next(asked), len(self.scripts) - 1)]
        self.engines.append(engine)
        return engine

    def run(self, *words: str, stdin: str | bytes | None = None) -> Result:
        result: Result = CliRunner().invoke(cli, [*words, "--data-dir", str(self.data_dir)], input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    def prompt(self, number: int = -1) -> str:
        """What the model read."""
        engine = self.engines[-1]
        return engine.codec.decode(engine.requests[number].prompt_ids)


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A data folder of its own, and no model."""
    terminal = Terminal(tmp_path / "data")

    def make_engine(_settings: Any, *, fallback: bool) -> ScriptedEngine:
        return terminal.engine()

    monkeypatch.setattr(local, "make_engine", make_engine)
    return terminal

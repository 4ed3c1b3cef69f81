"""The real program on the demonstration model: a pipe, and somebody at a terminal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.playground.cli.pseudo_terminal import PATIENCE, ROOT, PseudoTerminal


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One data folder, so that the model is written out once."""
    return tmp_path_factory.mktemp("data")


@pytest.mark.long
def test_a_pipe_of_lines_is_answered_in_order(data: Path) -> None:
    lines = [
        {"messages": [{"role": "user", "content": f"What is {a} + 5?"}], "temperature": 0}
        for a in (10, 20, 30)
    ]
    child = subprocess.run(
        [sys.executable, "app.py", "infer", "--model", "demo", "--data-dir", str(data)],
        cwd=ROOT,
        input="\n".join(map(json.dumps, lines)),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    replies = [json.loads(line) for line in child.stdout.splitlines()]
    assert [reply["response"].split(" =")[0] for reply in replies] == ["10 + 5", "20 + 5", "30 + 5"]
    assert all(reply["analysis"] for reply in replies)
    assert list(replies[0]) == ["response", "analysis", "commentary", "reasoning_level"]


def test_somebody_talks_at_a_terminal(data: Path) -> None:
    terminal = PseudoTerminal("chat", "--model", "demo", "--data-dir", str(data), "--temperature", "0")
    try:
        terminal.expect(r"demo · /help · Ctrl-D ends\s+> ")
        terminal.press("What is 347 + 586?\n")
        shown = terminal.expect(r"Thought for \d+ s \(/reasoning shows it\)\s+347 \+ 586 = \d+\.")
        assert "Add 347 and 586" not in shown
        assert "\x1b[" in terminal.raw, "colours, and a line that counts the seconds"
        terminal.expect(r"medium effort · \d+ tokens[^>]*> ")
        terminal.press("/reasoning\n")
        terminal.expect(r"Add 347 and 586[^>]*> ")
        terminal.press("/effort high\n")
        terminal.expect(r"Reasoning effort: high\.\s+> ")
        terminal.press("Sort 42, 7, 93, 15, 68, 21, 88, 34, 57\\\n")
        terminal.expect(r"\n\| ")
        terminal.press("\n")
        terminal.expect(r"Thinking…")
        terminal.press("\x03")
        terminal.expect(r"Stopped\.[^>]*> ")
        terminal.press("half a line")
        terminal.expect(r"half a line")
        terminal.interrupt(r"Ctrl-D or /exit ends the chat\.\s+> ")
        terminal.press("What is 2 + 2?\n")
        terminal.expect(r"2 \+ 2 = 4\.[^>]*high effort[^>]*> ")
        terminal.press("\x04")
        assert terminal.wait() == 0
    finally:
        terminal.close()

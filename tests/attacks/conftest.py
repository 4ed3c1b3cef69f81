"""What was tried, told at the end of the run."""

from __future__ import annotations

import pytest

from tests.tried import Tell, tell, write_table

__all__ = ["Tell", "tell"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table of the attacks."""
    write_table(terminalreporter, "attacks")

"""What attacks and faults have tried, told in a table at the end of the run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

COUNTS = "counts"
Tell = Callable[[str], None]


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """``tell("1000 kills ...")``: a line of the table at the end of the run."""
    return lambda line: record_property(COUNTS, line)


def write_table(terminalreporter: pytest.TerminalReporter, folder: str) -> None:
    """One line for each test below ``tests/FOLDER`` that told its counts."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    lines = [
        f"{report.nodeid.rpartition('/')[2]}  {report.duration:.0f} s  {value}"
        for report in reports
        for name, value in report.user_properties
        if name == COUNTS and f"/{folder}/" in report.nodeid
    ]
    if lines:
        terminalreporter.section(f"{folder}: what was tried")
        terminalreporter.write("\n".join(sorted(lines)) + "\n")

"""What the tests of the command line share."""

from __future__ import annotations

from tests.playground.cli.scripted_cli import terminal

__all__ = ["terminal"]

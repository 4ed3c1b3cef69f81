"""What all tests share: one option."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--pictures FOLDER``: the browser tests write their screenshots there."""
    parser.addoption(
        "--pictures",
        type=Path,
        default=None,
        metavar="FOLDER",
        help="Write the screenshots of tests/e2e into this folder (usually docs/pictures).",
    )

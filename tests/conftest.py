"""What all tests share: one option, and one thread for each process that computes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Read at the first import of torch, here and in the processes that tests start. The suite runs in as many
# processes as there are cores, and matrices as small as these are not faster with more.
os.environ["OMP_NUM_THREADS"] = "1"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--pictures FOLDER``: the browser tests write their screenshots there."""
    parser.addoption(
        "--pictures",
        type=Path,
        default=None,
        metavar="FOLDER",
        help="Write the screenshots of tests/e2e into this folder (usually docs/pictures).",
    )

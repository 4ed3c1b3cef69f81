"""What all tests share: options, and one thread for each process that computes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

# Read at the first import of torch, here and in the processes that tests start. The suite runs in as many
# processes as there are cores, and matrices as small as these are not faster with more.
os.environ["OMP_NUM_THREADS"] = "1"
# A GPU is for `benchmarks`: here everything computes on the CPU, on each machine alike.
os.environ["CUDA_VISIBLE_DEVICES"] = ""
# The demonstration model is small: told another date, it may answer in other words.
os.environ["PROMPT_DATE"] = "2026-11-22"
# A shell lets what it runs in the background ignore Ctrl-C; the programs that tests start would do so, too.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--pictures FOLDER``: the browser tests write their screenshots there."""
    parser.addoption(
        "--pictures",
        type=Path,
        default=None,
        metavar="FOLDER",
        help="Write the screenshots of tests/e2e into this folder (usually docs/pictures).",
    )
    parser.addoption(
        "--full",
        action="store_true",
        help="Try all attacks and faults with their full counts, as `make attack` and `make faults` do.",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave what is marked ``long`` to ``--full``: others of its kind are tried in every run."""
    if config.getoption("--full"):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if not item.get_closest_marker("long")]


PARTS = 8


@dataclass(frozen=True)
class Part:
    """One of ``of`` equal parts of a long test, counted from 0; each tries other random things."""

    number: int
    of: int

    def share(self, count: int) -> int:
        """How many of ``count`` this part tries."""
        return count // self.of + (self.number < count % self.of)

    def seed(self, first: int) -> int:
        """A seed far from those of the other parts."""
        return first + 1_000_000 * self.number


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """With ``--full`` what asks for ``some: Part`` is tried in parts, which several processes can share."""
    if "some" in metafunc.fixturenames:
        count = PARTS if metafunc.config.getoption("--full") else 1
        parts = [Part(number, count) for number in range(count)]
        metafunc.parametrize("some", parts, ids=[f"part{some.number}" for some in parts])


Scale = Callable[[int, int], int]


@pytest.fixture(scope="session")
def scale(request: pytest.FixtureRequest) -> Scale:
    """``scale(few, all)``: how often to try something, in every run or with ``--full``."""
    full = bool(request.config.getoption("--full"))
    return lambda few, everything: everything if full else few

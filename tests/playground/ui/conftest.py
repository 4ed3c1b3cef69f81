"""A Chromium for the page's tests, and pages that watch for errors and for requests to other hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import Profiles, Watch, chromium_running
from tests.playground.ui.operator import Operator, operating
from tests.playground.ui.served import Served, serving

NewPage = Callable[..., Page]
# A test on a busy machine may need longer to take something back than the eight seconds of that offer.
PATIENT = """const later = window.setTimeout;
window.setTimeout = (run, ms, ...rest) => later(run, ms === 8000 ? 80_000 : ms, ...rest);"""


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """One browser for all tests of this folder."""
    with chromium_running() as browser:
        yield browser


@pytest.fixture(scope="package")
def profiles(chromium: Browser) -> Profiles:
    """Its profiles; each test has them as somebody new."""
    return Profiles(chromium)


@pytest.fixture(scope="package")
def operators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Operator, Path]]:
    """The endpoint of the operator's functions, and the file that declares them."""
    with operating(tmp_path_factory.mktemp("operator")) as running:
        yield running


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory, operators: tuple[Operator, Path]) -> Iterator[Served]:
    """The application that all tests of this folder share, each as other people."""
    with serving(tmp_path_factory.mktemp("served"), functions_file=operators[1]) as running:
        yield running


@pytest.fixture
def operator(operators: tuple[Operator, Path]) -> Operator:
    """What answers the calls of the operator's functions."""
    return operators[0]


@pytest.fixture
def served(server: Served, operators: tuple[Operator, Path]) -> Iterator[Served]:
    """The application with its page and an engine that plays scripts, as if it had just been started."""
    yield server
    operators[0].start_afresh()
    server.start_afresh()


@pytest.fixture
def new_page(profiles: Profiles, served: Served) -> Iterator[NewPage]:
    """Open pages of different people; afterwards none of them had a script error or left the server."""
    # Chromium notes every refusal and every lost connection, and many of these tests bring one about.
    lost = ["net::ERR_INTERNET_DISCONNECTED", "net::ERR_FAILED"]
    watch = Watch(served.url, forgiven=["the server responded with a status of 4", *lost])

    def open_page(path: str = "/", **options: Any) -> Page:
        page = profiles.take(**options).new_page()
        watch.over(page)
        page.add_init_script(PATIENT)
        page.goto(served.url + path)
        page.wait_for_selector("html[data-pg-ready]")
        return page

    yield open_page
    faults = watch.faults()
    profiles.give_back()
    assert faults == []


@pytest.fixture
def page(new_page: NewPage) -> Page:
    """The empty page of a new visitor."""
    return new_page()

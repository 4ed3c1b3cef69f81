"""A Chromium for the page's tests, and pages that watch for errors and for requests to other hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import TIMEOUT_MS, Watch, chromium_running
from tests.playground.ui.served import Served, serving

NewPage = Callable[..., Page]


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """One browser for all tests of this folder; every page gets a profile of its own."""
    with chromium_running() as browser:
        yield browser


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """The application with its page and an engine that plays scripts."""
    with serving(tmp_path) as running:
        yield running


@pytest.fixture
def new_page(chromium: Browser, served: Served) -> Iterator[NewPage]:
    """Open pages of different people; afterwards none of them had a script error or left the server."""
    contexts: list[Any] = []
    # Chromium notes every refusal and every lost connection, and many of these tests bring one about.
    lost = ["net::ERR_INTERNET_DISCONNECTED", "net::ERR_FAILED"]
    watch = Watch(served.url, forgiven=["the server responded with a status of 4", *lost])

    def open_page(path: str = "/", **options: Any) -> Page:
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        contexts.append(context)
        context.set_default_timeout(TIMEOUT_MS)
        page = context.new_page()
        watch.over(page)
        page.goto(served.url + path)
        page.wait_for_selector("html[data-pg-ready]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert watch.faults() == []


@pytest.fixture
def page(new_page: NewPage) -> Page:
    """The empty page of a new visitor."""
    return new_page()

"""The real application on the demonstration model, and a Chromium that visits it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Route

from tests.browser import Profiles, Watch, chromium_running
from tests.e2e.served_app import ServedApp, app_running

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}

Visit = Callable[..., Page]
Picture = Callable[[Page, str], None]


@pytest.fixture(scope="package")
def profiles() -> Iterator[Profiles]:
    """One browser for all tests of this folder; each has it as somebody new."""
    with chromium_running() as browser:
        yield Profiles(browser)


@pytest.fixture(scope="package")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedApp]:
    """The application with its model ready; tests share it, each as other people."""
    with app_running(tmp_path_factory.mktemp("app")) as app:
        yield app


@pytest.fixture
def watch() -> Watch:
    """What the pages of this test may not do; checked when it ends."""
    return Watch("")


@pytest.fixture
def visit(profiles: Profiles, watch: Watch) -> Iterator[Visit]:
    """Open a page as somebody new: ``visit(app)``, ``visit(app, "/c/x", color_scheme="dark")``.

    With ``context`` the page is another tab of somebody who is here already.
    """

    def open_page(
        app: ServedApp, path: str = "/", context: BrowserContext | None = None, **options: Any
    ) -> Page:
        watch.origin = app.url
        if context is None:
            context = profiles.take(**options)
            context.route("**/api/turns", _greedily)
        page = context.new_page()
        watch.over(page)
        page.goto(app.url + path)
        page.wait_for_selector("html[data-pg-ready]")
        return page

    yield open_page
    faults = watch.faults()
    profiles.give_back()
    assert faults == []


@pytest.fixture
def page(app: ServedApp, visit: Visit) -> Page:
    """The empty page of a new visitor."""
    return visit(app)


@pytest.fixture
def picture(request: pytest.FixtureRequest, tmp_path: Path) -> Picture:
    """Take a screenshot, as ``--pictures`` says or into the test's folder."""
    folder: Path = request.config.getoption("--pictures") or tmp_path

    def take(page: Page, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        page.evaluate("document.fonts.ready")
        page.screenshot(path=folder / f"{name}.png", animations="disabled", caret="hide")

    return take


def _greedily(route: Route) -> None:
    """Ask for the most likely tokens, so that a right answer does not hang on luck."""
    body = route.request.post_data_json
    assert isinstance(body, dict)
    route.continue_(post_data=json.dumps({**body, "temperature": 0}))

"""The Chromium of the browser tests: where it is, how it starts, who visits, what pages must not do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    Route,
    expect,
    sync_playwright,
)

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""The first one does without a window's own pages, and takes half as long."""
TIMEOUT_MS = 60_000
"""How long a page may take for one thing on a machine that has much else to do."""
DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}, "timezone_id": "UTC"}
# This list takes the place of Playwright's own, so what that has is repeated.
WITHOUT = (
    "AvoidCorsURLLoaderRestartOnRedirect",
    "AvoidUnnecessaryBeforeUnloadCheckSync",
    "DestroyProfileOnBrowserClose",
    "HttpsFirstBalancedModeAutoEnable",
    "HttpsUpgrades",
    "MediaRouter",
    "NetworkTimeServiceQuerying",
    "OptimizationHints",
    "PaintHolding",
    "PreconnectToSearch",
    "ThirdPartyStoragePartitioning",
    # The address bar's own pages: each window would load two of them, which takes as long as the tested page.
    "AimEnabled",
    "LensOverlay",
    "WebUIOmniboxAimPopup",
    "WebUIOmniboxFullPopup",
    "WebUIOmniboxPopup",
)
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--in-process-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--disable-features={','.join(WITHOUT)}",
)


def chromium_path() -> str | None:
    """Where this machine's Chromium is, if it has one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def chromium_running() -> Iterator[Browser]:
    """A Chromium until the block ends.

    While it runs, this thread has a running event loop: a fixture that holds it must end before any test
    that is a coroutine, so its scope is a package and not the session.
    """
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


def first_of(page: Page, held: list[Route]) -> Route:
    """The first request that a test keeps back; the page shows what it asks for before it is under way."""
    for _ in range(TIMEOUT_MS // 20):
        if held:
            return held[0]
        page.wait_for_timeout(20)
    raise AssertionError("the page has asked for nothing")


class Profiles:
    """Browser profiles of different people.

    A profile that was given back is somebody else's next, without cookies and storage. What it keeps is what
    any browser shares between sites' visits: fetched files and compiled scripts.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._free: dict[str, list[BrowserContext]] = {}
        self._taken: list[tuple[str, BrowserContext]] = []

    def take(self, *, once: bool = False, **options: Any) -> BrowserContext:
        """An empty profile; with ``once`` a new one that nobody gets after, as its clock is changed."""
        storage = options.pop("storage_state", {"cookies": []})
        options = {**DESKTOP, **options}
        key = json.dumps(options, sort_keys=True)
        free = self._free.setdefault(key, [])
        context = free.pop() if free and not once else self._browser.new_context(**options)
        self._taken.append(("" if once else key, context))
        context.set_default_timeout(TIMEOUT_MS)
        context.add_cookies(storage["cookies"])
        return context

    def give_back(self) -> None:
        """Whoever has a profile leaves it."""
        taken, self._taken = self._taken, []
        for key, context in taken:
            if not key:
                context.close()
                continue
            self._clear(context)
            self._free[key].append(context)

    def _clear(self, context: BrowserContext) -> None:
        context.unroute_all(behavior="ignoreErrors")
        context.set_offline(False)
        last, *others = context.pages or [context.new_page()]
        origins = {page.evaluate("location.origin") for page in context.pages}
        for page in others:
            page.close()
        last.goto("about:blank")  # a page may store something as it is left, so what it has is cleared after
        session = context.new_cdp_session(last)
        for origin in origins - {"null"}:
            session.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
        last.close()
        context.clear_cookies()
        context.clear_permissions()


@dataclass
class Watch:
    """Notes script errors, console errors and requests that leave ``origin``, on every page it is given.

    ``forgiven`` are parts of console messages that a test brings about itself (a 404, a server that is away).
    """

    origin: str
    forgiven: list[str] = field(default_factory=list)
    requests: int = 0
    _seen: list[str] = field(default_factory=list)

    def over(self, page: Page) -> None:
        """Watch this page from now on."""
        page.on("pageerror", lambda error: self._seen.append(f"script error: {error}"))
        page.on("console", self._console)
        page.on("request", self._request)

    def faults(self) -> list[str]:
        """What happened and was not forgiven."""
        return [fault for fault in self._seen if not any(part in fault for part in self.forgiven)]

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._seen.append(f"console: {message.text}")

    def _request(self, request: Request) -> None:
        self.requests += 1
        if not request.url.startswith((f"{self.origin}/", "data:", "blob:")):
            self._seen.append(f"request to {request.url}")

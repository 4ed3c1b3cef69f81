"""The Chromium of the browser tests: where it is, how it starts, and what its pages must not do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TIMEOUT_MS = 30_000
"""How long a page may take for one thing on a machine that has much else to do."""
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
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

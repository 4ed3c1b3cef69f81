"""People who have signed in before their browser comes, and what a page says of who one is."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from playwright.sync_api import Browser, Page, expect

from playground.accounts.identity import PLAIN_NAME, new_token, token_hash
from storage.account_records import AccountRole, Identity
from tests.browser import TIMEOUT_MS, Watch
from tests.playground.ui.served import Served
from tests.playground.ui.shelf import Person

PROVIDER = "https://login.example"
START_SECONDS = 60.0


@contextmanager
def provider(**claims: str) -> Iterator[str]:
    """The address of an OpenID provider that knows one person: a process with warnings of its own."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    options = ["--port", str(port), "--require-nonce", "true", "--user-claims", json.dumps(claims)]
    command = [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", *options]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_for(f"{url}/.well-known/openid-configuration")
            yield url
        finally:
            process.terminate()


def _wait_for(address: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            httpx.get(address).raise_for_status()
        except httpx.HTTPError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        else:
            return


def signed_in(
    served: Served, handle: str, *, name: str = "", client: str = "Chromium on Linux", admin: bool = False
) -> Person:
    """A browser of this account, which is made at its first sign-in."""
    token, now = new_token(), datetime.now(UTC)
    account, _ = served.store.sign_in(
        Identity(PROVIDER, handle, handle, name or handle.title(), f"{handle}@example.org"),
        token_hash=token_hash(token),
        client=client,
        now=now,
        expires_at=now + timedelta(days=1),
        role=AccountRole.ADMIN if admin else AccountRole.MEMBER,
    )
    return Person(served, token, account.user_id)


def kind_of(person: Person) -> str:
    """Whether the server takes this person's cookie for an account's or a guest's, or why for nobody's."""
    answer = httpx.get(f"{person.served.url}/api/bootstrap", cookies={PLAIN_NAME: person.token})
    said = answer.json()
    kind: str = said["me"]["kind"] if answer.status_code == 200 else said["error"]["code"]
    return kind


def open_sheet(page: Page, entry: str | None = None) -> None:
    """Open the account, or what the account's menu calls so; on a phone the sidebar opens first."""
    if page.evaluate("document.documentElement.dataset.pgSidebar") == "closed":
        page.get_by_test_id("sidebar-toggle").click()
    if entry is not None:  # the page has no menu before it knows whose it is
        expect(page.get_by_test_id("me")).to_have_attribute("aria-haspopup", "menu")
    page.get_by_test_id("me").click()
    if entry is not None:
        page.get_by_test_id(entry).click()


def visitor(chromium: Browser, served: Served, path: str = "/", *, watch: Watch, **options: Any) -> Page:
    """A page of somebody new, where a test has settings or faults of its own; the test closes its context."""
    context = chromium.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    watch.over(page)
    page.goto(served.url + path)
    page.wait_for_selector("html[data-pg-ready]")
    return page

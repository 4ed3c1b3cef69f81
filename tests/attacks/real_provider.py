"""A provider that others wrote: the certified oidc-provider where there is Node, else a mock from PyPI."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

import httpx
from playwright.sync_api import Page

FORM = re.compile(r'<form[^>]*action="([^"]+)"')
PROMPT = re.compile(r'name="prompt" value="(\w+)"')
HERE = Path(__file__).parent / "provider"
CACHE = Path.home() / ".cache" / "gpt-oss-playground"
INSTALL_SECONDS = 180.0
START_SECONDS = 30.0


@dataclass
class RealProvider:
    """Where it is; ``certified`` tells which of the two it is."""

    url: str
    certified: bool

    def sign_in(self, page: Page, name: str) -> None:
        """Fill in the provider's pages as this person, and agree."""
        if not self.certified:
            page.fill("input[name=sub]", name)
            page.click("button:has-text('Authorize')")
            return
        page.fill("input[name=login]", name)
        page.fill("input[name=password]", "any")
        page.click("button[type=submit]")
        page.click("button:has-text('Continue')")

    async def sign_in_by_http(self, browser: httpx.AsyncClient, authorize: str) -> str:
        """Follow an authorization request as a person who agrees; where the provider sends the browser to.

        "" where it shows a page of its own instead.
        """
        answer = await browser.get(authorize)
        for _ in range(12):
            if answer.is_redirect:
                to = urljoin(str(answer.url), answer.headers["location"])
                if not to.startswith(self.url):
                    return to
                answer = await browser.get(to)
            elif self.certified and (form := FORM.search(answer.text)):
                prompt = PROMPT.search(answer.text)
                data = {"prompt": prompt[1] if prompt else "", "login": "ada", "password": "any"}
                answer = await browser.post(urljoin(str(answer.url), form[1]), data=data)
            elif not self.certified and 'name="sub"' in answer.text:
                answer = await browser.post(str(answer.url), data={"sub": "ada"})
            else:
                return ""
        return ""

    def refuse(self, page: Page) -> None:
        """Go back without signing in."""
        page.click("a:has-text('Cancel')" if self.certified else "button:has-text('Deny')")


@contextmanager
def real_provider(callback: str, port: int) -> Iterator[RealProvider]:
    """Serve one at this port until the block ends; it sends browsers back to ``callback`` only."""
    folder = installed()
    command = [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "--port", str(port)]
    if folder is not None:
        command = ["node", "server.mjs", str(port), callback]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            _wait_for(port)
            yield RealProvider(f"http://127.0.0.1:{port}", certified=folder is not None)
        finally:
            process.terminate()


def _wait_for(port: int) -> None:
    """Until somebody answers there."""
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            assert time.monotonic() < end, "the provider did not start"
            time.sleep(0.05)
        else:
            return


def installed() -> Path | None:
    """The folder with oidc-provider, installed once for each lock file; None where that cannot be."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return None
    names = ("package.json", "package-lock.json", "server.mjs")
    content = b"".join((HERE / name).read_bytes() for name in names)
    folder = CACHE / f"provider-{hashlib.sha256(content).hexdigest()[:16]}"
    if (folder / "complete").exists():
        return folder
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in names:
            shutil.copy(HERE / name, folder)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=INSTALL_SECONDS)
    except (OSError, subprocess.SubprocessError):
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)
        return None
    (folder / "complete").touch()
    return folder


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port

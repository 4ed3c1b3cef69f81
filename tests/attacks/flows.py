"""A sign-in as a browser makes it, one step at a time, so that a test can spoil any of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx

from playground.accounts.provider import Provider
from tests.attacks.limits import UNLIMITED
from tests.attacks.own_provider import CLIENT_ID, CLIENT_SECRET, OwnProvider, Twist
from tests.attacks.world import rows
from tests.playground.world import TIMEOUT, World

SHORT = 0.6
"""Seconds that a provider has in tests of one that is slow."""


def sign_in_settings(provider: OwnProvider, **values: Any) -> dict[str, Any]:
    """Settings of an installation where this provider signs people in."""
    return {
        "oauth_client_id": CLIENT_ID,
        "oauth_client_secret": CLIENT_SECRET,
        "openid_provider_url": provider.url,
        **UNLIMITED,
        **values,
    }


@dataclass
class Flow:
    """One sign-in of one browser."""

    browser: httpx.AsyncClient
    authorize: str = ""
    back: str = ""
    asked: dict[str, str] = field(default_factory=dict)

    async def begin(self, next_path: str = "/") -> None:
        """Ask the app for the way to the provider."""
        answer = await self.browser.get("/oauth/login", params={"next": next_path})
        assert answer.status_code == 303, answer.text
        self.authorize = answer.headers["location"]
        self.asked = dict(parse_qsl(urlsplit(self.authorize).query))

    async def consent(self) -> None:
        """Let the provider send the browser back; the address is not opened yet."""
        async with httpx.AsyncClient(timeout=TIMEOUT, verify=False) as elsewhere:  # noqa: S501 - no TLS here
            answer = await elsewhere.get(self.authorize)
        assert answer.status_code == 302, answer.text
        parts = urlsplit(answer.headers["location"])
        self.back = f"{parts.path}?{parts.query}"

    async def come_back(self, back: str | None = None) -> httpx.Response:
        """Open the address that the provider sent the browser to."""
        return await self.browser.get(self.back if back is None else back)

    def changed(self, **fields: str | None) -> str:
        """The address back with other parameters; None leaves one out."""
        query = dict(parse_qsl(urlsplit(self.back).query))
        for name, value in fields.items():
            query.pop(name, None)
            if value is not None:
                query[name] = value
        return f"{urlsplit(self.back).path}?{urlencode(query)}"


def browser_of(world: World) -> httpx.AsyncClient:
    """A browser of its own, made quickly: it reads no certificates."""
    return httpx.AsyncClient(base_url=world.url, timeout=TIMEOUT, verify=False)  # noqa: S501


async def ready(browser: httpx.AsyncClient) -> Flow:
    """A flow of this browser that only has to come back."""
    await browser.get("/api/bootstrap")
    flow = Flow(browser)
    await flow.begin()
    await flow.consent()
    return flow


def error_of(answer: httpx.Response) -> str:
    """Why the app refused; "" where it did not."""
    found = parse_qs(urlsplit(answer.headers.get("location", "")).query).get("sign_in_error", [""])
    return found[0] if answer.status_code == 303 else f"status {answer.status_code}"


def forget_provider(world: World, seconds: float = 10.0) -> None:
    """Let the app ask the provider anew for all that it publishes."""
    settings, before = world.app.state.settings, world.app.state.sign_in.provider
    new = Provider(
        settings.openid_provider_url,
        CLIENT_ID,
        CLIENT_SECRET,
        settings.oauth_scopes,
        answer_seconds=seconds,
    )
    new._tls = before._tls  # reading all certificates takes longest
    world.app.state.sign_in.provider = new


async def attempt(world: World, provider: OwnProvider, twist: Twist, *, seconds: float = 10.0) -> str:
    """Sign a new browser in at a twisted provider. Returns why that was refused, "" where it was not.

    Whatever the reason, its state must be used up.
    """
    forget_provider(world, seconds)
    provider.twist = twist
    try:
        async with browser_of(world) as browser:
            await browser.get("/api/bootstrap")
            flow = Flow(browser)
            answer = await browser.get("/oauth/login")
            if error := error_of(answer):
                return error
            flow.authorize = answer.headers["location"]
            await flow.consent()
            refusal = error_of(await flow.come_back())
            provider.twist = Twist()
            again = error_of(await flow.come_back())
            assert again == "expired", "the state works once"
            return refusal
    finally:
        provider.twist = Twist()


def sessions(world: World) -> int:
    """How many sessions there are."""
    return rows(world, "sessions")

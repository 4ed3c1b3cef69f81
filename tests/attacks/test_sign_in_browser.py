"""Signing in as people do it: the real page and a certified provider in a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page

from playground.accounts.addresses import CALLBACK_PATH
from tests.attacks.limits import UNLIMITED
from tests.attacks.own_provider import CLIENT_ID, CLIENT_SECRET
from tests.attacks.real_provider import RealProvider, free_port, real_provider
from tests.browser import TIMEOUT_MS, chromium_running
from tests.playground.ui.served import Served, serving

pytestmark = [pytest.mark.browser, pytest.mark.long]

ASK = """async ([method, path, body]) => {
  const answer = await fetch(path, { method, body: body && JSON.stringify(body),
    headers: body ? { "Content-Type": "application/json" } : {} });
  return answer.status === 204 ? null : await answer.json();
}"""


@dataclass
class Stage:
    """The page, the provider, and a Chromium."""

    served: Served
    provider: RealProvider
    chromium: Browser

    @contextmanager
    def page(self) -> Iterator[Page]:
        """The page of a new visitor."""
        context = self.chromium.new_context()
        context.set_default_timeout(TIMEOUT_MS)
        page = context.new_page()
        page.goto(f"{self.served.url}/api/bootstrap")
        try:
            yield page
        finally:
            context.close()

    def begin(self, page: Page, next_path: str = "/api/bootstrap") -> None:
        """Go to the provider."""
        page.goto(f"{self.served.url}/oauth/login?next={next_path}", wait_until="commit")
        page.wait_for_url(f"{self.provider.url}/**")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    port = free_port()
    settings = {
        "oauth_client_id": CLIENT_ID,
        "oauth_client_secret": CLIENT_SECRET,
        "oauth_scopes": "openid profile email",
        "openid_provider_url": f"http://127.0.0.1:{port}",
        **UNLIMITED,
    }
    with (
        serving(tmp_path_factory.mktemp("sign-in"), **settings) as served,
        real_provider(f"{served.url}{CALLBACK_PATH}", port) as provider,
        chromium_running() as chromium,
    ):
        yield Stage(served, provider, chromium)


def ask(page: Page, path: str, method: str = "GET", body: dict[str, Any] | None = None) -> Any:
    """A request of the page's own."""
    return page.evaluate(ASK, [method, path, body])


def cookie(page: Page) -> str:
    """The browser's token."""
    return next(str(each.get("value")) for each in page.context.cookies() if each.get("name") == "playground")


def test_a_guest_signs_in_keeps_everything_and_signs_out(stage: Stage) -> None:
    with stage.page() as page:
        turn = ask(page, "/api/turns", "POST", {"text": "Kept over the sign-in"})
        conversation = turn["conversation"]["id"]
        guest = cookie(page)
        stage.begin(page, f"/c/{conversation}")
        stage.provider.sign_in(page, "ada")
        page.wait_for_url(f"{stage.served.url}/c/{conversation}")
        assert page.evaluate("document.cookie") == ""
        me = ask(page, "/api/bootstrap")["me"]
        assert (me["kind"], me["handle"], me["role"]) == ("account", "ada", "admin")
        assert ask(page, f"/api/conversations/{conversation}")["conversation"]["id"] == conversation
        token = cookie(page)
        assert token != guest
        assert [each["client"] for each in ask(page, "/api/account")["sessions"]] == ["Chrome on Linux"]
        with httpx.Client(base_url=stage.served.url, cookies={"playground": token}, verify=False) as copy:  # noqa: S501
            assert copy.get("/api/bootstrap").json()["me"]["kind"] == "account"
            ask(page, "/api/account/sign-out", "POST")
            copy.cookies = httpx.Cookies({"playground": token})
            assert copy.get("/api/bootstrap").json()["error"]["code"] == "identity_changed"
        assert ask(page, "/api/bootstrap")["me"]["kind"] == "guest"
        assert cookie(page) not in {token, guest}
        assert ask(page, "/api/conversations")["items"] == []


def test_who_refuses_at_the_provider_stays_a_guest(stage: Stage) -> None:
    with stage.page() as page:
        before = cookie(page)
        stage.begin(page)
        stage.provider.refuse(page)
        page.wait_for_url(f"{stage.served.url}/?sign_in_error=denied")
        assert ask(page, "/api/bootstrap")["me"]["kind"] == "guest"
        assert cookie(page) == before


def test_a_sign_in_that_somebody_else_began_signs_nobody_in(stage: Stage) -> None:
    """The attacker begins, and has the victim agree at the provider."""
    with stage.page() as victim, httpx.Client(base_url=stage.served.url, verify=False) as attacker:  # noqa: S501
        attacker.get("/api/bootstrap")
        victim.goto(attacker.get("/oauth/login").headers["location"])
        stage.provider.sign_in(victim, "victim")
        victim.wait_for_url(f"{stage.served.url}/?sign_in_error=expired")
        assert ask(victim, "/api/bootstrap")["me"]["kind"] == "guest"
        assert attacker.get("/api/bootstrap").json()["me"]["kind"] == "guest"
    assert "victim" not in {user.handle for user in stage.served.store.users_overview(None, 200)}


def test_no_other_site_can_frame_the_page(stage: Stage) -> None:
    with stage.page() as page:
        page.goto(f"{stage.provider.url}/.well-known/openid-configuration")
        page.set_content(f'<iframe src="{stage.served.url}/"></iframe>')
        frame = page.frames[1]
        frame.wait_for_url("chrome-error://**")

"""A4 against a certified provider: what it was asked, and what it answered, is changed on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest
import pytest_asyncio

from playground.accounts.addresses import CALLBACK_PATH
from tests.attacks.flows import Flow, browser_of, error_of, sessions
from tests.attacks.limits import UNLIMITED
from tests.attacks.own_provider import CLIENT_ID, CLIENT_SECRET
from tests.attacks.real_provider import RealProvider, free_port, real_provider
from tests.attacks.test_oauth_flows import BY_THE_BROWSER
from tests.playground.world import TIMEOUT, World, running

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Stage:
    """The app, its provider, and a browser that has agreed there once."""

    world: World
    provider: RealProvider
    agreed: httpx.AsyncClient

    async def consent(self, flow: Flow) -> bool:
        """Let the provider answer; False where it does not send the browser back."""
        to = await self.provider.sign_in_by_http(self.agreed, flow.authorize)
        parts = urlsplit(to)
        flow.back = f"{parts.path}?{parts.query}"
        return to.startswith(f"{self.world.url}{CALLBACK_PATH}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    port = free_port()
    settings = {
        "oauth_client_id": CLIENT_ID,
        "oauth_client_secret": CLIENT_SECRET,
        "oauth_scopes": "openid profile email",
        "openid_provider_url": f"http://127.0.0.1:{port}",
        **UNLIMITED,
    }
    async with running(tmp_path_factory.mktemp("certified"), **settings) as world:
        with real_provider(f"{world.url}{CALLBACK_PATH}", port) as provider:
            async with httpx.AsyncClient(timeout=TIMEOUT, verify=False) as agreed:  # noqa: S501
                yield Stage(world, provider, agreed)


@pytest.fixture(autouse=True)
def _nobody_before(stage: Stage) -> None:
    for user in stage.world.store.users_overview(None, 200):
        stage.world.store.delete_user(user.user_id)


async def begun(stage: Stage, browser: httpx.AsyncClient) -> Flow:
    """A flow that has asked for the way."""
    await browser.get("/api/bootstrap")
    flow = Flow(browser)
    await flow.begin()
    return flow


async def test_an_honest_sign_in_succeeds(stage: Stage) -> None:
    async with browser_of(stage.world) as browser:
        flow = await begun(stage, browser)
        assert await stage.consent(flow)
        assert error_of(await flow.come_back()) == ""
        me = (await browser.get("/api/bootstrap")).json()["me"]
        assert (me["kind"], me["handle"]) == ("account", "ada")
        assert error_of(await flow.come_back()) == "expired"
    assert sessions(stage.world) == 1


ASKED: dict[str, dict[str, str | None]] = {
    "no challenge": {"code_challenge": None, "code_challenge_method": None},
    "a plain challenge": {"code_challenge": "a" * 43, "code_challenge_method": "plain"},
    "another challenge": {"code_challenge": "a" * 43},
    "a challenge of another method": {"code_challenge_method": "S512"},
    "another nonce": {"nonce": "another"},
    "no nonce": {"nonce": None},
    "another state": {"state": "another"},
    "no state": {"state": None},
    "another way back": {"redirect_uri": "http://127.0.0.1:9/oauth/callback"},
    "a way back with a query": {"redirect_uri": "query"},
    "a way back below": {"redirect_uri": "below"},
    "no way back": {"redirect_uri": "https://evil.example/oauth/callback"},
    "another client": {"client_id": "somebody"},
    "a token at once": {"response_type": "token"},
    "an ID token at once": {"response_type": "id_token"},
    "the answer after a hash": {"response_mode": "fragment"},
    "the answer as a form": {"response_mode": "form_post"},
    "no openid": {"scope": "profile"},
    "nothing shown to anybody": {"prompt": "none", "max_age": "0"},
    "a scope that nobody knows": {"scope": "openid unknown", "nonce": "another"},
}
"""Changes of the authorization request."""
PROVIDERS_PART = {name for name in ASKED if "challenge" in name or "the answer" in name}
"""What only the provider can see; the mock knows neither PKCE nor other ways to answer."""


@pytest.mark.parametrize("name", ASKED)
async def test_a_changed_request_signs_nobody_in(stage: Stage, name: str) -> None:
    changes = dict(ASKED[name])
    way = f"{stage.world.url}{CALLBACK_PATH}"
    for value, instead in (("query", way + "?a=b"), ("below", way + "/more")):
        if changes.get("redirect_uri") == value:
            changes["redirect_uri"] = instead
    async with browser_of(stage.world) as browser:
        flow = await begun(stage, browser)
        query = {**dict(parse_qsl(urlsplit(flow.authorize).query)), **changes}
        given = urlencode({key: value for key, value in query.items() if value is not None})
        flow.authorize = f"{flow.authorize.partition('?')[0]}?{given}"
        if await stage.consent(flow):
            refusal = error_of(await flow.come_back())
            ignored = not stage.provider.certified and name in PROVIDERS_PART
            assert refusal in ({""} if ignored else {"failed", "expired", "unavailable", "status 404"})
            assert sessions(stage.world) == int(ignored)


@pytest.mark.parametrize("name", BY_THE_BROWSER)
async def test_a_changed_answer_signs_nobody_in(stage: Stage, name: str) -> None:
    changes, code = BY_THE_BROWSER[name]
    if changes.get("iss") == "slash":
        changes = {"iss": stage.provider.url + "/"}
    if name == "no issuer, which this provider promises" and not stage.provider.certified:
        changes = {"iss": ""}
    async with browser_of(stage.world) as browser:
        flow = await begun(stage, browser)
        assert await stage.consent(flow)
        assert error_of(await flow.come_back(flow.changed(**changes))) == code
        if "state" not in changes:
            assert error_of(await flow.come_back()) == "expired"
    assert sessions(stage.world) == 0


async def test_a_code_works_in_its_own_flow_only(stage: Stage) -> None:
    async with browser_of(stage.world) as one, browser_of(stage.world) as two:
        first, second = await begun(stage, one), await begun(stage, two)
        assert await stage.consent(first)
        assert await stage.consent(second)
        stolen = dict(parse_qsl(urlsplit(second.back).query))["code"]
        assert error_of(await first.come_back(first.changed(code=stolen))) == "failed"
        assert error_of(await first.come_back()) == "expired"
        assert sessions(stage.world) == 0


async def test_another_browser_cannot_end_a_flow(stage: Stage) -> None:
    async with browser_of(stage.world) as attacker, browser_of(stage.world) as victim:
        flow = await begun(stage, attacker)
        assert await stage.consent(flow)
        await victim.get("/api/bootstrap")
        assert error_of(await victim.get(flow.back)) == "expired"
        assert error_of(await flow.come_back()) == "expired"
    assert sessions(stage.world) == 0


async def test_another_client_secret_signs_nobody_in(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage.world.app.state.sign_in.provider, "_client_secret", "a wrong guess")
    async with browser_of(stage.world) as browser:
        flow = await begun(stage, browser)
        assert await stage.consent(flow)
        refusal = error_of(await flow.come_back())
        assert refusal == ("failed" if stage.provider.certified else "")
    assert sessions(stage.world) == (0 if stage.provider.certified else 1)

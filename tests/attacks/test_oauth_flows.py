"""A4: sign-ins that are spoiled on their way, by the browser's side or by the provider's: all are refused.

None begins a session, and none can be tried twice.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from authlib.oidc.core import CodeIDToken

from playground.accounts import addresses, id_token, pending
from playground.accounts import provider as provider_module
from playground.accounts.pending import PendingSignIns
from playground.accounts.provider import Provider
from tests.attacks.flows import (
    SHORT,
    Flow,
    attempt,
    browser_of,
    error_of,
    forget_provider,
    ready,
    sessions,
    sign_in_settings,
)
from tests.attacks.own_provider import OwnProvider, Twist, own_provider
from tests.attacks.wrong_answers import BROKEN, SLOW, TOKENS, USERINFO, put
from tests.playground.world import World, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

FROM_PROVIDER = {**TOKENS, **USERINFO, **BROKEN}


@dataclass
class Stage:
    """The app and the provider that it trusts."""

    world: World
    provider: OwnProvider


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with own_provider() as provider:
        settings = sign_in_settings(provider)
        async with running(tmp_path_factory.mktemp("flows"), **settings) as world:
            yield Stage(world, provider)


@pytest.fixture(autouse=True)
def _nobody_before(stage: Stage) -> None:
    """Every test begins without accounts, whatever the one before let happen."""
    for user in stage.world.store.users_overview(None, 200):
        stage.world.store.delete_user(user.user_id)
    forget_provider(stage.world)
    stage.provider.twist = Twist()


async def test_an_honest_sign_in_succeeds_and_asks_for_what_it_must(stage: Stage) -> None:
    assert await attempt(stage.world, stage.provider, Twist()) == ""
    assert sessions(stage.world) == 1
    asked = stage.provider.asked[-1]
    assert asked["redirect_uri"] == f"{stage.world.url}/oauth/callback"
    assert (asked["response_type"], asked["client_id"]) == ("code", "playground")
    assert (asked["code_challenge_method"], len(asked["code_challenge"])) == ("S256", 43)
    assert min(len(asked["state"]), len(asked["nonce"])) == 43
    assert asked["scope"] == "openid profile email inference-api"


@pytest.mark.parametrize("name", FROM_PROVIDER)
async def test_a_wrong_answer_of_the_provider_signs_nobody_in(stage: Stage, name: str) -> None:
    refusal = await attempt(stage.world, stage.provider, FROM_PROVIDER[name])
    assert refusal in {"failed", "unavailable"}
    assert sessions(stage.world) == 0
    assert stage.world.store.totals(stage.world.app.state.accounts.clock()).accounts == 0


@pytest.mark.parametrize("name", SLOW)
async def test_a_slow_provider_is_given_up(stage: Stage, name: str) -> None:
    assert await attempt(stage.world, stage.provider, SLOW[name], seconds=SHORT) == "unavailable"
    assert sessions(stage.world) == 0


async def test_a_provider_that_is_away_is_not_asked_again_at_once(stage: Stage) -> None:
    forget_provider(stage.world)
    asked = 0

    async def fail() -> Any:
        nonlocal asked
        asked += 1
        raise ConnectionError

    stage.world.app.state.sign_in.provider._metadata._fetch = fail
    async with browser_of(stage.world) as browser:
        for _ in range(3):
            assert error_of(await browser.get("/oauth/login")) in {"failed", "unavailable"}
    assert asked == 1
    forget_provider(stage.world)


BY_THE_BROWSER: dict[str, tuple[dict[str, str | None], str]] = {
    "no state": ({"state": None}, "expired"),
    "an empty state": ({"state": ""}, "expired"),
    "another state": ({"state": "a" * 43}, "expired"),
    "an endless state": ({"state": "a" * 5000}, "expired"),
    "a state with more in it": ({"state": "a" * 43 + "\x00\u2028"}, "expired"),
    "no code": ({"code": None}, "failed"),
    "an empty code": ({"code": ""}, "failed"),
    "another code": ({"code": "forged"}, "failed"),
    "an endless code": ({"code": "a" * 5000}, "failed"),
    "another issuer": ({"iss": "https://evil.example"}, "failed"),
    "no issuer, which this provider promises": ({"iss": None}, "failed"),
    "an issuer with a slash more": ({"iss": "slash"}, "failed"),
    "consent that was denied": ({"code": None, "error": "access_denied"}, "denied"),
    "an error beside a code": ({"error": "access_denied"}, "denied"),
    "a provider in trouble": ({"code": None, "error": "server_error"}, "unavailable"),
    "an error that nobody knows": ({"code": None, "error": "<script>"}, "failed"),
    "an error from another issuer": ({"error": "access_denied", "iss": "https://evil.example"}, "failed"),
}


@pytest.mark.parametrize("name", BY_THE_BROWSER)
async def test_a_changed_address_signs_nobody_in(stage: Stage, name: str) -> None:
    changes, code = BY_THE_BROWSER[name]
    if changes.get("iss") == "slash":
        changes = {"iss": stage.provider.url + "/"}
    async with browser_of(stage.world) as browser:
        flow = await ready(browser)
        assert error_of(await flow.come_back(flow.changed(**changes))) == code
        if "state" not in changes:  # and what was changed cannot be put right
            assert error_of(await flow.come_back()) == "expired"
    assert sessions(stage.world) == 0


@pytest.mark.parametrize("name", ["state", "code", "iss", "error"])
async def test_a_parameter_that_comes_twice_signs_nobody_in(stage: Stage, name: str) -> None:
    async with browser_of(stage.world) as browser:
        flow = await ready(browser)
        twice = f"{flow.back}&{name}=another&{name}=another"
        assert error_of(await flow.come_back(twice)) == "failed"
    assert sessions(stage.world) == 0


async def test_a_callback_works_once(stage: Stage) -> None:
    async with browser_of(stage.world) as browser:
        flow = await ready(browser)
        assert error_of(await flow.come_back()) == ""
        token = browser.cookies["playground"]
        assert error_of(await flow.come_back()) == "expired"
        assert browser.cookies["playground"] == token
    assert sessions(stage.world) == 1


async def test_a_flow_ends_in_the_browser_that_began_it(stage: Stage) -> None:
    """Login CSRF: the victim's browser opens the attacker's way back, with any cookies that he can plant."""
    async with browser_of(stage.world) as attacker, browser_of(stage.world) as victim:
        flow = await ready(attacker)
        await victim.get("/api/bootstrap")
        assert error_of(await victim.get(flow.back)) == "expired"
        flow = await ready(attacker)
        planted = attacker.cookies["playground-sign-in"]
        answer = await victim.get(
            flow.back, headers={"cookie": _cookies(victim) + f"; playground-sign-in={planted}"}
        )
        assert error_of(answer) == "expired"
        # nor the other way round, in the attacker's browser with the victim's way back
        flow = await ready(victim)
        assert error_of(await attacker.get(flow.back)) == "expired"
    assert sessions(stage.world) == 0


async def test_a_cookie_that_is_gone_or_forged_ends_a_flow(stage: Stage) -> None:
    for forged in ("", "; playground-sign-in=" + "a" * 43, "; playground-sign-in=short"):
        async with browser_of(stage.world) as browser:
            flow = await ready(browser)
            identity = f"playground={browser.cookies['playground']}"
            browser.cookies.clear()
            answer = await browser.get(flow.back, headers={"cookie": identity + forged})
            assert error_of(answer) == "expired"
    assert sessions(stage.world) == 0


async def test_codes_cannot_be_exchanged_between_flows(stage: Stage) -> None:
    """PKCE and the nonce: a code that was stolen is worth nothing in another flow."""
    async with browser_of(stage.world) as one, browser_of(stage.world) as two:
        first, second = await ready(one), await ready(two)
        stolen = second.back.partition("code=")[2].partition("&")[0]
        assert error_of(await first.come_back(first.changed(code=stolen))) == "failed"
        forget_provider(stage.world)
        stage.provider.twist = Twist(claims=put(nonce=first.asked["nonce"]))
        assert error_of(await second.come_back()) == "failed"
        stage.provider.twist = Twist()
    assert sessions(stage.world) == 0


async def test_a_flow_that_took_too_long_is_over(stage: Stage) -> None:
    flows = stage.world.app.state.sign_in.pending
    clock = flows.clock
    async with browser_of(stage.world) as browser:
        flow = await ready(browser)
        flows.clock = lambda: clock() + pending.LIFETIME_SECONDS
        try:
            assert error_of(await flow.come_back()) == "expired"
        finally:
            flows.clock = clock
    assert sessions(stage.world) == 0


async def test_flows_that_nobody_ends_are_bounded(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage.world.app.state.sign_in, "pending", PendingSignIns(most=5))
    async with browser_of(stage.world) as browser, browser_of(stage.world) as flooder:
        flow = await ready(browser)
        for _ in range(5):
            await Flow(flooder).begin()
        assert len(stage.world.app.state.sign_in.pending) == 5
        assert error_of(await flow.come_back()) == "expired"
    assert sessions(stage.world) == 0


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT"])
async def test_only_an_opened_address_ends_a_flow(stage: Stage, method: str) -> None:
    async with browser_of(stage.world) as browser:
        flow = await ready(browser)
        assert (await browser.request(method, flow.back)).status_code == 405
        assert sessions(stage.world) == 0
        assert error_of(await flow.come_back()) == "", "and it is not used up by that"


ELSEWHERE = [
    *("/settings", "/c", "/s", "/metrics", "/%00", "/?x=//evil.example", "/c/a;b", "/C/a"),
    *(
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "///evil.example",
    ),
    *(
        "https://evil.example",
        "http:evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "\x00//evil.example",
    ),
    *(
        "/c/../..//evil.example",
        "/%2f/evil.example",
        "/c/a?next=//evil.example",
        "/c/a#//evil.example",
        "/@evil.example",
    ),
    *(
        "/.evil.example",
        "evil.example",
        " //evil.example",
        "/c/a\r\nset-cookie: a=b",
        "/api/export",
        "/oauth/login",
        "",
    ),
    *(
        "/c/" + "a" * 65,
        "/ⓒ/a",
        "//[::1]",
        "/;//evil.example",
        "/c//evil.example",
        "https:/evil.example",
        "/c/a/../../x",
    ),
    *(
        "?//evil.example",
        "#x",
        "/s/",
        "/c/a b",
        "/c/ä",
        "/\u2044evil.example",
        "/\uff0fevil.example",
        "/c/a%0d%0ax: y",
    ),
    *(
        "ftp://evil.example",
        "vbscript:x",
        "blob:x",
        "file:///etc/passwd",
        "//evil.example@127.0.0.1",
        "/c/a/b",
        "/c/a/",
    ),
    *(
        "http://127.0.0.1@evil.example",
        "https:\\\\evil.example",
        "/\\/evil.example",
        "/..//evil.example",
        "/./x",
        "//",
    ),
    *(
        "/c/a\x7f",
        "/c/a\n",
        "/s/a\n",
        "/\x0b/evil.example",
        "\u00a0//evil.example",
        "/%5cevil.example",
        "/%09/evil.example",
    ),
]


async def test_a_sign_in_leads_to_no_other_place(stage: Stage) -> None:
    assert len(ELSEWHERE) >= 60
    wrong = [value for value in ELSEWHERE if addresses.safe_next(value) != "/"]
    assert wrong == []
    assert [addresses.safe_next(path) for path in ("/", "/c/abc", "/s/a-_B")] == ["/", "/c/abc", "/s/a-_B"]
    for asked, landed in (("//evil.example", "/"), ("/c/abc", "/c/abc")):
        async with browser_of(stage.world) as browser:
            flow = Flow(browser)
            await flow.begin(asked)
            await flow.consent()
            assert (await flow.come_back()).headers["location"] == landed


def _cookies(browser: Any) -> str:
    return "; ".join(f"{name}={value}" for name, value in browser.cookies.items())


# --- each guard taken away: the attack that it stops succeeds ---


def _any_claims(*_: Any, **__: Any) -> None:
    return None


HOLES: dict[str, tuple[Any, str, Any, Twist]] = {
    "claims unchecked": (CodeIDToken, "validate", _any_claims, TOKENS["another audience"]),
    "nonce unchecked": (CodeIDToken, "validate_nonce", _any_claims, TOKENS["another nonce"]),
    "at_hash unchecked": (CodeIDToken, "validate_at_hash", _any_claims, TOKENS["at_hash of another token"]),
    "azp unchecked": (CodeIDToken, "validate_azp", _any_claims, TOKENS["another azp"]),
    "userinfo unchecked": (provider_module, "subject", _any_claims, USERINFO["userinfo of somebody else"]),
    "every size": (provider_module, "ANSWER_BYTES", 10**9, Twist(userinfo=put(much="a" * 2_000_000))),
    "shared secrets as keys": (
        id_token,
        "_public",
        lambda keys: keys["keys"],
        BROKEN["the key is a shared secret"],
    ),
}


@pytest.mark.parametrize("name", HOLES)
async def test_without_its_guard_a_wrong_answer_signs_in(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    where, attribute, hole, twist = HOLES[name]
    if name == "shared secrets as keys":
        monkeypatch.setattr(id_token, "algorithms", lambda _: ["HS256"])
    assert await attempt(stage.world, stage.provider, twist) == "failed"
    monkeypatch.setattr(where, attribute, hole)
    assert await attempt(stage.world, stage.provider, twist) == ""
    assert sessions(stage.world) == 1


async def test_without_its_guard_an_issuer_is_mixed_up(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def believe(*_: Any) -> None:
        return None

    monkeypatch.setattr(Provider, "check_issuer", believe)
    async with browser_of(stage.world) as browser:
        flow = await ready(browser)
        assert error_of(await flow.come_back(flow.changed(iss="https://evil.example"))) == ""


async def test_without_its_guard_a_flow_ends_in_any_browser(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    flows = stage.world.app.state.sign_in.pending
    monkeypatch.setattr(flows, "take", lambda state, **_: flows._by_state.pop(pending.digest(state), None))
    async with browser_of(stage.world) as attacker, browser_of(stage.world) as victim:
        flow = await ready(attacker)
        assert error_of(await victim.get(flow.back)) == ""
    assert sessions(stage.world) == 1

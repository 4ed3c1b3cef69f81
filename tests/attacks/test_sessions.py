"""A5: a session belongs to the browser that signed in, and ends for every copy of its cookie."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio

from playground.accounts.identity import Replaced, Tokens, new_token, token_hash
from playground.accounts.service import Accounts
from storage.sessions import SessionQueries
from tests.attacks.flows import browser_of, error_of, ready, sign_in_settings
from tests.attacks.own_provider import OwnProvider, own_provider
from tests.attacks.world import Cast, make_app, signed_in, with_key
from tests.conftest import Scale
from tests.playground.world import World, running
from tests.tried import Tell

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAME = "playground"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cast(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cast]:
    async with make_app(tmp_path_factory.mktemp("sessions")) as people:
        yield people


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def provider() -> AsyncIterator[OwnProvider]:
    async with own_provider() as running_provider:
        yield running_provider


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(provider: OwnProvider, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running(tmp_path_factory.mktemp("fixation"), **sign_in_settings(provider)) as served:
        yield served


async def kind(world: World, token: str) -> tuple[str, bool]:
    """Whom a copied cookie stands for, and whether the answer replaced it."""
    async with httpx.AsyncClient(base_url=world.url, verify=False) as copy:  # noqa: S501
        answer = await copy.get("/api/bootstrap", headers={"cookie": f"{NAME}={token}"})
        said = answer.json()
        who = said["me"]["kind"] if answer.status_code == 200 else said["error"]["code"]
        return who, "set-cookie" in answer.headers


async def is_nobodys(world: World, token: str) -> None:
    """It is refused at first, for the browser may have sent it before it had the new one."""
    assert await kind(world, token) == ("identity_changed", False)
    world.app.state.accounts.replaced = Replaced()  # half a minute later
    assert await kind(world, token) == ("guest", True)


async def sign_in(browser: httpx.AsyncClient) -> str:
    """Sign this browser in at the provider; its new token."""
    flow = await ready(browser)
    assert error_of(await flow.come_back()) == ""
    return browser.cookies[NAME]


async def test_a_cookie_that_was_there_before_is_worth_nothing_after_the_sign_in(
    world: World, scale: Scale
) -> None:
    """Fixation, by a token that the attacker made up, and by one that the app had given to him."""
    for _ in range(scale(3, 100)):
        for planted in (made_up := new_token(), await fresh_guest(world)):
            async with browser_of(world) as victim:
                victim.cookies.set(NAME, planted, domain="127.0.0.1", path="/")
                signed = await sign_in(victim)
            assert signed != planted
            if planted != made_up:  # that one was replaced before
                await is_nobodys(world, planted)
            assert await kind(world, planted) == ("guest", True)
            assert await kind(world, signed) == ("account", False)


async def fresh_guest(world: World) -> str:
    async with browser_of(world) as attacker:
        await attacker.get("/api/bootstrap")
        return attacker.cookies[NAME]


async def test_a_second_sign_in_ends_the_session_before(world: World) -> None:
    async with browser_of(world) as browser:
        first = await sign_in(browser)
        second = await sign_in(browser)
        assert first != second
        await is_nobodys(world, first)
        assert await kind(world, second) == ("account", False)
        assert len((await browser.get("/api/account")).json()["sessions"]) >= 1


End = Callable[[Cast, httpx.AsyncClient], Awaitable[Any]]


async def _sign_out(cast: Cast, browser: httpx.AsyncClient) -> None:
    assert (await browser.post("/api/account/sign-out")).status_code == 204


async def _everywhere(cast: Cast, browser: httpx.AsyncClient) -> None:
    async with signed_in(cast.world, "victim") as elsewhere:
        assert (await elsewhere.delete("/api/account/sessions")).json()["ended"] == 2


async def _from_elsewhere(cast: Cast, browser: httpx.AsyncClient) -> None:
    async with signed_in(cast.world, "victim") as elsewhere:
        listed = (await elsewhere.get("/api/account")).json()["sessions"]
        other = next(each["id"] for each in listed if not each["current"])
        assert (await elsewhere.delete(f"/api/account/sessions/{other}")).status_code == 204
        await elsewhere.post("/api/account/sign-out")


async def _ban(cast: Cast, browser: httpx.AsyncClient) -> None:
    user = (await browser.get("/api/account")).json()["account"]["id"]
    assert (await cast.admin.post(f"/api/admin/users/{user}/ban")).status_code == 200
    assert (await cast.admin.delete(f"/api/admin/users/{user}/ban")).status_code == 200


async def _delete(cast: Cast, browser: httpx.AsyncClient) -> None:
    answer = await browser.request("DELETE", "/api/account", json={"confirm": "delete"})
    assert answer.status_code == 204


ENDS: dict[str, End] = {
    "sign-out": _sign_out,
    "sign-out everywhere": _everywhere,
    "sign-out from another browser": _from_elsewhere,
    "ban": _ban,
    "deletion": _delete,
}

BY_ITSELF = {"sign-out", "deletion"}


@pytest.mark.parametrize("end", ENDS)
async def test_a_copied_cookie_ends_with_its_session(cast: Cast, end: str, scale: Scale, tell: Tell) -> None:
    for _ in range(scale(2, 200)):
        async with signed_in(cast.world, "victim") as browser:
            token = browser.cookies[NAME]
            assert await kind(cast.world, token) == ("account", False)
            await ENDS[end](cast, browser)
            if end in BY_ITSELF:
                await is_nobodys(cast.world, token)
            assert await kind(cast.world, token) == ("guest", True)
            # nor does it stand for the guest that its bearer became
            assert await kind(cast.world, token) == ("guest", True)
    tell(f"{scale(2, 200)} copies of a cookie after {end}: strangers")


async def test_an_ended_cookie_is_refused_where_everybody_must_sign_in(
    tmp_path_factory: pytest.TempPathFactory, scale: Scale
) -> None:
    async with make_app(tmp_path_factory.mktemp("required"), sign_in="required") as people:
        assert (await people.guest.get("/api/conversations")).status_code == 401
        async with signed_in(people.world, "victim") as browser:
            token = browser.cookies[NAME]
            await _sign_out(people, browser)
        async with httpx.AsyncClient(base_url=people.world.url, cookies={NAME: token}) as copy:
            for _ in range(scale(20, 1000)):
                answer = await copy.get("/api/conversations")
                assert (answer.status_code, answer.json()["error"]["code"]) == (401, "sign_in_required")


async def test_keys_end_with_a_ban_and_with_the_account(cast: Cast) -> None:
    for end in (_ban_for_good, _delete):
        async with signed_in(cast.world, f"victim of {end.__name__}") as browser:
            body = {"name": "A key", "scopes": ["conversations"]}
            secret = (await browser.post("/api/account/keys", json=body)).json()["secret"]
            async with with_key(cast.world, secret) as program:
                assert (await program.get("/api/conversations")).status_code == 200
                await end(cast, browser)
                assert (await program.get("/api/conversations")).status_code == 401


async def _ban_for_good(cast: Cast, browser: httpx.AsyncClient) -> None:
    user = (await browser.get("/api/account")).json()["account"]["id"]
    assert (await cast.admin.post(f"/api/admin/users/{user}/ban")).status_code == 200


async def test_a_key_brings_no_other_identity_along(cast: Cast) -> None:
    """With a key the cookie counts for nothing, and a bad key is not made good by a cookie."""
    token = cast.admin.cookies[NAME]
    both = {"cookie": f"{NAME}={token}", "authorization": f"Bearer {cast.secret}"}
    async with browser_of(cast.world) as browser:
        answer = await browser.get("/api/bootstrap", headers=both)
        assert (answer.json()["me"]["handle"], answer.json()["me"]["role"]) == ("owner", "member")
        assert "set-cookie" not in answer.headers
        for wrong in ("gop_" + "a" * 43, "gop_", "gop_" + cast.secret[4:-1], cast.secret + "a"):
            headers = {**both, "authorization": f"bearer {wrong}"}
            answer = await browser.get("/api/bootstrap", headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
            assert "set-cookie" not in answer.headers
        twice = [("authorization", f"Bearer {cast.secret}"), ("authorization", "Bearer gop_" + "a" * 43)]
        assert (await browser.get("/api/bootstrap", headers=twice)).status_code == 401


async def test_a_second_cookie_of_the_same_name_signs_nobody_in(cast: Cast) -> None:
    """Cookie tossing: a neighbour plants a cookie of his own for the same name."""
    own, planted = cast.owner.cookies[NAME], cast.other.cookies[NAME]
    async with browser_of(cast.world) as browser:
        for line in (f"{NAME}={planted}; {NAME}={own}", f"{NAME}={own}; {NAME}={planted}"):
            answer = await browser.get("/api/bootstrap", headers={"cookie": line})
            assert answer.json()["me"]["kind"] == "guest"
        answer = await browser.get("/api/bootstrap", headers={"cookie": f"{NAME}={own}; {NAME}={own}"})
        assert answer.json()["me"]["handle"] == "owner"


async def test_over_https_only_the_cookie_that_neighbours_cannot_set_counts(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("https")
    async with make_app(folder, public_url="https://playground.example.org") as people:
        token = people.owner.cookies[f"__Host-{NAME}"]
        async with browser_of(people.world) as browser:
            plain = await browser.get("/api/bootstrap", headers={"cookie": f"{NAME}={token}"})
            assert plain.json()["me"]["kind"] == "guest"
            host = await browser.get("/api/bootstrap", headers={"cookie": f"__Host-{NAME}={token}"})
            assert host.json()["me"]["handle"] == "owner"
            assert plain.headers["set-cookie"].startswith(f"__Host-{NAME}=")


class Clock:
    """A wall clock that a test sets."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(cast.world.app.state.accounts, "clock", made)
    return made


async def test_a_session_ends_when_it_is_not_used(cast: Cast, clock: Clock) -> None:
    async with signed_in(cast.world, "idle") as browser:
        token = browser.cookies[NAME]
        for _ in range(3):  # each visit counts anew
            clock.now += timedelta(days=13.9)
            assert await kind(cast.world, token) == ("account", False)
        clock.now += timedelta(days=14.01)
        assert await kind(cast.world, token) == ("guest", True)


async def test_a_session_ends_however_much_it_is_used(cast: Cast, clock: Clock) -> None:
    async with signed_in(cast.world, "busy") as browser:
        token = browser.cookies[NAME]
        for _ in range(8):
            clock.now += timedelta(days=11)
            assert await kind(cast.world, token) == ("account", False)
        clock.now += timedelta(days=2.01)
        assert await kind(cast.world, token) == ("guest", True)


@pytest.mark.parametrize("days", [-365, -30, 30, 91, 365])
async def test_a_clock_that_jumps_extends_no_session(cast: Cast, clock: Clock, days: int) -> None:
    """F9: there and back again; a session that was over once stays over."""
    async with signed_in(cast.world, f"traveller {days}") as browser:
        token = browser.cookies[NAME]
        before = clock.now
        clock.now += timedelta(days=days)
        there = await kind(cast.world, token)
        clock.now = before
        back = await kind(cast.world, token)
        assert there == back == ("guest", True)


async def test_a_session_of_the_future_ends_when_the_clock_is_put_right(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = Clock()
    ahead.now += timedelta(days=365)
    monkeypatch.setattr(world.app.state.accounts, "clock", ahead)
    async with browser_of(world) as browser:
        token = await sign_in(browser)
        assert await kind(world, token) == ("account", False)
        ahead.now -= timedelta(days=365)
        assert await kind(world, token) == ("guest", True)


# --- each guard taken away: the attack that it stops succeeds ---


async def test_without_its_guard_a_copied_cookie_lives_on(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SessionQueries, "end_session", lambda *_: None)
    async with signed_in(cast.world, "hole") as browser:
        token = browser.cookies[NAME]
        await _sign_out(cast, browser)
        assert await kind(cast.world, token) == ("account", False)


async def test_without_its_guard_a_planted_cookie_is_the_victims(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sign-in that kept the browser's token would be the attacker's, too."""
    planted = new_token()
    monkeypatch.setattr("playground.accounts.sign_in.new_token", lambda: planted)
    async with browser_of(world) as victim:
        victim.cookies.set(NAME, planted, domain="127.0.0.1", path="/")
        await sign_in(victim)
    assert await kind(world, planted) == ("account", False)


async def test_without_its_guard_an_invented_cookie_becomes_a_guests(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    invented = new_token()
    assert (await kind(cast.world, invented))[1], "it is replaced"
    monkeypatch.setattr(Tokens, "__contains__", lambda *_: True)
    assert await kind(cast.world, invented) == ("guest", False)
    assert cast.world.store.has_guest(token_hash(invented))


async def test_without_its_guard_time_ends_nothing(
    cast: Cast, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts: Accounts = cast.world.app.state.accounts
    async with signed_in(cast.world, "ageless") as browser:
        token = browser.cookies[NAME]
        monkeypatch.setattr(accounts, "idle", timedelta(days=9999))
        clock.now += timedelta(days=60)
        assert await kind(cast.world, token) == ("account", False)

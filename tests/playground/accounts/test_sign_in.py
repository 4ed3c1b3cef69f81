"""Signing in at a provider that answers rightly: what the guest had, who gets in, and what is kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from playground.accounts.identity import Visit
from playground.accounts.provider import Provider
from playground.accounts.secret_box import SecretBox
from tests.attacks.flows import browser_of, error_of, ready, sign_in_settings
from tests.attacks.own_provider import ACCESS_TOKEN, ADA, OwnProvider, own_provider
from tests.attacks.world import cookie_name, rows
from tests.attacks.wrong_answers import BROKEN
from tests.playground.scripted import Script
from tests.playground.world import World, ask, events, running, settled, text_of

SPACE = {
    "system": "spaces",
    "space_id": "ada/playground",
    "space_host": "ada-playground.hf.space,chat.example.org",
}


@asynccontextmanager
async def stage(folder: Path, **values: Any) -> AsyncIterator[tuple[World, OwnProvider]]:
    async with (
        own_provider() as provider,
        running(folder, **sign_in_settings(provider, **values)) as world,
    ):
        yield world, provider


async def sign_in(browser: httpx.AsyncClient) -> str:
    """Why there is no session; "" where there is one."""
    return error_of(await (await ready(browser)).come_back())


async def me(browser: httpx.AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await browser.get("/api/bootstrap")).json()["me"]
    return found


@pytest.mark.parametrize("known", [False, True])
async def test_a_guests_reply_and_temporary_chat_go_on_for_the_account(tmp_path: Path, known: bool) -> None:
    async with stage(tmp_path) as (world, _), browser_of(world) as browser:
        if known:  # an account that is there already takes the guest's things over
            async with browser_of(world) as earlier:
                assert await sign_in(earlier) == ""
        world.engine.script = script = Script(hold=asyncio.Event(), hold_at=4)
        kept = await ask(browser, "Kept")
        temporary = await ask(browser, "Temporary", temporary=True)
        waiting = asyncio.create_task(events(browser, kept["generation"]["id"]))
        await asyncio.sleep(0)
        assert await sign_in(browser) == ""
        assert script.hold is not None
        script.hold.set()
        for turn in (kept, temporary):
            seen = await events(browser, turn["generation"]["id"])
            assert seen[-1].data["status"] == "finished"
            assert (await settled(browser, turn["generation"]["id"]))["generation"]["status"] == "finished"
            shown = await browser.get(f"/api/conversations/{turn['conversation']['id']}")
            assert [each["content"] for each in shown.json()["messages"]][-1] == "The answer is 42."
        assert text_of(await waiting, 1) == "The answer is 42.", "and its reader goes on"
        again = await ask(browser, "And now?", conversation_id=temporary["conversation"]["id"])
        assert (await settled(browser, again["generation"]["id"]))["generation"]["status"] == "finished"


async def test_what_was_on_its_way_during_the_sign_in_does_not_undo_it(tmp_path: Path) -> None:
    """Another tab asks every few seconds: its answer must not bring a guest's cookie after the session's."""
    async with stage(tmp_path) as (world, _), browser_of(world) as browser, world.browser() as late:
        await browser.get("/api/bootstrap")
        late.cookies.update(browser.cookies)
        assert await sign_in(browser) == ""
        users = rows(world, "users")
        for path in ("/api/changes", "/api/bootstrap", "/api/conversations", "/api/preferences"):
            answer = await late.get(path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (409, "identity_changed"), path
            assert "set-cookie" not in answer.headers
        assert (await me(browser))["kind"] == "account"
        late.cookies.update(browser.cookies)
        assert (await me(late))["kind"] == "account"
        assert (await browser.post("/api/account/sign-out")).status_code == 204
        answer = await late.post("/api/turns", json={"text": "Hi"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "identity_changed")
        assert rows(world, "users") == users


async def test_a_page_that_was_loading_does_not_undo_the_sign_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(tmp_path) as (world, _), browser_of(world) as browser:
        await browser.get("/api/bootstrap")
        accounts = world.app.state.accounts
        welcome = accounts.welcome
        assert "set-cookie" in (await browser.get("/")).headers

        def slowly(visit: Visit) -> None:
            welcome(visit)
            accounts.replaced.note(visit.token)  # by what another tab does meanwhile

        monkeypatch.setattr(accounts, "welcome", slowly)
        assert "set-cookie" not in (await browser.get("/")).headers


async def test_the_session_is_kept_and_the_token_only_encrypted(tmp_path: Path) -> None:
    async with stage(tmp_path) as (world, _), browser_of(world) as browser:
        assert await sign_in(browser) == ""
        account = (await browser.get("/api/account")).json()
        assert account["account"]["handle"] == "ada"
        assert [each["current"] for each in account["sessions"]] == [True]
        assert ACCESS_TOKEN not in str(account)
        flow = world.app.state.sign_in
        stored = world.store.account_of(account["account"]["id"])
        session = account["sessions"][0]["id"]
        assert stored is not None
        read = await asyncio.to_thread(flow.access_token, stored, session)
        assert read == ACCESS_TOKEN
        files = await asyncio.to_thread(lambda: [each.read_bytes() for each in tmp_path.iterdir()])
        for secret in (ACCESS_TOKEN, browser.cookies["playground"]):
            assert not [content for content in files if secret.encode() in content]
        # another key makes the token unreadable, and nothing else
        flow._opened = SecretBox(b"another key")
        assert await asyncio.to_thread(flow.access_token, stored, session) is None
        assert (await me(browser))["kind"] == "account"
        async with browser_of(world) as later:
            assert await sign_in(later) == ""
        assert (await browser.post("/api/account/sign-out")).status_code == 204
        assert await asyncio.to_thread(flow.access_token, stored, session) is None
        assert rows(world, "sessions") == 1


async def test_the_first_is_admin_and_the_second_is_not(tmp_path: Path) -> None:
    async with stage(tmp_path) as (world, provider), browser_of(world) as one, browser_of(world) as two:
        assert await sign_in(one) == ""
        provider.person = {"sub": "eve", "preferred_username": "eve"}
        assert await sign_in(two) == ""
        assert ((await me(one))["role"], (await me(two))["role"]) == ("admin", "member")
        assert (await me(two))["initials"] == "E"


async def test_where_admins_are_named_the_first_is_none(tmp_path: Path) -> None:
    async with (
        stage(tmp_path, admin_users="ada") as (world, provider),
        browser_of(world) as one,
        browser_of(world) as two,
    ):
        provider.person = {"sub": "eve", "preferred_username": "eve"}
        assert await sign_in(one) == ""
        provider.person = dict(ADA)
        assert await sign_in(two) == ""
        assert ((await me(one))["role"], (await me(two))["role"]) == ("member", "admin")


async def test_nobody_becomes_an_admin_by_the_name_in_a_mail_address(tmp_path: Path) -> None:
    async with stage(tmp_path, admin_users="ada") as (world, provider), browser_of(world) as browser:
        provider.person = {"sub": "eve's id", "email": "ada@attacker.example", "email_verified": True}
        assert await sign_in(browser) == ""
        found = await me(browser)
        assert (found["handle"], found["role"]) == ("ada", "member")


async def test_a_listed_name_stays_in_as_long_as_the_provider_vouches_for_it(tmp_path: Path) -> None:
    async with stage(tmp_path, allowed_users="ada") as (world, provider), browser_of(world) as browser:
        assert await sign_in(browser) == ""
        assert (await browser.get("/api/conversations")).status_code == 200
        async with browser_of(world) as later:  # the same person under a name that is only shown
            provider.person = {"sub": ADA["sub"], "nickname": "ada"}
            assert await sign_in(later) == "not_allowed"


async def test_only_chosen_people_come_in(tmp_path: Path) -> None:
    values = {"allowed_orgs": "makers", "allowed_users": "boss"}
    async with stage(tmp_path, **values) as (world, provider), browser_of(world) as browser:
        bootstrap = (await browser.get("/api/bootstrap")).json()
        assert bootstrap["sign_in"]["required"] is True
        assert (bootstrap["me"]["kind"], bootstrap["me"]["id"]) == ("guest", None)
        assert await sign_in(browser) == "not_allowed"
        assert (rows(world, "users"), rows(world, "sessions")) == (0, 0)
        provider.person = {**ADA, "orgs": [{"preferred_username": "makers"}]}
        assert await sign_in(browser) == ""
        provider.person = {"sub": "9", "preferred_username": "boss"}
        assert await sign_in(browser) == ""
        assert (await me(browser))["handle"] == "boss"


async def test_who_is_refused_is_named_to_himself_and_to_the_operator(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with stage(tmp_path, allowed_users="boss") as (world, provider), browser_of(world) as browser:
        name = 'Éve "x"; Path=/\n<b>'
        provider.person = {"sub": "17", "preferred_username": name, "email": "e@x.y", "email_verified": True}
        answer = await (await ready(browser)).come_back()
        assert error_of(answer) == "not_allowed"
        (cookie,) = (each for each in answer.headers.get_list("set-cookie") if "refused" in each)
        value = "%C3%89ve%20%22x%22%3B%20Path%3D%2F%20%3Cb%3E"
        assert cookie == f"playground-refused={value}; Path=/; Max-Age=60; SameSite=Lax"
        provider.person["email_verified"] = False
        assert await sign_in(browser) == "not_allowed"
    told = [each.getMessage() for each in caplog.records if "not let in" in each.getMessage()]
    who = "not let in: 'Éve \"x\"; Path=/ <b>', subject '17', {} verified mail address: "
    assert [each.partition("not in ALLOWED")[0] for each in told] == [
        who.format("with a"),
        who.format("without a"),
    ]
    assert ACCESS_TOKEN not in caplog.text


@pytest.mark.parametrize(
    ("known", "prompt"),
    [
        (None, "select_account"),
        (["none", "login", "select_account"], "select_account"),
        (["none", "login"], "login"),
        (["none"], None),
        ("login", "select_account"),
    ],
)
async def test_another_account_is_asked_for_in_words_that_the_provider_knows(
    tmp_path: Path, known: Any, prompt: str | None
) -> None:
    async with stage(tmp_path) as (world, provider), browser_of(world) as browser:
        provider.twist.metadata = lambda metadata: metadata.update(prompt_values_supported=known)
        for query, wanted in (("", None), ("?account=another", prompt), ("?account=x", None)):
            answer = await browser.get(f"/oauth/login{query}")
            asked = dict(parse_qsl(urlsplit(answer.headers["location"]).query))
            assert asked.get("prompt") == wanted


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", "/api/" + name) for name in ("conversations", "preferences", "model", "models", "status")),
        *(
            ("GET", "/api/" + name)
            for name in ("account", "shares", "export", "search?q=a", "changes?after=0")
        ),
        ("POST", "/api/turns"),
        ("POST", "/api/model"),
    ],
)
async def test_a_stranger_gets_nothing_where_everybody_must_sign_in(
    tmp_path: Path, method: str, path: str
) -> None:
    async with (
        running(tmp_path, oauth_client_id="x", sign_in="required") as world,
        browser_of(world) as browser,
    ):
        answer = await browser.request(method, path, json={"text": "Hello", "name": "demo"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "sign_in_required")
        assert "set-cookie" not in answer.headers
        assert (await browser.get("/api/bootstrap")).status_code == 200
        assert (await browser.post("/api/account/sign-out")).status_code == 204
        assert rows(world, "users") == 0


async def test_a_banned_person_does_not_come_in(tmp_path: Path) -> None:
    async with stage(tmp_path, admin_users="boss") as (world, _), browser_of(world) as browser:
        assert await sign_in(browser) == ""
        world.store.set_ban((await me(browser))["id"], world.app.state.accounts.clock())
        assert await sign_in(browser) == "banned"
        await browser.get("/")  # where the browser was led
        assert (await me(browser))["kind"] == "guest"


async def test_without_sign_in_its_addresses_do_not_exist(tmp_path: Path) -> None:
    async with running(tmp_path) as world, browser_of(world) as browser:
        for path in ("/oauth/login", "/oauth/callback?code=a&state=b", "/login/callback"):
            assert (await browser.get(path)).status_code == 404
        found = (await browser.get("/api/bootstrap")).json()["sign_in"]
        assert (found["available"], found["required"]) == (False, False)
        assert found["note"] == "Only this browser can see these conversations."


async def test_on_a_space_the_way_back_is_the_registered_one(tmp_path: Path) -> None:
    async with stage(tmp_path, **SPACE) as (world, _), browser_of(world) as browser:
        host = {"host": "ada-playground.hf.space"}
        answer = await browser.get("/oauth/login?next=/c/abc", headers=host)
        asked = dict(parse_qsl(urlsplit(answer.headers["location"]).query))
        assert asked["redirect_uri"] == "https://ada-playground.hf.space/login/callback"
        (cookie,) = answer.headers.get_list("set-cookie")
        assert cookie.startswith("__Secure-playground-sign-in=")
        assert cookie.endswith("; Path=/login; Max-Age=600; HttpOnly; SameSite=Lax; Secure")
        # whoever came under another name goes on under the one that the provider knows, once
        away = await browser.get("/oauth/login?next=/c/abc", headers={"host": "chat.example.org"})
        to = away.headers["location"]
        assert to == "https://ada-playground.hf.space/oauth/login?next=%2Fc%2Fabc&here=1"
        assert "set-cookie" not in away.headers
        away = await browser.get("/oauth/login?account=another", headers={"host": "chat.example.org"})
        assert away.headers["location"].endswith("/oauth/login?next=%2F&here=1&account=another")
        behind = await browser.get("/oauth/login?here=1", headers={"host": "inner:7860"})
        assert behind.headers["location"].startswith(world.app.state.settings.openid_provider_url)


async def test_an_account_has_the_cookie_of_its_place(tmp_path: Path) -> None:
    async with stage(tmp_path, public_url="https://playground.example.org") as (world, _):
        assert cookie_name(world) == "__Host-playground"
        async with browser_of(world) as browser:
            answer = await browser.get("/oauth/login", headers={"host": "playground.example.org"})
            asked = dict(parse_qsl(urlsplit(answer.headers["location"]).query))
            assert asked["redirect_uri"] == "https://playground.example.org/oauth/callback"
            assert "Secure" in answer.headers["set-cookie"]


async def test_the_operator_reads_why_a_sign_in_did_not_work(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The word that OAuth has for it, but nothing else that the provider says."""
    async with (
        stage(tmp_path, oauth_client_secret="not the right one") as (world, provider),
        browser_of(world) as browser,
    ):
        assert await sign_in(browser) == "failed"
        assert f"sign-in by {provider.url} does not work: invalid_grant" in caplog.text
    assert "not the right one" not in caplog.text


@pytest.mark.parametrize(("path", "reason"), [("", ""), ("/other", "status 404"), (None, "ConnectError")])
async def test_a_wrong_address_of_the_provider_is_told_at_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, path: str | None, reason: str
) -> None:
    async with own_provider() as provider:
        address = "http://127.0.0.1:9" if path is None else provider.url + path
        await Provider(address, "client", None, "openid").probe()
    assert caplog.text.count("does not work") == bool(reason)
    assert reason in caplog.text


async def test_a_provider_that_is_broken_is_told_at_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with own_provider() as provider:
        provider.twist = BROKEN["discovery fails"]
        await Provider(provider.url, "client", None, "openid").probe()
    assert "does not work: status 500" in caplog.text


async def test_who_the_provider_says_it_is_instead_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with own_provider() as provider:
        await Provider(provider.url.replace("127.0.0.1", "localhost"), "client", None, "openid").probe()
    assert f"discovery names another issuer: '{provider.url}'" in caplog.text


async def test_a_browser_that_signs_in_too_often_is_sent_back_to_the_page(tmp_path: Path) -> None:
    nobody: dict[str, Any] = {"oauth_client_id": "x", "openid_provider_url": "http://127.0.0.1:9"}
    async with running(tmp_path, sign_ins_per_minute=1, **nobody) as world, world.browser() as browser:
        where = []
        for path in ("/oauth/login?next=/c/abc", "/oauth/login", "/oauth/callback?code=a&state=b"):
            answer = await browser.get(path)
            assert (answer.status_code, answer.headers["cache-control"]) == (303, "no-store")
            where.append(answer.headers["location"])
        assert where == ["/?sign_in_error=unavailable", *["/?sign_in_error=busy"] * 2]

"""The account and its sessions, keys and end, and what admins can do, over the wire."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from playground import sse
from tests.attacks.world import Cast, make_app, rows, signed_in, with_key
from tests.playground.scripted import Script
from tests.playground.world import World, ask, events, running, settled


async def me(browser: httpx.AsyncClient) -> dict[str, Any]:
    found: dict[str, Any] = (await browser.get("/api/bootstrap")).json()["me"]
    return found


async def account(browser: httpx.AsyncClient) -> dict[str, Any]:
    answer = await browser.get("/api/account")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


async def test_an_account_shows_itself(tmp_path: Path) -> None:
    async with make_app(tmp_path, tokens_per_day=1000) as cast:
        found = await account(cast.owner)
        assert (found["account"]["handle"], found["account"]["role"]) == ("owner", "member")
        assert [(each["client"], each["current"]) for each in found["sessions"]] == [
            ("Firefox on Linux", True)
        ]
        assert [each["id"] for each in found["scopes"]] == ["conversations", "inference"]
        (key,) = found["keys"]
        assert key["hint"] == "gop_…" + cast.secret[-4:]
        assert (key["name"], key["scopes"]) == ("A key", ["conversations", "inference"])
        assert cast.secret not in str(found)
        usage = found["usage"]
        assert (usage["tokens_limit"], usage["requests_limit"]) == (1000, None)
        assert usage["resets_at"] > usage["day"]
        assert (await me(cast.owner))["initials"] == "O"
        guest = await account(cast.guest)
        assert (guest["account"], guest["sessions"], guest["keys"]) == (None, [], [])


async def test_a_key_does_what_its_scopes_say_and_no_more(tmp_path: Path) -> None:
    async with make_app(tmp_path) as cast:
        turn = await ask(cast.key, "By a program")
        await settled(cast.owner, turn["generation"]["id"])
        assert (await me(cast.key))["role"] == "member"
        calls = [("GET", "/api/account"), ("DELETE", "/api/account"), ("DELETE", "/api/account/sessions")]
        calls += [("DELETE", "/api/account/sessions/x"), ("DELETE", "/api/account/keys/x")]
        calls += [("POST", "/api/account/keys")]
        for method, path in calls:
            body = {"name": "More", "scopes": ["conversations"], "confirm": "delete"}
            answer = await cast.key.request(method, path, json=body)
            assert answer.status_code in {400, 403}, (method, path)
        assert rows(cast.world, "api_keys") == 1
        only = {"name": "Only the model", "scopes": ["inference"]}
        secret = (await cast.owner.post("/api/account/keys", json=only)).json()["secret"]
        async with with_key(cast.world, secret) as program:
            for path in ("/api/conversations", "/api/bootstrap", "/api/export"):
                answer = await program.get(path)
                assert (answer.status_code, answer.json()["error"]["code"]) == (403, "missing_scope")
        admins = (await cast.admin.post("/api/account/keys", json=only)).json()["secret"]
        async with with_key(cast.world, admins) as program:
            assert (await program.get("/api/admin/overview")).status_code == 404


async def test_keys_are_named_scoped_counted_and_revoked(tmp_path: Path) -> None:
    async with make_app(tmp_path) as cast:
        wrong = [{"name": " \n", "scopes": ["inference"]}, {"name": "a" * 101, "scopes": ["inference"]}]
        wrong += [{"name": "a", "scopes": []}, {"name": "a", "scopes": ["everything"]}, {"name": "a"}]
        for body in wrong:
            assert (await cast.other.post("/api/account/keys", json=body)).status_code == 400
        for count in range(20):
            body = {"name": f"Key {count}", "scopes": ["inference"]}
            assert (await cast.other.post("/api/account/keys", json=body)).status_code == 201
        assert (await cast.other.post("/api/account/keys", json=body)).status_code == 409
        (key,) = (await account(cast.owner))["keys"]
        assert (await cast.other.delete(f"/api/account/keys/{key['id']}")).status_code == 404
        assert (await cast.owner.delete(f"/api/account/keys/{key['id']}")).status_code == 204
        assert (await cast.key.get("/api/conversations")).status_code == 401


async def test_guests_have_keys_only_where_nobody_can_sign_in(tmp_path: Path) -> None:
    body = {"name": "A key", "scopes": ["conversations"]}
    async with make_app(tmp_path) as cast:
        assert (await cast.guest.post("/api/account/keys", json=body)).status_code == 401
    async with running(tmp_path / "alone") as world, world.browser() as browser:
        secret = (await browser.post("/api/account/keys", json=body)).json()["secret"]
        turn = await ask(browser, "By hand")
        async with with_key(world, secret) as program:
            shown = await program.get(f"/api/conversations/{turn['conversation']['id']}")
            assert shown.status_code == 200
            assert "set-cookie" not in shown.headers


async def test_the_keys_of_a_closed_circle_rest_without_a_sign_in(tmp_path: Path) -> None:
    async with make_app(tmp_path, allowed_orgs="makers", session_days=30) as cast:
        accounts = cast.world.app.state.accounts
        now = accounts.clock()
        assert (await cast.key.get("/api/conversations")).status_code == 200
        accounts.clock = lambda: now + timedelta(days=31)
        assert (await cast.key.get("/api/conversations")).json()["error"]["code"] == "sign_in_required"


async def test_whoever_is_taken_off_the_list_is_out_at_once(tmp_path: Path) -> None:
    async with make_app(tmp_path, allowed_users="owner") as cast:
        assert (await cast.owner.get("/api/conversations")).status_code == 200
        answer = await cast.other.get("/api/conversations")
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_allowed")


@pytest.mark.parametrize("who", ["guest", "owner"])
async def test_deleting_the_account_deletes_everything(tmp_path: Path, who: str) -> None:
    async with make_app(tmp_path) as cast:
        browser: httpx.AsyncClient = getattr(cast, who)
        before = (rows(cast.world, "users"), rows(cast.world, "conversations"))
        cast.world.engine.script = Script(hold=asyncio.Event(), hold_at=2)
        kept, temporary = await ask(browser, "Kept"), await ask(browser, "Not kept", temporary=True)
        for body in ({}, {"confirm": "yes"}, None):
            assert (await browser.request("DELETE", "/api/account", json=body)).status_code == 400
        answer = await browser.request("DELETE", "/api/account", json={"confirm": "delete"})
        assert answer.status_code == 204
        assert "set-cookie" in answer.headers
        assert (await me(browser))["kind"] == "guest"
        for turn in (kept, temporary):
            address = f"/api/conversations/{turn['conversation']['id']}"
            assert (await browser.get(address)).status_code == 404
        async with asyncio.timeout(10):
            while cast.world.app.state.turns.task_count:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.02)
        after = (rows(cast.world, "users"), rows(cast.world, "conversations"))
        # the browser is a new guest now; the deleted guest was not there before his first request
        assert after == (before[0] + (who == "guest"), before[1])
        assert rows(cast.world, "api_keys") == (1 if who == "guest" else 0)


async def test_the_last_admin_leaves_nobody_behind_and_loses_nothing_by_trying(tmp_path: Path) -> None:
    async with make_app(tmp_path) as cast:
        cast.world.engine.script = script = Script(hold=asyncio.Event(), hold_at=2)
        turn = await ask(cast.admin, "Long")
        asked = ("DELETE", "/api/account")
        answer = await cast.admin.request(*asked, json={"confirm": "delete"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
        assert answer.json()["error"]["message"].startswith("This is the last admin.")
        assert script.hold is not None
        script.hold.set()
        ended = await settled(cast.admin, turn["generation"]["id"])
        assert ended["generation"]["status"] == "finished"
        owner = await user_of(cast.owner)
        await cast.admin.post(f"/api/admin/users/{owner}/role", json={"role": "admin"})
        assert (await cast.admin.request(*asked, json={"confirm": "delete"})).status_code == 204


async def test_a_guest_who_signs_out_stays_who_he_is(tmp_path: Path) -> None:
    async with make_app(tmp_path) as cast:
        turn = await ask(cast.guest, "Mine")
        answer = await cast.guest.post("/api/account/sign-out")
        assert (answer.status_code, "set-cookie" in answer.headers) == (204, False)
        assert (await cast.guest.get(f"/api/conversations/{turn['conversation']['id']}")).status_code == 200


async def test_admins_see_counts_and_no_text(tmp_path: Path) -> None:
    async with make_app(tmp_path) as cast:
        turn = await ask(cast.owner, "A canary in the question")
        await settled(cast.owner, turn["generation"]["id"])
        overview = (await cast.admin.get("/api/admin/overview")).json()
        assert overview["totals"]["conversations"] == 1
        assert overview["health"]["database"]["integrity"] == "ok"
        assert overview["health"]["database"]["last_backup"] is None
        assert overview["limits"]["replies_at_once"] == 0
        await cast.guest.get("/api/conversations")
        listed = (await cast.admin.get("/api/admin/users?limit=2")).json()
        assert len(listed["users"]) == 2
        rest = (await cast.admin.get(f"/api/admin/users?limit=200&after={listed['next']}")).json()
        assert rest["next"] is None
        assert listed["counts"] == {"accounts": 3, "guests": 1, "banned": 0}
        only = (await cast.admin.get("/api/admin/users?kind=guests")).json()["users"]
        assert [each["handle"] for each in only] == [None]
        wrong = await cast.admin.get("/api/admin/users?kind=everybody")
        assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "kind")
        users = {each["handle"]: each for each in listed["users"] + rest["users"]}
        assert (users["owner"]["conversations"], users["owner"]["messages"]) == (1, 3)
        assert "canary" not in str((overview, users))
        for client in (cast.guest, cast.owner, cast.key):
            assert (await client.get("/api/admin/overview")).status_code == 404


async def user_of(browser: httpx.AsyncClient) -> str:
    return str((await me(browser))["id"])


async def test_a_ban_stops_replies_sessions_and_keys(tmp_path: Path) -> None:
    async with make_app(tmp_path) as cast:
        cast.world.engine.script = Script(hold=asyncio.Event(), hold_at=2)
        turn = await ask(cast.owner, "Long")
        owner, admin = await user_of(cast.owner), await user_of(cast.admin)
        answer = await cast.admin.post(f"/api/admin/users/{owner}/ban")
        assert answer.json()["user"]["banned_at"] is not None
        generation = cast.world.store.get_generation(owner, turn["generation"]["id"])
        assert generation.status == "cancelled"
        for path in ("/api/changes", "/api/bootstrap"):  # a page that is open is told why it ended
            refused = await cast.owner.get(path)
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, "banned")
            assert "set-cookie" not in refused.headers
        assert (await cast.key.get("/api/conversations")).status_code == 401
        assert (await cast.admin.post(f"/api/admin/users/{admin}/ban")).status_code == 409
        assert (await cast.admin.post("/api/admin/users/nobody/ban")).status_code == 404
        answer = await cast.admin.delete(f"/api/admin/users/{owner}/ban")
        assert answer.json()["user"]["banned_at"] is None
        assert (await cast.key.get("/api/conversations")).status_code == 200
        assert (await me(cast.owner))["kind"] == "guest"  # and the session stays over


async def test_a_banned_persons_next_page_is_a_guests(tmp_path: Path) -> None:
    async with make_app(tmp_path) as cast:
        owner = await user_of(cast.owner)
        await cast.admin.post(f"/api/admin/users/{owner}/ban")
        assert (await cast.owner.get("/api/bootstrap")).status_code == 403
        await cast.owner.get("/")
        assert (await me(cast.owner))["kind"] == "guest"
        assert await user_of(cast.owner) != owner


async def test_roles_are_given_and_the_last_admin_stays(tmp_path: Path) -> None:
    async with make_app(tmp_path) as cast:
        owner, admin = await user_of(cast.owner), await user_of(cast.admin)
        last = await cast.admin.post(f"/api/admin/users/{admin}/role", json={"role": "member"})
        assert last.status_code == 409
        given = await cast.admin.post(f"/api/admin/users/{owner}/role", json={"role": "admin"})
        assert given.json()["user"]["role"] == "admin"
        assert (await cast.owner.get("/api/admin/overview")).status_code == 200
        wrong = await cast.admin.post(f"/api/admin/users/{owner}/role", json={"role": "owner"})
        assert wrong.status_code == 400


@pytest.mark.parametrize("values", [{"behind_proxy": True}, {}])
async def test_admins_may_change_the_model_and_read_the_figures(
    tmp_path: Path, values: dict[str, Any]
) -> None:
    # Through a plain proxy on this machine everybody seems to sit at it: no header tells them apart.
    async with make_app(tmp_path, **values) as cast:
        for name, may in (("guest", False), ("owner", False), ("key", False), ("admin", True)):
            client: httpx.AsyncClient = cast.everybody[name]
            answer = (await client.get("/api/models")).json()
            assert answer["may_choose"] is may, name
            assert answer["why_not"] == ("" if may else "Only an admin can change the model.")
            assert (await client.get("/metrics")).status_code == (200 if may else 404), name
            chosen = await client.post("/api/model", json={"name": "demo"})
            assert chosen.status_code == (202 if may else 403), name
    async with make_app(tmp_path / "fixed", model_choice="nobody", behind_proxy=True) as cast:
        assert (await cast.admin.get("/api/models")).json()["may_choose"] is False


@pytest.mark.parametrize("end", ["sign-out", "revoked key", "nothing"])
async def test_a_stream_ends_with_the_session_that_it_began_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(sse, "ASK_SECONDS", 0.0)
    async with make_app(tmp_path) as cast:
        hold = asyncio.Event()
        cast.world.engine.script = Script(hold=hold, hold_at=2)
        turn = await ask(cast.owner, "Long")
        reader = cast.key if end == "revoked key" else cast.owner
        reading = asyncio.create_task(events(reader, turn["generation"]["id"]))
        await until_read(cast)
        if end == "revoked key":
            (key,) = (await account(cast.owner))["keys"]
            await cast.owner.delete(f"/api/account/keys/{key['id']}")
        elif end == "sign-out":
            await cast.owner.delete("/api/account/sessions")
        hold.set()
        seen = await reading
        finished = bool(seen) and seen[-1].name == "finish"
        assert finished is (end == "nothing")


async def until_read(cast: Cast) -> None:
    runs = cast.world.app.state.turns.runs
    async with asyncio.timeout(10):
        while not any(run.reader_count for run in runs.find_open(lambda run: True)):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_the_same_person_in_two_browsers_is_one_account(tmp_path: Path) -> None:
    async with make_app(tmp_path) as cast:
        world: World = cast.world
        turn = await ask(cast.owner, "Here")
        async with signed_in(world, "owner") as elsewhere:
            address = f"/api/conversations/{turn['conversation']['id']}"
            assert (await elsewhere.get(address)).status_code == 200
            listed = (await account(elsewhere))["sessions"]
            assert [each["current"] for each in listed].count(True) == 1
            assert len(listed) == 2

"""Two browsers never see each other: what one names by id is absent for the other."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from playground import views
from playground.accounts.identity import PLAIN_NAME, SECURE_NAME, cookie_header, token_hash
from storage.account_records import Identity
from storage.records import ChatSettings
from tests.playground.scripted import Script
from tests.playground.world import TIMEOUT, World, ask, events, running, settled

BY_ID = "about one id"
ADMIN = "for admins, and absent for everybody else"
ROUTES = {
    ("DELETE", "/api/account/sessions/{session_id}"): BY_ID,
    ("DELETE", "/api/account/keys/{key_id}"): BY_ID,
    ("GET", "/api/admin/overview"): ADMIN,
    ("GET", "/api/admin/users"): ADMIN,
    ("POST", "/api/admin/users/{user_id}/ban"): ADMIN,
    ("DELETE", "/api/admin/users/{user_id}/ban"): ADMIN,
    ("POST", "/api/admin/users/{user_id}/role"): ADMIN,
    ("GET", "/api/conversations/{conversation_id}"): BY_ID,
    ("PATCH", "/api/conversations/{conversation_id}"): BY_ID,
    ("DELETE", "/api/conversations/{conversation_id}"): BY_ID,
    ("POST", "/api/conversations/{conversation_id}/select"): BY_ID,
    ("POST", "/api/conversations/{conversation_id}/restore"): BY_ID,
    ("GET", "/api/conversations/{conversation_id}/export"): BY_ID,
    ("POST", "/api/turns"): BY_ID,
    ("GET", "/api/generations/{generation_id}"): BY_ID,
    ("GET", "/api/generations/{generation_id}/raw"): BY_ID,
    ("GET", "/api/generations/{generation_id}/events"): BY_ID,
    ("POST", "/api/generations/{generation_id}/cancel"): BY_ID,
    ("PATCH", "/api/presets/{preset_id}"): BY_ID,
    ("DELETE", "/api/presets/{preset_id}"): BY_ID,
    ("POST", "/api/shares"): BY_ID,
    ("DELETE", "/api/shares/{share_id}"): BY_ID,
}
NOBODY = "0" * 32


@dataclass
class Scene:
    """Alice has a finished and a running reply, a preset and a link; Bob has a chat of his own."""

    world: World
    alice: httpx.AsyncClient
    bob: httpx.AsyncClient
    finished: dict[str, Any]
    open: dict[str, Any]
    bobs: dict[str, Any]
    preset: str
    share: str
    key: str
    session: str


async def scene(world: World, alice: httpx.AsyncClient, bob: httpx.AsyncClient) -> Scene:
    finished, bobs = await ask(alice, "Alice's finished secret"), await ask(bob, "Bob's own")
    await settled(alice, finished["generation"]["id"])
    await settled(bob, bobs["generation"]["id"])
    preset = await alice.post("/api/presets", json={"name": "Alice's preset", "settings": {"seed": 5}})
    share = await alice.post(
        "/api/shares", json={"conversation_id": finished["conversation"]["id"], "include_reasoning": True}
    )
    world.engine.script = Script(hold=asyncio.Event(), hold_at=0)
    open_turn = await ask(alice, "Alice's running secret")
    await until_running(alice, open_turn["generation"]["id"])
    key = await alice.post("/api/account/keys", json={"name": "Alice's key", "scopes": ["conversations"]})
    ids = (
        preset.json()["preset"]["id"],
        share.json()["share"]["id"],
        key.json()["key"]["id"],
        session_of_nobody_here(world),
    )
    return Scene(world, alice, bob, finished, open_turn, bobs, *ids)


def session_of_nobody_here(world: World) -> str:
    """The id of a session of somebody else's."""
    now = datetime.now(UTC)
    _, session = world.store.sign_in(
        Identity("https://id.example", "carol", "carol", "Carol"),
        token_hash=token_hash("carol"),
        client="A browser",
        now=now,
        expires_at=now + timedelta(days=1),
    )
    return session.id


async def until_running(browser: httpx.AsyncClient, generation_id: str) -> None:
    address = f"/api/generations/{generation_id}"
    async with asyncio.timeout(TIMEOUT):
        while (await browser.get(address)).json()["generation"]["status"] != "running":  # noqa: ASYNC110 - over the wire there is no event
            await asyncio.sleep(0.02)


async def test_a_foreign_id_reads_byte_for_byte_like_an_absent_one(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as alice, world.browser() as bob:
        state = await scene(world, alice, bob)
        before = await everything(state)
        for turn in (state.finished, state.open):
            for method, path in (route for route, kind in ROUTES.items() if kind == BY_ID):
                for foreign, absent in requests(method, path, turn, state):
                    theirs = await bob.request(method, **foreign)
                    nobodys = await bob.request(method, **absent)
                    assert (theirs.status_code, theirs.content) == (nobodys.status_code, nobodys.content)
                    assert theirs.status_code == 404, (method, foreign, theirs.text)
        assert await everything(state) == before, "nothing of Alice's was changed"
        assert [each["title"] for each in (await bob.get("/api/conversations")).json()["items"]] == [
            "Bob's own"
        ]
        run = world.app.state.turns.runs.find_open(lambda run: True)[0]
        assert run.cancel_requested is False
        assert state.world.engine.script.hold is not None
        state.world.engine.script.hold.set()
        seen = await events(alice, state.open["generation"]["id"])
        assert seen[-1].data["status"] == "finished"


def requests(
    method: str, path: str, turn: dict[str, Any], state: Scene
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The same calls with Alice's ids and with ids of nobody's."""
    alices = {
        "conversation_id": turn["conversation"]["id"],
        "generation_id": turn["generation"]["id"],
        "message_id": turn["user_message"]["id"],
        "preset_id": state.preset,
        "share_id": state.share,
        "key_id": state.key,
        "session_id": state.session,
    }
    nobodys = dict.fromkeys(alices, NOBODY)
    calls = zip(calls_of(method, path, alices, state), calls_of(method, path, nobodys, state), strict=True)
    return list(calls)


def calls_of(method: str, path: str, ids: dict[str, str], state: Scene) -> list[dict[str, Any]]:
    """Calls of one route with these ids; where they belong into the body, in Bob's own chat, too."""
    url = re.sub(r"\{(\w+)\}", lambda match: ids[match[1]], path)
    conversation, generation = ids["conversation_id"], ids["generation_id"]
    message, bobs = ids["message_id"], state.bobs["conversation"]["id"]
    bodies: list[dict[str, Any] | None] = [None]
    if path == "/api/turns":
        places: list[dict[str, Any]] = [
            {"text": "Bob's"},
            {"text": "Bob's", "wait": True},
            {"text": "Bob's", "edit_of": message},
            {"regenerate": message},
            {"continue_of": generation},
            {"continue_of": generation, "mode": "answer_now"},
            {"text": "Bob's", "parent_id": message},
        ]
        bodies = [{"conversation_id": conversation, **place} for place in places]
        bodies += [{"conversation_id": bobs, **place} for place in places[2:]]
        bodies += [{"conversation_id": None, **place} for place in places[2:]]
    elif path.endswith("/select"):
        bodies = [{"message_id": message}, {"generation_id": generation}]
    elif path == "/api/shares":
        bodies = [{"conversation_id": conversation, "include_reasoning": False}]
    elif method == "PATCH":
        bodies = [{"name": "Bob's"}] if "preset" in path else [{"title": "Bob's"}, {"settings": {"seed": 1}}]
    calls: list[dict[str, Any]] = [
        {"url": url} if body is None else {"url": url, "json": body} for body in bodies
    ]
    if path.endswith("/select"):
        own = path.replace("{conversation_id}", bobs)
        calls += [{"url": own, "json": body} for body in bodies]
    return calls


async def everything(state: Scene) -> list[Any]:
    """All that Alice can see."""
    addresses = [
        "/api/account",
        "/api/conversations",
        "/api/preferences",
        "/api/presets",
        "/api/shares",
        "/api/changes",
    ]
    addresses += [f"/api/conversations/{turn['conversation']['id']}" for turn in (state.finished, state.open)]
    return [(await state.alice.get(address)).json() for address in addresses]


async def test_a_parent_from_another_conversation_is_not_found(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        first, second = await ask(browser, "One"), await ask(browser, "Two")
        for turn in (first, second):
            await settled(browser, turn["generation"]["id"])
        body = {
            "text": "Mix",
            "conversation_id": first["conversation"]["id"],
            "parent_id": second["user_message"]["id"],
        }
        assert (await browser.post("/api/turns", json=body)).status_code == 404


async def test_what_is_the_askers_own_is_apart(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as alice, world.browser() as bob:
        await scene(world, alice, bob)
        await alice.patch(
            "/api/preferences",
            json={"effort": "high", "theme": "dark", "show_reasoning": True, "settings": {"seed": 3}},
        )
        theirs = (await bob.get("/api/bootstrap")).json()["preferences"]
        assert theirs == {
            "effort": "medium",
            "show_reasoning": False,
            "theme": "system",
            "settings": views.settings(ChatSettings()),
        }
        assert [each["title"] for each in (await bob.get("/api/conversations")).json()["items"]] == [
            "Bob's own"
        ]
        for address in ("/api/presets", "/api/shares"):
            assert (await bob.get(address)).json()["items"] == []
            assert len((await alice.get(address)).json()["items"]) == 1
        seen = (await bob.get("/api/changes?after=0")).json()
        assert [each["title"] for each in seen["items"]] == ["Bob's own"]
        found = (await bob.get("/api/search?q=secret")).json()["items"]
        assert found == []
        assert "secret" not in (await bob.get("/api/export")).text
        mine = (await alice.get("/api/conversations")).json()["items"]
        assert [each["title"] for each in mine] == ["Alice's running secret", "Alice's finished secret"]
        async with world.browser() as nobody:
            assert (await nobody.get("/api/conversations")).json()["items"] == []


async def test_what_is_for_admins_reads_like_what_does_not_exist(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        absent = await browser.get("/api/admin/nothing")
        for method, path in (route for route, kind in ROUTES.items() if kind == ADMIN):
            answer = await browser.request(method, path.replace("{user_id}", NOBODY), json={"role": "admin"})
            assert (answer.status_code, answer.content) == (404, absent.content), (method, path)


async def test_the_same_client_id_of_two_people_makes_two_turns(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as alice, world.browser() as bob:
        turns = [await ask(who, client_id="one") for who in (alice, bob)]
        assert turns[0]["generation"]["id"] != turns[1]["generation"]["id"]


async def test_the_cookie_is_opaque_and_only_its_hash_is_stored(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        answer = await browser.get("/api/bootstrap")
        header = answer.headers["set-cookie"]
        token = browser.cookies[PLAIN_NAME]
        assert re.fullmatch(r"[A-Za-z0-9_-]{43}", token)
        assert header == cookie_header(token, secure=False, embedded=False)
        assert header.endswith("; HttpOnly; SameSite=Lax")
        assert "set-cookie" not in (await browser.get("/api/bootstrap")).headers
        await settled(browser, (await ask(browser))["generation"]["id"])
        files = await asyncio.to_thread(lambda: [file.read_bytes() for file in tmp_path.iterdir()])
        assert not [content for content in files if token.encode() in content]
        assert world.store.user_for_identity(token_hash(token)).id == world.engine.requests[0].user_key


@pytest.mark.parametrize("value", ["", "short", "x" * 44, "a" * 42 + "!", '"' + "a" * 43])
async def test_a_malformed_cookie_gives_a_new_identity(tmp_path: Path, value: str) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        answer = await browser.get("/api/bootstrap", headers={"cookie": f"{PLAIN_NAME}={value}"})
        assert answer.status_code == 200
        assert value not in answer.headers["set-cookie"] or not value


async def test_over_https_the_cookie_is_bound_to_the_host(tmp_path: Path) -> None:
    async with running(tmp_path, behind_proxy=True) as world, world.browser() as browser:
        answer = await browser.get("/api/bootstrap", headers={"x-forwarded-proto": "https"})
        header = answer.headers["set-cookie"]
        assert header.startswith(f"{SECURE_NAME}=")
        assert header.endswith("; Path=/; Max-Age=34560000; HttpOnly; Secure; SameSite=Lax")
    async with running(tmp_path) as world, world.browser() as browser:
        answer = await browser.get("/api/bootstrap", headers={"x-forwarded-proto": "https"})
        assert answer.headers["set-cookie"].startswith(f"{PLAIN_NAME}="), (
            "an untrusted header changes nothing"
        )


async def test_in_the_frame_of_a_space_the_cookie_is_partitioned(tmp_path: Path) -> None:
    space: dict[str, Any] = {
        "system": "spaces",
        "space_id": "someone/playground",
        "space_host": "someone-playground.hf.space",
    }
    async with running(tmp_path, **space) as world, world.browser() as browser:
        header = (await browser.get("/api/bootstrap")).headers["set-cookie"]
        assert header.startswith(f"{SECURE_NAME}=")
        assert header.endswith("; HttpOnly; Secure; SameSite=None; Partitioned")

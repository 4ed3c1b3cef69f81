"""Whom requests to the OpenAI APIs act for: keys, cookies, and programs that have neither."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import openai
import pytest
import pytest_asyncio

from playground.api.openai.identity import SHARED_GUEST
from storage.account_records import Usage
from tests.attacks.world import Cast, cookie_name, make_app, rows, with_cookie
from tests.playground.openai.chats import body_of, until
from tests.playground.openai.conftest import client_of
from tests.playground.scripted import Script
from tests.playground.world import World, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHAT = "/v1/chat/completions"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cast(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cast]:
    async with make_app(tmp_path_factory.mktemp("identity")) as cast:
        yield cast


def asker(world: World) -> str:
    """For whom the last reply was written; an address may follow, for a guest of many."""
    return world.engine.requests[-1].user_key.partition(" ")[0]


async def test_a_key_is_its_owner_and_a_cookie_that_person(cast: Cast) -> None:
    owner = (await cast.owner.get("/api/account")).json()["account"]["id"]
    for client in (cast.owner, cast.key):
        assert (await client.post(CHAT, json=body_of())).status_code == 200
        assert asker(cast.world) == owner
    async with client_of(cast.world.url, cast.secret) as sdk:
        await sdk.chat.completions.create(**body_of())
        assert asker(cast.world) == owner
    guest = (await cast.guest.get("/api/bootstrap")).cookies
    await cast.guest.post(CHAT, json=body_of())
    assert guest or cast.guest.cookies
    assert asker(cast.world) not in {owner, shared_guest(cast.world)}


def used_today(world: World, user_id: str) -> Usage:
    return world.store.usage_of(user_id, datetime.now(UTC).date().isoformat())


def shared_guest(world: World) -> str:
    return world.store.user_for_identity(SHARED_GUEST).id


async def test_programs_without_a_key_of_ours_are_one_guest(cast: Cast) -> None:
    async with cast.world.browser() as first:
        assert (await first.post(CHAT, json=body_of())).status_code == 200
    known = shared_guest(cast.world)
    assert asker(cast.world) == known
    users = rows(cast.world, "users")
    for headers in (
        {"Authorization": "Bearer none"},
        {"Authorization": "Bearer sk-proj-abc"},
        {"Authorization": "Basic eDp5"},
        {"Authorization": ""},
        {"api-key": "x"},
        {"Cookie": f"{cookie_name(cast.world)}={'A' * 43}"},
    ):
        async with cast.world.browser() as program:
            answer = await program.post(CHAT, json=body_of(), headers=headers)
        assert answer.status_code == 200
        assert "set-cookie" not in answer.headers
        assert asker(cast.world) == known
    assert rows(cast.world, "users") == users
    await until(lambda: used_today(cast.world, known).requests >= 7)


async def test_no_cookie_is_the_shared_guest(cast: Cast) -> None:
    """Its place in the database is the hash of a text that no cookie can be."""
    for token in (SHARED_GUEST, SHARED_GUEST[:43], "the guest that programs without a key of this playg"):
        async with with_cookie(cast.world, token) as thief:
            await thief.get("/api/bootstrap")
            await thief.post("/api/turns", json={"text": "Who am I?"})
        assert asker(cast.world) != shared_guest(cast.world)


async def test_keys_that_open_nothing(cast: Cast) -> None:
    made = await cast.owner.post("/api/account/keys", json={"name": "x", "scopes": ["conversations"]})
    async with client_of(cast.world.url, made.json()["secret"]) as client:
        with pytest.raises(openai.PermissionDeniedError) as denied:
            await client.chat.completions.create(**body_of())
    assert (denied.value.code, denied.value.type) == ("missing_scope", "permission_error")
    await cast.owner.delete(f"/api/account/keys/{made.json()['key']['id']}")
    asked = len(cast.world.engine.requests)
    for secret in (made.json()["secret"], "gop_" + "a" * 43, "gop_"):
        async with client_of(cast.world.url, secret) as client:
            with pytest.raises(openai.AuthenticationError) as refused:
                await client.models.list()
            assert (refused.value.code, refused.value.type) == ("invalid_api_key", "authentication_error")
            with pytest.raises(openai.AuthenticationError):
                await client.chat.completions.create(**body_of())
    assert len(cast.world.engine.requests) == asked


async def test_what_is_being_written_for_a_key_ends_when_it_is_revoked(cast: Cast) -> None:
    made = (await cast.owner.post("/api/account/keys", json={"name": "x", "scopes": ["inference"]})).json()
    cast.world.engine.script = Script(hold=asyncio.Event(), hold_at=2)
    try:
        async with (
            client_of(cast.world.url, made["secret"]) as lost,
            client_of(cast.world.url, cast.secret) as kept,
        ):
            streams = [await each.chat.completions.create(**body_of(), stream=True) for each in (lost, kept)]
            response = await lost.responses.create(model="default", input="x", background=True)
            await until(lambda: cast.world.engine.health().running == 3)
            assert (await cast.owner.delete(f"/api/account/keys/{made['key']['id']}")).status_code == 204
            await until(lambda: cast.world.engine.health().running == 1)  # the other key's reply goes on
            with pytest.raises(openai.APIError, match="ended this reply"):
                assert [chunk async for chunk in streams[0]]
            found = await kept.responses.retrieve(response.id)
            assert found.status == "cancelled"
            await streams[1].close()
    finally:
        cast.world.engine.script = Script()


async def test_what_waits_in_line_for_a_key_never_begins_once_it_is_revoked(tmp_path: Path) -> None:
    async with make_app(tmp_path, replies_at_once=1) as cast:
        cast.world.engine.script = Script(hold=asyncio.Event(), hold_at=2)
        (key,) = (await cast.owner.get("/api/account")).json()["keys"]
        async with client_of(cast.world.url, cast.secret) as client:
            first = asyncio.create_task(client.responses.create(model="default", input="a"))
            await until(lambda: cast.world.engine.health().running == 1)
            waiting = [
                asyncio.create_task(client.responses.create(model="default", input=text)) for text in "bc"
            ]
            completions = cast.world.app.state.completions
            await until(lambda: len(completions._beginning) == 2)
            assert (await cast.owner.delete(f"/api/account/keys/{key['id']}")).status_code == 204
            assert (await first).status == "cancelled"
            for each in waiting:
                with pytest.raises(openai.PermissionDeniedError, match="may not ask here any more"):
                    await each
        assert len(cast.world.engine.requests) == 1


async def test_other_sites_pages_are_refused(cast: Cast) -> None:
    for headers in ({"Origin": "https://elsewhere.example"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = await cast.owner.post(CHAT, json=body_of(), headers=headers)
        assert answer.status_code == 403
        assert answer.json()["error"]["type"] == "permission_error"


async def test_everybody_signs_in_where_they_must(tmp_path: Path) -> None:
    async with make_app(tmp_path, sign_in="required") as cast:
        async with client_of(cast.world.url) as client:
            with pytest.raises(openai.AuthenticationError, match="Send an API key"):
                await client.chat.completions.create(**body_of())
            with pytest.raises(openai.AuthenticationError):
                await client.models.list()
        assert (await cast.guest.get("/api/tags")).status_code == 401
        assert rows(cast.world, "users") == 3
        async with client_of(cast.world.url, cast.secret) as client:
            assert (await client.chat.completions.create(**body_of())).choices
        assert (await cast.owner.post(CHAT, json=body_of())).status_code == 200


async def test_limits_hold_and_are_told(tmp_path: Path) -> None:
    async with (
        running(tmp_path, requests_per_minute=3, tokens_per_day=10) as world,
        client_of(world.url) as client,
    ):
        await client.chat.completions.create(**body_of())
        await until(lambda: used_today(world, shared_guest(world)).tokens > 10)
        with pytest.raises(openai.RateLimitError) as used_up:
            await client.chat.completions.create(**body_of())
        await client.models.list()
        with pytest.raises(openai.RateLimitError) as too_often:
            await client.models.list()
    assert (used_up.value.code, too_often.value.code) == ("quota_exceeded", "rate_limited")
    for refused in (used_up.value, too_often.value):
        assert refused.type == "rate_limit_error"
        assert int(refused.response.headers["retry-after"]) > 0


async def test_errors_before_any_route_have_the_same_shape(cast: Cast) -> None:
    large = {"messages": [{"role": "user", "content": "x" * 2_100_000}]}
    calls: list[tuple[httpx.Response, int]] = [
        (await cast.guest.get("/v1/nothing"), 404),
        (await cast.guest.get(CHAT), 405),
        (await cast.guest.post(CHAT, json=large), 413),
        (await cast.guest.post(CHAT, content=b"{", headers={"Content-Type": "application/json"}), 400),
        (await cast.guest.post(CHAT, content=b"[" * 100_000), 400),
        (await cast.guest.post(CHAT, json=[1]), 400),
    ]
    for answer, status in calls:
        assert answer.status_code == status, answer.text
        error = answer.json()["error"]
        assert {"message", "type", "code"} <= set(error) <= {"message", "type", "param", "code"}
        assert error["type"] == "invalid_request_error"
        assert error["message"].endswith(".")


async def test_ollamas_clients_find_the_model(cast: Cast) -> None:
    version = (await cast.guest.get("/api/version")).json()
    assert version["version"]
    models = (await cast.guest.get("/api/tags")).json()["models"]
    assert models[0]["name"] == "scripted"
    description = (await cast.guest.get("/v1/openapi.json")).json()
    assert {"/chat/completions", "/models"} <= set(description["paths"])
    assert description["servers"] == [{"url": "/v1"}]

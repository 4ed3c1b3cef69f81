"""Bans, revoked keys and ended sessions end what was begun with them, also what still waits to begin."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from playground import sse
from tests.attacks.world import Cast, make_app
from tests.playground.scripted import Script
from tests.playground.world import ask, settled

pytestmark = pytest.mark.asyncio


async def user_of(browser: httpx.AsyncClient) -> str:
    found: str = (await browser.get("/api/account")).json()["account"]["id"]
    return found


async def waiting_in(cast: Cast, browser: httpx.AsyncClient, conversation: str) -> asyncio.Task[Any]:
    """A question that waits for the end of the reply before it."""
    body = {"text": "Next", "conversation_id": conversation, "wait": True}
    waiting = asyncio.create_task(browser.post("/api/turns", json=body))
    lines = cast.world.app.state.turns._lines._lines
    async with asyncio.timeout(10):
        while not any(lines.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return waiting


async def status_of(cast: Cast, turn: dict[str, Any], user: str) -> str:
    """How a reply ended, as the database has it."""
    async with asyncio.timeout(10):
        while True:
            record = cast.world.store.get_generation(user, turn["generation"]["id"])
            if record.status.value not in {"queued", "running"}:
                return record.status.value
            await asyncio.sleep(0.02)


async def test_what_waits_for_somebody_who_is_banned_is_not_written(tmp_path: Path) -> None:
    async with make_app(tmp_path) as cast:
        cast.world.engine.script = Script(hold=asyncio.Event(), hold_at=2)
        user = await user_of(cast.owner)
        began = await ask(cast.owner, "Long")
        waiting = await waiting_in(cast, cast.owner, began["conversation"]["id"])
        cast.world.engine.script = Script()
        assert (await cast.admin.post(f"/api/admin/users/{user}/ban")).status_code == 200
        assert await status_of(cast, began, user) == "cancelled"
        assert await status_of(cast, (await waiting).json(), user) == "cancelled"
        await cast.admin.delete(f"/api/admin/users/{user}/ban")
        again = (await cast.key.post("/api/turns", json={"text": "Again"})).json()
        ended = await settled(cast.key, again["generation"]["id"])
        assert ended["generation"]["status"] == "finished"


async def test_what_a_key_began_ends_with_the_key(tmp_path: Path) -> None:
    """The reply that is being written, and the one that waits for its end; other replies go on."""
    async with make_app(tmp_path) as cast:
        cast.world.engine.script = Script(hold=asyncio.Event(), hold_at=2)
        user = await user_of(cast.owner)
        began = await ask(cast.key, "Long")
        other = await ask(cast.owner, "By hand")
        waiting = await waiting_in(cast, cast.key, began["conversation"]["id"])
        (key,) = (await cast.owner.get("/api/account")).json()["keys"]
        assert (await cast.owner.delete(f"/api/account/keys/{key['id']}")).status_code == 204
        assert await status_of(cast, began, user) == "cancelled"
        assert await status_of(cast, (await waiting).json(), user) == "cancelled"
        found = (await cast.owner.get(f"/api/generations/{other['generation']['id']}")).json()
        assert found["generation"]["status"] == "running"


async def test_links_of_somebody_who_is_banned_show_nothing_meanwhile(tmp_path: Path) -> None:
    async with make_app(tmp_path) as cast:
        turn = await ask(cast.owner, "Hi")
        await settled(cast.owner, turn["generation"]["id"])
        body = {"conversation_id": turn["conversation"]["id"], "include_reasoning": False}
        path = (await cast.owner.post("/api/shares", json=body)).json()["share"]["path"]
        address = path.replace("/s/", "/api/shared/")
        user = await user_of(cast.owner)
        seen = []
        async with cast.world.browser() as reader:
            seen.append((await reader.get(address)).status_code)
            await cast.admin.post(f"/api/admin/users/{user}/ban")
            seen.append((await reader.get(address)).status_code)
            seen.append((await reader.get(path)).status_code)
            seen.append((await reader.post(f"{address}/import")).status_code)
            await cast.admin.delete(f"/api/admin/users/{user}/ban")
            seen.append((await reader.get(address)).status_code)
        assert seen == [200, 404, 404, 404, 200]


@pytest.mark.parametrize("end", ["revoked key", "sign-out", "nothing"])
async def test_a_stream_of_the_openai_apis_ends_with_what_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """The response belongs to another key of the person, so it goes on without this reader."""
    monkeypatch.setattr(sse, "ASK_SECONDS", 0.0)
    async with make_app(tmp_path) as cast:
        hold = asyncio.Event()
        cast.world.engine.script = Script(hold=hold, hold_at=2)
        body = {"model": "default", "input": "x", "background": True}
        response = (await cast.key.post("/v1/responses", json=body)).json()["id"]
        made = (
            await cast.owner.post("/api/account/keys", json={"name": "B", "scopes": ["inference"]})
        ).json()
        headers = {"Authorization": f"Bearer {made['secret']}"} if end != "sign-out" else {}
        address = f"/v1/responses/{response}?stream=true"
        async with cast.owner.stream("GET", address, headers=headers) as stream:
            lines = stream.aiter_lines()
            first = await anext(lines)
            if end == "revoked key":
                await cast.owner.delete(f"/api/account/keys/{made['key']['id']}")
            elif end == "sign-out":
                await cast.owner.delete("/api/account/sessions")
            hold.set()
            rest = [line async for line in lines]
        assert first.startswith("event: response.created")
        assert any("response.completed" in line for line in rest) is (end == "nothing")


async def test_a_chat_stream_ends_when_its_browser_is_signed_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "ASK_SECONDS", 0.0)
    async with make_app(tmp_path) as cast:
        hold = asyncio.Event()
        cast.world.engine.script = Script(hold=hold, hold_at=2)
        body = {"model": "default", "messages": [{"role": "user", "content": "x"}], "stream": True}
        async with cast.owner.stream("POST", "/v1/chat/completions", json=body) as stream:
            lines = stream.aiter_lines()
            await anext(lines)
            await cast.owner.delete("/api/account/sessions")
            hold.set()
            rest = [line async for line in lines]
        assert "data: [DONE]" not in rest

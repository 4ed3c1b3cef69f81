"""Temporary chats: everything works with them, nothing of them is stored, and they end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx

from playground.temporary import KEEP_SECONDS, MOST_OF_ONE, Stores
from storage.store import Store
from tests.playground.scripted import Script
from tests.playground.world import World, ask, events, running, settled, text_of

SECRET = "my temporary secret"


async def temporary(browser: httpx.AsyncClient, text: str = SECRET, **fields: Any) -> dict[str, Any]:
    turn = await ask(browser, text, temporary=True, **fields)
    assert turn["conversation"]["temporary"] is True
    assert turn["conversation"]["id"].startswith("t")
    await settled(browser, turn["generation"]["id"])
    return turn


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def still(world: World) -> Clock:
    """Let the temporary chats of this process live by a clock of the test's own."""
    clock = Clock()
    world.app.state.stores._clock = clock
    return clock


async def test_a_temporary_chat_does_what_others_do_and_leaves_no_trace(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        kept = await ask(browser, "Kept")
        await settled(browser, kept["generation"]["id"])
        turn = await temporary(browser, client_id="once", settings={"seed": 4})
        assert (await ask(browser, SECRET, temporary=True, client_id="once"))["generation"]["id"] == (
            turn["generation"]["id"]
        )
        conversation = turn["conversation"]["id"]
        address = f"/api/conversations/{conversation}"
        assert turn["generation"]["id"].startswith("t")
        seen = await events(browser, turn["generation"]["id"])
        assert text_of(seen, 1) == "The answer is 42."
        raw = (await browser.get(f"/api/generations/{turn['generation']['id']}/raw")).json()
        assert SECRET in raw["prompt"]
        edited = await ask(
            browser, f"{SECRET} edited", conversation_id=conversation, edit_of=turn["user_message"]["id"]
        )
        await settled(browser, edited["generation"]["id"])
        again = await browser.post(
            "/api/turns",
            json={"conversation_id": conversation, "regenerate": edited["user_message"]["id"]},
        )
        await settled(browser, again.json()["generation"]["id"])
        back = await browser.post(f"{address}/select", json={"generation_id": turn["generation"]["id"]})
        assert back.json()["messages"][0]["content"] == SECRET
        changed = await browser.patch(address, json={"title": "Secret title", "settings": {"effort": "low"}})
        assert changed.json()["conversation"]["title"] == "Secret title"
        assert (await browser.get(address)).json()["conversation"]["settings"]["seed"] == 4

        items = (await browser.get("/api/conversations")).json()["items"]
        assert [each["id"] for each in items] == [kept["conversation"]["id"]]
        changes = (await browser.get("/api/changes?after=0")).json()
        assert [each["id"] for each in changes["items"]] == [kept["conversation"]["id"]]
        assert (await browser.get("/api/search?q=secret")).json()["items"] == []
        share = {"conversation_id": conversation, "include_reasoning": True}
        assert (await browser.post("/api/shares", json=share)).status_code == 404
        assert (await browser.delete(address)).status_code == 204
        assert (await browser.get(address)).status_code == 404
        assert (await browser.post(f"{address}/restore")).status_code == 200
    files = await asyncio.to_thread(lambda: [file.read_bytes() for file in tmp_path.iterdir()])
    assert files
    assert not [content for content in files if b"secret" in content]


async def test_nobody_else_reaches_a_temporary_chat(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as alice, world.browser() as bob:
        turn = await temporary(alice)
        await temporary(bob, "Bob's")
        conversation, generation = turn["conversation"]["id"], turn["generation"]["id"]
        nobody = "t" + "0" * 32
        calls: list[tuple[str, str, str, Any]] = [
            ("GET", "/api/conversations/{}", conversation, None),
            ("PATCH", "/api/conversations/{}", conversation, {"title": "Bob's"}),
            ("DELETE", "/api/conversations/{}", conversation, None),
            ("POST", "/api/conversations/{}/restore", conversation, None),
            ("POST", "/api/conversations/{}/select", conversation, {"generation_id": generation}),
            ("GET", "/api/conversations/{}/export", conversation, None),
            ("GET", "/api/generations/{}", generation, None),
            ("GET", "/api/generations/{}/raw", generation, None),
            ("GET", "/api/generations/{}/events", generation, None),
            ("POST", "/api/generations/{}/cancel", generation, None),
        ]
        for method, path, name, body in calls:
            theirs = await bob.request(method, path.format(name), json=body)
            nobodys = await bob.request(method, path.format(nobody), json=body)
            assert (theirs.status_code, theirs.content) == (404, nobodys.content), (method, path)
        sent = {"text": "x", "conversation_id": conversation}
        assert (await bob.post("/api/turns", json=sent)).status_code == 404
        page = (await alice.get(f"/api/conversations/{conversation}")).json()
        assert page["messages"][0]["content"] == SECRET


async def test_a_temporary_chat_ends_two_hours_after_its_last_use(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        clock, turns = still(world), world.app.state.turns
        used, left = await temporary(browser), await temporary(browser)
        world.engine.script = Script(hold=asyncio.Event(), hold_at=3)
        open_turn = await ask(browser, "Runs", temporary=True)
        clock.now += KEEP_SECONDS - 1
        await browser.get(f"/api/conversations/{used['conversation']['id']}")
        await turns.expire_temporary()
        assert (await browser.get(f"/api/conversations/{left['conversation']['id']}")).status_code == 200
        clock.now += 1
        await browser.get(f"/api/conversations/{used['conversation']['id']}")
        clock.now += KEEP_SECONDS - 1
        await turns.expire_temporary()
        for turn, status in ((used, 200), (left, 404), (open_turn, 404)):
            assert (
                await browser.get(f"/api/conversations/{turn['conversation']['id']}")
            ).status_code == status
        assert turns.runs.find_open(lambda run: True) == [], "its reply was stopped"
        assert world.engine.health().running == 0


async def test_a_person_has_a_bounded_number_of_them(tmp_path: Path) -> None:
    async with (
        running(tmp_path, replies_at_once=0) as world,
        world.browser() as browser,
        world.browser() as other,
    ):
        others = await temporary(other)
        first = await temporary(browser)
        made = [await temporary(browser) for _ in range(MOST_OF_ONE)]
        await world.app.state.turns.expire_temporary()
        answers = [
            (await who.get(f"/api/conversations/{turn['conversation']['id']}")).status_code
            for who, turn in ((other, others), (browser, first), (browser, made[0]), (browser, made[-1]))
        ]
        assert answers == [200, 404, 200, 200]


async def test_deleted_ones_do_not_count_and_restored_ones_end_like_others(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        clock, turns = still(world), world.app.state.turns
        first = f"/api/conversations/{(await temporary(browser))['conversation']['id']}"
        for _ in range(MOST_OF_ONE):
            last = f"/api/conversations/{(await temporary(browser))['conversation']['id']}"
            assert (await browser.delete(last)).status_code == 204
        await turns.expire_temporary()
        assert (await browser.get(first)).status_code == 200, "nobody has 20 others any more"
        assert (await browser.post(f"{last}/restore")).status_code == 200
        clock.now += KEEP_SECONDS
        await turns.expire_temporary()
        assert (await browser.get(last)).status_code == 404
        assert (await browser.post(f"{last}/restore")).status_code == 200, "within a minute of its end"
        clock.now += KEEP_SECONDS
        await turns.expire_temporary()
        assert (await browser.get(last)).status_code == 404


def test_an_id_names_its_store_and_memory_is_used_only_when_needed(tmp_path: Path) -> None:
    kept = Store.open(tmp_path / "kept.sqlite3")
    stores = Stores(kept)
    try:
        owner = kept.user_for_identity("a" * 64).id
        assert stores.all() == [kept]
        assert stores.of("t" + "0" * 32) is kept, "as long as there is no other"
        memory = stores.in_memory(owner)
        assert stores.in_memory(owner) is memory
        assert stores.of("t" + "0" * 32) is memory
        assert stores.of("0" * 32) is stores.of(None) is stores.of("") is kept
        stores.use(owner, "0" * 32)
        assert stores.due() == []
    finally:
        stores.close()

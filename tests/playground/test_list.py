"""The list of conversations, what changed in it, undo, and how a conversation is read."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from playground import housekeeping
from playground.shown import FULL_TURNS
from tests.playground.scripted import Script
from tests.playground.world import ask, events, running, settled


async def said(browser: httpx.AsyncClient, text: str, **fields: Any) -> str:
    """A finished turn; the conversation's id."""
    turn = await ask(browser, text, **fields)
    await settled(browser, turn["generation"]["id"])
    return str(turn["conversation"]["id"])


async def titles(browser: httpx.AsyncClient, query: str = "") -> list[str]:
    items = (await browser.get(f"/api/conversations{query}")).json()["items"]
    return [each["title"] for each in items]


async def change(browser: httpx.AsyncClient, conversation: str, **fields: Any) -> dict[str, Any]:
    answer = await browser.patch(f"/api/conversations/{conversation}", json=fields)
    assert answer.status_code == 200, answer.text
    record: dict[str, Any] = answer.json()["conversation"]
    return record


async def test_pinned_ones_come_first_and_archived_ones_apart(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        ids = [await said(browser, f"Chat {number}") for number in range(5)]
        assert (await change(browser, ids[1], pinned=True))["pinned"] is True
        assert (await change(browser, ids[3], archived=True))["archived"] is True
        assert await titles(browser) == ["Chat 1", "Chat 4", "Chat 2", "Chat 0"]
        assert await titles(browser, "?archived=true") == ["Chat 3"]
        page = (await browser.get("/api/conversations?limit=2")).json()
        rest = (await browser.get(f"/api/conversations?limit=9&cursor={page['next_cursor']}")).json()
        assert [each["title"] for each in page["items"] + rest["items"]] == await titles(browser)
        assert rest["next_cursor"] is None
        await change(browser, ids[1], pinned=False)
        await change(browser, ids[3], archived=False)
        assert await titles(browser) == [f"Chat {number}" for number in (4, 3, 2, 1, 0)]


async def test_changes_name_what_is_new_and_what_is_gone(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        start = (await browser.get("/api/changes")).json()
        assert (start["items"], start["removed"], start["complete"]) == ([], [], True)
        first, second = await said(browser, "One"), await said(browser, "Two")

        async def since(number: int) -> dict[str, Any]:
            seen: dict[str, Any] = (await browser.get(f"/api/changes?after={number}")).json()
            assert seen["complete"] is True
            return seen

        seen = await since(start["sequence"])
        assert {each["id"] for each in seen["items"]} == {first, second}
        assert max(each["sequence"] for each in seen["items"]) == seen["sequence"]
        assert (await since(seen["sequence"]))["items"] == []
        for fields in ({"title": "New"}, {"pinned": True}, {"archived": True}, {"settings": {"seed": 1}}):
            before = seen["sequence"]
            await change(browser, first, **fields)
            seen = await since(before)
            assert [each["id"] for each in seen["items"]] == [first], fields
            assert seen["sequence"] > before

        world.engine.script = Script(hold=asyncio.Event(), hold_at=0)
        turn = await ask(browser, "More", conversation_id=second)
        begun = await since(seen["sequence"])
        assert [each["running_generation_id"] for each in begun["items"]] == [turn["generation"]["id"]]
        assert world.engine.script.hold is not None
        world.engine.script.hold.set()
        await settled(browser, turn["generation"]["id"])
        ended = await since(begun["sequence"])
        assert [each["running_generation_id"] for each in ended["items"]] == [None]

        await browser.delete(f"/api/conversations/{first}")
        gone = await since(ended["sequence"])
        assert (gone["items"], gone["removed"]) == ([], [first])
        await browser.post(f"/api/conversations/{first}/restore")
        back = await since(gone["sequence"])
        assert ([each["id"] for each in back["items"]], back["removed"]) == ([first], [])


async def test_a_delete_can_be_undone_until_it_is_final(tmp_path: Path) -> None:
    script = Script(hold=asyncio.Event(), hold_at=5)
    async with running(tmp_path, script) as world, world.browser() as browser:
        turn = await ask(browser, "Keep me")
        await events(browser, turn["generation"]["id"], until=4)
        conversation = turn["conversation"]["id"]
        address = f"/api/conversations/{conversation}"
        assert (await browser.delete(address)).status_code == 204
        for method, path in (("GET", address), ("DELETE", address), ("PATCH", address)):
            body = {"title": "x"} if method == "PATCH" else None
            assert (await browser.request(method, path, json=body)).status_code == 404
        assert (
            await browser.post("/api/turns", json={"text": "x", "conversation_id": conversation})
        ).status_code == 404
        assert await titles(browser) == []
        restored = await browser.post(f"{address}/restore")
        assert restored.status_code == 200
        assert restored.json()["conversation"]["id"] == conversation
        page = (await browser.get(address)).json()
        assert page["generations"][0]["status"] == "cancelled", "it was stopped, and its text is there"
        assert page["messages"][1]["content"] != ""
        assert (await browser.post(f"{address}/restore")).status_code == 200, "once more does no harm"

        await browser.delete(address)
        stores = world.app.state.stores
        await housekeeping.tidy(stores, world.app.state.turns)
        assert (await browser.post(f"{address}/restore")).status_code == 200, "a minute is not over"
        await browser.delete(address)
        world.store.purge_deleted(datetime.now(UTC) + timedelta(seconds=1))
        assert (await browser.post(f"{address}/restore")).status_code == 404


async def test_tidying_goes_on_by_itself(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(housekeeping, "EVERY_SECONDS", 0.02)
    monkeypatch.setattr(housekeeping, "UNDO_SECONDS", 0.0)
    async with running(tmp_path) as world, world.browser() as browser:
        conversation = await said(browser, "Gone soon")
        address = f"/api/conversations/{conversation}"
        await browser.delete(address)
        async with asyncio.timeout(60):
            while (await browser.post(f"{address}/restore")).status_code != 404:
                await browser.delete(address)
                await asyncio.sleep(0.05)


async def test_a_long_conversation_comes_without_the_text_of_old_reasoning(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        conversation = None
        for number in range(FULL_TURNS + 2):
            conversation = await said(browser, f"Question {number}", conversation_id=conversation)
        page = (await browser.get(f"/api/conversations/{conversation}")).json()
        light = [each for each in page["messages"] if each["content"] is None]
        assert [each["channel"] for each in light] == ["analysis", "analysis"]
        assert all(
            each["content_chars"] == len("12 + 30 = 42.")
            for each in page["messages"]
            if each["channel"] == "analysis"
        )
        whole = (await browser.get(f"/api/generations/{light[0]['generation_id']}")).json()
        assert whole["messages"][0]["content"] == "12 + 30 = 42."
        answers = [each for each in page["messages"] if each["channel"] == "final"]
        assert {each["content"] for each in answers} == {"The answer is 42."}
        totals, generations = page["totals"], page["generations"]
        assert totals["turns"] == FULL_TURNS + 2 == len(generations)
        for name, usage in (("prompt_tokens", "prompt"), ("completion_tokens", "completion")):
            assert totals[name] == sum(each["usage"][usage] for each in generations)
        assert totals["seconds"] > 0


async def test_the_context_says_what_the_next_prompt_begins_with(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        conversation = await said(browser, "Question")
        for _ in range(3):
            used = (await browser.get(f"/api/conversations/{conversation}")).json()["context"]["used"]
            await said(browser, "Next", conversation_id=conversation)
            codec = world.engine.codec
            question = len(codec.encode_text("Next")) + 4  # its role and markers
            assert len(world.engine.requests[-1].prompt_ids) == used + question
        world.engine.ready = False
        page = (await browser.get(f"/api/conversations/{conversation}")).json()
        assert page["context"]["limit"] is None

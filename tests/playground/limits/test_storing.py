"""How much may be stored, and what still works once that is reached."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from inference.types import Usage
from playground.errors import PlaygroundError
from playground.limits.allowance import Allowance
from playground.limits.storing import (
    MOST_SUMS,
    NEAR_SUM_SECONDS,
    SUM_SECONDS,
    TURN_SUM_SECONDS,
    Storing,
)
from storage.clock import steady_now
from storage.stored import ROW_BYTES, turn_bytes
from tests.attacks.world import WITH_SIGN_IN, signed_in
from tests.playground.world import World, ask, running, settings_for, settled

MEGABYTE = 1_000_000
HERE = {"x-forwarded-for": "203.0.113.1"}


def file_of(size: int, title: str = "Long") -> bytes:
    """A file with one conversation whose text has so many bytes."""
    longest = 500_000
    texts = ["x" * min(longest, size - first) for first in range(0, size, longest)]
    messages = [{"role": "user", "content": text} for text in texts]
    return json.dumps({"title": title, "messages": messages}).encode()


async def imported(browser: httpx.AsyncClient, size: int = 10) -> tuple[int, str, str]:
    """How the import of so much is answered: status, code and parameter."""
    answer = await browser.post("/api/import", content=file_of(size), headers=HERE)
    return told(answer)


def told(answer: httpx.Response) -> tuple[int, str, str]:
    """Status, and what the error says for programs."""
    error: dict[str, Any] = answer.json().get("error", {})
    return answer.status_code, error.get("code", ""), error.get("param", "")


async def conversation_of(browser: httpx.AsyncClient) -> str:
    """The newest conversation."""
    name: str = (await browser.get("/api/conversations")).json()["items"][0]["id"]
    return name


async def shared(browser: httpx.AsyncClient, conversation_id: str) -> httpx.Response:
    """The answer to making a link."""
    body = {"conversation_id": conversation_id, "include_reasoning": False}
    return await browser.post("/api/shares", json=body, headers=HERE)


# --- imports and links ---


async def test_a_copy_of_a_shared_conversation_is_an_import(tmp_path: Path) -> None:
    async with (
        running(tmp_path, imports_per_hour=1) as world,
        world.browser() as owner,
        world.browser() as reader,
    ):
        await imported(owner)
        token = (await shared(owner, await conversation_of(owner))).json()["share"]["path"][3:]
        copies = [await reader.post(f"/api/shared/{token}/import") for _ in range(2)]
        assert [told(each)[:2] for each in copies] == [(201, ""), (429, "rate_limited")]
        assert await imported(reader) == (429, "rate_limited", "")


async def test_links_are_so_many_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.shares.MOST_SHARES", 2, raising=False)
    async with running(tmp_path) as world, world.browser() as owner, world.browser() as other:
        for browser in (owner, other):
            await imported(browser)
        name = await conversation_of(owner)
        made = [await shared(owner, name) for _ in range(3)]
        assert [told(each)[:2] for each in made] == [(201, ""), (201, ""), (409, "too_many")]
        message = "There is room for 2 links. Take some back first."
        assert made[2].json()["error"]["message"] == message
        assert (await shared(other, await conversation_of(other))).status_code == 201
        await owner.delete(f"/api/shares/{made[0].json()['share']['id']}")
        assert (await shared(owner, name)).status_code == 201


# --- bytes of one person ---


async def test_one_person_stores_so_much_and_no_more(tmp_path: Path) -> None:
    async with (
        running(tmp_path, behind_proxy=True, stored_megabytes=1) as world,
        world.browser() as owner,
        world.browser() as other,
    ):
        assert (await imported(owner, 600_000))[0] == 200
        name = await conversation_of(owner)
        assert await imported(owner, 600_000) == (409, "stored_too_much", "file")
        refused = await shared(owner, name)
        assert told(refused) == (409, "stored_too_much", "conversation_id")
        assert "more than the 1 MB that you may have stored" in refused.json()["error"]["message"]
        assert len((await owner.get("/api/conversations")).json()["items"]) == 1

        await imported(other, 450_000)
        token = (await shared(other, await conversation_of(other))).json()["share"]["path"][3:]
        copied = await owner.post(f"/api/shared/{token}/import")
        assert told(copied) == (409, "stored_too_much", "token")
        turn = await ask(owner)
        await settled(owner, turn["generation"]["id"])
        assert (await owner.get(f"/api/conversations/{name}/export")).status_code == 200
        assert (await owner.delete(f"/api/conversations/{name}")).status_code in {200, 204}


async def test_turns_begin_below_the_bound_only_and_temporary_chats_go_on(tmp_path: Path) -> None:
    async with running(tmp_path, behind_proxy=True, stored_megabytes=1) as world, world.browser() as owner:
        assert (await imported(owner, 980_000))[0] == 200
        first = await ask(owner, text="x" * 30_000)
        await settled(owner, first["generation"]["id"])
        name = first["conversation"]["id"]
        again = {"conversation_id": name, "regenerate": first["user_message"]["id"]}
        gone = await owner.post("/api/turns", json={"text": "Hello", "conversation_id": "t" + name})
        assert told(gone) == (404, "not_found", "")
        for body in ({"text": "Hello"}, {"text": "Hello", "conversation_id": name}, again):
            refused = await owner.post("/api/turns", json=body)
            assert told(refused) == (409, "stored_too_much", "")
        assert "take the 1 MB that you may have" in refused.json()["error"]["message"]
        turn = await ask(owner, temporary=True)
        await settled(owner, turn["generation"]["id"])
        await ask(owner, conversation_id=turn["conversation"]["id"])
        await owner.delete(f"/api/conversations/{name}")
        await asyncio.to_thread(world.store.purge_deleted, steady_now())
        storing: Storing = world.app.state.storing
        then = storing._clock()
        storing._clock = lambda: then + SUM_SECONDS
        await ask(owner)


async def test_a_turn_that_is_asked_for_again_is_the_same_and_counts_once(tmp_path: Path) -> None:
    async with running(tmp_path, behind_proxy=True, stored_megabytes=1) as world, world.browser() as owner:
        assert (await imported(owner, 980_000))[0] == 200
        storing: Storing = world.app.state.storing
        before = storing._by_address.by("at 127.0.0.1")
        body = {"text": "x" * 30_000, "client_id": "one"}
        first, second = await asyncio.gather(*(owner.post("/api/turns", json=body) for _ in range(2)))
        assert first.json()["generation"]["id"] == second.json()["generation"]["id"]
        assert 30_000 < storing._by_address.by("at 127.0.0.1") - before < 60_000
        await settled(owner, first.json()["generation"]["id"])
        assert told(await owner.post("/api/turns", json={"text": "Hello"}))[0] == 409
        again = await owner.post("/api/turns", json=body)
        assert again.status_code == 202
        assert again.json()["generation"]["id"] == first.json()["generation"]["id"]


def test_turns_are_counted_as_they_begin_and_summed_up_near_the_bound(tmp_path: Path) -> None:
    now, kept, here = 1000.0, Kept(10), Allowance(network="here", guests=2)
    turn: Any = SimpleNamespace(
        user_message=SimpleNamespace(content="Ä" * 50),
        tool_messages=(),
        generation=SimpleNamespace(usage=Usage(prompt=25)),
    )
    size = 2 * ROW_BYTES + 100 + 100
    assert (turn_bytes(turn, asked=True), turn_bytes(turn, asked=False)) == (size, ROW_BYTES + 100)
    store: Any = kept
    storing = Storing(settings_for(tmp_path), store, lambda: now)
    for _ in range(3):
        storing.check_turn("ada", here, 10 + 3 * size)
        storing.count_turn("ada", here, turn, asked=True)
        now += SUM_SECONDS
    assert kept.asked == 1, "far from the bound, none but the first turn reads all texts"
    storing.check_turn("ada", here, 10 + 3 * size)
    assert kept.asked == 2, "it had been deleted"
    kept.size = 10 + 3 * size
    now += TURN_SUM_SECONDS
    with pytest.raises(PlaygroundError) as refused:
        storing.check_turn("ada", here, 10 + 3 * size)
    assert (refused.value.status, kept.asked) == (409, 3)
    kept.size = 0
    with pytest.raises(PlaygroundError) as refused:
        storing.check_turn("bob", here, 3 * size // 2)
    assert (refused.value.status, refused.value.code) == (429, "quota_exceeded")
    storing.check_turn("bob", Allowance(network="there", guests=2), 1)
    storing.check_turn("bob", here, 0)


def test_many_at_once_are_summed_up_by_one(tmp_path: Path) -> None:
    now, going, go = 1000.0, threading.Event(), threading.Event()

    class Slow(Kept):
        def stored_bytes(self, owner_id: str) -> int:
            going.set()
            go.wait()
            return super().stored_bytes(owner_id)

    kept = Slow(0)
    store: Any = kept
    storing = Storing(settings_for(tmp_path), store, lambda: now)
    go.set()
    storing.take("ada", Allowance(), 100, 60, "file")
    assert kept.asked == 1
    now += SUM_SECONDS
    go.clear()
    going.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(storing.take, "ada", Allowance(), 100, 10, "file")
        going.wait()
        storing.take("ada", Allowance(), 100, 20, "file")  # by the old sum
        with pytest.raises(PlaygroundError):
            storing.take("ada", Allowance(), 100, 30, "file")
        go.set()
        first.result()
    assert kept.asked == 2
    with pytest.raises(PlaygroundError):
        storing.take("ada", Allowance(), 100, 71, "file")
    storing.take("ada", Allowance(), 100, 70, "file")


def test_near_the_bound_replies_are_looked_at_more_often(tmp_path: Path) -> None:
    now, kept = 1000.0, Kept(79)
    store: Any = kept
    storing = Storing(settings_for(tmp_path), store, lambda: now)
    storing.check_turn("ada", Allowance(), 100)
    now += NEAR_SUM_SECONDS
    storing.check_turn("ada", Allowance(), 100)
    assert kept.asked == 1
    now, kept.size = now + TURN_SUM_SECONDS, 80
    storing.check_turn("ada", Allowance(), 100)
    kept.size = 100
    storing.check_turn("ada", Allowance(), 100)
    now += NEAR_SUM_SECONDS
    with pytest.raises(PlaygroundError):
        storing.check_turn("ada", Allowance(), 100)
    assert kept.asked == 3


async def test_guests_may_store_less_where_others_sign_in(tmp_path: Path) -> None:
    settings = {**WITH_SIGN_IN, "stored_megabytes": 2, "guest_stored_megabytes": 1}
    async with (
        running(tmp_path, **settings) as world,
        world.browser() as guest,
        signed_in(world, "ada") as account,
    ):
        assert await imported(guest, 1_500_000) == (409, "stored_too_much", "file")
        assert (await imported(account, 1_500_000))[0] == 200


async def test_new_cookies_store_no_more_than_the_guests_of_an_address(tmp_path: Path) -> None:
    limits: dict[str, Any] = {"stored_megabytes": 1, "guests_per_address": 2}
    async with running(tmp_path, behind_proxy=True, **limits) as world:
        seen = []
        for _ in range(3):
            async with world.browser() as stranger:
                seen.append(await imported(stranger, 900_000))
        assert seen == [(200, "", ""), (200, "", ""), (429, "quota_exceeded", "file")]


async def test_on_a_machine_of_ones_own_nothing_is_counted_unless_it_is_set(tmp_path: Path) -> None:
    local, public = settings_for(tmp_path), settings_for(tmp_path, behind_proxy=True)
    assert (local.stored_bytes, local.free_disk_bytes) == (0, 0)
    assert (public.stored_bytes, public.free_disk_bytes) == (1000 * MEGABYTE, 200 * MEGABYTE)
    assert settings_for(tmp_path, stored_megabytes=3).stored_bytes == 3 * MEGABYTE
    async with running(tmp_path) as world, world.browser() as browser:
        world.app.state.storing._free = lambda _: 0
        assert (await imported(browser, 1_500_000))[0] == 200


class Kept:
    """A store whose owners have so much, and that knows how often it was asked."""

    def __init__(self, size: int) -> None:
        self.size, self.asked = size, 0

    def stored_bytes(self, owner_id: str) -> int:
        self.asked += 1
        return self.size


def test_a_sum_is_made_once_a_minute_and_what_came_since_is_added(tmp_path: Path) -> None:
    now, kept = 1000.0, Kept(10)
    store: Any = kept
    storing = Storing(settings_for(tmp_path), store, lambda: now)
    for _ in range(4):
        storing.take("ada", Allowance(), 50, 10, "file")
    with pytest.raises(PlaygroundError) as refused:
        storing.take("ada", Allowance(), 50, 1, "file")
    assert (refused.value.status, refused.value.param, kept.asked) == (409, "file", 1)
    now += SUM_SECONDS
    storing.take("ada", Allowance(), 50, 40, "file")
    assert kept.asked == 2
    for number in range(MOST_SUMS + 10):
        storing.take(str(number), Allowance(), 50, 40, "file")
    assert len(storing._sums) == MOST_SUMS


# --- the disk ---


async def test_on_a_full_disk_reading_and_deleting_go_on(tmp_path: Path) -> None:
    async with running(tmp_path, behind_proxy=True) as world, world.browser() as known:
        assert (await imported(known))[0] == 200
        name = await conversation_of(known)
        link = (await shared(known, name)).json()["share"]
        fill(world, free=199 * MEGABYTE)
        assert await imported(known) == (507, "storage_full", "")
        assert told(await shared(known, name)) == (507, "storage_full", "")
        token = link["path"].removeprefix("/s/")
        assert told(await known.post(f"/api/shared/{token}/import")) == (507, "storage_full", "")
        async with world.browser() as stranger:
            assert (await stranger.get("/api/bootstrap")).status_code == 200
            assert (await stranger.get(f"/api/shared/{token}")).status_code == 200
            refused = await stranger.post("/api/turns", json={"text": "Hello"})
            assert told(refused) == (507, "storage_full", "")
            assert "nearly full" in refused.json()["error"]["message"]
            await ask(stranger, temporary=True)
        for fields in ({"conversation_id": name}, {}):
            await settled(known, (await ask(known, **fields))["generation"]["id"])
        assert (await known.get(f"/api/conversations/{name}")).status_code == 200
        assert (await known.delete(f"/api/shares/{link['id']}")).status_code == 204
        assert (await known.delete(f"/api/conversations/{name}")).status_code in {200, 204}
        fill(world, free=201 * MEGABYTE)
        assert (await imported(known))[0] == 200


def fill(world: World, *, free: int) -> None:
    """Let so much be free on the disk, and be noticed at once."""
    storing: Storing = world.app.state.storing
    storing._free = lambda _: free
    storing._looked = float("-inf")


def test_the_disk_is_looked_at_now_and_then(tmp_path: Path) -> None:
    now, looks, store = 1000.0, [], Kept(0)
    kept: Any = store

    def free(folder: Path) -> int | None:
        looks.append(folder)
        return None if len(looks) == 3 else 0

    storing = Storing(settings_for(tmp_path, behind_proxy=True), kept, lambda: now, free)
    for _ in range(10):
        with pytest.raises(PlaygroundError):
            storing.check_disk()
    assert looks == [tmp_path]
    now += 6
    with pytest.raises(PlaygroundError):
        storing.check_disk()
    now += 6
    storing.check_disk()  # nobody can tell
    assert len(looks) == 3

"""A cookie costs nothing: what guests may have is counted under their address too, and nobody else's."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from playground.errors import PlaygroundError
from playground.limits.allowance import Allowance, Places, allowance_at
from playground.limits.spent import Spent
from tests.attacks.world import WITH_SIGN_IN, signed_in
from tests.playground.openai.chats import body_of, until
from tests.playground.scripted import Script
from tests.playground.world import World, ask, running, settings_for, settled

HERE = {"x-forwarded-for": "203.0.113.1"}
ELSEWHERE = {"x-forwarded-for": "203.0.113.2"}
CHAT = "/v1/chat/completions"


async def status_of(world: World, where: dict[str, str]) -> tuple[int, str]:
    """How a question is answered to somebody who has no cookie yet."""
    async with world.browser() as browser:
        answer = await browser.post("/api/turns", json={"text": "Hello"}, headers=where)
    error: dict[str, Any] = answer.json().get("error", {})
    return answer.status_code, error.get("code", "")


# --- replies at once ---


async def test_fresh_cookies_get_no_further_replies(tmp_path: Path) -> None:
    script = Script(hold=asyncio.Event(), hold_at=2)
    assert script.hold is not None
    settings = {**WITH_SIGN_IN, "guest_replies_at_once": 2, "guests_per_address": 2}
    async with running(tmp_path, script, behind_proxy=True, **settings) as world:
        seen = [await status_of(world, HERE) for _ in range(6)]
        assert seen == [(202, "")] * 4 + [(429, "too_many_replies")] * 2
        async with world.browser() as program:
            refused = await program.post("/api/turns", json={"text": "x"}, headers=HERE)
            assert "from your network" in refused.json()["error"]["message"]
            assert int(refused.headers["retry-after"]) > 0
        assert [await status_of(world, ELSEWHERE) for _ in range(2)] == [(202, "")] * 2
        async with signed_in(world, "ada") as account:
            assert (await account.post("/api/turns", json={"text": "x"}, headers=HERE)).status_code == 202
        keys = [request.user_key for request in world.engine.requests]
        assert len(set(keys[:4])) == 1, "the engine shares its places by address"
        assert len(set(keys)) == 3
        script.hold.set()
        await until(lambda: not world.app.state.turns.places._taken)
        world.engine.script = Script()
        assert await status_of(world, HERE) == (202, "")


async def test_programs_without_a_key_and_guests_of_the_page_share_an_address(tmp_path: Path) -> None:
    script = Script(hold=asyncio.Event(), hold_at=2)
    assert script.hold is not None
    limits: dict[str, Any] = {"replies_at_once": 1, "guests_per_address": 2}
    async with running(tmp_path, script, behind_proxy=True, **limits) as world, world.browser() as program:
        assert await status_of(world, HERE) == (202, "")
        asking = [
            asyncio.create_task(program.post(CHAT, json=body_of(), headers=where))
            for where in (HERE, ELSEWHERE, HERE)
        ]
        places = world.app.state.turns.places
        await until(lambda: sum(map(len, places._lines.values())) == 1)
        assert await status_of(world, HERE) == (429, "too_many_replies")
        assert len(world.engine.requests) == 3
        script.hold.set()
        assert [answer.status_code for answer in await asyncio.gather(*asking)] == [200] * 3
        await until(lambda: not places._taken)


async def test_on_a_machine_of_ones_own_no_address_counts(tmp_path: Path) -> None:
    script = Script(hold=asyncio.Event(), hold_at=2)
    assert script.hold is not None
    async with running(tmp_path, script) as world:
        assert [await status_of(world, {}) for _ in range(40)] == [(202, "")] * 40
        assert len({request.user_key for request in world.engine.requests}) == 40
        script.hold.set()


def test_only_guests_who_come_from_elsewhere_are_counted_by_address(tmp_path: Path) -> None:
    local, public = settings_for(tmp_path), settings_for(tmp_path, behind_proxy=True)
    assert allowance_at(local, "127.0.0.1", account=False, shared=True) == Allowance(keyless=True)
    assert allowance_at(public, "192.0.2.1", account=True) == Allowance(8)
    assert allowance_at(public, "192.0.2.1", account=False) == Allowance(8, network="192.0.2.1", guests=4)
    shared = allowance_at(public, "192.0.2.1", account=False, shared=True)
    assert shared.user_key("all") == allowance_at(public, "192.0.2.1", account=False).user_key("ada")
    anything = settings_for(tmp_path, behind_proxy=True, guests_per_address=0)
    assert allowance_at(anything, "192.0.2.1", account=False).user_key("ada") == "ada"


async def test_who_waits_for_the_address_comes_in_order_whoever_it_is() -> None:
    places, order = Places(), []
    here = Allowance(replies=1, network="here", guests=2)

    async def come(name: str, allowance: Allowance, longest: int = 2) -> None:
        await places.take(name, allowance, longest)
        order.append(name)

    assert places.take_free("ada", here)
    assert places.take_free("bob", here)
    names = ("cid", "ada", "dan", "eve")
    tasks = [asyncio.create_task(come(name, here)) for name in names]
    tasks.append(asyncio.create_task(come("fay", Allowance(replies=1, network="there", guests=2))))
    await asyncio.sleep(0)
    assert order == ["fay"]
    with pytest.raises(PlaygroundError, match="guests from your network"):
        await places.take("gus", here, 2)
    places.give_back("bob", here)  # the first in line, for ada has still a reply of her own
    await asyncio.sleep(0)
    tasks[2].cancel()
    await asyncio.sleep(0)
    places.give_back("ada", here)
    await asyncio.sleep(0)
    places.give_back("cid", here)
    await asyncio.wait(tasks)
    assert order == ["fay", "cid", "ada", "eve"]
    for name in ("ada", "eve"):
        places.give_back(name, here)
    places.give_back("fay", Allowance(replies=1, network="there", guests=2))
    assert not places._taken
    assert not places._lines


# --- tokens of the day ---


async def used_up(world: World, where: dict[str, str], path: str = "/api/turns") -> bool:
    """Whether a stranger is told that the day's tokens are used up; his reply has ended otherwise."""
    body = {"text": "Hello"} if path == "/api/turns" else body_of()
    async with world.browser() as browser:
        answer = await browser.post(path, json=body, headers=where)
        if answer.status_code == 429:
            error = answer.json()["error"]
            assert error["code"] == "quota_exceeded"
            if world.app.state.accounts.settings.sign_in_available:
                way = "sign in" if path == "/api/turns" else "send an API key of yours"
                assert error["message"].endswith(f", or {way} to go on.")
            return True
        assert answer.status_code in {200, 202}, answer.text
        if path == "/api/turns":
            await settled(browser, answer.json()["generation"]["id"])
    return False


async def test_fresh_cookies_get_no_further_tokens(tmp_path: Path) -> None:
    settings = {**WITH_SIGN_IN, "guest_tokens_per_day": 10, "guests_per_address": 2}
    script = Script([("final", "one two three four five six seven eight nine ten")])
    async with running(tmp_path, script, behind_proxy=True, **settings) as world:
        assert [await used_up(world, HERE) for _ in range(4)] == [False, False, True, True]
        assert await used_up(world, HERE, CHAT)
        assert not await used_up(world, ELSEWHERE)
        async with signed_in(world, "ada") as account:
            await ask(account)


async def test_temporary_chats_and_stopped_replies_count_for_the_address(tmp_path: Path) -> None:
    script = Script(hold=asyncio.Event(), hold_at=7)
    async with running(tmp_path, script, behind_proxy=True, tokens_per_day=100) as world:
        async with world.browser() as browser:
            browser.headers.update(HERE)
            turn = await ask(browser, temporary=True)
            spent, key = world.app.state.turns.places.spent, world.engine.requests[0].user_key
            await until(lambda: world.engine.health().running == 1)
            await asyncio.sleep(0.05)
            await browser.post(f"/api/generations/{turn['generation']['id']}/cancel")
            await settled(browser, turn["generation"]["id"])
        assert spent.by(key) == 7


async def test_one_strangers_programs_do_not_use_up_everybodys_tokens(tmp_path: Path) -> None:
    script = Script([("final", "one two three four five six seven eight nine ten")])
    async with running(tmp_path, script, behind_proxy=True, tokens_per_day=10) as world:
        assert [await used_up(world, HERE, CHAT) for _ in range(3)] == [False, True, True]
        assert [await used_up(world, ELSEWHERE, CHAT) for _ in range(2)] == [False, True]
        assert not await used_up(world, HERE), "a guest of the page there has tokens of his own"


def test_what_was_spent_is_of_one_day_and_bounded() -> None:
    now = datetime(2026, 3, 1, 23, 59, tzinfo=UTC)
    spent = Spent(lambda: now, most=2)
    for name in ("ada", "bob", "ada"):
        spent.add(name, 5)
    assert (spent.by("ada"), spent.by("bob")) == (10, 5)
    spent.add("cid", 1)
    assert (spent.by("ada"), spent.by("bob"), spent.by("cid")) == (10, 0, 1)
    now += timedelta(minutes=2)
    assert spent.by("ada") == 0
    spent.add("ada", 1)
    assert spent.by("ada") == 1


async def test_no_key_is_needed_to_tell_addresses_apart(tmp_path: Path) -> None:
    """An IPv6 customer has a /64 of them, and what the asker says of himself counts for nothing."""
    script = Script(hold=asyncio.Event(), hold_at=2)
    assert script.hold is not None
    limits: dict[str, Any] = {"replies_at_once": 1, "guests_per_address": 1}
    async with running(tmp_path, script, behind_proxy=True, **limits) as world:
        one = {"x-forwarded-for": "10.0.0.1, 2001:db8::1"}
        other = {"x-forwarded-for": "10.0.0.2, 2001:db8::2"}
        assert await status_of(world, one) == (202, "")
        assert await status_of(world, other) == (429, "too_many_replies")
        script.hold.set()

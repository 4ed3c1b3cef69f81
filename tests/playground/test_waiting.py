"""Several sends at once: one after the other, in the order of arrival, and none is lost."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from inference.types import SamplingParams
from playground.waiting import MOST_WAITING, Lines
from tests.playground.scripted import Script
from tests.playground.world import TIMEOUT, World, ask, running, settled


def held() -> Script:
    return Script(hold=asyncio.Event(), hold_at=3)


def let_go(world: World) -> None:
    """The reply that runs may end, and those after it do not stop."""
    script, world.engine.script = world.engine.script, Script()
    assert script.hold is not None
    script.hold.set()


def send(browser: httpx.AsyncClient, turn: dict[str, Any], text: str, **fields: Any) -> asyncio.Task[Any]:
    body = {"conversation_id": turn["conversation"]["id"], "text": text, "wait": True, **fields}
    return asyncio.create_task(browser.post("/api/turns", json=body))


async def until_waiting(world: World, count: int) -> None:
    """Until so many calls are held."""
    lines = world.app.state.turns._lines._lines
    async with asyncio.timeout(TIMEOUT):
        while sum(len(line) for line in lines.values()) != count:  # noqa: ASYNC110 - being held is no event
            await asyncio.sleep(0.01)


async def questions(browser: httpx.AsyncClient, turn: dict[str, Any]) -> list[str]:
    page = (await browser.get(f"/api/conversations/{turn['conversation']['id']}")).json()
    assert len(page["generations"]) == sum(each["role"] == "user" for each in page["messages"])
    return [each["content"] for each in page["messages"] if each["role"] == "user"]


async def test_sends_from_several_tabs_are_taken_in_order(tmp_path: Path) -> None:
    async with running(tmp_path, held()) as world, world.browser() as browser:
        turn = await ask(browser, "first")
        sends = []
        for number in range(MOST_WAITING):
            sends.append(send(browser, turn, f"waiting {number}"))
            await until_waiting(world, number + 1)
        refused = await send(browser, turn, "one too many")
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")
        impatient = {"conversation_id": turn["conversation"]["id"], "text": "at once"}
        assert (await browser.post("/api/turns", json=impatient)).status_code == 409
        let_go(world)
        answers = await asyncio.gather(*sends)
        assert [answer.status_code for answer in answers] == [202] * MOST_WAITING
        for answer in answers:
            await settled(browser, answer.json()["generation"]["id"])
        expected = ["first", *(f"waiting {number}" for number in range(MOST_WAITING))]
        assert await questions(browser, turn) == expected
        last = world.engine.codec.decode(world.engine.requests[-1].prompt_ids)
        assert last.count("The answer is 42.") == MOST_WAITING, "each has read the replies before it"
        await until_waiting(world, 0)


async def test_two_sends_at_the_same_moment_both_count(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        turn = await ask(browser, "first")
        await settled(browser, turn["generation"]["id"])
        answers = await asyncio.gather(*(send(browser, turn, f"send {number}") for number in range(5)))
        for answer in answers:
            await settled(browser, answer.json()["generation"]["id"])
        assert sorted(await questions(browser, turn)) == ["first", *(f"send {number}" for number in range(5))]


async def test_a_repeated_send_gets_its_one_answer_held_or_not(tmp_path: Path) -> None:
    async with running(tmp_path, held()) as world, world.browser() as browser:
        turn = await ask(browser, "first")
        twins = [send(browser, turn, "twin", client_id="twin") for _ in range(3)]
        await until_waiting(world, 1)
        let_go(world)
        answers = [answer.json() for answer in await asyncio.gather(*twins)]
        assert len({answer["generation"]["id"] for answer in answers}) == 1
        await settled(browser, answers[0]["generation"]["id"])

        world.engine.script = held()
        running_turn = await send(browser, turn, "running", client_id="running")
        again = await send(browser, turn, "running", client_id="running")
        assert again.json()["generation"]["id"] == running_turn.json()["generation"]["id"], "not held"
        let_go(world)
        await settled(browser, again.json()["generation"]["id"])
        assert await questions(browser, turn) == ["first", "twin", "running"]


async def test_a_sender_that_leaves_loses_nothing_and_holds_nobody_up(tmp_path: Path) -> None:
    async with running(tmp_path, held()) as world, world.browser() as browser:
        turn = await ask(browser, "first")
        async with httpx.AsyncClient(base_url=world.url, timeout=TIMEOUT, cookies=browser.cookies) as tab:
            gone = send(tab, turn, "left")
            await until_waiting(world, 1)
            gone.cancel()
            await asyncio.wait({gone})
        stays = send(browser, turn, "stays")
        await until_waiting(world, 2)
        let_go(world)
        await settled(browser, (await stays).json()["generation"]["id"])
        assert await questions(browser, turn) == ["first", "left", "stays"]


async def test_a_held_send_ends_with_its_conversation(tmp_path: Path) -> None:
    async with running(tmp_path, held()) as world, world.browser() as browser:
        turn = await ask(browser, "first")
        waiting = send(browser, turn, "second")
        await until_waiting(world, 1)
        address = f"/api/conversations/{turn['conversation']['id']}"
        assert (await browser.delete(address)).status_code == 204
        assert (await waiting).status_code == 404
        assert len(world.engine.requests) == 1
        assert world.app.state.turns.runs.find_open(lambda run: True) == []


async def test_a_server_that_stops_refuses_who_waits(tmp_path: Path) -> None:
    async with running(tmp_path, held()) as world:
        browser = world.browser()
        turn = await ask(browser, "first")
        waiting = send(browser, turn, "second")
        await until_waiting(world, 1)
        await world.app.state.turns.close()
        answer = await waiting
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "restarting")
        await browser.aclose()


async def test_a_question_never_follows_half_of_a_reply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = Script([("final", "one two three four five six")], hold=asyncio.Event(), hold_at=6)
    async with running(tmp_path, script) as world, world.browser() as browser:
        turn = await ask(browser, "first")
        address = f"/api/generations/{turn['generation']['id']}"
        async with asyncio.timeout(TIMEOUT):
            while not (await browser.get(address)).json()["messages"]:  # noqa: ASYNC110 - a save is no event
                await asyncio.sleep(0.01)
        loop, check = asyncio.get_running_loop(), world.engine.check

        def slow_check(prompt_tokens: int, sampling: SamplingParams) -> None:
            """The reply ends after its conversation was read for the next prompt."""
            assert script.hold is not None
            if not script.hold.is_set():
                loop.call_soon_threadsafe(script.hold.set)
                asyncio.run_coroutine_threadsafe(settled(browser, turn["generation"]["id"]), loop).result(
                    TIMEOUT
                )
            check(prompt_tokens, sampling)

        monkeypatch.setattr(world.engine, "check", slow_check)
        body = {"conversation_id": turn["conversation"]["id"], "text": "second"}
        assert (await browser.post("/api/turns", json=body)).status_code == 409
        let_go(world)
        await settled(browser, turn["generation"]["id"])
        assert (await browser.post("/api/turns", json=body)).status_code == 202
        assert "four five six" in world.engine.codec.decode(world.engine.requests[-1].prompt_ids)


async def test_places_are_handed_on_in_order_whoever_leaves() -> None:
    lines = Lines()
    tickets = [lines.join(("owner", "chat"), patient=True) for _ in range(4)]
    async with asyncio.timeout(TIMEOUT):
        await tickets[0].turn()
        tickets[1].leave()
        tickets[0].leave()
        await tickets[2].turn()
        other = lines.join(("owner", "another"), patient=False)
        await other.turn()
    third = asyncio.create_task(tickets[3].turn())
    await asyncio.sleep(0)
    assert not third.done()
    tickets[2].leave()
    await third
    tickets[3].leave()
    other.leave()
    assert lines.join(("owner", "chat"), patient=False) is not None

"""Titles: from the question at once, a better one after the first reply, by hand for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from inference.types import GenerationRequest
from playground.text import TITLE_CHARS, title_without_greeting
from playground.titles import MAX_TOKENS, clean
from tests.playground.scripted import Script
from tests.playground.world import TIMEOUT, World, ask, running, settled


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Hello! What is 12 + 30?", "What is 12 + 30?"),
        ("hi there, sort 3, 1, 2.", "Sort 3, 1, 2"),
        ("Hey\n\nwrite a poem about rain.", "Write a poem about rain"),
        ("Good morning! Hi. Explain tides: why two a day? Thanks.", "Explain tides: why two a day?"),
        ("Hello", "Hello"),
        ("Hello!!", "Hello"),
        ("Highlight the verbs", "Highlight the verbs"),
        ("...", "..."),
        ("The first sentence. The second one.", "The first sentence"),
        ("Version 3.5 is out: what is new?", "Version 3.5 is out: what is new?"),
        ("¿Qué es esto?", "¿Qué es esto?"),
        ("你好。太阳有多大？", "你好"),
        ("🙂", "🙂"),
        ("word " * 40, ("word " * 11)[:-1] + "…"),
        ("x" * 100, "x" * 59 + "…"),
    ],
)
def test_a_title_by_rule(text: str, title: str) -> None:
    assert title_without_greeting(text) == title
    assert len(title) <= TITLE_CHARS


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ('"Rain in Spain."', "Rain in Spain"),
        ("\n\n# **Rain**\nand more", "Rain"),
        ("„Regen“", "Regen"),
        (" \u200b \n", ""),
        ("Learning C#", "Learning C#"),
        ("a  b\tc", "a b c"),
    ],
)
def test_the_models_title_is_one_plain_line(text: str, title: str) -> None:
    assert clean(text) == title


async def title_of(browser: httpx.AsyncClient, conversation: str) -> str:
    return str((await browser.get(f"/api/conversations/{conversation}")).json()["conversation"]["title"])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT):
        while not condition():  # noqa: ASYNC110 - the background says nothing when it is done
            await asyncio.sleep(0.01)


async def titled(world: World) -> None:
    """Until nobody works on a reply, whose end begins a title, or on a title."""
    turns = world.app.state.turns
    await until(lambda: not turns.task_count and not turns._titling)


def asks_for_a_title(request: GenerationRequest) -> bool:
    return request.request_id.startswith("title-")


def writing(world: World, title: Script, reply: Script | None = None) -> None:
    """A model that writes titles, and gives this one."""
    world.engine.demonstration = False
    world.engine.choose = lambda request: title if asks_for_a_title(request) else reply or Script()


TITLE = Script([("analysis", "They want a sum."), ("final", '"A Small Sum."')])


async def test_the_demonstration_model_gets_titles_by_rule(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        turn = await ask(browser, "Hello there! What is 12 + 30?")
        assert turn["conversation"]["title"] == "Hello there! What is 12 + 30?"
        await settled(browser, turn["generation"]["id"])
        await titled(world)
        assert await title_of(browser, turn["conversation"]["id"]) == "What is 12 + 30?"
        assert len(world.engine.requests) == 1


async def test_another_model_writes_the_title_itself(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        writing(world, TITLE)
        turn = await ask(browser, effort="high")
        await settled(browser, turn["generation"]["id"])
        await titled(world)
        conversation = turn["conversation"]["id"]
        assert await title_of(browser, conversation) == "A Small Sum"
        request = world.engine.requests[1]
        assert request.sampling.max_tokens == MAX_TOKENS
        assert request.user_key == world.engine.requests[0].user_key
        prompt = world.engine.codec.decode(request.prompt_ids)
        assert "Reasoning: low" in prompt
        assert "What is 12 + 30?" in prompt
        assert "The answer is 42." in prompt
        page = (await browser.get(f"/api/conversations/{conversation}")).json()
        assert page["conversation"]["title_by_hand"] is False
        assert len(page["generations"]) == 1
        again = await ask(browser, "More", conversation_id=conversation)
        await settled(browser, again["generation"]["id"])
        await titled(world)
        assert len(world.engine.requests) == 3, "only the first exchange gives a title"


@pytest.mark.parametrize(
    "script",
    [
        Script([("final", "  ")]),
        Script([("analysis", "word " * 400)]),
        Script([("analysis", "Only thoughts.")]),
        Script(TITLE.messages, fail_at=4),
        Script(refuse_full=True),
    ],
    ids=["blank", "too long", "no answer", "failed", "refused"],
)
async def test_the_rule_stands_in_for_a_title_that_does_not_come(tmp_path: Path, script: Script) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        writing(world, script)
        turn = await ask(browser, "Hi. What is 12 + 30?")
        await settled(browser, turn["generation"]["id"])
        await titled(world)
        assert await title_of(browser, turn["conversation"]["id"]) == "What is 12 + 30?"


async def test_a_title_by_hand_stays(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        held = Script(TITLE.messages, hold=asyncio.Event(), hold_at=3)
        writing(world, held)
        turn = await ask(browser)
        await settled(browser, turn["generation"]["id"])
        await until(lambda: any(map(asks_for_a_title, world.engine.requests)))
        address = f"/api/conversations/{turn['conversation']['id']}"
        renamed = await browser.patch(address, json={"title": "By hand"})
        assert renamed.json()["conversation"]["title_by_hand"] is True
        assert held.hold is not None
        held.hold.set()
        await titled(world)
        assert await title_of(browser, turn["conversation"]["id"]) == "By hand"


async def test_a_title_waits_for_and_gives_way_to_its_owners_replies(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        held = Script(TITLE.messages, hold=asyncio.Event(), hold_at=3)
        reply = Script(hold=asyncio.Event(), hold_at=2)
        writing(world, held)
        first = await ask(browser)
        await settled(browser, first["generation"]["id"])
        await until(lambda: any(map(asks_for_a_title, world.engine.requests)))
        writing(world, TITLE, reply)
        second = await ask(browser, "Another chat")
        assert held.hold is not None
        held.hold.set()
        await until(lambda: world.engine.health().running == 1)
        asked = [asks_for_a_title(request) for request in world.engine.requests]
        assert asked == [False, True, False], "it was given up, and waits"
        assert await title_of(browser, first["conversation"]["id"]) == "What is 12 + 30?"
        assert reply.hold is not None
        reply.hold.set()
        await settled(browser, second["generation"]["id"])
        await titled(world)
        assert await title_of(browser, first["conversation"]["id"]) == "A Small Sum"


async def test_only_a_reply_that_ended_well_gives_a_title(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        writing(world, TITLE)
        cut = await ask(browser, max_tokens=4)
        assert (await settled(browser, cut["generation"]["id"]))["generation"]["finish_reason"] == "length"
        await titled(world)
        assert len(world.engine.requests) == 1
        body: dict[str, Any] = {
            "conversation_id": cut["conversation"]["id"],
            "regenerate": cut["user_message"]["id"],
        }
        again = (await browser.post("/api/turns", json=body)).json()
        await settled(browser, again["generation"]["id"])
        await titled(world)
        assert await title_of(browser, cut["conversation"]["id"]) == "A Small Sum"


async def test_a_server_that_stops_does_not_wait_for_a_title(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        writing(world, Script(TITLE.messages, hold=asyncio.Event(), hold_at=3))
        turn = await ask(browser)
        await settled(browser, turn["generation"]["id"])
        await until(lambda: any(map(asks_for_a_title, world.engine.requests)))
        await world.app.state.turns.close()
        (name,) = (each.request_id for each in world.engine.requests if asks_for_a_title(each))
        assert world.engine._cancels[name].is_set()
        assert await title_of(browser, turn["conversation"]["id"]) == "What is 12 + 30?"

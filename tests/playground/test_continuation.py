"""Going on with a reply: by the model's own ids, from where it ended or straight with the answer."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from inference.vocabulary import CHANNEL, END, MESSAGE, RETURN, START
from tests.playground.scripted import Script
from tests.playground.world import World, ask, events, running, settled, text_of

THOUGHT = "one two three four five six"


async def stopped_in_reasoning(world: World, browser: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    """A reply that took its five tokens for reasoning: a header of three and two words."""
    world.engine.script = Script([("analysis", THOUGHT), ("final", "It is 6.")])
    turn = await ask(browser, max_tokens=5, **fields)
    over = await settled(browser, turn["generation"]["id"])
    assert over["generation"]["finish_reason"] == "length"
    assert over["messages"][0]["content"] == "one two"
    return turn


def go_on(turn: dict[str, Any], mode: str | None = None, **fields: Any) -> dict[str, Any]:
    body = {"conversation_id": turn["conversation"]["id"], "continue_of": turn["generation"]["id"], **fields}
    return body if mode is None else {**body, "mode": mode}


async def test_a_reply_that_was_cut_goes_on_where_it_ended(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        turn = await stopped_in_reasoning(world, browser, effort="low")
        codec, first = world.engine.codec, world.engine.requests[0]
        written = world.engine.token_ids(world.engine.script)
        world.engine.script = Script(ids=written[5:])
        again = (await browser.post("/api/turns", json=go_on(turn, effort="high"))).json()
        assert again["user_message"]["id"] == turn["user_message"]["id"]
        generation = again["generation"]
        assert (generation["continues"], generation["mode"]) == (turn["generation"]["id"], "continue")
        assert (generation["primed_tokens"], generation["effort"]) == (5, "low")
        seen = await events(browser, generation["id"])
        assert (text_of(seen, 0), text_of(seen, 1)) == (THOUGHT, "It is 6.")
        names = [each.name for each in seen]
        assert names.index("delta") < names.index("started"), "what was there is shown at once"
        assert world.engine.requests[1].prompt_ids == (*first.prompt_ids, *written[:5])
        finish = seen[-1].data
        assert finish["usage"]["prompt"] == len(first.prompt_ids) + 5
        assert finish["usage"]["completion"] == len(written) - 5
        assert finish["usage"]["reasoning"] == len(codec.encode_text(THOUGHT)) - 2
        counted = world.app.state.turns.tokens
        assert counted == {
            "analysis": len(codec.encode_text(THOUGHT)),
            "final": len(codec.encode_text("It is 6.")),
        }, "no token is counted twice"
        saved = await settled(browser, generation["id"])
        assert [each["content"] for each in saved["messages"]] == [THOUGHT, "It is 6."]
        assert saved["messages"][0]["token_count"] == len(codec.encode_text(THOUGHT))
        raw = (await browser.get(f"/api/generations/{generation['id']}/raw")).json()
        assert raw["prompt"] == codec.decode(first.prompt_ids)
        assert raw["output"] == codec.decode(written)
        assert "<|channel|>analysis<|message|>one two" in raw["output"]

        page = (await browser.get(f"/api/conversations/{turn['conversation']['id']}")).json()
        assert page["messages"][0]["replies"] == [turn["generation"]["id"], generation["id"]]
        assert page["totals"]["turns"] == 1
        assert page["totals"]["completion_tokens"] == len(written), "both parts were written"
        assert page["context"]["used"] == len(first.prompt_ids) + len(codec.encode_text("It is 6.")) + 6


async def test_a_reply_that_goes_on_is_held_to_its_schema_from_where_it_stands(tmp_path: Path) -> None:
    schema = {"name": "answer", "description": "", "schema": {"type": "object"}}
    async with running(tmp_path) as world, world.browser() as browser:
        turn = await stopped_in_reasoning(world, browser, response_schema=schema)
        world.engine.script = Script(ids=world.engine.token_ids(world.engine.script)[5:])
        again = (await browser.post("/api/turns", json=go_on(turn))).json()
        over = await settled(browser, again["generation"]["id"])
        assert over["generation"]["schema"] == {"valid": False, "reason": "The answer is not valid JSON."}
        whole, rest = (each.constraint for each in world.engine.requests)
        assert whole is not None
        assert rest == replace(whole, begun=5)


async def test_an_answer_can_be_asked_for_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        turn = await stopped_in_reasoning(world, browser)
        codec, first = world.engine.codec, world.engine.requests[0]
        written = world.engine.token_ids(world.engine.script)[:5]
        world.engine.script = Script(ids=[*codec.encode_text("Six."), RETURN])
        again = (await browser.post("/api/turns", json=go_on(turn, "answer_now"))).json()
        over = await settled(browser, again["generation"]["id"])
        assert [(each["channel"], each["content"]) for each in over["messages"]] == [
            ("analysis", "one two"),
            ("final", "Six."),
        ]
        forced = [END, START, *codec.encode_text("assistant"), CHANNEL, *codec.encode_text("final"), MESSAGE]
        assert world.engine.requests[1].prompt_ids == (*first.prompt_ids, *written, *forced)
        assert over["generation"]["primed_tokens"] == 5 + len(forced)
        assert over["generation"]["usage"]["reasoning"] == 0
        assert over["generation"]["finish_reason"] == "stop"
        after = await ask(browser, "And 7?", conversation_id=turn["conversation"]["id"])
        await settled(browser, after["generation"]["id"])
        prompt = codec.decode(world.engine.requests[2].prompt_ids)
        assert "<|channel|>final<|message|>Six.<|end|>" in prompt
        assert "one two" not in prompt


async def test_a_reply_that_was_stopped_before_its_first_token_answers_at_once(tmp_path: Path) -> None:
    script = Script(hold=asyncio.Event(), hold_at=0)
    async with running(tmp_path, script) as world, world.browser() as browser:
        turn = await ask(browser)
        await browser.post(f"/api/generations/{turn['generation']['id']}/cancel")
        await settled(browser, turn["generation"]["id"])
        world.engine.script = Script(ids=[*world.engine.codec.encode_text("Six."), RETURN])
        again = (await browser.post("/api/turns", json=go_on(turn, "answer_now"))).json()
        over = await settled(browser, again["generation"]["id"])
        assert [(each["channel"], each["content"]) for each in over["messages"]] == [("final", "Six.")]
        prompt = world.engine.codec.decode(world.engine.requests[1].prompt_ids)
        assert prompt.endswith("<|start|>assistant<|channel|>final<|message|>")


async def test_a_continued_reply_can_be_continued(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        turn = await stopped_in_reasoning(world, browser)
        written = world.engine.token_ids(Script([("analysis", THOUGHT), ("final", "It is 6.")]))
        for start in (5, 7):
            world.engine.script = Script(ids=written[start:])
            body = go_on(turn, "continue", max_tokens=2 if start == 5 else 100)
            turn = (await browser.post("/api/turns", json=body)).json()
            over = await settled(browser, turn["generation"]["id"])
        assert [each["content"] for each in over["messages"]] == [THOUGHT, "It is 6."]
        page = (await browser.get(f"/api/conversations/{turn['conversation']['id']}")).json()
        assert page["totals"]["completion_tokens"] == len(written)


async def test_what_cannot_be_continued_is_refused_and_says_why(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        done = await ask(browser)
        await settled(browser, done["generation"]["id"])
        other = await stopped_in_reasoning(world, browser)
        world.engine.script = Script(hold=asyncio.Event(), hold_at=3)
        open_turn = await ask(browser)
        for turn, words in ((done, "ended with its answer"), (open_turn, "still being written")):
            for mode in ("continue", "answer_now"):
                refused = await browser.post("/api/turns", json=go_on(turn, mode))
                error = refused.json()["error"]
                assert (refused.status_code, error["code"]) == (400, "cannot_continue")
                assert words in error["message"]
        elsewhere = {**go_on(other), "conversation_id": done["conversation"]["id"]}
        assert (await browser.post("/api/turns", json=elsewhere)).status_code == 404
        odd = await browser.post("/api/turns", json=go_on(other, "backwards"))
        assert (odd.status_code, odd.json()["error"]["param"]) == (400, "mode")


async def test_a_refused_continuation_keeps_the_text_that_it_began_with(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        turn = await stopped_in_reasoning(world, browser)
        world.engine.script = Script(refuse_full=True)
        failed = (await browser.post("/api/turns", json=go_on(turn))).json()
        over = await settled(browser, failed["generation"]["id"])
        assert over["generation"]["error_code"] == "queue_full"
        assert [each["content"] for each in over["messages"]] == ["one two"]
        written = world.engine.token_ids(Script([("analysis", THOUGHT), ("final", "It is 6.")]))
        world.engine.script = Script(ids=written[5:])
        again = (await browser.post("/api/turns", json=go_on(failed))).json()
        whole = await settled(browser, again["generation"]["id"])
        assert [each["content"] for each in whole["messages"]] == [THOUGHT, "It is 6."]


@pytest.mark.parametrize("mode", ["continue", "answer_now"])
async def test_the_context_bounds_a_continued_reply(tmp_path: Path, mode: str) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        turn = await stopped_in_reasoning(world, browser)
        length = len(world.engine.requests[0].prompt_ids) + 5
        world.engine.context_length = length
        refused = await browser.post("/api/turns", json=go_on(turn, mode))
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "context_length_exceeded")
        world.engine.context_length = length + 20
        again = (await browser.post("/api/turns", json=go_on(turn, mode, max_tokens=1000))).json()
        primed = again["generation"]["primed_tokens"]
        assert again["generation"]["max_tokens"] == 25 - primed, "as much as the context still holds"
        await settled(browser, again["generation"]["id"])

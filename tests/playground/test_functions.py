"""Functions whose results a person types: calls, waiting, results, branches, and what is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from inference import vocabulary
from tests.playground.calling import (
    ANSWER,
    APPLE,
    CALL,
    PEAR,
    PRICE,
    STOCK,
    Json,
    calling,
    page_of,
    plays,
    results,
    said,
    waits,
)
from tests.playground.scripted import Script
from tests.playground.world import ask, events, running, settled

DECLARED: Json = {"settings": {"functions": [PRICE, STOCK]}}


async def test_a_call_waits_for_its_result_and_the_answer_follows(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        plays(world, CALL, ANSWER)
        turn = await ask(browser, "How much is an apple?", **DECLARED)
        [call] = await waits(browser, turn)
        prompt = world.engine.codec.decode(world.engine.requests[0].prompt_ids)
        assert "namespace functions {" in prompt
        assert "type get_price = (_: {" in prompt
        seen = await events(browser, turn["generation"]["id"])
        assert seen[-1].data["waiting_calls"] == [call]
        assert seen[-1].data["next_generation_id"] is None
        shown = await page_of(browser, turn)
        assert shown["generations"][0]["waiting_calls"] == [call]
        assert shown["messages"][-1]["id"] == call

        taken = await results(browser, turn, (call, "3 euros"))
        assert taken.status_code == 202, taken.text
        going = taken.json()
        assert [(each["role"], each["name"], each["content"]) for each in going["tool_messages"]] == [
            ("tool", "functions.get_price", "3 euros")
        ]
        assert going["user_message"]["id"] == turn["user_message"]["id"]
        assert going["generation"]["answers"] == turn["generation"]["id"]
        second = await events(browser, going["generation"]["id"])
        assert (second[0].name, second[0].data) == ("results", {"messages": going["tool_messages"]})
        over = await settled(browser, going["generation"]["id"])
        assert over["generation"]["finish_reason"] == "stop"
        assert [each["role"] for each in over["messages"]] == ["tool", "assistant", "assistant"]
        page = await page_of(browser, turn)
        assert said(page) == [
            ("user", "How much is an apple?"),
            ("analysis", "I call it."),
            ("functions.get_price", APPLE),
            ("functions.get_price", "3 euros"),
            ("analysis", "It is 3."),
            ("final", "An apple costs 3."),
        ]
        first, last = page["generations"]
        assert (first["waiting_calls"], first["next_generation_id"]) == ([], last["id"])
        assert page["messages"][0]["replies"] == [first["id"]], "it is one reply to the question"
        assert page["totals"]["turns"] == 1
        prompt = world.engine.codec.decode(world.engine.requests[1].prompt_ids)
        result = "<|start|>functions.get_price to=assistant<|channel|>commentary<|message|>3 euros<|end|>"
        assert prompt.endswith(f"{result}<|start|>assistant")

        again = await ask(browser, "And a pear?", conversation_id=turn["conversation"]["id"])
        await settled(browser, again["generation"]["id"])
        prompt = world.engine.codec.decode(world.engine.requests[2].prompt_ids)
        assert "3 euros" in prompt
        assert "An apple costs 3." in prompt
        assert "I call it." not in prompt, "the turn is over, and its reasoning with it"


async def test_the_model_reads_its_own_tokens_again_as_it_wrote_them(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        codec = world.engine.codec

        def spelled(words: str) -> list[int]:
            return [token for letter in words for token in codec.encode_text(letter)]

        thought = [
            vocabulary.CHANNEL,
            *spelled("analysis"),
            vocabulary.MESSAGE,
            *spelled("I call."),
            vocabulary.END,
        ]
        header = [
            *codec.encode_text(" to=functions.get_price"),
            vocabulary.CHANNEL,
            *codec.encode_text("commentary "),
        ]
        start = [vocabulary.START, *codec.encode_text("assistant")]
        call = [*start, *header, vocabulary.CONSTRAIN, *codec.encode_text("json"), vocabulary.MESSAGE]
        ids = [*thought, *call, *spelled('{"thing":"apple"}'), vocabulary.CALL]
        assert codec.encode_text('{"thing":"apple"}') != spelled('{"thing":"apple"}')
        plays(world, Script(ids=ids), CALL, ANSWER)
        turn = await ask(browser, **DECLARED)
        [first] = await waits(browser, turn)
        one = (await results(browser, turn, (first, "3"))).json()
        [second] = await waits(browser, one)
        two = (await results(browser, turn, (second, "4"))).json()
        await settled(browser, two["generation"]["id"])
        asked, once, twice = (request.prompt_ids for request in world.engine.requests)
        assert once[: len(asked) + len(ids)] == (*asked, *ids), "byte for byte, and not written anew"
        assert twice[: len(once)] == once
        own = world.engine.token_ids(CALL)
        assert twice[len(once) : len(once) + len(own)] == tuple(own)


async def test_two_calls_need_both_results_whatever_their_order(tmp_path: Path) -> None:
    both = calling(("get_price", APPLE), ("get_price", PEAR))
    async with running(tmp_path) as world, world.browser() as browser:
        plays(world, both, ANSWER)
        turn = await ask(browser, **DECLARED)
        one, two = await waits(browser, turn)
        for pairs in ([(one, "3")], [(one, "3"), (one, "4")], [(one, "3"), (two, "4"), ("0" * 32, "5")]):
            refused = await results(browser, turn, *pairs)
            assert refused.status_code == 400
            assert refused.json()["error"]["param"] == "results"
        going = (await results(browser, turn, (two, "4"), (one, ""))).json()
        assert [each["content"] for each in going["tool_messages"]] == ["", "4"], "in the order of the calls"
        await settled(browser, going["generation"]["id"])


async def test_what_is_no_result_of_a_waiting_call_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path, max_message_chars=100) as world, world.browser() as browser:
        plays(world, CALL, ANSWER)
        turn = await ask(browser, **DECLARED)
        [call] = await waits(browser, turn)
        elsewhere = await ask(browser, "Another chat")
        await settled(browser, elsewhere["generation"]["id"])
        question = turn["user_message"]["id"]
        for message_id in (question, elsewhere["user_message"]["id"], "f" * 32):
            error = (await results(browser, turn, (message_id, "3"))).json()["error"]
            assert (error["code"], error["param"]) == ("invalid_parameter", "results")
        for text, code in (("x" * 101, "message_too_long"), ("a\x00b", "invalid_text")):
            error = (await results(browser, turn, (call, text))).json()["error"]
            assert (error["code"], error["param"]) == (code, "results")
        both = await results(browser, turn, (call, "3"), text="and a question")
        assert both.status_code == 400
        alone = await browser.post("/api/turns", json={"results": [{"message_id": call, "content": "3"}]})
        assert alone.json()["error"]["param"] == "results"
        async with world.browser() as stranger:
            assert (await results(stranger, turn, (call, "3"))).status_code == 404
        assert len(world.engine.requests) == 2, "nothing of this reached the model"
        assert await waits(browser, turn) == [call]


async def test_the_same_results_twice_are_one_turn_and_others_are_a_branch(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        plays(world, CALL, ANSWER)
        turn = await ask(browser, **DECLARED)
        [call] = await waits(browser, turn)
        one, same = await asyncio.gather(
            *(results(browser, turn, (call, "3"), client_id="once") for _ in range(2))
        )
        first = one.json()["generation"]["id"]
        assert same.json()["generation"]["id"] == first
        await settled(browser, first)
        late = (await results(browser, turn, (call, "3"), client_id="once")).json()
        assert (late["generation"]["id"], late["tool_messages"]) == (first, one.json()["tool_messages"])
        other = (await results(browser, turn, (call, "5"))).json()["generation"]["id"]
        await settled(browser, other)
        page = await page_of(browser, turn)
        assert ("functions.get_price", "5") in said(page)
        assert page["generations"][0]["next_generation_ids"] == [first, other]
        assert page["generations"][0]["next_generation_id"] == other
        address = f"/api/conversations/{turn['conversation']['id']}/select"
        back = (await browser.post(address, json={"generation_id": first})).json()
        assert ("functions.get_price", "3") in said(back)
        assert said(back)[-1] == ("final", "An apple costs 3.")
        assert back["generations"][0]["next_generation_id"] == first
        alone = (await browser.get(f"/api/generations/{turn['generation']['id']}")).json()["generation"]
        assert (alone["next_generation_id"], alone["waiting_calls"]) == (first, [])


async def test_a_regenerated_question_is_another_branch_and_each_stays_whole(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        plays(world, CALL, ANSWER)
        turn = await ask(browser, **DECLARED)
        [call] = await waits(browser, turn)
        going = (await results(browser, turn, (call, "3"))).json()
        await settled(browser, going["generation"]["id"])
        body = {"conversation_id": turn["conversation"]["id"], "regenerate": turn["user_message"]["id"]}
        fresh = (await browser.post("/api/turns", json=body)).json()
        await settled(browser, fresh["generation"]["id"])
        page = await page_of(browser, turn)
        assert [who for who, _ in said(page)] == ["user", "analysis", "final"]
        assert page["messages"][0]["replies"] == [turn["generation"]["id"], fresh["generation"]["id"]]
        address = f"/api/conversations/{turn['conversation']['id']}/select"
        for chosen in (turn["generation"]["id"], going["generation"]["id"]):
            back = (await browser.post(address, json={"generation_id": chosen})).json()
            assert said(back)[-1] == ("final", "An apple costs 3.")
            assert len(said(back)) == 6


async def test_a_reply_after_results_that_was_cut_goes_on_with_the_same_results(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        plays(world, CALL, ANSWER)
        turn = await ask(browser, **DECLARED)
        [call] = await waits(browser, turn)
        cut = (await results(browser, turn, (call, "3"), max_tokens=5)).json()
        over = await settled(browser, cut["generation"]["id"])
        assert over["generation"]["finish_reason"] == "length"
        plays(world, Script(ids=world.engine.token_ids(ANSWER)[5:]))
        body = {"conversation_id": turn["conversation"]["id"], "continue_of": cut["generation"]["id"]}
        longer = (await browser.post("/api/turns", json=body)).json()
        assert [each["content"] for each in longer["tool_messages"]] == ["3"]
        await settled(browser, longer["generation"]["id"])
        page = await page_of(browser, turn)
        assert said(page)[-3:] == [
            ("functions.get_price", "3"),
            ("analysis", "It is 3."),
            ("final", "An apple costs 3."),
        ]
        assert page["generations"][0]["next_generation_ids"] == [
            cut["generation"]["id"],
            longer["generation"]["id"],
        ]


async def test_a_new_question_leaves_the_call_unanswered(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        plays(world, CALL, ANSWER)
        turn = await ask(browser, **DECLARED)
        [call] = await waits(browser, turn)
        other = await ask(browser, "Never mind.", conversation_id=turn["conversation"]["id"])
        await settled(browser, other["generation"]["id"])
        prompt = world.engine.codec.decode(world.engine.requests[1].prompt_ids)
        assert f"{APPLE}<|call|><|start|>user<|message|>Never mind." in prompt
        going = (await results(browser, turn, (call, "3"))).json()
        await settled(browser, going["generation"]["id"])
        assert said(await page_of(browser, turn))[-1] == ("final", "An apple costs 3.")
        address = f"/api/conversations/{turn['conversation']['id']}/select"
        back = (await browser.post(address, json={"message_id": other["user_message"]["id"]})).json()
        assert ("user", "Never mind.") in said(back)


async def test_what_was_set_for_the_turn_goes_on_to_count(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        plays(world, CALL, ANSWER)
        turn = await ask(browser, functions=[PRICE], effort="high", seed=7)
        [call] = await waits(browser, turn)
        going = (await results(browser, turn, (call, "3"))).json()
        assert (going["generation"]["effort"], going["generation"]["seed"]) == ("high", 7)
        await settled(browser, going["generation"]["id"])
        prompt = world.engine.codec.decode(world.engine.requests[1].prompt_ids)
        assert "type get_price" in prompt
        again = await ask(browser, "More?", conversation_id=turn["conversation"]["id"])
        await settled(browser, again["generation"]["id"])
        assert "type get_price" not in world.engine.codec.decode(world.engine.requests[2].prompt_ids)


async def test_calls_wait_again_after_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        plays(world, CALL)
        turn = await ask(browser, **DECLARED)
        [call] = await waits(browser, turn)
        cookies = browser.cookies
    async with running(tmp_path) as world, world.browser() as browser:
        browser.cookies = cookies
        plays(world, ANSWER)
        going = (await results(browser, turn, (call, "3"))).json()
        await settled(browser, going["generation"]["id"])
        assert said(await page_of(browser, turn))[-1] == ("final", "An apple costs 3.")
        codec = world.engine.codec
        own = codec.decode(world.engine.token_ids(CALL))
        assert own in codec.decode(world.engine.requests[0].prompt_ids), "verbatim, from the database alone"


def on_disk(folder: Path) -> bytes:
    return b"".join(each.read_bytes() for each in folder.glob("*.sqlite3*"))


async def test_a_temporary_chat_calls_and_keeps_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        plays(world, CALL, ANSWER)
        turn = await ask(browser, temporary=True, **DECLARED)
        [call] = await waits(browser, turn)
        going = (await results(browser, turn, (call, "a-secret-result"))).json()
        await settled(browser, going["generation"]["id"])
        assert said(await page_of(browser, turn))[-1] == ("final", "An apple costs 3.")
        assert (await browser.get("/api/conversations")).json()["items"] == []
    assert b"a-secret-result" not in on_disk(tmp_path)


async def test_calls_and_results_are_found_by_search(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        plays(world, CALL, ANSWER)
        turn = await ask(browser, **DECLARED)
        [call] = await waits(browser, turn)
        going = (await results(browser, turn, (call, "quinces instead"))).json()
        await settled(browser, going["generation"]["id"])
        hits = (await browser.get("/api/search", params={"q": "quinces", "kinds": "tool"})).json()["items"]
        assert [(hit["kind"], hit["generation_id"]) for hit in hits] == [("tool", going["generation"]["id"])]


@pytest.mark.parametrize("reasoning", ["true", "false"])
async def test_a_conversation_with_calls_leaves_and_comes_back(tmp_path: Path, reasoning: str) -> None:
    schema = {"name": "answer", "description": "", "schema": {"type": "object"}}
    settings = {"functions": [PRICE], "operator_functions": ["get_weather"], "response_schema": schema}
    async with running(tmp_path) as world, world.browser() as browser:
        plays(world, CALL, CALL, ANSWER)
        turn = await ask(browser, settings=settings, functions=[PRICE, STOCK])
        step = turn
        for text in ("3", "4"):
            [call] = await waits(browser, step)
            step = (await results(browser, turn, (call, text))).json()
        over = (await settled(browser, step["generation"]["id"]))["generation"]
        assert over["schema"] == {"valid": False, "reason": "The answer is not valid JSON."}
        address = f"/api/conversations/{turn['conversation']['id']}"
        query = {"format": "json", "reasoning": reasoning}
        file = (await browser.get(f"{address}/export", params=query)).content
        taken = (await browser.post("/api/import", content=file)).json()
        assert "error" not in taken, taken
        copy = (await browser.get(f"/api/conversations/{taken['conversations'][0]['id']}")).json()
        page = await page_of(browser, turn)
        kept = [each for each in said(page) if reasoning == "true" or each[0] != "analysis"]
        assert said(copy) == kept
        assert copy["conversation"]["settings"] == page["conversation"]["settings"]
        first, second, third = copy["generations"]
        assert (first["next_generation_id"], second["next_generation_id"]) == (second["id"], third["id"])
        assert (third["answers"], third["schema"]) == (second["id"], over["schema"])

        share = {"conversation_id": turn["conversation"]["id"], "include_reasoning": reasoning == "true"}
        link = (await browser.post("/api/shares", json=share)).json()["share"]["path"].removeprefix("/s/")
        imported = (await browser.post(f"/api/shared/{link}/import")).json()["conversation"]["id"]
        assert said((await browser.get(f"/api/conversations/{imported}")).json()) == kept
        markdown = (await browser.get(f"{address}/export", params={"format": "markdown"})).text
        assert "Call of functions.get_price" in markdown
        assert "Result of functions.get_price" in markdown

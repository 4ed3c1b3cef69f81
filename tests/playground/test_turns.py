"""One turn from the question to the saved answer, over a real socket."""

from __future__ import annotations

import asyncio
from pathlib import Path

from storage.store import Store
from tests.playground.scripted import DRAWN_SEED, Script
from tests.playground.world import TIMEOUT, ask, events, running, settled, text_of

LONG = Script([("analysis", "one two three four five six"), ("final", "seven eight nine ten eleven")])


def held(at: int, script: Script = LONG) -> Script:
    """The script, waiting before token ``at`` until it is let go."""
    return Script(script.messages, hold=asyncio.Event(), hold_at=at)


def release(script: Script) -> None:
    assert script.hold is not None
    script.hold.set()


async def test_a_question_is_answered_and_both_are_saved(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        turn = await ask(
            browser, "  What is\n12 + 30?  ", effort="high", temperature=0, seed=7, max_tokens=64
        )
        assert turn["conversation"]["title"] == "What is"
        assert turn["conversation"]["running_generation_id"] == turn["generation"]["id"]
        assert turn["user_message"]["content"] == "  What is\n12 + 30?  "
        assert turn["generation"]["status"] == "queued"

        seen = await events(browser, turn["generation"]["id"])
        assert [each.id for each in seen] == list(range(1, len(seen) + 1))
        names = [each.name for each in seen if each.name != "delta"]
        assert names == ["queued", "started", "message", "message_end", "message", "message_end", "finish"]
        assert (text_of(seen, 0), text_of(seen, 1)) == ("12 + 30 = 42.", "The answer is 42.")
        started = next(each.data for each in seen if each.name == "started")
        assert started["model"] == "scripted"
        assert started["prompt_tokens"] == len(world.engine.requests[0].prompt_ids)
        finish = seen[-1].data
        assert (finish["status"], finish["finish_reason"], finish["effort"]) == ("finished", "stop", "high")
        assert finish["usage"]["reasoning"] > 0
        assert finish["usage"]["final"] > 0
        assert finish["usage"]["prompt"] == started["prompt_tokens"]

        page = (await browser.get(f"/api/conversations/{turn['conversation']['id']}")).json()
        contents = [(each["role"], each["channel"], each["content"]) for each in page["messages"]]
        assert contents == [
            ("user", None, "  What is\n12 + 30?  "),
            ("assistant", "analysis", "12 + 30 = 42."),
            ("assistant", "final", "The answer is 42."),
        ]
        ends = [each.data["id"] for each in seen if each.name == "message_end"]
        assert ends == [each["id"] for each in page["messages"][1:]]
        assert page["conversation"]["running_generation_id"] is None
        assert page["generations"] == [finish]
        sampling = world.engine.requests[0].sampling
        assert (sampling.temperature, sampling.seed, sampling.max_tokens) == (0.0, 7, 64)


async def test_the_next_question_brings_the_answers_before_it_to_the_model(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        turn = await ask(browser)
        await settled(browser, turn["generation"]["id"])
        again = await ask(browser, "And plus 1?", conversation_id=turn["conversation"]["id"])
        await settled(browser, again["generation"]["id"])
        prompt = world.engine.codec.decode(world.engine.requests[1].prompt_ids)
        assert "What is 12 + 30?" in prompt
        assert "The answer is 42." in prompt
        assert "And plus 1?" in prompt
        assert "12 + 30 = 42." not in prompt, "reasoning of a finished turn is not shown again"
        assert again["conversation"]["title"] == "What is 12 + 30?"


async def test_instructions_reach_the_model(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        turn = await ask(browser)
        await settled(browser, turn["generation"]["id"])
        address = f"/api/conversations/{turn['conversation']['id']}"
        changed = await browser.patch(address, json={"settings": {"instructions": "Answer in capitals."}})
        assert changed.json()["conversation"]["settings"]["instructions"] == "Answer in capitals."
        again = await ask(browser, "Hello", conversation_id=turn["conversation"]["id"])
        await settled(browser, again["generation"]["id"])
        assert "Answer in capitals." in world.engine.codec.decode(world.engine.requests[1].prompt_ids)


async def test_an_earlier_message_can_be_continued_as_a_branch(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        first = await ask(browser, "First")
        await settled(browser, first["generation"]["id"])
        conversation = first["conversation"]["id"]
        page = (await browser.get(f"/api/conversations/{conversation}")).json()
        answer = page["messages"][-1]["id"]
        for text in ("Second", "Other second"):
            turn = await ask(browser, text, conversation_id=conversation, parent_id=answer)
            await settled(browser, turn["generation"]["id"])
        page = (await browser.get(f"/api/conversations/{conversation}")).json()
        asked = [each["content"] for each in page["messages"] if each["role"] == "user"]
        assert asked == ["First", "Other second"]
        assert "Second" not in world.engine.codec.decode(world.engine.requests[2].prompt_ids).replace(
            "Other second", ""
        )
        assert len(page["generations"]) == 2


async def test_a_reader_that_comes_back_gets_exactly_what_it_missed(tmp_path: Path) -> None:
    script = held(at=6)
    async with running(tmp_path, script) as world, world.browser() as browser:
        turn = await ask(browser)
        name = turn["generation"]["id"]
        head = await events(browser, name, until=4)
        release(script)
        tail = await events(browser, name, last_event_id=head[-1].id)
        whole = await events(browser, name)
        assert head + tail == whole
        assert text_of(whole, 1) == "seven eight nine ten eleven"
        by_query = await browser.get(f"/api/generations/{name}/events?last_event_id={whole[-2].id}")
        assert by_query.text.count("event: ") == 1
        done = await browser.get(
            f"/api/generations/{name}/events", headers={"Last-Event-ID": str(whole[-1].id)}
        )
        assert done.status_code == 204
        for odd in ("-1", "x", "9" * 30, "99999", "٣"):
            answer = await browser.get(f"/api/generations/{name}/events", params={"last_event_id": odd})
            assert answer.text.count("event: ") == len(whole)


async def test_a_reply_goes_on_when_its_reader_leaves(tmp_path: Path) -> None:
    script = held(at=6)
    async with running(tmp_path, script) as world, world.browser() as browser:
        turn = await ask(browser)
        await events(browser, turn["generation"]["id"], until=3)
        release(script)
        over = await settled(browser, turn["generation"]["id"])
        assert over["generation"]["status"] == "finished"
        assert over["messages"][1]["content"] == "seven eight nine ten eleven"


async def test_a_finished_reply_that_is_no_longer_in_memory_comes_as_a_snapshot(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        turn = await ask(browser)
        name = turn["generation"]["id"]
        whole = await events(browser, name)
        world.app.state.turns.runs.close()
        seen = await events(browser, name, last_event_id=3)
        assert [each.name for each in seen] == ["snapshot", "finish"]
        assert [each.id for each in seen] == [4, 5]
        assert [each["content"] for each in seen[0].data["messages"]] == [
            "12 + 30 = 42.",
            "The answer is 42.",
        ]
        assert seen[1].data == seen[0].data["generation"] == whole[-1].data


async def test_a_stopped_reply_keeps_its_text_and_its_conversation_goes_on(tmp_path: Path) -> None:
    script = held(at=7)
    async with running(tmp_path, script) as world, world.browser() as browser:
        turn = await ask(browser)
        name = turn["generation"]["id"]
        await events(browser, name, until=5)
        stopped = await browser.post(f"/api/generations/{name}/cancel")
        assert stopped.status_code == 202
        seen = await events(browser, name)
        assert seen[-1].data["status"] == "cancelled"
        assert seen[-1].data["finish_reason"] == "cancelled"
        saved = await settled(browser, name)
        assert saved["messages"][0]["content"] == text_of(seen, 0) != ""
        assert saved["messages"][0]["complete"] is False
        again = await browser.post(f"/api/generations/{name}/cancel")
        assert (again.status_code, again.json()["generation"]) == (200, seen[-1].data)
        world.engine.script = Script()
        after = await ask(browser, "Go on", conversation_id=turn["conversation"]["id"])
        assert (await settled(browser, after["generation"]["id"]))["generation"]["status"] == "finished"


async def test_a_restart_keeps_the_text_and_marks_the_reply_as_interrupted(tmp_path: Path) -> None:
    async with running(tmp_path, held(at=7)) as world, world.browser() as browser:
        turn = await ask(browser)
        name = turn["generation"]["id"]
        before = await events(browser, name, until=5)
        cookies = browser.cookies
    async with running(tmp_path) as world, world.browser() as browser:
        browser.cookies = cookies
        page = (await browser.get(f"/api/conversations/{turn['conversation']['id']}")).json()
        assert page["generations"][0]["status"] == "interrupted"
        assert text_of(before, 0) in page["messages"][1]["content"]
        assert page["messages"][1]["complete"] is False
        seen = await events(browser, name, last_event_id=before[-1].id)
        assert [each.name for each in seen] == ["snapshot", "finish"]
        again = await ask(browser, "Once more", conversation_id=turn["conversation"]["id"])
        assert (await settled(browser, again["generation"]["id"]))["generation"]["status"] == "finished"


async def test_text_is_saved_while_the_reply_runs(tmp_path: Path) -> None:
    script = held(at=8)
    async with running(tmp_path, script) as world, world.browser() as browser:
        turn = await ask(browser)
        async with asyncio.timeout(TIMEOUT):
            while True:
                saved = (await browser.get(f"/api/generations/{turn['generation']['id']}")).json()
                if saved["messages"] and "three" in saved["messages"][0]["content"]:
                    break
                await asyncio.sleep(0.02)
        assert saved["generation"]["status"] == "running"
        release(script)
        await settled(browser, turn["generation"]["id"])


async def test_the_same_client_id_starts_one_turn_only(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        await browser.get("/api/bootstrap")
        turns = await asyncio.gather(*(ask(browser, client_id="once") for _ in range(8)))
        assert len({turn["generation"]["id"] for turn in turns}) == 1
        await settled(browser, turns[0]["generation"]["id"])
        assert len(world.engine.requests) == 1
        assert len((await browser.get("/api/conversations")).json()["items"]) == 1
        late = await ask(browser, client_id="once")
        assert late["generation"]["status"] == "finished"


async def test_a_turn_that_was_taken_is_answered_again_when_no_new_one_would_be(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        turn = await ask(browser, client_id="once")
        await settled(browser, turn["generation"]["id"])
        world.engine.ready = False
        assert (await browser.post("/api/turns", json={"text": "Another"})).status_code == 503
        again = await ask(browser, client_id="once")
        assert again["generation"]["id"] == turn["generation"]["id"]


async def test_a_seed_that_was_drawn_is_told_and_saved(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        turn = await ask(browser)
        assert turn["generation"]["seed"] is None
        finish = (await events(browser, turn["generation"]["id"]))[-1].data
        assert finish["seed"] == DRAWN_SEED
        assert (await settled(browser, turn["generation"]["id"]))["generation"] == finish


async def test_a_conversation_that_still_answers_takes_no_second_question(tmp_path: Path) -> None:
    script = held(at=5)
    async with running(tmp_path, script) as world, world.browser() as browser:
        turn = await ask(browser)
        second = {"text": "And?", "conversation_id": turn["conversation"]["id"]}
        refused = await browser.post("/api/turns", json=second)
        assert refused.status_code == 409
        assert refused.json()["error"]["code"] == "conflict"
        release(script)
        await settled(browser, turn["generation"]["id"])
        assert (await browser.post("/api/turns", json=second)).status_code == 202


async def test_deleting_a_conversation_stops_its_reply_and_removes_everything(tmp_path: Path) -> None:
    async with running(tmp_path, held(at=5)) as world, world.browser() as browser:
        turn = await ask(browser)
        name, conversation = turn["generation"]["id"], turn["conversation"]["id"]
        assert (await browser.delete(f"/api/conversations/{conversation}")).status_code == 204
        for address in (
            f"/api/conversations/{conversation}",
            f"/api/generations/{name}",
            f"/api/generations/{name}/events",
        ):
            assert (await browser.get(address)).status_code == 404
        assert (await browser.get("/api/conversations")).json() == {"items": [], "next_cursor": None}


async def test_thirty_replies_stream_at_once_and_none_is_mixed_up(tmp_path: Path) -> None:
    async with running(tmp_path, replies_at_once=0) as world, world.browser() as browser:
        world.engine.choose = lambda request: Script(
            [("final", f"reply to {world.engine.codec.decode(request.prompt_ids)[-60:]}")], pause=0.005
        )
        await browser.get("/api/bootstrap")
        turns = await asyncio.gather(*(ask(browser, f"question {number:02}") for number in range(30)))
        logs = await asyncio.gather(*(events(browser, turn["generation"]["id"]) for turn in turns))
        for number, log in enumerate(logs):
            assert f"question {number:02}" in text_of(log, 0)
            assert log[-1].data["status"] == "finished"
        assert world.app.state.turns.task_count == 0


async def test_two_processes_worth_of_store_agree_on_the_tokens(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        turn = await ask(browser)
        await settled(browser, turn["generation"]["id"])
        expected = world.engine.token_ids(world.engine.script)
        prompt = world.engine.requests[0].prompt_ids
        owner = world.engine.requests[0].user_key
        path = world.app.state.settings.database_path
    store = Store.open(path)
    try:
        tokens = store.generation_tokens(owner, turn["generation"]["id"])
    finally:
        store.close()
    assert tokens.prompt_ids == prompt
    assert list(tokens.output_ids) == expected

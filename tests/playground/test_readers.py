"""Readers of a run: they come and go without a trace, and a fast model does not flood them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from playground import sse
from playground.runs import KEEP_RUNS, LoggedEvent, Owner, Run, RunRegistry
from tests.playground.scripted import Script
from tests.playground.world import TIMEOUT, ask, events, running, settled


async def test_two_hundred_readers_leave_nothing_behind(tmp_path: Path) -> None:
    script = Script(hold=asyncio.Event(), hold_at=5)
    async with running(tmp_path, script) as world, world.browser() as browser:
        turn = await ask(browser)
        name = turn["generation"]["id"]
        run = world.app.state.turns.runs.find_open(lambda run: run.generation_id == name)[0]
        await events(browser, name, until=3)
        before = len(asyncio.all_tasks())
        for _ in range(4):
            await asyncio.gather(*(events(browser, name, until=3) for _ in range(50)))
        await browser.aclose()
        async with asyncio.timeout(TIMEOUT):
            while run.reader_count or len(asyncio.all_tasks()) > before:  # noqa: ASYNC110 - tasks end without an event
                await asyncio.sleep(0.02)
        assert script.hold is not None
        script.hold.set()
        await run.done.wait()


async def test_a_quiet_stream_is_kept_awake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "PING_SECONDS", 0.05)
    script = Script(hold=asyncio.Event(), hold_at=5)
    async with running(tmp_path, script) as world, world.browser() as browser:
        turn = await ask(browser)
        address = f"/api/generations/{turn['generation']['id']}/events"
        async with asyncio.timeout(TIMEOUT), browser.stream("GET", address) as answer:
            async for line in answer.aiter_lines():
                if line.startswith(":"):
                    break
        assert script.hold is not None
        script.hold.set()
        await settled(browser, turn["generation"]["id"])


async def test_text_is_joined_and_stays_in_order() -> None:
    run = Run(Owner("owner"), "generation", "conversation")
    for number in range(1000):
        run.append_text(0, f"{number} ")
    run.append_text(1, "other")
    run.publish("message_end", {"i": 1})
    run.finish({})
    batches = [batch async for batch in run.follow(0, 1.0)]
    log = [event for batch in batches for event in batch]
    assert [event.number for event in log] == list(range(1, len(log) + 1))
    assert [event.name for event in log] == ["delta", "delta", "delta", "message_end", "finish"]
    whole = "".join(event.data["t"] for event in log if event.name == "delta" and event.data["i"] == 0)
    assert whole == "".join(f"{number} " for number in range(1000))


async def test_waiting_text_comes_without_a_further_token() -> None:
    run = Run(Owner("owner"), "generation", "conversation")
    run.append_text(0, "a")
    run.append_text(0, "b")
    async with asyncio.timeout(TIMEOUT):
        async for batch in run.follow(1, 1.0):
            assert batch == [LoggedEvent(2, "delta", {"i": 0, "t": "b"})]
            break


async def test_finished_runs_are_forgotten_after_a_while_and_when_there_are_many() -> None:
    registry = RunRegistry(keep_seconds=0.05)
    run = registry.open("owner", "one", "conversation")
    assert registry.get("owner", "one") is run
    assert registry.get("somebody else", "one") is None
    run.finish({})
    registry.keep_finished(run)
    assert registry.get("owner", "one") is run
    async with asyncio.timeout(TIMEOUT):
        while registry.get("owner", "one") is not None:  # noqa: ASYNC110 - forgetting is no event
            await asyncio.sleep(0.01)
    registry = RunRegistry()
    for number in range(KEEP_RUNS + 1):
        run = registry.open("owner", str(number), "conversation")
        run.finish({})
        registry.keep_finished(run)
    assert registry.get("owner", "0") is None
    assert registry.get("owner", "1") is not None
    registry.forget_conversation("owner", "conversation")
    assert registry.get("owner", "1") is None


def test_an_event_is_one_line_of_json_whatever_the_text() -> None:
    text = 'line\nbreak\r\u2028 "quote" \ud800 🙂'
    lines = sse.encode(7, "delta", {"i": 0, "t": text}).decode().split("\n")
    assert lines[0] == "event: delta"
    assert lines[1].startswith('data: {"i":0,"t":"line\\nbreak\\r')
    assert lines[2:] == ["id: 7", "", ""]

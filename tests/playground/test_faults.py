"""What happens when the engine or the disk fails: a clear sentence, and nothing that was shown is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from inference.types import GenerationRequest
from playground import turns
from storage.errors import StorageFull
from storage.records import GenerationStatus
from storage.store import Store
from tests.playground.scripted import Script
from tests.playground.world import TIMEOUT, World, ask, events, running, settled, text_of

WORDS = [("analysis", "one two three four"), ("final", "five six seven eight")]


@contextmanager
def full_disk(world: World, *methods: str) -> Iterator[None]:
    """Every call of these methods of the store fails as on a full disk."""

    def refuse(*_: Any, **__: Any) -> None:
        raise StorageFull

    for method in methods:
        setattr(world.store, method, refuse)
    try:
        yield
    finally:
        for method in methods:
            delattr(world.store, method)


async def test_an_engine_that_fails_in_the_middle_leaves_the_text_and_a_sentence(tmp_path: Path) -> None:
    async with running(tmp_path, Script(WORDS, fail_at=6)) as world, world.browser() as browser:
        turn = await ask(browser)
        seen = await events(browser, turn["generation"]["id"])
        end = seen[-1].data
        assert (end["status"], end["error_code"]) == ("failed", "generation_failed")
        assert end["error"] == "The model stopped in the middle."
        saved = await settled(browser, turn["generation"]["id"])
        assert saved["messages"][0]["content"] == text_of(seen, 0) == "one two three"
        assert saved["generation"] == end


async def test_an_exception_of_the_engine_never_shows_its_words(tmp_path: Path) -> None:
    async with running(tmp_path, Script(WORDS, crash_at=6)) as world, world.browser() as browser:
        turn = await ask(browser)
        seen = await events(browser, turn["generation"]["id"])
        assert (seen[-1].data["status"], seen[-1].data["error_code"]) == ("failed", "internal_error")
        assert "secret" not in str([each.data for each in seen])
        assert (await settled(browser, turn["generation"]["id"]))["messages"][0]["content"] == "one two three"
        world.engine.script = Script()
        again = await ask(browser, conversation_id=turn["conversation"]["id"])
        assert (await settled(browser, again["generation"]["id"]))["generation"]["status"] == "finished"


async def test_a_full_queue_keeps_the_question(tmp_path: Path) -> None:
    async with running(tmp_path, Script(refuse_full=True)) as world, world.browser() as browser:
        turn = await ask(browser)
        seen = await events(browser, turn["generation"]["id"])
        assert [each.name for each in seen] == ["finish"]
        assert (seen[0].data["status"], seen[0].data["error_code"]) == ("failed", "queue_full")
        assert seen[0].data["error"].startswith("The model is busy")
        page = (await browser.get(f"/api/conversations/{turn['conversation']['id']}")).json()
        assert [each["content"] for each in page["messages"]] == ["What is 12 + 30?"]


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("loading", 503, "engine_unavailable"),
        ("context", 400, "context_length_exceeded"),
    ],
)
async def test_a_refusal_before_the_acknowledgement_saves_nothing(
    tmp_path: Path, fault: str, status: int, code: str
) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        if fault == "loading":
            world.engine.ready = False
        else:
            world.engine.context_length = 50
        answer = await browser.post("/api/turns", json={"text": "Hello " * 60})
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        assert (await browser.get("/api/conversations")).json()["items"] == []


async def test_a_full_disk_in_mid_stream_lets_the_reply_end_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "FIRST_RETRY_SECONDS", 0.05)
    script = Script(WORDS, hold=asyncio.Event(), hold_at=5)
    assert script.hold is not None
    async with running(tmp_path, script) as world, world.browser() as browser:
        turn = await ask(browser)
        with full_disk(world, "save_progress", "finish_generation"):
            await events(browser, turn["generation"]["id"], until=4)
            script.hold.set()
            seen = await events(browser, turn["generation"]["id"])
            assert text_of(seen, 1) == "five six seven eight"
            assert seen[-1].data["error_code"] == "storage_full"
            assert "room" in seen[-1].data["error"]
        async with asyncio.timeout(TIMEOUT):  # room again: the end is saved after all
            saved = await settled(browser, turn["generation"]["id"])
        assert saved["generation"]["status"] == "finished"
        assert saved["messages"][1]["content"] == "five six seven eight"


async def test_a_reply_that_could_not_be_saved_is_saved_when_the_server_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "FIRST_RETRY_SECONDS", 600.0)
    async with running(tmp_path, Script(WORDS)) as world, world.browser() as browser:
        with full_disk(world, "save_progress", "finish_generation"):
            turn = await ask(browser)
            await events(browser, turn["generation"]["id"])
        owner = world.engine.requests[0].user_key
        path = world.app.state.settings.database_path
    store = Store.open(path)
    try:
        assert store.get_generation(owner, turn["generation"]["id"]).status is GenerationStatus.FINISHED
        saved = store.generation_messages(owner, turn["generation"]["id"])
        assert [message.content for message in saved] == [text for _, text in WORDS]
    finally:
        store.close()


async def test_a_full_disk_refuses_a_question_before_it_is_acknowledged(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        await browser.get("/api/bootstrap")
        with full_disk(world, "begin_turn"):
            answer = await browser.post("/api/turns", json={"text": "Hello"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (507, "storage_full")
        assert world.engine.requests == []


async def test_a_reply_cut_by_its_limit_says_so(tmp_path: Path) -> None:
    async with running(tmp_path, Script(WORDS)) as world, world.browser() as browser:
        turn = await ask(browser, max_tokens=5)
        seen = await events(browser, turn["generation"]["id"])
        assert (seen[-1].data["status"], seen[-1].data["finish_reason"]) == ("finished", "length")
        end = next(each.data for each in seen if each.name == "message_end")
        assert end["complete"] is False


async def test_a_call_that_the_model_invents_ends_the_turn_visibly(tmp_path: Path) -> None:
    script = Script([("analysis", "I call."), ("commentary to=functions.sum", '{"a": 1}')])
    async with running(tmp_path, script) as world, world.browser() as browser:
        turn = await ask(browser)
        seen = await events(browser, turn["generation"]["id"])
        assert seen[-1].data["status"] == "finished"
        saved = await settled(browser, turn["generation"]["id"])
        assert saved["messages"][1]["content"] == '{"a": 1}'
        again = await ask(browser, conversation_id=turn["conversation"]["id"])
        assert (await settled(browser, again["generation"]["id"]))["generation"]["status"] == "finished"


async def test_without_a_limit_a_reply_may_use_what_the_context_still_holds(tmp_path: Path) -> None:
    async with running(tmp_path, max_tokens_default=500) as world, world.browser() as browser:
        for context, expected in ((4096, 500), (300, None)):
            world.engine.context_length = context
            turn = await ask(browser)
            await settled(browser, turn["generation"]["id"])
            request: GenerationRequest = world.engine.requests[-1]
            room = expected or context - len(request.prompt_ids)
            assert request.sampling.max_tokens == turn["generation"]["max_tokens"] == room

"""What becomes of responses: in the background, left, cancelled, stored, removed, and over a restart."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio

from playground import housekeeping
from playground.accounts.service import Accounts
from storage.errors import NotFound, StorageFull
from storage.response_records import ResponseRecord, ResponseStatus
from storage.store import Store
from tests.playground.openai.response_stream import checked, read_events, stream_of
from tests.playground.scripted import Script
from tests.playground.world import TIMEOUT, World, running

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(autouse=True)
def ordinary(world: World) -> Iterator[None]:
    """Each test begins with the ordinary script."""
    yield
    world.engine.script = Script()


@pytest_asyncio.fixture(loop_scope="module")
async def browser(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """HTTP by hand."""
    async with world.browser() as browser:
        yield browser


def held(world: World, at: int = 6) -> asyncio.Event:
    """The model stops before this token until the event is set."""
    world.engine.script = Script(hold=asyncio.Event(), hold_at=at)
    assert world.engine.script.hold is not None
    return world.engine.script.hold


async def begun(browser: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    """A response in the background."""
    answer = await browser.post("/v1/responses", json={"input": "x", "background": True, **body})
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def events_until(browser: httpx.AsyncClient, address: str, kind: str) -> list[dict[str, Any]]:
    """The events up to the first one of this type; then the reader leaves."""
    text = ""
    async with asyncio.timeout(TIMEOUT), browser.stream("GET", address) as answer:
        async for piece in answer.aiter_text():
            text += piece
            if f"event: {kind}\n" in text and text.endswith("\n\n"):
                break
    return read_events(text)


async def test_in_the_background_by_the_sdk(world: World, client: openai.AsyncOpenAI) -> None:
    go = held(world)
    made = await client.responses.create(model="default", input="x", background=True)
    assert made.status in ("queued", "in_progress")
    assert made.background
    found = await client.responses.retrieve(made.id)
    assert found.status in ("queued", "in_progress")
    go.set()
    seen = [event async for event in await client.responses.retrieve(made.id, stream=True)]
    assert [event.type for event in seen[:3]] == [
        "response.created",
        "response.queued",
        "response.in_progress",
    ]
    assert seen[-1].type == "response.completed"
    rest = [event async for event in await client.responses.retrieve(made.id, stream=True, starting_after=6)]
    assert [event.sequence_number for event in rest] == list(range(7, len(seen)))
    final = await client.responses.retrieve(made.id)
    assert (final.status, final.output_text) == ("completed", "The answer is 42.")


async def test_readers_come_and_go(world: World, browser: httpx.AsyncClient) -> None:
    go = held(world, at=8)
    made = await begun(browser)
    address = f"/v1/responses/{made['id']}?stream=true"
    first = await events_until(browser, address, "response.reasoning_text.delta")
    last_seen = first[-1]["sequence_number"]
    go.set()
    rest = read_events((await browser.get(f"{address}&starting_after={last_seen}")).text)
    whole = checked(read_events((await browser.get(address)).text))
    assert [event["type"] for event in first + rest] == [event["type"] for event in whole]
    assert "".join(event.get("delta", "") for event in first + rest) == "12 + 30 = 42.The answer is 42."
    beyond = await browser.get(f"{address}&starting_after={len(whole) + 5}")
    assert read_events(beyond.text) == []


async def test_a_response_in_the_background_is_cancelled(world: World, browser: httpx.AsyncClient) -> None:
    held(world)
    made = await begun(browser)
    await events_until(browser, f"/v1/responses/{made['id']}?stream=true", "response.reasoning_text.delta")
    ended = (await browser.post(f"/v1/responses/{made['id']}/cancel")).json()
    assert (ended["status"], ended["error"], ended["output"][0]["status"]) == (
        "cancelled",
        None,
        "incomplete",
    )
    again = (await browser.post(f"/v1/responses/{made['id']}/cancel")).json()
    assert again == ended == (await browser.get(f"/v1/responses/{made['id']}")).json()
    events = checked(read_events((await browser.get(f"/v1/responses/{made['id']}?stream=true")).text))
    assert events[-1]["type"] == "response.incomplete"
    assert events[-1]["response"]["status"] == "cancelled"


async def test_one_that_waits_is_cancelled_before_it_begins(world: World, browser: httpx.AsyncClient) -> None:
    world.engine.script = Script(queued=asyncio.Event())
    made = await begun(browser)
    assert made["status"] == "queued"
    await browser.post(f"/v1/responses/{made['id']}/cancel")
    ended = (await browser.get(f"/v1/responses/{made['id']}")).json()
    assert (ended["status"], ended["output"]) == ("cancelled", [])
    checked(read_events((await browser.get(f"/v1/responses/{made['id']}?stream=true")).text))


@pytest.mark.parametrize("stream", [True, False])
async def test_who_leaves_ends_a_response(world: World, stream: bool) -> None:
    held(world)
    before = len(world.engine.requests)
    async with world.browser() as browser:
        asking = asyncio.create_task(_ask(browser, stream))
        async with asyncio.timeout(TIMEOUT):
            await until(lambda: len(world.engine.requests) > before)
            asking.cancel()
            await asyncio.wait({asking})
            await until(lambda: world.app.state.responses.open_count == 0)
    assert world.engine._cancels == {}
    assert world.app.state.completions.open_count == 0


async def until(holds: Callable[[], bool]) -> None:
    """Wait for what nobody tells us."""
    while True:
        if holds():
            return
        await asyncio.sleep(0.01)


async def _ask(browser: httpx.AsyncClient, stream: bool) -> None:
    async with browser.stream("POST", "/v1/responses", json={"input": "x", "stream": stream}) as answer:
        async for _ in answer.aiter_bytes():
            pass


async def test_a_stream_in_the_background_outlives_its_reader(
    world: World, browser: httpx.AsyncClient
) -> None:
    go = held(world)
    body = {"input": "x", "background": True, "stream": True}
    async with asyncio.timeout(TIMEOUT), browser.stream("POST", "/v1/responses", json=body) as answer:
        text = ""
        async for piece in answer.aiter_text():
            text += piece
            if "reasoning_text.delta" in text:
                break
    response_id = read_events(text[: text.index("\n\n") + 2])[0]["response"]["id"]
    go.set()
    events = checked(read_events((await browser.get(f"/v1/responses/{response_id}?stream=true")).text))
    assert events[-1]["type"] == "response.completed"


async def test_what_is_removed_is_gone(world: World, browser: httpx.AsyncClient) -> None:
    made = (await browser.post("/v1/responses", json={"input": "x"})).json()
    address = f"/v1/responses/{made['id']}"
    assert (await browser.delete(address)).json() == {
        "id": made["id"],
        "object": "response",
        "deleted": True,
    }
    for answer in (
        await browser.get(address),
        await browser.get(f"{address}?stream=true"),
        await browser.delete(address),
        await browser.post(f"{address}/cancel"),
        await browser.get(f"{address}/input_items"),
    ):
        assert (answer.status_code, answer.json()["error"]["type"]) == (404, "invalid_request_error")
    held(world)
    running_one = await begun(browser)
    assert (await browser.delete(f"/v1/responses/{running_one['id']}")).status_code == 200
    assert (await browser.get(f"/v1/responses/{running_one['id']}")).status_code == 404


async def test_somebody_elses_response_is_not_there(world: World, browser: httpx.AsyncClient) -> None:
    made = (await browser.post("/v1/responses", json={"input": "x"})).json()
    held(world)
    running_one = await begun(browser)
    async with world.browser() as other:
        (await other.get("/api/bootstrap")).raise_for_status()
        for address in (f"/v1/responses/{made['id']}", f"/v1/responses/{running_one['id']}"):
            for answer in (
                await other.get(address),
                await other.get(f"{address}?stream=true"),
                await other.get(f"{address}/input_items"),
                await other.post(f"{address}/cancel"),
                await other.delete(address),
            ):
                assert answer.status_code == 404
        taken = await other.post("/v1/responses", json={"input": "x", "previous_response_id": made["id"]})
        assert taken.status_code == 404
        said = [{"role": "user", "content": "x"}, {"type": "item_reference", "id": made["output"][0]["id"]}]
        assert (await other.post("/v1/responses", json={"input": said})).status_code == 404
    assert (await browser.get(f"/v1/responses/{made['id']}")).json()["status"] == "completed"
    ended = await browser.post(f"/v1/responses/{running_one['id']}/cancel")
    assert ended.json()["status"] == "cancelled"


async def test_input_items_come_in_pages(browser: httpx.AsyncClient) -> None:
    said = [{"role": "user", "content": f"number {number}"} for number in range(7)]
    made = (await browser.post("/v1/responses", json={"input": said})).json()
    address = f"/v1/responses/{made['id']}/input_items"
    newest = (await browser.get(address, params={"limit": 3})).json()
    assert [item["content"][0]["text"] for item in newest["data"]] == ["number 6", "number 5", "number 4"]
    assert newest["has_more"]
    seen: list[str] = []
    after = ""
    while True:
        params = {"limit": "3", "order": "asc"} | ({"after": after} if after else {})
        page = (await browser.get(address, params=params)).json()
        seen += [item["content"][0]["text"] for item in page["data"]]
        after = page["last_id"]
        if not page["has_more"]:
            break
    assert seen == [f"number {number}" for number in range(7)]
    assert (await browser.get(address, params={"after": "msg_unknown"})).status_code == 400
    assert (await browser.get(address, params={"limit": 101})).status_code == 400


async def test_an_answer_that_cannot_be_stored_is_given_all_the_same(
    browser: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StorageFull

    monkeypatch.setattr(Store, "save_response", full)
    events = await stream_of(browser, input="x")
    made = events[-1]["response"]
    assert made["output"][1]["content"][0]["text"] == "The answer is 42."
    assert [note["param"] for note in made["playground"]["notes"]] == ["store"]
    assert (await browser.get(f"/v1/responses/{made['id']}")).json() == made
    refused = await browser.post("/v1/responses", json={"input": "x", "background": True})
    assert refused.status_code == 507
    monkeypatch.undo()
    assert (await browser.delete(f"/v1/responses/{made['id']}")).status_code == 200


async def test_who_leaves_while_it_is_stored_leaves_no_open_response(
    world: World, browser: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(world)
    begins, goes_on, save = threading.Event(), threading.Event(), Store.save_response
    saved: list[tuple[str, str]] = []

    def slowly(store: Store, owner_id: str, record: ResponseRecord) -> None:
        begins.set()
        assert goes_on.wait(TIMEOUT)
        save(store, owner_id, record)
        saved.append((owner_id, record.id))

    monkeypatch.setattr(Store, "save_response", slowly)
    asking = asyncio.create_task(begun(browser))
    assert await asyncio.to_thread(begins.wait, TIMEOUT)
    asking.cancel()
    async with asyncio.timeout(TIMEOUT):
        await until(lambda: world.app.state.completions.open_count == 0)
        goes_on.set()
        await until(lambda: bool(saved) and not world.app.state.completions._tasks)
    assert [world.store.find_responses(owner, [response]) for owner, response in saved] == [[]]


async def test_over_a_restart(tmp_path: Path) -> None:
    script = Script(hold=asyncio.Event(), hold_at=6)
    async with running(tmp_path, script) as world, world.browser() as browser:
        made = await begun(browser)
        await events_until(
            browser, f"/v1/responses/{made['id']}?stream=true", "response.reasoning_text.delta"
        )
    async with running(tmp_path) as world, world.browser() as browser:
        found = (await browser.get(f"/v1/responses/{made['id']}")).json()
        assert found["status"] == "failed"
        assert "stopped before" in found["error"]["message"]
        done = (await browser.post("/v1/responses", json={"input": "x"})).json()
        events = checked(read_events((await browser.get(f"/v1/responses/{done['id']}?stream=true")).text))
        assert events[-1]["response"] == done


async def test_old_ones_are_forgotten(world: World, browser: httpx.AsyncClient) -> None:
    made = (await browser.post("/v1/responses", json={"input": "x"})).json()
    accounts: Accounts = world.app.state.accounts
    for days, status in ((29, 200), (31, 404)):
        now = datetime.now(UTC) + timedelta(days=days)
        later = Accounts(accounts.settings, world.store, lambda now=now: now)  # type: ignore[misc]
        await asyncio.to_thread(housekeeping.forget_responses, world.app.state.stores, later)
        assert (await browser.get(f"/v1/responses/{made['id']}")).status_code == status


async def test_all_that_is_stored_can_be_taken_along(world: World, browser: httpx.AsyncClient) -> None:
    await browser.post("/v1/responses", json={"input": "of somebody else"})
    async with world.browser() as guest:
        (await guest.get("/api/bootstrap")).raise_for_status()
        made = [(await guest.post("/v1/responses", json={"input": f"number {n}"})).json() for n in range(25)]
        taken = await guest.get("/api/export/responses")
    lines = [json.loads(line) for line in taken.text.splitlines()]
    assert [{name: line[name] for name in line if name != "input"} for line in lines] == made
    assert [line["input"][0]["content"][0]["text"] for line in lines] == [f"number {n}" for n in range(25)]
    assert taken.headers["content-disposition"].endswith(".jsonl")


async def test_who_leaves_for_good_takes_responses_along(world: World) -> None:
    held(world)
    async with world.browser() as guest:
        owner = (await guest.get("/api/bootstrap")).json()["me"]["id"]
        made = await begun(guest)
        assert world.store.get_response(owner, made["id"]).status is ResponseStatus.QUEUED
        gone = await guest.request("DELETE", "/api/account", json={"confirm": "delete"})
        assert gone.status_code == 204
    with pytest.raises(NotFound):
        world.store.get_response(owner, made["id"])
    assert world.app.state.responses.open_count == 0

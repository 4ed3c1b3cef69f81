"""Large answers: whole for whoever reads them, cheap for the server while somebody does not."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import tracemalloc
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any
from unittest import mock

import httpx
import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from inference.types import Message, Role
from playground import large_answers
from playground.connections import UNSENT_BYTES, ConnectionLimits, Guard, GuardedProtocol
from playground.exchange import sharing
from playground.large_answers import PIECE_BYTES, SENT_OF_ADDRESS
from storage.drafts import ConversationDraft, MessageNode
from storage.records import ChatSettings
from tests.attacks.slow_holders import STALLED, Reading, hold
from tests.attacks.test_slow_sockets import until
from tests.conftest import Scale
from tests.playground.limits.test_rates import Clock
from tests.playground.world import TIMEOUT, World, running

LETTERS = 3_000_000


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running(tmp_path) as world:
        yield world


async def large_conversation(world: World, browser: httpx.AsyncClient, letters: int = LETTERS) -> str:
    """A conversation of the browser's that is as large as an imported one can be; its id."""
    await browser.get("/api/bootstrap")
    made = (await browser.post("/api/turns", json={"text": "Hello"})).json()["conversation"]["id"]
    owner = world.engine.requests[-1].user_key
    now = datetime.now(UTC)
    node = MessageNode("m1", None, Message(Role.USER, "x" * letters), now)
    draft = ConversationDraft("Large", ChatSettings(), now, (node,), "m1", now)
    assert made
    return str(world.store.insert_conversation(owner, draft).id)


def reading_of(browser: httpx.AsyncClient, path: str) -> Reading:
    return Reading(path, "; ".join(f"{each.name}={each.value}" for each in browser.cookies.jar))


@contextlib.asynccontextmanager
async def stalled(world: World, reading: Reading, count: int) -> AsyncIterator[list[socket.socket]]:
    """Readers of one address who ask and do not read."""
    port = httpx.URL(world.url).port
    assert port is not None
    held = [await hold(port, STALLED, 0, reading) for _ in range(count)]
    try:
        yield held
    finally:
        for holder in held:
            holder.close()


async def test_readers_who_stop_do_not_hold_copies(world: World, scale: Scale) -> None:
    letters = scale(LETTERS, 20_000_000)
    async with world.browser() as browser:
        name = await large_conversation(world, browser, letters)
        reading = reading_of(browser, f"/api/conversations/{name}")
        assert (await browser.get(reading.path)).status_code == 200
        tracemalloc.start()
        try:
            async with stalled(world, reading, SENT_OF_ADDRESS):
                await until(lambda: len(world.guard.unwritten()) == SENT_OF_ADDRESS)
                assert max(world.guard.unwritten()) <= UNSENT_BYTES + 2 * PIECE_BYTES
                await until(lambda: tracemalloc.get_traced_memory()[0] < letters)
        finally:
            tracemalloc.stop()


async def test_an_address_has_so_many_on_their_way_and_no_more(world: World) -> None:
    elsewhere = httpx.AsyncHTTPTransport(local_address="127.0.1.1")
    async with (
        world.browser() as browser,
        httpx.AsyncClient(base_url=world.url, timeout=TIMEOUT, transport=elsewhere) as there,
    ):
        name = await large_conversation(world, browser)
        reading = reading_of(browser, f"/api/conversations/{name}")
        cookie = {"Cookie": reading.cookie}
        async with stalled(world, reading, SENT_OF_ADDRESS):
            await until(lambda: len(world.guard.unwritten()) == SENT_OF_ADDRESS)
            refused = await there.get(reading.path, headers=cookie)
            error = refused.json()["error"]
            assert (refused.status_code, error["code"]) == (429, "rate_limited")
            assert refused.headers["retry-after"] == "5"
            assert (await there.get("/api/conversations", headers=cookie)).status_code == 200
            assert (await browser.get(reading.path)).status_code == 200
        await until(lambda: not world.guard.unwritten())
        async with asyncio.timeout(TIMEOUT):
            while (await there.get(reading.path, headers=cookie)).status_code == 429:  # noqa: ASYNC110
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("coding", ["identity", "gzip"])
async def test_a_large_answer_comes_whole(world: World, coding: str) -> None:
    async with world.browser() as browser:
        browser.headers["accept-encoding"] = coding
        name = await large_conversation(world, browser)
        answer = await browser.get(f"/api/conversations/{name}")
        assert answer.json()["messages"][0]["content"] == "x" * LETTERS
        assert answer.headers.get("content-encoding", "identity") == coding
        if coding == "identity":
            assert int(answer.headers["content-length"]) == len(answer.content)
        for format in ("json", "markdown", "html"):
            exported = await browser.get(f"/api/conversations/{name}/export", params={"format": format})
            assert "x" * LETTERS in exported.text
        assert "x" * LETTERS in (await browser.get("/api/export")).text


async def test_without_room_for_a_file_it_comes_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> IO[bytes]:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(large_answers, "TemporaryFile", full)
    async with world.browser() as browser:
        name = await large_conversation(world, browser)
        shown: dict[str, Any] = (await browser.get(f"/api/conversations/{name}")).json()
        assert len(shown["messages"][0]["content"]) == LETTERS


@pytest.mark.parametrize(("rate", "stays"), [(1_000, False), (2_000, False), (8_000, True), (16_000, True)])
async def test_a_reader_who_takes_hours_is_closed_and_a_slow_one_is_not(
    world: World, rate: int, stays: bool
) -> None:
    """As the event loop tells it: above the one mark writing pauses, below the other it goes on."""
    clock = Clock()
    guard = Guard(ConnectionLimits(), clock)
    transport = mock.Mock(spec=asyncio.Transport)
    transport.get_extra_info.return_value = None
    config = Config(world.app)
    connection = GuardedProtocol(guard, config, ServerState(), {})
    connection.connection_made(transport)
    connection.data_received(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    waits, paused = 0, False
    for _ in range(120):
        waits = max(0, waits - rate)
        if paused and waits <= UNSENT_BYTES // 4:
            paused = False
            connection.resume_writing()
        while not paused:
            waits += PIECE_BYTES
            if waits > UNSENT_BYTES:
                paused = True
                connection.pause_writing()
        transport.get_write_buffer_size.return_value = waits
        clock.now += 1
        guard.sweep()
    left = guard.count
    connection.connection_lost(None)
    assert left == (1 if stays else 0)
    assert transport.abort.called != stays


async def test_a_link_shows_so_much_and_old_ones_stay_open(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.browser() as browser, world.browser() as reader:
        name = await large_conversation(world, browser, sharing.MOST_BYTES)
        body = {"conversation_id": name, "include_reasoning": False}
        refused = await browser.post("/api/shares", json=body)
        error = refused.json()["error"]
        assert (refused.status_code, error["code"]) == (413, "too_large_to_share")
        assert error["message"].startswith("A link can show 4 MB, and this conversation has 4.0 MB. Export")
        with monkeypatch.context() as before:
            before.setattr(sharing, "MOST_BYTES", 10**9)
            link = (await browser.post("/api/shares", json=body)).json()["share"]
        shown = await reader.get("/api/shared/" + link["path"].removeprefix("/s/"))
        assert len(shown.json()["messages"][0]["content"]) == sharing.MOST_BYTES

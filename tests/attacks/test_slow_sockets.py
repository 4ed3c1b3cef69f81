"""A18: sockets that hold a place. Everybody else is answered, and they are closed when their time is over."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
from fastapi import FastAPI

from playground.body_limits import BODY_SECONDS, BodyLimits
from playground.connections import UNSENT_BYTES, ConnectionLimits
from playground.sse import PIECE_BYTES
from tests.attacks.slow_holders import (
    HALF_HEADER,
    KINDS,
    SILENT,
    Reading,
    hold,
    hold_many,
    system_says_closed,
)
from tests.conftest import Scale
from tests.playground.scripted import Script
from tests.playground.world import TIMEOUT, World, ask, events, running
from tests.tried import Tell

QUICK = ConnectionLimits(header_seconds=0.6, idle_seconds=2.0, write_seconds=0.8, linger_seconds=0.4)
QUICK_BODY_SECONDS = 0.6
NEVER = ConnectionLimits(
    of_address=0, header_seconds=1e9, idle_seconds=1e9, write_seconds=1e9, linger_seconds=1e9
)
LONG = Script([("analysis", "internationalization " * 150)] * 100, portion=2000)
"""Some 300 kB of events: more than the system keeps for a reader who does not read."""
NOTHING = Reading("/healthz", "")


def body_seconds(seconds: float) -> Callable[[FastAPI], None]:
    """Gives bodies so long a time."""

    def prepare(app: FastAPI) -> None:
        for layer in app.user_middleware:
            if getattr(layer.cls, "__name__", "") == BodyLimits.__name__:
                layer.kwargs["seconds"] = seconds

    return prepare


async def a_long_reply(world: World, browser: httpx.AsyncClient) -> Reading:
    """A reply whose events fill every buffer, for readers who stop."""
    turn = await ask(browser, max_tokens=100_000)
    name = turn["generation"]["id"]
    await events(browser, name)
    cookie = "; ".join(f"{each.name}={each.value}" for each in browser.cookies.jar)
    return Reading(f"/api/generations/{name}/events", cookie)


@contextlib.asynccontextmanager
async def holders(
    world: World, count: int, reading: Reading, kinds: tuple[str, ...] = KINDS
) -> AsyncIterator[dict[str, list[socket.socket]]]:
    port = httpx.URL(world.url).port
    assert port is not None
    held = await hold_many(port, count, reading, kinds)
    try:
        yield held
    finally:
        for holder in (each for group in held.values() for each in group):
            holder.close()


async def until(happened: Callable[[], bool]) -> None:
    """Wait for what no event tells."""
    async with asyncio.timeout(TIMEOUT):
        while not happened():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def until_closed(held: dict[str, list[socket.socket]]) -> dict[str, float]:
    """Wait until the server has ended every one; how long that took, by kind."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    took: dict[str, float] = {}
    waiting = {kind: list(group) for kind, group in held.items()}
    while any(waiting.values()):
        for kind, group in waiting.items():
            waiting[kind] = [each for each in group if not system_says_closed(each)]
            if not waiting[kind]:
                took.setdefault(kind, round(loop.time() - began, 1))
        await asyncio.sleep(0.05)
    return took


async def test_holders_are_closed_and_nobody_else_waits_for_that(
    tmp_path: Path, scale: Scale, tell: Tell
) -> None:
    count = scale(200, 2000)
    full = count == scale(0, count)
    limits = None if full else QUICK
    prepare = body_seconds(BODY_SECONDS if full else QUICK_BODY_SECONDS)
    async with (
        running(tmp_path, LONG, connections=limits, prepare=prepare) as world,
        world.browser() as honest,
    ):
        world.engine.context_length = 200_000
        reading = await a_long_reply(world, honest)
        before = world.guard.count
        async with holders(world, count, reading) as held:
            await until(lambda: world.guard.count >= before + count // 4)
            async with asyncio.timeout(TIMEOUT):
                for _ in range(5):  # while all of them are there
                    world.engine.script = Script()
                    turn = await ask(honest)
                    assert (await events(honest, turn["generation"]["id"]))[-1].data["status"] == "finished"
                took = await until_closed(held)
            tell(f"{count} holders, seconds until the last of each kind was closed: {took}")
        await until(lambda: world.guard.count <= before)
        assert (await honest.get("/healthz")).status_code == 200


async def test_a_reader_who_stops_costs_little_memory(tmp_path: Path) -> None:
    async with running(tmp_path, LONG, replies_at_once=0) as world, world.browser() as honest:
        world.engine.context_length = 200_000
        reading = await a_long_reply(world, honest)
        async with holders(world, 40, reading, ("a reader who stops",)):
            await until(lambda: len(world.guard.unwritten()) == 40)
            assert max(world.guard.unwritten()) <= UNSENT_BYTES + 2 * PIECE_BYTES


async def test_without_the_guard_the_holders_stay(tmp_path: Path) -> None:
    """The planted hole: as uvicorn is by itself."""
    async with (
        running(tmp_path, LONG, connections=NEVER, prepare=body_seconds(1e9), replies_at_once=0) as world,
        world.browser() as honest,
    ):
        world.engine.context_length = 200_000
        reading = await a_long_reply(world, honest)
        async with holders(world, 80, reading) as held:
            await asyncio.sleep(3 * (QUICK.write_seconds + QUICK.sweep_seconds))
            assert not any(system_says_closed(each) for group in held.values() for each in group)


async def test_one_address_gets_its_share_of_connections_and_a_sentence(tmp_path: Path) -> None:
    limits = ConnectionLimits(of_address=20)
    async with running(tmp_path, connections=limits) as world, world.browser() as honest:
        assert (await honest.get("/healthz")).status_code == 200
        port = httpx.URL(world.url).port
        assert port is not None
        held = [await hold(port, SILENT, 0, NOTHING) for _ in range(21)]
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.1.1", 0))
            answer = await reader.read()
            writer.close()
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 503 ")
            assert b"retry-after: 5" in head.lower()
            assert json.loads(body)["error"]["code"] == "too_many_connections"
            assert (await honest.get("/healthz")).status_code == 200  # from another address
        finally:
            for each in held:
                each.close()


async def test_a_full_house_makes_room_for_who_asks(tmp_path: Path) -> None:
    limits = ConnectionLimits(most=30)
    async with (
        asyncio.timeout(TIMEOUT),
        running(tmp_path, connections=limits) as world,
        holders(world, 60, NOTHING, (SILENT, HALF_HEADER)),
        world.browser() as honest,
    ):
        for _ in range(10):
            assert (await honest.get("/healthz")).status_code == 200
        assert world.guard.count <= limits.most


async def test_the_rest_of_a_refused_body_ends_the_connection(tmp_path: Path) -> None:
    """A body that goes on for ever behind its answer, a byte now and then."""
    async with running(tmp_path, connections=QUICK) as world:
        port = httpx.URL(world.url).port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 404 ")
        async with asyncio.timeout(TIMEOUT):
            with contextlib.suppress(ConnectionError):
                while not reader.at_eof():
                    writer.write(b"x")
                    await writer.drain()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(0.05):
                            await reader.read(100)
        writer.close()
        await until(lambda: world.guard.count == 0)

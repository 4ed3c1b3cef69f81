"""F8: readers whose connection is cut, at every event of a reply in every state. Nothing is left of them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.attacks.limits import UNLIMITED
from tests.conftest import Scale
from tests.faults.conftest import Tell
from tests.playground.scripted import Script
from tests.playground.world import TIMEOUT, World, ask, events, running, settled

WORDS = [("analysis", "one two three four"), ("final", "five six seven eight")]
QUEUE, PREFILL, DECODE, COMMIT = "queue", "prefill", "decode", "commit"
EVENTS = {QUEUE: 1, PREFILL: 2, DECODE: 5, COMMIT: 6}
"""In each state the last event that can be seen in it."""
ALLOWED = 2
"""What may be there by chance: the connection that the test's own client keeps, and what serves it."""
POOL = "AnyIO worker thread"
"""The server's pool is bounded, and lets idle threads go when it is used the next time."""


DATABASE = "playground.sqlite3"
"""Its connections are a pool of fixed size, too."""


def open_files() -> Iterator[str]:
    """What the descriptors of this process stand for."""
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the one that reads this folder is gone
            yield str(descriptor.readlink())


@dataclass(frozen=True, slots=True)
class Held:
    """What this process has open."""

    tasks: int
    files: int
    threads: int
    connections: int

    @classmethod
    def now(cls, world: World) -> Held:
        return cls(
            len(asyncio.all_tasks()),
            sum(DATABASE not in name for name in open_files()),
            sum(thread.name != POOL for thread in threading.enumerate()),
            world.guard.count,
        )

    def no_more_than(self, before: Held) -> bool:
        return (
            self.tasks <= before.tasks + ALLOWED
            and self.files <= before.files + ALLOWED
            and self.threads <= before.threads + ALLOWED
            and self.connections <= before.connections + ALLOWED
        )


async def until(happened: Callable[[], bool]) -> None:
    """Wait for what no event tells."""
    async with asyncio.timeout(TIMEOUT):
        while not happened():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@contextmanager
def slow_commit(world: World) -> Iterator[threading.Event]:
    """The end of a reply is saved when the event is set, as on a disk that is busy."""
    free = threading.Event()
    save = world.store.finish_generation

    def slowly(*args: Any, **named: Any) -> Any:
        free.wait(TIMEOUT)
        return save(*args, **named)

    world.store.finish_generation = slowly  # type: ignore[method-assign]
    try:
        yield free
    finally:
        free.set()
        del world.store.finish_generation


def script_for(state: str) -> tuple[Script, asyncio.Event]:
    """A reply that stays in this state until the event is set."""
    gate = asyncio.Event()
    if state == QUEUE:
        return Script(WORDS, queued=gate), gate
    if state == PREFILL:
        return Script(WORDS, hold=gate, hold_at=0), gate
    if state == DECODE:
        return Script(WORDS, hold=gate, hold_at=12), gate
    return Script(WORDS), gate


async def cut_after(world: World, cookie: str, path: str, seen: int) -> None:
    """Read until so many events were seen, then be gone without a word."""
    where = httpx.URL(world.url)
    reader, writer = await asyncio.open_connection(where.host, where.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n".encode())
    received = b""
    while received.count(b"\nid: ") + received.count(b"\r\nid: ") < seen:
        chunk = await reader.read(65_536)
        if not chunk:
            break
        received += chunk
    writer.transport.abort()


def cookie_of(browser: httpx.AsyncClient) -> str:
    return "; ".join(f"{each.name}={each.value}" for each in browser.cookies.jar)


async def one_state(world: World, browser: httpx.AsyncClient, state: str, cuts: int) -> None:
    """A reply in this state, and so many readers who are cut off at each of its events."""
    world.engine.script, gate = script_for(state)
    with slow_commit(world) as free:
        if state != COMMIT:
            free.set()
        turn = await ask(browser)
        name = turn["generation"]["id"]
        run = world.app.state.turns.runs.find_open(lambda run: run.generation_id == name)[0]
        path, cookie = f"/api/generations/{name}/events", cookie_of(browser)
        await until(lambda: run.last_number >= EVENTS[state])
        async with asyncio.timeout(TIMEOUT):
            for portion in range(0, cuts, 20):
                await asyncio.gather(
                    *(
                        cut_after(world, cookie, path, 1 + number % EVENTS[state])
                        for number in range(portion, min(portion + 20, cuts))
                    )
                )
        await until(lambda: run.reader_count == 0)
        gate.set()
        free.set()
        end = await settled(browser, name)
        assert end["generation"]["status"] == "finished"
        assert [each["content"] for each in end["messages"]] == [text for _, text in WORDS]


async def test_readers_who_are_cut_off_leave_nothing_behind(tmp_path: Path, scale: Scale, tell: Tell) -> None:
    cuts = scale(60, 1000) // len(EVENTS)
    async with running(tmp_path, **UNLIMITED) as world, world.browser() as browser:
        await one_state(world, browser, COMMIT, 4)  # what is made once, is made now
        runs = world.app.state.turns.runs
        before = Held.now(world)
        for state in EVENTS:
            await one_state(world, browser, state, cuts)
        await until(lambda: Held.now(world).no_more_than(before))
        await until(lambda: runs.find_open(lambda _: True) == [])
        owner = world.engine.requests[0].user_key
        await until(lambda: world.app.state.turns.places.taken(owner) == 0)
        tell(f"{cuts * len(EVENTS)} readers cut off in {', '.join(EVENTS)}: nothing left")


async def test_who_is_gone_before_the_answer_finds_one_turn_later(tmp_path: Path, scale: Scale) -> None:
    """The question was sent, its answer never arrived, and the page sends it again."""
    async with running(tmp_path, **UNLIMITED) as world, world.browser() as browser:
        await ask(browser)
        where, cookie = httpx.URL(world.url), cookie_of(browser)
        before = Held.now(world)
        for number in range(scale(10, 200)):
            body = f'{{"text": "What is 12 + 30?", "client_id": "c{number}"}}'.encode()
            head = f"POST /api/turns HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n"
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            _, writer = await asyncio.open_connection(where.host, where.port)
            writer.write(head.encode() + body[: len(body) if number % 3 else -1])
            await writer.drain()
            if number % 2:
                await asyncio.sleep(0.002 * (number % 7))
            writer.transport.abort()
            turn = await ask(browser, client_id=f"c{number}")
            again = await ask(browser, client_id=f"c{number}")
            assert again["generation"]["id"] == turn["generation"]["id"]
            await settled(browser, turn["generation"]["id"])
            listed = (await browser.get("/api/conversations?limit=100")).json()["items"]
            assert len(listed) == min(number + 2, 100)
        await until(lambda: Held.now(world).no_more_than(before))


async def test_a_reader_who_is_kept_is_found(tmp_path: Path) -> None:
    """The planted hole: streams whose end nobody notices."""
    async with running(tmp_path, **UNLIMITED) as world, world.browser() as browser:
        world.engine.script, gate = script_for(DECODE)
        turn = await ask(browser)
        name = turn["generation"]["id"]
        run = world.app.state.turns.runs.find_open(lambda run: run.generation_id == name)[0]
        before = Held.now(world)
        kept = [asyncio.create_task(_follow_for_ever(run)) for _ in range(5)]
        await until(lambda: run.reader_count == 5)
        assert not Held.now(world).no_more_than(before)
        gate.set()
        await asyncio.gather(*kept)
        await events(browser, name)


async def _follow_for_ever(run: Any) -> None:
    async for _ in run.follow(0, time.monotonic()):
        pass

"""F10: a server that is asked to stop while it answers many: replies end or are kept, and readers know."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from playground.settings import Settings
from tests.conftest import Scale
from tests.faults.conftest import Tell
from tests.faults.slow_app import SHORT_TEXT
from tests.playground.scripted import Script
from tests.playground.world import Event, ask, events, running, text_of

ROOT = Path(__file__).parents[2]
PATIENCE = 120.0


class Process:
    """The application in a process of its own, which can be started again on its data."""

    def __init__(self, folder: Path, drain_seconds: float) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        self._environment = {
            **os.environ,
            "DRAIN_SECONDS": str(drain_seconds),
            "REPLIES_AT_ONCE": "0",
            "PYTHONPATH": str(ROOT),
        }
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        command = ("-m", "tests.faults.slow_app", str(self.port), str(self.folder))
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, *command, cwd=ROOT, env=self._environment, stdout=asyncio.subprocess.DEVNULL
        )
        async with asyncio.timeout(PATIENCE), httpx.AsyncClient() as client:
            while True:
                assert self._process.returncode is None, "it has ended"
                try:
                    if (await client.get(f"{self.url}/healthz")).status_code == 200:
                        return
                except httpx.TransportError:
                    await asyncio.sleep(0.1)

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def ended(self) -> int:
        assert self._process is not None
        async with asyncio.timeout(PATIENCE):
            return await self._process.wait()

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def serving(folder: Path, drain_seconds: float) -> AsyncIterator[tuple[Process, httpx.AsyncClient]]:
    """A started process and somebody who asks it."""
    process = Process(folder, drain_seconds)
    limits = httpx.Limits(max_connections=None)
    try:
        await process.start()
        async with httpx.AsyncClient(base_url=process.url, timeout=PATIENCE, limits=limits) as browser:
            yield process, browser
    finally:
        await process.kill()


async def begin(browser: httpx.AsyncClient, text: str, count: int) -> list[str]:
    """Ask so often at once; the replies' names, once each has written something."""
    turns = [await ask(browser, text) for _ in range(count)]
    names: list[str] = [turn["generation"]["id"] for turn in turns]
    await asyncio.gather(*(events(browser, name, until=4) for name in names))
    return names


def follow(browser: httpx.AsyncClient, names: list[str]) -> list[asyncio.Task[list[Event]]]:
    """A reader of each of these replies to its end."""
    return [asyncio.create_task(events(browser, name)) for name in names]


async def saved(browser: httpx.AsyncClient, name: str) -> dict[str, Any]:
    result: dict[str, Any] = (await browser.get(f"/api/generations/{name}")).json()
    return result


async def refused_as_restarting(browser: httpx.AsyncClient) -> bool:
    """Whether a new turn is refused in the words that the page waits for, and not taken any more."""
    answer = await browser.post("/api/turns", json={"text": "One more"})
    if answer.status_code != 503:
        return False
    error = answer.json()["error"]
    assert error["code"] == "restarting"
    assert error["message"].startswith("The playground is being restarted.")
    assert int(answer.headers["retry-after"]) == error["retry_after"] > 0
    return True


async def test_replies_end_or_are_kept_and_readers_see_the_state_after_the_restart(
    tmp_path: Path, scale: Scale, tell: Tell
) -> None:
    count = scale(10, 50)
    drain_seconds = scale(5, int(Settings.model_fields["drain_seconds"].default))
    async with serving(tmp_path, drain_seconds) as (process, browser):
        short = await begin(browser, "A short one", count // 2)
        long = await begin(browser, "A long one", count - count // 2)
        readers = dict(zip(short + long, follow(browser, short + long), strict=True))
        process.send(signal.SIGTERM)
        began = time.monotonic()
        async with asyncio.timeout(PATIENCE):
            while not await refused_as_restarting(browser):
                count += 1  # the signal has not arrived yet
        assert (await browser.get("/healthz")).status_code == 200
        (tmp_path / "release").touch()
        seen = {name: await reader for name, reader in readers.items()}
        code = await process.ended()
        took = time.monotonic() - began
        tell(
            f"SIGTERM with {count} streams, over after {took:.1f} s: all finished or interrupted, text saved"
        )
        assert code == -signal.SIGTERM
        for name, log in seen.items():
            status = "finished" if name in short else "interrupted"
            assert (log[-1].name, log[-1].data["status"]) == ("finish", status)
        assert {text_of(seen[name], 0) for name in short} == {SHORT_TEXT}

        await process.start()
        for name, log in seen.items():
            record = await saved(browser, name)
            assert record["generation"]["status"] == log[-1].data["status"]
            assert record["messages"][0]["content"] == text_of(log, 0) != ""
            again = await events(browser, name, last_event_id=log[-2].id)
            assert [each.name for each in again] == ["snapshot", "finish"]
            assert again[0].data["messages"] == record["messages"]
        assert (await browser.get("/api/account")).json()["usage"]["requests"] == count

        (name,) = await begin(browser, "Another long one", 1)
        (reader,) = follow(browser, [name])
        process.send(signal.SIGINT)
        async with asyncio.timeout(PATIENCE):
            while not await refused_as_restarting(browser):
                pass
        process.send(signal.SIGINT)
        assert (await reader)[-1].data["status"] == "interrupted"
        await process.ended()


async def test_without_a_drain_no_reply_ends_by_itself(tmp_path: Path) -> None:
    """The planted hole: a server that stops at once."""
    script = Script([("final", 20 * SHORT_TEXT)], pause=0.05)
    async with AsyncExitStack() as stack:
        async with running(tmp_path, script) as world:
            browser = await stack.enter_async_context(world.browser())
            readers = follow(browser, await begin(browser, "A short one", 3))
        statuses = {(await reader)[-1].data["status"] for reader in readers}
    assert statuses == {"interrupted"}

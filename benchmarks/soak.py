"""A playground in use for a long time: does it grow, leak or fail?

    python -m benchmarks.soak [--minutes 120] [--people 8]

Serves the real application on a real socket with the scripted engine of the tests, in a process of its own.
People come and go: they ask, follow streams or leave in the middle, read, search, rename, export, import,
delete and take back. Every five seconds the server's memory, open files and threads are noted, and each
minute what Python, SQLite and the C library's heap have in use. Prints a Markdown table; slopes are straight
lines through the second half. What stays is what the memory falls back to: the lowest of each minute, without
what requests hold at the moment.
"""

from __future__ import annotations

import _sqlite3
import argparse
import asyncio
import ctypes
import gc
import itertools
import operator
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]

from playground import temporary
from playground.allocator import use_few_arenas
from tests.attacks.limits import UNLIMITED
from tests.playground.scripted import Script
from tests.playground.world import running

ROOT = Path(__file__).parents[1]
EVERY_SECONDS = 5.0
PAUSE_SECONDS = 0.3
EXCHANGES = 3
"""More would double what somebody has so often that the rarest visits alone say how much memory is taken."""
COUNT_EVERY = 12
COUNTED = (
    "Python's small blocks",
    "SQLite's memory, MiB",
    "C heap in use, MiB",
    "C heap's holes, MiB",
)
SHORTEST_MINUTES = 4
SEED = 20_260_606
TEMPORARY_CHATS = 20
"""In place of the product's 2,000, which take hours to gather: until then memory grows as it should."""
SCRIPT = Script(
    [("analysis", "one two three " * 20), ("final", "four five six " * 40)], portion=4, pause=0.01
)


class Person:
    """One browser that does something, again and again."""

    def __init__(self, url: str, seed: int, statuses: Counter[int]) -> None:
        self._url = url
        self._random = random.Random(seed)
        self._statuses = statuses
        self._talks: list[str] = []
        self._exchanged = 0

    async def live(self, until: float) -> None:
        """Until this time (``time.monotonic``); each visit is another person with another cookie."""
        while time.monotonic() < until:
            async with httpx.AsyncClient(base_url=self._url, timeout=60) as browser:
                self._talks, self._exchanged = [], 0
                for _ in range(20):
                    if time.monotonic() < until:
                        await self._act(browser)
                        await asyncio.sleep(self._random.random() * PAUSE_SECONDS)

    async def _act(self, browser: httpx.AsyncClient) -> None:
        acts = [self._ask, self._ask, self._read, self._change, self._exchange]
        try:
            await self._random.choice(acts)(browser)
        except httpx.TransportError:
            self._statuses[0] += 1

    async def _call(self, browser: httpx.AsyncClient, method: str, path: str, **more: Any) -> httpx.Response:
        answer = await browser.request(method, path, **more)
        self._statuses[answer.status_code] += 1
        return answer

    async def _ask(self, browser: httpx.AsyncClient) -> None:
        """A turn, followed to its end or left in the middle; now and then it is stopped."""
        talk = self._random.choice([*self._talks, None])
        body = {"text": "apple " * self._random.randrange(1, 50), "conversation_id": talk, "wait": True}
        if talk is None and self._random.random() < 0.2:
            body["temporary"] = True
        answer = await self._call(browser, "POST", "/api/turns", json=body)
        if answer.status_code != 202:
            return
        turn = answer.json()
        if "temporary" not in body:
            self._talks = list({*self._talks, turn["conversation"]["id"]})
        address = f"/api/generations/{turn['generation']['id']}"
        if self._random.random() < 0.1:
            await self._call(browser, "POST", f"{address}/cancel")
        lines = self._random.choice([5, 10_000, 10_000])
        async with browser.stream("GET", f"{address}/events") as stream:
            self._statuses[stream.status_code] += 1
            async for _ in stream.aiter_lines():
                lines -= 1
                if lines == 0:
                    break

    async def _read(self, browser: httpx.AsyncClient) -> None:
        for path in ("/api/bootstrap", "/api/conversations", "/api/search?q=apple", "/api/status"):
            await self._call(browser, "GET", path)
        for talk in self._talks[:2]:
            await self._call(browser, "GET", f"/api/conversations/{talk}")

    async def _change(self, browser: httpx.AsyncClient) -> None:
        """Rename, delete, and take half of the deletes back."""
        if not self._talks:
            return
        path = f"/api/conversations/{self._random.choice(self._talks)}"
        await self._call(browser, "PATCH", path, json={"title": "pear"})
        if self._random.random() < 0.5:
            await self._call(browser, "DELETE", path)
            if self._random.random() < 0.5:
                await self._call(browser, "POST", f"{path}/restore")
            else:
                self._talks.remove(path.rpartition("/")[2])

    async def _exchange(self, browser: httpx.AsyncClient) -> None:
        """Download everything and put it in again, so that there is twice as much; not for ever."""
        file = await self._call(browser, "GET", "/api/export?format=json")
        if self._talks and self._exchanged < EXCHANGES and file.status_code == httpx.codes.OK:
            self._exchanged += 1
            await self._call(browser, "POST", "/api/import", content=file.content)


async def serve(folder: Path) -> None:
    """The server's process: say where it is, and run until the input ends."""
    async with running(folder, SCRIPT, **UNLIMITED) as world:
        temporary.MOST_OF_ALL = TEMPORARY_CHATS
        world.engine.requests = deque(maxlen=1)  # the tests' list of all of them would look like a leak
        sys.stdout.write(f"{world.url}\n")
        sys.stdout.flush()
        while await asyncio.to_thread(sys.stdin.readline):
            gc.collect()
            sys.stdout.write(" ".join(map(str, in_use())) + "\n")
            sys.stdout.flush()


class HeapInfo(ctypes.Structure):
    """The C library's ``struct mallinfo2``; see mallinfo(3)."""

    _fields_ = [
        *((name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks")),
        *((name, ctypes.c_size_t) for name in ("fsmblks", "uordblks", "fordblks", "keepcost")),
    ]


def in_use() -> tuple[float, ...]:
    """Python's small blocks; SQLite's memory, the C heap's blocks in use and its holes in MiB.

    Needs glibc; see sqlite3_memory_used in SQLite's C interface.
    """
    library = ctypes.CDLL(None)
    library.mallinfo2.restype = HeapInfo
    heap = library.mallinfo2()
    sqlite = ctypes.CDLL(_sqlite3.__file__)
    sqlite.sqlite3_memory_used.restype = ctypes.c_int64
    sizes = (sqlite.sqlite3_memory_used(), heap.uordblks, heap.fordblks)
    return (sys.getallocatedblocks(), *(size / 2**20 for size in sizes))


async def use(
    url: str, server: psutil.Process, count: Callable[[], list[float]], minutes: float, people: int
) -> None:
    """Let people in for so long, note what the server takes, and print it."""
    began = time.monotonic()
    until = began + minutes * 60
    statuses: Counter[int] = Counter()
    crowd = [
        asyncio.create_task(Person(url, SEED + number, statuses).live(until)) for number in range(people)
    ]
    notes: list[tuple[float, float, int, int]] = []
    counts: list[list[float]] = []
    while time.monotonic() < until:
        await asyncio.sleep(EVERY_SECONDS)
        if len(notes) % COUNT_EVERY == 0:
            counts.append([time.monotonic() - began, *await asyncio.to_thread(count)])
            sizes = " ".join(f"{each:,.1f}" for each in counts[-1][1:])
            resident = server.memory_info().rss / 2**20
            print(f"{counts[-1][0] / 60:.0f} min: {resident:.1f} MiB; {sizes}", file=sys.stderr)
        resident = server.memory_info().rss / 2**20
        notes.append((time.monotonic() - began, resident, server.num_fds(), server.num_threads()))
    await asyncio.gather(*crowd)
    await asyncio.sleep(EVERY_SECONDS)
    print("| what | value |\n|---|---|")
    print(f"| minutes, people | {minutes:.1f}, {people} |")
    print(f"| requests, of them 5xx, broken | {statuses.total()}, {failed(statuses)}, {statuses[0]} |")
    print(f"| statuses | {dict(sorted(statuses.items()))} |")
    for name, column in (("memory, MiB", 1), ("open files", 2), ("threads", 3)):
        quarter = notes[len(notes) // 4]
        print(f"| {name}: after a quarter, at the end | {quarter[column]:.0f}, {notes[-1][column]:.0f} |")
    memory = [note[:2] for note in notes]
    print(f"| memory, MiB an hour in the second half | {slope(memory):.1f} |")
    print(f"| the lowest of each minute, MiB an hour in the second half | {slope(lowest(memory)):.1f} |")
    for column, name in enumerate(COUNTED, start=1):
        early, late = counts[len(counts) // 4][column], counts[-1][column]
        hourly = slope([(each[0], each[column]) for each in counts])
        print(f"| {name}: after a quarter, at the end; an hour | {early:,.1f}, {late:,.1f}; {hourly:+,.1f} |")
    print(f"| idle again: open files, threads | {server.num_fds()}, {server.num_threads()} |")


def slope(points: Sequence[tuple[float, float]]) -> float:
    """What grows in an hour, by a straight line through the second half of (seconds, value)."""
    half = points[len(points) // 2 :]
    return 3600 * statistics.linear_regression([x for x, _ in half], [y for _, y in half]).slope


def lowest(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The lowest of each minute of (seconds, value)."""
    minutes = itertools.groupby(points, lambda point: point[0] // 60)
    return [min(minute, key=operator.itemgetter(1)) for _, minute in minutes]


def failed(statuses: Counter[int]) -> int:
    """Answers that blame the server."""
    return sum(count for status, count in statuses.items() if status >= httpx.codes.INTERNAL_SERVER_ERROR)


def main() -> None:
    """Start the server, then the people."""
    parser = argparse.ArgumentParser(description="A playground in use for a long time.")
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument("--serve", type=Path, help="Be the server, with its data in this folder.")
    arguments = parser.parse_args()
    if arguments.minutes < SHORTEST_MINUTES:
        parser.error(f"--minutes must be at least {SHORTEST_MINUTES}: slopes are of the second half.")
    if arguments.serve is not None:
        use_few_arenas()  # as the product does
        asyncio.run(serve(arguments.serve))
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.soak", "--serve", folder]
        with subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as server:
            assert server.stdout is not None  # noqa: S101
            url = server.stdout.readline().strip()

            def count() -> list[float]:
                assert server.stdin is not None  # noqa: S101
                assert server.stdout is not None  # noqa: S101
                server.stdin.write("\n")
                server.stdin.flush()
                return [float(each) for each in server.stdout.readline().split()]

            process = psutil.Process(server.pid)
            asyncio.run(use(url, process, count, arguments.minutes, arguments.people))


if __name__ == "__main__":
    main()

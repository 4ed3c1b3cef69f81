"""How fast the page feels: long conversations, fast replies, long reasoning, and what thirty streams cost.

    python -m benchmarks.page_speed

Serves the real application with a scripted engine that writes at a given speed, in a process of its own, and
looks at it with Chromium. Prints Markdown. Long tasks are those of 50 ms and more that Chromium reports; the
lag of a reply is from the engine's last token to the last word, and to the figures, in the document.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import IO, Any, cast

import httpx
import psutil  # type: ignore[import-untyped]
from playwright.sync_api import Browser, Page

from benchmarks.page_engine import QUESTION, THOUGHT_QUESTION
from playground.accounts.identity import PLAIN_NAME
from tests.browser import chromium_running

ROOT = Path(__file__).parents[1]
PATIENCE = 180.0
STREAMS = 30
RATE = 100
TOKENS = 1000
ROUNDS = 2
WATCH = (Path(__file__).parent / "page_speed.js").read_text(encoding="utf-8")


@dataclass
class Server:
    """The application in its process, and what its engine says: the time of each reply's last token."""

    url: str
    process: psutil.Process
    lines: Queue[str]
    orders: IO[str]

    def conversation(self, token: str, messages: int) -> str:
        """The id of a new conversation of whoever has this cookie."""
        self.orders.write(f"{token} {messages}\n")
        self.orders.flush()
        return self.lines.get(timeout=PATIENCE).strip()

    def emitted(self) -> float:
        """Seconds since the epoch at which the last token of a reply left the engine."""
        return float(self.lines.get(timeout=PATIENCE))


@contextmanager
def server(folder: str) -> Iterator[Server]:
    """Serve until the block ends."""
    command = [sys.executable, "-m", "benchmarks.page_engine", folder]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, text=True, stdin=pipe, stdout=pipe) as process:
        lines: Queue[str] = Queue()
        threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
        url = lines.get(timeout=PATIENCE).strip()
        try:
            yield Server(url, psutil.Process(process.pid), lines, cast(IO[str], process.stdin))
        finally:
            process.terminate()
            process.wait(30)


def _read(source: Any, lines: Queue[str]) -> None:
    for line in source:
        lines.put(line)


def visit(browser: Browser, at: Server, messages: int) -> tuple[Page, str]:
    """A page of somebody who has one conversation of so many messages; the page shows none yet."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(PATIENCE * 1000)
    page.goto(at.url)
    page.wait_for_selector("html[data-pg-ready]")
    [token] = [each["value"] for each in context.cookies() if each["name"] == PLAIN_NAME]
    made = at.conversation(token, messages)
    page.evaluate(WATCH)
    page.wait_for_timeout(1500)
    return page, made


def opening(browser: Browser, at: Server) -> list[tuple[str, str]]:
    """A conversation of 1,000 messages: opened three times, and scrolled through."""
    page, conversation = visit(browser, at, 1000)
    opened = [page.evaluate("(id) => pgWatch.open(id)", conversation) for _ in range(3)]
    rows = [
        (
            "1,000 messages: from the answer to the painted end, first / again",
            f"{opened[0]['painted']:.0f} / {opened[1]['painted']:.0f} and {opened[2]['painted']:.0f} ms",
        ),
        (
            "the same from the click, with the server's part",
            f"{opened[0]['whole']:.0f} / {opened[1]['whole']:.0f} and {opened[2]['whole']:.0f} ms",
        ),
        ("elements in the transcript", f"{opened[-1]['nodes']:,}"),
    ]
    for pixels in (30, 120, 400):
        walk = page.evaluate("(by) => pgWatch.scroll(by, 240)", pixels)
        words = f"median {walk['p50']:.1f} ms, p95 {walk['p95']:.1f} ms, longest {walk['longest']:.1f} ms"
        rows.append((f"a frame while scrolling {pixels} px a frame", words))
    page.context.close()
    return rows


def reply(browser: Browser, at: Server, messages: int, tokens: int, rate: int) -> list[tuple[str, str]]:
    """One fast reply below a conversation, while somebody types."""
    page, conversation = visit(browser, at, messages)
    if messages:
        page.evaluate("(id) => pgWatch.open(id)", conversation)
    box = page.get_by_test_id("composer-input")
    box.fill(QUESTION.format(tokens=tokens, rate=rate))
    page.evaluate("pgWatch.begin()")
    box.press("Enter")
    page.get_by_test_id("stop").wait_for()
    over = time.monotonic() + tokens / rate - 0.5
    while time.monotonic() < over:
        box.press("a", no_wait_after=True)
        page.wait_for_timeout(120)
    emitted = at.emitted()
    seen = page.evaluate("() => pgWatch.end()")
    name = f"{tokens:,} tokens at {rate}/s, {messages} messages above"
    page.context.close()
    keys = seen["keys"]
    return [
        (f"{name}: lag of the last word", f"{seen['word'] - 1000 * emitted:.0f} ms"),
        (f"{name}: until it is saved and has its figures", f"{seen['last'] - 1000 * emitted:.0f} ms"),
        (f"{name}: long tasks", f"{len(seen['tasks'])}, longest {max(seen['tasks'], default=0):.0f} ms"),
        (
            f"{name}: a key that is pressed meanwhile waits",
            f"median {keys['p50']:.1f} ms, longest {keys['longest']:.1f} ms ({keys['count']} keys)",
        ),
    ]


def reasoning(browser: Browser, at: Server) -> list[tuple[str, str]]:
    """Reasoning of 20,000 tokens: opened and scrolled through."""
    page, _ = visit(browser, at, 0)
    page.get_by_test_id("composer-input").fill(THOUGHT_QUESTION)
    page.get_by_test_id("composer-input").press("Enter")
    page.get_by_test_id("reply-footer").wait_for()
    at.emitted()
    opened = page.evaluate("() => pgWatch.reasoning()")
    walk = page.evaluate("(by) => pgWatch.scroll(by, 240)", 120)
    page.context.close()
    words = f"median {walk['p50']:.1f} ms, p95 {walk['p95']:.1f} ms, longest {walk['longest']:.1f} ms"
    return [
        ("reasoning of 20,000 tokens: from the click to its text painted", f"{opened:.0f} ms"),
        ("a frame while scrolling through it, 120 px a frame", words),
    ]


async def _person(at: Server, reads: bool) -> int:
    """One browser's worth of stream; gives the bytes that it received."""
    question = QUESTION.format(tokens=TOKENS, rate=RATE)
    received = 0
    headers = {"Origin": at.url}
    async with httpx.AsyncClient(base_url=at.url, timeout=PATIENCE, headers=headers) as client:
        turn = (await client.post("/api/turns", json={"text": question})).raise_for_status().json()
        address = f"/api/generations/{turn['generation']['id']}"
        if not reads:
            await asyncio.sleep(1.5 * TOKENS / RATE)
            over = (await client.get(address)).json()["generation"]["status"] == "finished"
            return 0 if over else 1
        async with client.stream("GET", f"{address}/events") as events:
            async for chunk in events.aiter_raw():
                received += len(chunk)
    return received


async def _crowd(at: Server, reads: bool) -> tuple[float, float, int]:
    """Seconds, the server's seconds of processor time, and bytes of all readers."""
    before = at.process.cpu_times()
    began = time.monotonic()
    received = await asyncio.gather(*(_person(at, reads) for _ in range(STREAMS)))
    after = at.process.cpu_times()
    spent = after.user + after.system - before.user - before.system
    return time.monotonic() - began, spent, sum(received)


def streams(at: Server) -> list[tuple[str, str]]:
    """Thirty replies at once, with and without readers: the difference is what the stream costs."""
    rounds = [[asyncio.run(_crowd(at, reads=reads)) for reads in (False, True)] for _ in range(ROUNDS)]
    if any(alone[2] for alone, _ in rounds):
        raise RuntimeError("The machine is too busy: replies without readers were late.")
    # The least of each: what else the process did is in neither.
    alone, read = (min(each, key=lambda one: one[1]) for each in zip(*rounds, strict=True))
    # The time of the replies themselves: whoever does not read only waits longer.
    ideal = TOKENS / RATE
    share = [100 * spent / ideal for _, spent, _ in (alone, read)]
    cost = share[1] - share[0]
    name = f"{STREAMS} replies of {TOKENS:,} tokens at {RATE}/s"
    return [
        (
            f"{name} that nobody reads: the server, scripted engine and saving included",
            f"{share[0]:.0f} % of a core",
        ),
        ("the same with a reader each", f"{share[1]:.0f} % of a core, {read[0]:.1f} s"),
        ("what the streams cost", f"{cost:.0f} % of a core, {read[2] / STREAMS / TOKENS:.0f} bytes a token"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    rows: list[tuple[str, str]] = []
    with tempfile.TemporaryDirectory() as folder, server(folder) as at:
        with chromium_running() as browser:
            rows += opening(browser, at)
            rows += reply(browser, at, 200, 300, 100)
            rows += reply(browser, at, 0, 2000, 200)
            rows += reasoning(browser, at)
        rows += streams(at)
    print("| | |\n|---|---|")
    for name, value in rows:
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()

"""What HTTP adds to a token: the same replies at the engine's border and through each of the app's streams.

    python -m benchmarks.api_overhead [--engines paced costless demo] [--streams 1 8] [--rounds 3]

The application runs in a process of its own, and writes every reply twice: through
``playground.generation.generate`` alone, and over loopback by ``/v1/chat/completions``, ``/v1/responses`` and
the page's own API, which saves what it writes. All take turns in every round. The cost is that process's
processor time; what it spends on the engine itself is in both, and so is taken off. ``paced`` is a scripted
engine of 100 tokens a second and stream, each an event of its own: it shows the pure cost, that of asking and
of the first byte included. ``costless`` is one without pauses: it shows how many tokens the server can pass
on. ``demo`` is the demonstration model, beside which the cost is small, and so less exact. Prints a Markdown
table of medians.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import httpx

ROOT = Path(__file__).parents[1]
PATIENCE = 300.0
ENGINES = ("paced", "costless", "demo")
BORDER, CHAT, RESPONSES, PAGE = "generate alone", "chat completions", "responses", "the page's stream"
WAYS = (BORDER, CHAT, RESPONSES, PAGE)
COUNTED = {
    CHAT: re.compile(rb'"completion_tokens":(\d+)'),
    RESPONSES: re.compile(rb'"output_tokens":(\d+)'),
    PAGE: re.compile(rb'"completion":(\d+)'),
}
PROMPTS = {
    CHAT: re.compile(rb'"prompt_tokens":(\d+)'),
    RESPONSES: re.compile(rb'"input_tokens":(\d+)'),
    PAGE: re.compile(rb'"prompt":(\d+)'),
}
WARM_TOKENS = 32


@dataclass(frozen=True)
class Read:
    """What came of some replies: their tokens and bytes, and the tokens of their prompts."""

    tokens: int
    size: int
    prompts: int


@dataclass(frozen=True)
class Figures:
    """Of one round: the server's processor time a token in microseconds, tokens a second, bytes a token."""

    cost: float
    speed: float
    size: float


@dataclass
class Server:
    """The application in its process, its orders, and what it answers to them."""

    url: str
    orders: IO[str]
    lines: IO[str]
    effort: str

    def used(self) -> float:
        """Seconds of processor time until now."""
        return float(self._order({})["used"])

    def alone(self, questions: list[str], tokens: int) -> tuple[Read, float]:
        """The replies without HTTP, and their seconds."""
        answer = self._order({"questions": questions, "tokens": tokens, "effort": self.effort})
        return Read(answer["tokens"], 0, answer["prompts"]), answer["seconds"]

    def _order(self, order: dict[str, Any]) -> dict[str, Any]:
        self.orders.write(json.dumps(order) + "\n")
        self.orders.flush()
        answer: dict[str, Any] = json.loads(self.lines.readline())
        return answer


@contextmanager
def server(kind: str, effort: str) -> Iterator[Server]:
    """Serve with this engine until the block ends."""
    pipe = subprocess.PIPE
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.api_engine", folder, kind]
        with subprocess.Popen(command, cwd=ROOT, text=True, stdin=pipe, stdout=pipe) as process:
            orders, lines = cast(IO[str], process.stdin), cast(IO[str], process.stdout)
            url = lines.readline().strip()
            if not url:
                raise RuntimeError("the application does not start")
            try:
                yield Server(url, orders, lines, effort)
            finally:
                orders.close()
                process.wait(60)


def request(way: str, question: str, tokens: int, effort: str) -> tuple[str, dict[str, Any]]:
    """The address and the body that ask for one reply."""
    fields: dict[str, Any] = {"temperature": 0, "seed": 1}
    if way == CHAT:
        fields |= {"messages": [{"role": "user", "content": question}], "max_tokens": tokens}
        fields |= {"stream": True, "stream_options": {"include_usage": True}, "reasoning_effort": effort}
        return "/v1/chat/completions", fields
    if way == RESPONSES:
        fields |= {"input": question, "max_output_tokens": tokens, "reasoning": {"effort": effort}}
        return "/v1/responses", {**fields, "stream": True, "store": False}
    return "/api/turns", {**fields, "text": question, "max_tokens": tokens, "effort": effort}


async def read(client: httpx.AsyncClient, way: str, question: str, tokens: int, effort: str) -> Read:
    """One streamed reply."""
    address, body = request(way, question, tokens, effort)
    method, content = "POST", body
    if way == PAGE:
        turn = (await client.post(address, json=body)).raise_for_status().json()
        method, address, content = "GET", f"/api/generations/{turn['generation']['id']}/events", {}
    size, end = 0, b""
    async with client.stream(method, address, json=content or None) as answer:
        answer.raise_for_status()
        async for piece in answer.aiter_raw():
            size += len(piece)
            end = (end + piece)[-20_000:]
    counts = COUNTED[way].findall(end)
    if not counts:
        raise RuntimeError(f"{way}: the stream ended without its usage: {end[-500:]!r}")
    return Read(int(counts[-1]), size, int(PROMPTS[way].findall(end)[-1]))


async def over_http(at: Server, way: str, questions: list[str], tokens: int) -> tuple[Read, float]:
    """All replies at once, and their seconds."""
    headers = {"Origin": at.url, "Accept-Encoding": "identity"}
    options: dict[str, Any] = {
        "base_url": at.url,
        "timeout": PATIENCE,
        "trust_env": False,
        "headers": headers,
    }
    async with httpx.AsyncClient(**options) as client:
        if way == PAGE:
            (await client.get("/api/bootstrap")).raise_for_status()
        began = time.perf_counter()
        read_all = await asyncio.gather(*(read(client, way, each, tokens, at.effort) for each in questions))
        seconds = time.perf_counter() - began
    whole = Read(
        sum(each.tokens for each in read_all),
        sum(each.size for each in read_all),
        sum(each.prompts for each in read_all),
    )
    return whole, seconds


def once(at: Server, way: str, questions: list[str], tokens: int) -> tuple[Figures, int]:
    """One measurement, and the tokens of its prompts."""
    before = at.used()
    if way == BORDER:
        done, seconds = at.alone(questions, tokens)
    else:
        done, seconds = asyncio.run(over_http(at, way, questions, tokens))
    cost = 1e6 * (at.used() - before) / done.tokens
    return Figures(cost, done.tokens / seconds, done.size / done.tokens), done.prompts


def measure(at: Server, streams: int, options: argparse.Namespace) -> dict[str, Figures]:
    """The medians by way."""
    made: dict[str, list[Figures]] = {way: [] for way in WAYS}
    for number in range(options.rounds + 1):
        rng = random.Random(1000 * streams + number)
        questions = ["Sort " + ", ".join(map(str, rng.sample(range(1, 100), 10))) for _ in range(streams)]
        at.alone(questions, 1)  # from now on the engine knows the prompts, whoever asks first
        read_by: dict[str, int] = {}
        for place in range(len(WAYS)):
            way = WAYS[(place + number) % len(WAYS)]
            figures, read_by[way] = once(at, way, questions, options.tokens if number else WARM_TOKENS)
            if number:  # the first round warms up
                made[way].append(figures)
        if len(set(read_by.values())) > 1:
            print(f"The prompts differ: {read_by}", file=sys.stderr)
    return {way: _median(figures) for way, figures in made.items()}


def _median(figures: list[Figures]) -> Figures:
    return Figures(
        statistics.median(each.cost for each in figures),
        statistics.median(each.speed for each in figures),
        statistics.median(each.size for each in figures),
    )


def rows(kind: str, streams: int, medians: dict[str, Figures]) -> list[str]:
    """Lines of the table."""
    border = medians[BORDER]
    return [
        f"| {kind} | {streams} | {way} | {one.cost:.0f} | {one.cost - border.cost:+.0f} "
        f"| {one.speed:.0f} | {one.speed / border.speed:.3f} | {one.size:.0f} |"
        for way, one in medians.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=400)
    parser.add_argument("--effort", choices=("low", "medium", "high"), default="high")
    options = parser.parse_args()
    lines = [
        "| engine | streams | way | CPU µs a token | beyond the engine | tok/s | ratio | bytes a token |",
        "|---|--:|---|--:|--:|--:|--:|--:|",
    ]
    for kind in options.engines:
        with server(kind, options.effort) as at:
            for streams in options.streams:
                found = rows(kind, streams, measure(at, streams, options))
                print("\n".join(found), file=sys.stderr, flush=True)
                lines += found
    print("\n".join(lines))


if __name__ == "__main__":
    main()

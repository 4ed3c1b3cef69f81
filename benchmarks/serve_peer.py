"""Our ``/v1/chat/completions`` against ``transformers serve``, on the same checkpoint, in the same run.

    python -m benchmarks.serve_peer [--peer TRANSFORMERS] [--model demo|random|FOLDER] [--streams 1 8 32]
    python -m benchmarks.serve_peer --url URL --peer-url URL [--peer-url URL] --peer-model NAME [--peer-chat]

The first form starts both servers on this machine, with the same threads, device and number type: the peer
with and without continuous batching. The second one asks servers that run already, such as those of a machine
with a GPU. Both sides read the very same prompt ids (the harmony prompt that our server renders), which the
peer gets as the words of a tokenizer that names ids; ``--peer-chat`` sends it the messages instead, for a
checkpoint with a tokenizer of its own. All is greedy and streamed over loopback. Rounds alternate, and so
does who is first, so that a busy machine hurts all alike. Prints Markdown.

The time to the first token is that of the first text of any kind: the peer shows harmony's markers, which are
three tokens of a reply's header here and not sent. The time to the first word is that of reasoning or answer
on both sides; it is unknown where the peer's text does not name the markers.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import math
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.engine_cpu import VOCABULARY, write_random
from benchmarks.peer import Peer, write_tokenizer
from benchmarks.web import ROOT, free_port
from inference.demonstration import pack
from inference.harmony import HarmonyCodec
from inference.types import Message, Prompt, ReasoningEffort, Role
from inference.vocabulary import MESSAGE

GOALS = {1: 1.5, 8: 2.0, 32: 2.0}
"""Times the peer's tokens a second, by the number of streams."""
PATIENCE = 300.0
WARM_TOKENS = 8
OURS = "ours"
HEADER_END = f"t{MESSAGE}"
"""The last token of a message's header, as the tokenizer that names ids writes it."""
UNLIMITED = ("REQUESTS_PER_MINUTE", "ADDRESS_REQUESTS_PER_MINUTE", "REPLIES_AT_ONCE", "VISITORS_PER_HOUR")


@dataclass(frozen=True)
class Reply:
    """Seconds to the first text and to the first word, and the tokens of the prompt and of the reply."""

    first: float
    word: float | None
    prompt: int
    written: int


@dataclass
class Seen:
    """What one side did with so many streams: waits for the first text and word, each round's tokens/s."""

    firsts: list[float] = field(default_factory=list)
    words: list[float] = field(default_factory=list)
    speeds: list[float] = field(default_factory=list)
    tokens: int = 0

    @property
    def speed(self) -> float:
        """The median round's tokens a second, over all its streams."""
        return statistics.median(self.speeds)


def p95(waits: list[float]) -> float:
    """All but one in twenty are no longer."""
    return sorted(waits)[math.ceil(0.95 * len(waits)) - 1]


class Side:
    """A server that is asked. ``chat``: by messages; otherwise by the ids of the prompt."""

    def __init__(self, name: str, url: str, model: str | None, chat: bool, effort: str) -> None:
        self.name = name
        self._chat = chat
        self._effort = effort
        self._model = model
        self._client = httpx.AsyncClient(
            base_url=url, timeout=PATIENCE, trust_env=False, limits=httpx.Limits(max_connections=None)
        )
        self._codec = HarmonyCodec.load()

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()

    async def all_at_once(self, questions: list[str], tokens: int) -> tuple[list[Reply], float]:
        """Ask all questions at the same time; gives the replies and the tokens a second over all."""
        began = time.perf_counter()
        replies = await asyncio.gather(*(self._ask(question, tokens) for question in questions))
        return list(replies), sum(reply.written for reply in replies) / (time.perf_counter() - began)

    async def _ask(self, question: str, tokens: int) -> Reply:
        path, body = self._request(question, tokens)
        began, seen, usage = time.perf_counter(), First(), dict[str, Any]()
        async with self._client.stream("POST", path, json=body) as answer:
            if answer.status_code != 200:
                raise RuntimeError(f"{self.name}: {(await answer.aread()).decode()}")
            async for line in answer.aiter_lines():
                if not line.startswith("data: {"):
                    continue
                chunk = json.loads(line.removeprefix("data: "))
                if "choices" not in chunk:
                    raise RuntimeError(f"{self.name}: {chunk}")
                for choice in chunk["choices"]:
                    seen.look(choice, time.perf_counter() - began, hides_header=self.name == OURS)
                usage = chunk.get("usage") or usage
        if not usage:
            raise RuntimeError(f"{self.name}: the stream ended without its usage")
        first = seen.text or time.perf_counter() - began
        return Reply(first, seen.word, usage["prompt_tokens"], usage["completion_tokens"])

    def _request(self, question: str, tokens: int) -> tuple[str, dict[str, Any]]:
        fields = {
            "model": self._model,
            "max_tokens": tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if self._chat:
            messages = [{"role": "user", "content": question}]
            return "/v1/chat/completions", {**fields, "messages": messages, "reasoning_effort": self._effort}
        prompt = Prompt(
            [Message(Role.USER, question)],
            ReasoningEffort(self._effort),
            current_date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        )
        words = " ".join(f"t{number}" for number in self._codec.render(prompt))
        return "/v1/completions", {**fields, "prompt": words}


@dataclass
class First:
    """The seconds after which a reply showed its first text and its first word."""

    text: float | None = None
    word: float | None = None
    shown: str = ""

    def look(self, choice: dict[str, Any], now: float, *, hides_header: bool) -> None:
        """Take in one choice of a chunk."""
        delta = choice.get("delta", {})
        new = choice.get("text") or delta.get("content") or delta.get("reasoning_content") or ""
        if not new or self.word is not None:
            return
        self.text = now if self.text is None else self.text
        self.shown += new
        if hides_header or self.shown.partition(HEADER_END)[2].strip():
            self.word = now


@asynccontextmanager
async def our_app(folder: Path, options: argparse.Namespace, scratch: Path) -> AsyncIterator[str]:
    """Our server on this checkpoint; gives its address once the model is ready."""
    port = free_port()
    command = [sys.executable, "app.py", "serve", "--port", str(port), "--model", str(folder)]
    environment = {
        **os.environ,
        **dict.fromkeys(UNLIMITED, "0"),
        "QUEUE_LIMIT": "256",
        "CPU_DTYPE": options.dtype,
        "OMP_NUM_THREADS": str(options.threads),
        "HF_HUB_OFFLINE": "1",
    }
    if options.device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    process = await asyncio.create_subprocess_exec(
        *command,
        "--data-dir",
        str(scratch / "data"),
        cwd=ROOT,
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        await _until_ready(process, url)
        yield url
    finally:
        process.terminate()
        await process.wait()


async def _until_ready(process: asyncio.subprocess.Process, url: str) -> None:
    """Raises RuntimeError when the checkpoint cannot be loaded; another model in its place is no answer."""
    deadline = time.monotonic() + PATIENCE
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        while time.monotonic() < deadline and process.returncode is None:
            try:
                model = (await client.get("/api/model")).json()
            except httpx.TransportError:
                model = {}
            target, active = model.get("target"), model.get("active")
            if target is not None and target["stage"] == "failed":
                raise RuntimeError(f"our server cannot load the model: {target}")
            if active is not None and target is None:  # nothing else is awaited
                return
            await asyncio.sleep(0.1)
    raise RuntimeError("our server does not start")


def model_folder(scratch: Path, wanted: str) -> Path:
    """The checkpoint, with a tokenizer that names ids unless it is a folder of the user's."""
    if wanted not in ("demo", "random"):
        return Path(wanted)
    folder = scratch / "model"
    if wanted == "demo":
        folder = pack.unpack(folder)
    else:
        write_random(folder)
    write_tokenizer(folder, VOCABULARY)
    return folder


def questions(rng: random.Random, count: int) -> list[str]:
    """Of one kind, and none of them asked before: what they begin with is the same, as with real people."""
    return ["Sort " + ", ".join(str(each) for each in rng.sample(range(1, 100), 10)) for _ in range(count)]


async def measure(sides: list[Side], options: argparse.Namespace) -> dict[int, dict[str, Seen]]:
    """By the number of streams and the side."""
    table: dict[int, dict[str, Seen]] = {}
    for streams in options.streams:
        rows = table[streams] = {side.name: Seen() for side in sides}
        for number in range(options.rounds + 1):
            asked = questions(random.Random(1000 * streams + number), streams)
            told = []
            for side in sides if number % 2 else reversed(sides):
                replies, speed = await side.all_at_once(asked, options.tokens if number else WARM_TOKENS)
                told.append(f"{side.name} {speed:.0f}")
                if number:  # the first round warms up
                    seen = rows[side.name]
                    seen.speeds.append(speed)
                    seen.firsts += [reply.first for reply in replies]
                    seen.words += [reply.word for reply in replies if reply.word is not None]
                    seen.tokens += sum(reply.written for reply in replies)
                _check_prompts(side.name, replies, asked)
            print(f"{streams} streams, round {number}, tok/s: {', '.join(told)}", file=sys.stderr, flush=True)
    return table


_PROMPTS: dict[str, int] = {}


def _check_prompts(name: str, replies: list[Reply], asked: list[str]) -> None:
    """Both sides must have read prompts of the same lengths, or the comparison means nothing."""
    for question, reply in zip(asked, replies, strict=True):
        known = _PROMPTS.setdefault(question, reply.prompt)
        if known != reply.prompt:
            print(f"{name} read {reply.prompt} tokens, another side {known}: {question}", file=sys.stderr)


def report(table: dict[int, dict[str, Seen]]) -> str:
    """Markdown: the figures, and how many times as good ours are."""
    lines = [
        "| streams | who | tok/s | first token ms, median | p95 | first word ms, median | p95 | tokens "
        "| our tok/s to theirs | their p95 to ours: token | word |",
        "|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    verdicts = [""]
    for streams, rows in table.items():
        ours = rows[OURS]
        for name, seen in rows.items():
            cells = [str(streams), name, f"{seen.speed:.0f}", *_waits(seen.firsts), *_waits(seen.words)]
            cells += [str(seen.tokens), *(_ratios(ours, seen) if seen is not ours else ("", "", ""))]
            lines.append(f"| {' | '.join(cells)} |")
        others = {name: seen for name, seen in rows.items() if name != OURS}
        name, best = max(others.items(), key=lambda each: each[1].speed)
        soonest = min(p95(each.firsts) for each in others.values())
        goal = f"; goal {GOALS[streams]}" if streams in GOALS else ""
        verdicts.append(
            f"{streams} streams: {ours.speed / best.speed:.2f} times the tokens/s of the peer's best way "
            f"({name}{goal}); first token p95 {p95(ours.firsts) * 1e3:.0f} ms, its lowest "
            f"{soonest * 1e3:.0f} ms.  "
        )
    return "\n".join(lines + verdicts)


def _waits(waits: list[float]) -> tuple[str, str]:
    if not waits:
        return "?", "?"
    return f"{statistics.median(waits) * 1e3:.0f}", f"{p95(waits) * 1e3:.0f}"


def _ratios(ours: Seen, theirs: Seen) -> tuple[str, str, str]:
    words = f"{p95(theirs.words) / p95(ours.words):.2f}" if theirs.words and ours.words else "?"
    return f"{ours.speed / theirs.speed:.2f}", f"{p95(theirs.firsts) / p95(ours.firsts):.2f}", words


async def run(options: argparse.Namespace) -> None:
    """Start what is to be started, measure, and print."""
    async with AsyncExitStack() as stack:
        if options.url:
            chat, model = options.peer_chat, options.peer_model
            sides = [Side(OURS, options.url, None, True, options.effort)]
            sides += [Side(url, url, model, chat, options.effort) for url in options.peer_url]
            about = "servers that ran already; threads and number types are theirs"
        else:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            folder = model_folder(scratch, options.model)
            url = await stack.enter_async_context(our_app(folder, options, scratch))
            sides = [Side(OURS, url, None, True, options.effort)]
            for batching in (False, True):
                peer = Peer(options.peer, folder, options.dtype, batching, options.threads, options.device)
                await stack.enter_async_context(peer)
                sides.append(Side(peer.name, peer.url, str(folder), options.peer_chat, options.effort))
            about = f"{options.model} model; all servers: {options.threads} threads, {options.dtype}, on "
            about += options.device
        for side in sides:
            stack.push_async_callback(side.close)
        table = await measure(sides, options)
    print(f"{about}; up to {options.tokens} tokens a reply, {options.rounds} rounds, greedy.\n")
    print(report(table))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    beside = str(Path(sys.executable).with_name("transformers"))
    parser.add_argument("--peer", default=beside, help="the transformers command to compare with")
    parser.add_argument("--model", default="demo", help="demo, random, or a checkpoint's folder")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--streams", type=int, nargs="+", default=list(GOALS))
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--effort", choices=("low", "medium", "high"), default="high")
    parser.add_argument("--url", help="our server, which runs already")
    parser.add_argument("--peer-url", action="append", default=[], help="a server to compare it with")
    parser.add_argument("--peer-model", help="the model's name there")
    parser.add_argument("--peer-chat", action="store_true", help="send the peer messages, not ids")
    options = parser.parse_args()
    if bool(options.url) != bool(options.peer_url):
        parser.error("--url and --peer-url belong together")
    asyncio.run(run(options))


if __name__ == "__main__":
    main()

"""A16: files that are made to break an import are refused over HTTP, cheaply, and nothing of them stays.

What is refused, and with which sentence, is tested in ``tests/playground/exchange``.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import IO, Any

import pytest
import pytest_asyncio

from playground.exchange.import_draft import Imported
from playground.exchange.import_file import read_file
from tests.attacks.limits import UNLIMITED
from tests.conftest import Scale
from tests.playground.exchange.files import OWN, PLAIN_CHATGPT, chatgpt, node, read, zipped
from tests.playground.exchange.hostile import FILES, peak
from tests.playground.exchange.test_import_refusals import TEXTS
from tests.playground.world import World, running
from tests.tried import Tell

pytestmark = pytest.mark.asyncio(loop_scope="module")

GOOD = {"messages": [{"role": "user", "content": "Good"}]}
MEGABYTES = 100
DIGITS = b'[{"messages": [{"role": "user", "content": ' + b"7" * 5000 + b"}]}]"


def ends_badly() -> dict[str, bytes]:
    """Files that begin with conversations that could be taken, and end with something that cannot."""
    wrong = {"messages": [{"role": "root", "content": "x"}]}
    deep = json.dumps([GOOD] * 3).encode()[:-1] + b"," + b"[" * 5000 + b"]" * 5000 + b"]"
    lines = b"\n".join([json.dumps(GOOD).encode()] * 3)
    torn = json.dumps([PLAIN_CHATGPT] * 3).encode()
    broken = json.loads(json.dumps(OWN))
    broken["conversations"] += [{**broken["conversations"][0], "title": 5}]
    forged = chatgpt(node("a", None, [], "root", "x"))
    good = json.dumps([GOOD]).encode()
    return {
        "a forged role": json.dumps([GOOD, GOOD, wrong]).encode(),
        "a forged role in a tree": json.dumps([PLAIN_CHATGPT, forged]).encode(),
        "an own file": json.dumps(broken).encode(),
        "depth": deep,
        "a torn end": torn[:-20],
        "a torn line": lines + b'\n{"messages": [',
        "NaN": json.dumps([GOOD]).encode()[:-1] + b', {"messages": [], "x": NaN}]',
        "many digits": json.dumps([GOOD]).encode()[:-1] + b"," + DIGITS[1:],
        "half a character": json.dumps(
            [GOOD, {"messages": [{"role": "user", "content": "\ud83d"}]}]
        ).encode(),
        "the same key twice": json.dumps([GOOD]).encode()[:-1] + b', {"messages": [], "messages": []}]',
        "a zip with a bomb behind": zipped(
            {"conversations-1.json": good, "conversations-2.json": b"[" * 20_000_000}
        ),
        "a zip with a torn file behind": zipped(
            {"conversations-1.json": good, "conversations-2.json": b"[{"}
        ),
    }


def large() -> dict[str, bytes]:
    """What only stands in the full count: up to what an import may have."""
    return {
        "depth 100,000 of everything": b'[{"a":' * 100_000,
        "a million entries": zipped({f"{n}/conversations.json": b"[]" for n in range(100_000)}),
        "a zip of zips": zipped({"conversations.json": zipped({"conversations.json": b"[" * 50_000_000})}),
        "40 MB of objects": b"[" + b'{"messages":[]},' * 2_500_000 + b"{}]",
        "40 MB of one text": b'[{"messages": [{"role": "user", "content": "' + b"x" * 40_000_000 + b'"}]}]',
        "40 MB of escapes": b'[{"messages": [{"role": "user", "content": "'
        + b"\\u0041" * 6_600_000
        + b'"}]}]',
        "49 MB of nothing": b" " * 49_000_000,
        "51 MB": b" " * 51_000_000,
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running(tmp_path_factory.mktemp("bombs"), **UNLIMITED) as world:
        yield world


def stored(world: World) -> tuple[int, ...]:
    """How many rows there are of all that an import makes."""
    tables = ("conversations", "messages", "generations", "output_tokens")
    with closing(sqlite3.connect(world.app.state.settings.database_path)) as database:
        return tuple(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables)  # noqa: S608


async def upload(world: World, data: bytes) -> tuple[int, str, float, bool]:
    """Status, sentence, megabytes more than before, and whether anything was stored."""
    async with world.browser() as browser:
        before = stored(world)
        await asyncio.to_thread(Path("/proc/self/clear_refs").write_text, "5", "ascii")
        begin = peak()
        answer = await browser.post("/api/import", content=data)
        cost = peak() - begin
        body = answer.json()
        sentence = body["error"]["message"] if "error" in body else "taken"
        return answer.status_code, sentence, cost, stored(world) != before


async def faults_of(world: World, files: dict[str, bytes]) -> list[str]:
    """What went wrong with these files, none of which may be taken."""
    faults: list[str] = []
    for name, data in files.items():
        status, sentence, cost, kept = await upload(world, data)
        # The client of this test holds the file, too; and a plain text must be read to be found too long.
        bound = MEGABYTES + 2 * len(data) / 1e6
        if status not in {400, 413} or kept or cost > bound:
            faults.append(f"{name}: {status} {sentence} {cost:.0f} MB, stored: {kept}")
    return faults


async def test_a_good_file_is_taken(world: World) -> None:
    status, _, _, kept = await upload(world, json.dumps([GOOD]).encode())
    assert (status, kept) == (200, True)


async def test_bombs_are_refused_and_leave_nothing(world: World, scale: Scale, tell: Tell) -> None:
    texts = {name: data for name, data, _ in TEXTS}
    bombs = {name: make() for name, make in list(FILES.items())[:: scale(4, 1)]}
    everything = {**dict(list(texts.items())[:: scale(3, 1)]), **bombs, **(large() if scale(0, 1) else {})}
    assert await faults_of(world, everything) == []
    tell(f"{len(everything)} bombs: all refused, none above {MEGABYTES} MB, nothing stored")


async def test_a_file_that_ends_badly_leaves_nothing_of_its_beginning(world: World) -> None:
    assert await faults_of(world, ends_badly()) == []


@pytest.mark.parametrize("hole", ["half a file", "memory"])
async def test_an_import_that_is_careless_is_caught(
    world: World, monkeypatch: pytest.MonkeyPatch, hole: str
) -> None:
    """Planted holes: the part that could be read is stored, or the file is unpacked into memory."""

    def half(file: IO[bytes], now: Any) -> list[Imported]:
        return read([GOOD])

    def memory(file: IO[bytes], now: Any) -> list[Imported]:
        spare = bytearray(b"x" * 200_000_000)
        found = read_file(file, now)
        del spare
        return found

    monkeypatch.setattr("playground.api.transfer.read_file", {"half a file": half, "memory": memory}[hole])
    assert len(await faults_of(world, {"bad": ends_badly()["a forged role"]})) == 1

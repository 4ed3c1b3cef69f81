"""A15: no name that a stranger chooses opens, writes or serves a file: titles, addresses, entries of zips."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from starlette.staticfiles import StaticFiles

from playground.ui import shell
from tests.attacks.limits import UNLIMITED
from tests.attacks.raw import raw
from tests.conftest import Scale
from tests.playground.exchange.files import zipped
from tests.playground.world import World, running
from tests.tried import Tell

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = Path(__file__).parents[2]
CODE = [ROOT / name for name in ("static", "playground", "inference", "storage")]
CODE += [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]
PATHS = {"open": 1, "os.listdir": 1, "os.scandir": 1, "os.remove": 1, "os.mkdir": 1}
PATHS |= {"os.rename": 2, "os.link": 2, "os.symlink": 2}
"""Events of Python's audit, and how many of their values are paths."""
SECRET = "the words of a file that nobody may read"
STEMS = [
    "etc/passwd", "secret.txt", "app.py", "playground.db", "secret.key", ".git/config", "CON", "nul.json",
    "x" * 300,
]  # fmt: skip
CLIMBS = [
    "../", "../../", "../" * 12, "..\\", "..\\..\\", "%2e%2e/", "%2e%2e%2f", "..%2f", "..%5c", "....//",
    "%252e%252e%252f", "..;/", "..%00/", "%c0%ae%c0%ae/", "．．/", "..／", "/", "//", "\\\\host\\share\\",
    "C:\\", "~/", "file:///", "\x00", "js/../../../",
]  # fmt: skip
LONE = [
    "..", ".", "", " ", "...", "-rf", "$HOME", "`id`", "|id", "a\r\nSet-Cookie: x=1", "\u202egnp.exe", "con.",
    "x" * 5000,
]  # fmt: skip
NAMES = [climb + stem for climb in CLIMBS for stem in STEMS] + LONE

_notes: list[list[str]] = []
"""Whoever takes notes just now."""


def _hook(event: str, values: tuple[Any, ...]) -> None:
    if _notes and event in PATHS:
        paths = [os.fsdecode(value) for value in values[: PATHS[event]] if isinstance(value, str | bytes)]
        for notes in _notes:
            notes.extend(path for path in paths if path)


sys.addaudithook(_hook)  # there is no way to take one away again


@contextmanager
def opened() -> Iterator[list[str]]:
    """Every path that this process opens, lists, makes or removes in the block."""
    notes: list[str] = []
    _notes.append(notes)
    try:
        yield notes
    finally:
        _notes.remove(notes)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("names")
    (folder / "secret.txt").write_text(SECRET, "utf-8")
    (folder / "temporary").mkdir()
    before, tempfile.tempdir = tempfile.tempdir, str(folder / "temporary")
    async with running(folder / "data", **UNLIMITED) as world:
        shell.mount(world.app, blocked_paths=[str(folder / "data")])
        yield world
    tempfile.tempdir = before


@pytest.fixture
def names(scale: Scale) -> list[str]:
    assert len(NAMES) >= 200
    return NAMES[:: scale(4, 1)]


def astray(world: World, paths: list[str]) -> set[str]:
    """Those paths that are not in the data folder, the temporary one, or the code's own."""
    data = Path(world.app.state.settings.data_dir)
    allowed = [*CODE, data, data.parent / "temporary"]
    real = {Path(os.path.realpath(path)) for path in paths if "\0" not in path}
    return {
        str(path) for path in real if not any(path.is_relative_to(os.path.realpath(home)) for home in allowed)
    }


PLACES = [
    "/static/{}",
    "/static/vendor/{}",
    "/assets/{}",
    "/gradio_api/file={}",
    "/file={}",
    "/c/{}",
    "/s/{}",
    "/api/shared/{}",
    "/api/conversations/{}/export?format=html",
    "/{}",
]


async def ask_for(world: World, names: list[str]) -> tuple[set[str], list[str]]:
    """Ask for every name below every place: the paths astray, and answers that hold what they must not."""
    leaks: list[str] = []
    with opened() as paths:
        for name in names:
            for place in PLACES:
                status, _, body = await raw(world.url, place.format(name[:2000]))
                if status == 200 and place != "/{}" and not place.startswith("/c/"):
                    leaks.append(place.format(name[:80]))
                if SECRET.encode() in body or b"root:" in body or b"argparse" in body or status >= 500:
                    leaks.append(f"{status} {place.format(name[:80])}")
    return astray(world, paths), leaks


async def test_no_address_leads_to_a_file(world: World, names: list[str], tell: Tell) -> None:
    assert await ask_for(world, names) == (set(), [])
    tell(f"{len(names)} names at {len(PLACES)} places: no file astray was opened")


async def test_titles_never_become_paths(world: World, names: list[str], tell: Tell) -> None:
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Good day."}]
    async with world.browser() as browser:
        with opened() as paths:
            chats = [{"title": name[:200] or "x", "messages": messages} for name in names]
            made = await browser.post("/api/import", content=json.dumps(chats))
            assert made.status_code == 200, made.text
            for chat in made.json()["conversations"][::5]:
                for ending in ("markdown", "json", "html"):
                    address = f"/api/conversations/{chat['id']}/export?format={ending}"
                    answer = await browser.get(address)
                    header = answer.headers["content-disposition"]
                    assert safe(re.findall(r'filename="([^"]*)"', header)[0]), chat["title"]
                    assert "set-cookie" not in answer.headers
            archive = await browser.get("/api/export?format=markdown")
        assert astray(world, paths) == set()
    with zipfile.ZipFile(io.BytesIO(archive.content)) as content:
        inside = content.namelist()
    assert len(inside) == len(names)
    assert len({name.casefold() for name in inside}) == len(inside)
    assert [name for name in inside if not safe(name)] == []
    tell(f"{len(names)} titles in downloads and zips: all names are safe")


def safe(name: str) -> bool:
    """Whether this is the name of a plain file on any system."""
    reserved = re.match(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", name, re.IGNORECASE)
    bad = re.search(r'[\x00-\x1f/\\:*?"<>|]', name)
    return bool(name) and name[0] not in ".-" and not reserved and not bad and len(name.encode()) <= 255


async def test_entries_of_a_zip_never_become_paths(world: World, names: list[str]) -> None:
    chat = json.dumps([{"messages": [{"role": "user", "content": "Hi"}]}]).encode()
    async with world.browser() as browser:
        with opened() as paths:
            for name in (each for each in names if "\0" not in each):
                entries = {f"{name[:1000]}/conversations.json": chat, f"{name[:1000]}.png": b"x"}
                answer = await browser.post("/api/import", content=zipped(entries))
                assert answer.status_code in {200, 400}
        assert astray(world, paths) == set()
    assert list((Path(world.app.state.settings.data_dir).parent / "temporary").iterdir()) == []


async def test_a_server_of_files_that_checks_nothing_is_caught(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted hole: static files that are looked up without a look at whether they are in their folder."""

    def careless(self: StaticFiles, path: str) -> tuple[str, os.stat_result | None]:
        found = Path(str(self.directory)) / path
        return str(found), found.stat() if found.is_file() else None

    monkeypatch.setattr(StaticFiles, "lookup_path", careless)
    paths, leaks = await ask_for(world, ["../app.py", "../../../../../../../../etc/passwd"])
    assert any(path.endswith("app.py") for path in paths)
    assert leaks

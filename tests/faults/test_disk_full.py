"""The disk is full, or fails, at the nth operation, for every n: clear errors, and nothing half saved."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy.orm import Session

from playground import reply, turns
from playground.api import transfer
from storage import translate
from storage.database import Database
from storage.errors import StorageFull
from tests.conftest import Part, Scale
from tests.faults.conftest import Tell
from tests.faults.full_disk import FULL, REPLY, UNREADABLE, UNSYNCED, FaultyDisk, Hour
from tests.faults.sqlite_vfs import Kind, watched
from tests.faults.workload import unsound
from tests.playground.scripted import Script
from tests.playground.world import ask, running, settled

T = TypeVar("T")

TOO_FULL = frozenset({(507, "storage_full")})
BROKEN = frozenset({(503, "storage_error")})
MOST = 2000
write = Database.write


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replies are saved often, and again soon after a failure."""
    monkeypatch.setattr(reply, "SAVE_SECONDS", 0.01)
    monkeypatch.setattr(turns, "FIRST_RETRY_SECONDS", 0.02)


async def faults_of(
    folder: Path,
    codes: dict[Kind, int],
    right: frozenset[tuple[int, str]],
    step: int,
    most: int = MOST,
    first: int = 1,
) -> tuple[list[str], int]:
    """What is wrong when operation ``first``, and every ``step`` later, breaks; and how many broke."""
    disk, found, number = FaultyDisk(codes), [], first
    script = Script(REPLY, portion=4, pause=0.004)
    with watched(folder, disk):
        async with running(folder, script) as world, world.browser() as browser:
            turn = await ask(browser, "to be put in")
            await settled(browser, turn["generation"]["id"])
            address = f"/api/conversations/{turn['conversation']['id']}/export?format=json"
            file = (await browser.get(address)).content
            while number <= most:
                hour = Hour(world, disk, f"hour {number}", file, right)
                broken = await hour.spend(number)
                found += [f"operation {number}: {each}" for each in hour.found]
                if not broken:
                    break
                number += step
            path: Path = world.app.state.settings.database_path
    return found + unsound(path), (number - first) // step


@pytest.mark.parametrize(
    ("codes", "right", "step"),
    [(FULL, TOO_FULL, 41), (UNSYNCED, BROKEN, 5), (UNREADABLE, BROKEN, 23)],
    ids=["full", "unsynced", "unreadable"],
)
async def test_the_disk_breaks_at_every_operation(
    tmp_path: Path,
    scale: Scale,
    tell: Tell,
    some: Part,
    codes: dict[Kind, int],
    right: frozenset[tuple[int, str]],
    step: int,
) -> None:
    steps = some.of * scale(step, 1)
    found, broken = await faults_of(tmp_path, codes, right, steps, first=1 + some.number)
    tell(f"broke at {broken} operations, every {steps}th from {1 + some.number}, {len(found)} faults")
    assert found == []
    assert 0 < broken < MOST


async def test_a_store_that_takes_a_full_disk_for_something_else_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(translate._PRIMARY_CODES, sqlite3.SQLITE_FULL)
    found, _ = await faults_of(tmp_path, FULL, TOO_FULL, 1, most=1)
    assert any("storage_error" in each for each in found)


def forgetful_write(self: Database, work: Callable[[Session], T]) -> T:
    """``Database.write`` with a hole: a commit that fails is taken for one that does not."""
    results: list[T] = []

    def kept(session: Session) -> T:
        results.append(work(session))
        return results[0]

    try:
        return write(self, kept)
    except StorageFull:
        if not results:
            raise
        return results[0]


async def test_a_store_that_acknowledges_what_it_cannot_write_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Database, "write", forgetful_write)
    found, _ = await faults_of(tmp_path, FULL, TOO_FULL, 1, most=1)
    assert any("asked" in each for each in found)


async def test_no_room_for_an_upload_or_a_download_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are collected in files beside the database."""
    async with running(tmp_path) as world, world.browser() as browser:
        turn = await ask(browser)
        await settled(browser, turn["generation"]["id"])
        file = (await browser.get("/api/export?format=json")).content
        with monkeypatch.context() as patch:
            patch.setattr(transfer, "TemporaryFile", lambda: open("/dev/full", "r+b", buffering=0))  # noqa: SIM115
            for answer in (
                await browser.post("/api/import", content=file),
                await browser.get("/api/export?format=json"),
            ):
                assert (answer.status_code, answer.json()["error"]["code"]) == (507, "storage_full")
        assert (await browser.post("/api/import", content=file)).status_code == 200

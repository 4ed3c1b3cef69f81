"""The disk is full, or fails, at the nth operation, for every n: clear errors, and nothing half saved."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from playground import reply, turns
from storage import translate
from storage.database import Database
from tests.conftest import Scale
from tests.faults.conftest import Tell
from tests.faults.full_disk import FULL, REPLY, UNREADABLE, UNSYNCED, FaultyDisk, Hour
from tests.faults.killing import hasty_write
from tests.faults.sqlite_vfs import Kind, watched
from tests.faults.workload import unsound
from tests.playground.scripted import Script
from tests.playground.world import ask, running, settled

TOO_FULL = frozenset({(507, "storage_full")})
BROKEN = frozenset({(503, "storage_error")})
MOST = 2000


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replies are saved often, and again soon after a failure."""
    monkeypatch.setattr(reply, "SAVE_SECONDS", 0.01)
    monkeypatch.setattr(turns, "FIRST_RETRY_SECONDS", 0.02)


async def faults_of(
    folder: Path, codes: dict[Kind, int], right: frozenset[tuple[int, str]], step: int, most: int = MOST
) -> tuple[list[str], int]:
    """What is wrong when operation 1, 1 + step, ... breaks, until none is left; and how many broke."""
    disk, found, number = FaultyDisk(codes), [], 1
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
    return found + unsound(path), (number - 1) // step


@pytest.mark.parametrize(
    ("codes", "right", "step"),
    [(FULL, TOO_FULL, 41), (UNSYNCED, BROKEN, 5), (UNREADABLE, BROKEN, 23)],
    ids=["full", "unsynced", "unreadable"],
)
async def test_the_disk_breaks_at_every_operation(
    tmp_path: Path,
    scale: Scale,
    tell: Tell,
    codes: dict[Kind, int],
    right: frozenset[tuple[int, str]],
    step: int,
) -> None:
    found, broken = await faults_of(tmp_path, codes, right, scale(step, 1))
    tell(f"broke at {broken} operations, {len(found)} faults")
    assert found == []
    assert 0 < broken < MOST


async def test_a_store_that_takes_a_full_disk_for_something_else_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(translate._PRIMARY_CODES, sqlite3.SQLITE_FULL)
    found, _ = await faults_of(tmp_path, FULL, TOO_FULL, 1, most=1)
    assert any("storage_error" in each for each in found)


async def test_a_store_that_acknowledges_what_it_cannot_write_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Database, "write", hasty_write)
    found, _ = await faults_of(tmp_path, FULL, TOO_FULL, 1, most=1)
    assert any("asked" in each for each in found)

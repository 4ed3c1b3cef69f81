"""The power goes at every sync of many transactions: the disk still holds what was acknowledged."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from storage import database
from storage.errors import StorageError
from storage.migrate import make_folder
from storage.store import Store
from tests.conftest import Part, Scale
from tests.faults.conftest import Tell
from tests.faults.power_loss import DiskModel, Fate
from tests.faults.sqlite_vfs import Kind, Operation, watched
from tests.faults.workload import Expected, Fact, Workload, problems

SEED = 20_260_202
ROUND = 100
"""So many transactions happen to one database, with a close and an opening in the middle."""
WORDS = 1500
"""Long texts, so that the log is full, and goes into the database, every few dozen transactions."""
PLANTED = 6


@dataclass
class Loss:
    """One history of a database, cut wherever the power may go."""

    folder: Path
    seed: int
    fates: tuple[tuple[Fate, ...], ...]
    """The fates that are tried at a boundary: of the first one, of the next one, and so on in a circle."""
    disk: DiskModel = field(default_factory=DiskModel)
    expected: Expected = field(default_factory=Expected)
    log: list[Operation | Fact] = field(default_factory=list)
    syncs: int = 0
    states: int = 0
    found: list[str] = field(default_factory=list)

    def note(self, operation: Operation) -> int:
        """The watcher: remember what is done, and let it happen."""
        if operation.kind is not Kind.READ:
            self.log.append(operation)
        return 0

    def go_on(self) -> None:
        """Take what happened since the last time, and lose the power at each of its boundaries."""
        for entry in self.log:
            if isinstance(entry, Operation):
                if entry.kind is Kind.SYNC:
                    self.cut()
                self.disk.take(entry)
            else:
                self.expected.take(entry)
                if entry["state"] == "done" and self.disk.unsynced:
                    self.cut()
        self.log.clear()

    def cut(self) -> None:
        """Open what the disk may hold now, and compare it with what was acknowledged."""
        self.syncs += 1
        for fate in self.fates[self.syncs % len(self.fates)]:
            self.states += 1
            name = f"seed {self.seed}, boundary {self.syncs}, {fate}"
            folder = self.folder / "lost"
            folder.mkdir()
            self.disk.rebuild(folder, fate, random.Random(self.seed * 1_000_000 + self.states))
            try:
                wrong = problems(folder / "playground.sqlite3", self.expected)
            except StorageError as error:
                wrong = [f"refused: {error}"]
            self.found += [f"{name}: {each}" for each in wrong]
            shutil.rmtree(folder)


ALL_FATES = (tuple(Fate),)
ONE_FATE = tuple((fate,) for fate in Fate)


def lose_power(
    folder: Path, transactions: int, seed: int, fates: tuple[tuple[Fate, ...], ...]
) -> Iterator[Loss]:
    """Transactions of a real store in rounds; each round's ``Loss`` when it is over."""
    for start in range(0, transactions, ROUND):
        data = folder / f"data{start}"
        data.mkdir()
        loss = Loss(folder, seed + start, fates)
        count = min(ROUND, transactions - start)
        with watched(data, loss.note):
            for life, part in enumerate((count // 2, count - count // 2)):
                store = Store.open(data / "playground.sqlite3")
                workload = Workload(store, 2 * loss.seed + life, loss.log.append, WORDS)
                for _ in range(part):
                    workload.step()
                    loss.go_on()
                store.close()
                loss.go_on()
        yield loss


def test_no_acknowledged_transaction_is_lost_with_the_power(
    tmp_path: Path, scale: Scale, tell: Tell, some: Part
) -> None:
    transactions, fates = some.share(scale(25, 1000)), (ONE_FATE, ALL_FATES)[scale(0, 1)]
    losses = list(lose_power(tmp_path, transactions, some.seed(SEED), fates))
    found = [each for loss in losses for each in loss.found]
    syncs, states = sum(loss.syncs for loss in losses), sum(loss.states for loss in losses)
    tell(f"{transactions} transactions, {syncs} boundaries, {states} disks, {len(found)} faults")
    assert found == []
    assert syncs > transactions


@pytest.mark.parametrize("setting", ["OFF", "NORMAL"])
def test_a_store_that_does_not_sync_its_commits_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    weaker = [each.replace("synchronous=FULL", f"synchronous={setting}") for each in database.COMMON_PRAGMAS]
    monkeypatch.setattr(database, "COMMON_PRAGMAS", tuple(weaker))
    (loss,) = lose_power(tmp_path, PLANTED, SEED, ((Fate.DROPPED,),))
    assert any("lost" in each for each in loss.found)


def test_a_first_start_may_lose_the_power_at_any_time(tmp_path: Path, scale: Scale, tell: Tell) -> None:
    """The file is made, gets its log, and then all of its tables."""
    losses = list(lose_power_at_the_first_start(tmp_path, scale(4, 100)))
    found = [each for loss in losses for each in loss.found]
    tell(f"{sum(loss.states for loss in losses)} disks, {len(found)} faults")
    assert found == []


def test_the_names_of_new_folders_reach_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced, sync = [], os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        sync(descriptor)

    monkeypatch.setattr("os.fsync", fsync)
    make_folder(tmp_path / "new" / "data")
    assert sorted(synced) == [str(tmp_path), str(tmp_path / "new")]


def lose_power_at_the_first_start(folder: Path, times: int) -> Iterator[Loss]:
    """The same moments again and again, torn in other ways."""
    data = folder / "data"
    data.mkdir()
    first = Loss(folder, SEED, ((Fate.TORN,),))
    with watched(data, first.note):
        Store.open(data / "playground.sqlite3").close()
    for number in range(times):
        loss = Loss(folder, SEED + number, ((Fate.TORN,),), log=list(first.log))
        loss.go_on()
        yield loss

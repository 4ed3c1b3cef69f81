"""Flipped bytes, a file that is cut, and a log that is gone: never a silent wrong answer.

Whatever is damaged, each message that is read is the one that was written, or the reader is told that the
database is damaged and how it is restored; or the store refuses to open it.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path

import pytest

from storage import backup
from storage.errors import DatabaseCorrupt
from storage.store import Store
from tests.conftest import Part, Scale
from tests.faults.conftest import Tell
from tests.faults.flipping import TALKS, Truth, copy_of, fill, flip, path_is_right, read_all
from tests.storage.helpers import begin, identity

PAGE = 4096


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    """A database, closed, and what is in it."""
    path = tmp_path_factory.mktemp("original") / "data" / "playground.sqlite3"
    return path, fill(path)


def test_an_undamaged_database_answers_all(original: tuple[Path, Truth], tmp_path: Path) -> None:
    path, truth = original
    outcome = read_all(copy_of(path, tmp_path / "copy"), truth)
    assert (outcome.refused, outcome.noticed, outcome.wrong) == (False, 0, 0)
    assert outcome.right > 25


def test_no_flipped_byte_gives_a_wrong_answer(
    original: tuple[Path, Truth], tmp_path: Path, scale: Scale, tell: Tell, some: Part
) -> None:
    path, truth = original
    chance = random.Random(some.seed(20))
    outcomes: Counter[str] = Counter()
    wrong = []
    for number in range(some.share(scale(30, 1000))):
        damaged = copy_of(path, tmp_path / "copy")
        place = flip(damaged, chance, bits=1 + number % 3)
        outcome = read_all(damaged, truth)
        if outcome.wrong:
            wrong.append(place)
        outcomes["refused" if outcome.refused else "noticed" if outcome.noticed else "harmless"] += 1
    tell(f"{outcomes.total()} flipped bytes: {dict(outcomes)}, {len(wrong)} silent wrong answers")
    assert wrong == []
    assert outcomes["refused"]
    assert outcomes["noticed"]


def test_without_checksums_a_flipped_byte_gives_a_wrong_answer(
    original: tuple[Path, Truth], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted hole: the same flips, and nobody compares."""
    path, truth = original
    for module in ("storage.tree", "storage.mapping"):
        monkeypatch.setattr(f"{module}.check_message", lambda _: None)
    damaged = copy_of(path, tmp_path / "copy")
    data = damaged.read_bytes()
    place = data.index(b"The answer is 2.0")
    while read_all(damaged, truth).wrong == 0:  # the text stands in the index too, and in a share
        damaged.write_bytes(data[:place] + b"t" + data[place + 1 :])
        place = data.index(b"The answer is 2.0", place + 1)


def test_no_cut_file_gives_a_wrong_answer(
    original: tuple[Path, Truth], tmp_path: Path, scale: Scale, tell: Tell
) -> None:
    path, truth = original
    size = path.stat().st_size
    chance = random.Random(21)
    lengths = [1, 15, 16, 99, 100, 511, 512, 4095, 4096, size - PAGE, size - 1]
    lengths += [chance.randrange(1, size) for _ in range(scale(8, 100))]  # an empty file is a new database
    refused = 0
    for length in lengths:
        damaged = copy_of(path, tmp_path / "copy")
        os.truncate(damaged, length)
        outcome = read_all(damaged, truth)
        assert outcome.wrong == 0, length
        # SQLite fills up a last page that is cut: that is noticed where the page is read.
        assert outcome.refused or length > size - PAGE, length
        refused += outcome.refused
    tell(f"{len(lengths)} cut files, {refused} refused at the start, 0 silent wrong answers")


def test_a_log_that_is_gone_takes_its_commits_along_and_nothing_else(
    original: tuple[Path, Truth], tmp_path: Path
) -> None:
    """What was only in the log is gone; all that is there is right, or the database is refused."""
    path, truth = original
    damaged = copy_of(path, tmp_path / "copy")
    child = os.fork()
    if child == 0:
        store = Store.open(damaged)
        for number in range(20):
            begin(store, truth.owners[0], f"only in the log {number}")
        os._exit(0)  # as kill -9 would
    assert os.waitpid(child, 0)[1] == 0
    damaged.with_name(damaged.name + "-wal").unlink()
    outcome = read_all(damaged, truth)
    assert outcome.refused or outcome.wrong == 0


def test_a_damaged_log_gives_no_wrong_answer(
    original: tuple[Path, Truth], tmp_path: Path, scale: Scale, tell: Tell
) -> None:
    """SQLite's own checksums end a log where it is damaged: at worst the last commits are missing."""
    path, truth = original
    base = copy_of(path, tmp_path / "base")
    child = os.fork()
    if child == 0:
        store = Store.open(base)
        for number in range(20):
            begin(store, truth.owners[0], f"in the log {number}")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    chance = random.Random(22)
    count = scale(10, 200)
    for _ in range(count):
        damaged = copy_of(base, tmp_path / "copy")
        flip(damaged.with_name(damaged.name + "-wal"), chance)
        try:
            store = Store.open(damaged)
        except DatabaseCorrupt:
            continue
        try:
            owner = store.user_for_identity(identity("ada")).id
            talks = store.conversation_ids(owner)
            known = [talk for talk in talks if talk in truth.paths]
            assert len(known) == TALKS / 2
            assert all(path_is_right(store, truth, owner, talk) for talk in known)
            for talk in set(talks) - set(known):
                assert store.path(owner, talk)[0].content.startswith("in the log ")
        finally:
            store.close()
    tell(f"{count} flipped bytes of the log")


def test_the_way_back(original: tuple[Path, Truth], tmp_path: Path) -> None:
    """The drill: a backup, a damage, the refusal that names the command, the restore, all there again."""
    path, truth = original
    damaged = copy_of(path, tmp_path / "copy")
    saved = tmp_path / "backups" / "saved.sqlite3"
    backup.backup(damaged, saved)
    data = damaged.read_bytes()
    damaged.write_bytes(data[:8192] + b"\0" * 4096 + data[12288:])
    with pytest.raises(DatabaseCorrupt, match=r"python app\.py restore"):
        Store.open(damaged)
    restored = backup.restore(damaged, saved)
    assert restored.replaced is not None
    assert restored.replaced.read_bytes()[8192:12288] == b"\0" * 4096
    outcome = read_all(damaged, truth)
    assert (outcome.refused, outcome.noticed, outcome.wrong) == (False, 0, 0)

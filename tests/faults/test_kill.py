"""Processes are killed at random points: what they had acknowledged is there once, and the rest is whole."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.database import Database
from storage.records import GenerationStatus
from storage.store import Store
from tests.conftest import Part, Scale
from tests.faults.conftest import Tell
from tests.faults.killing import Plan, killed_after, killed_at_change, plan_of
from tests.faults.workload import Expected, Fact, problems
from tests.storage.helpers import begin, identity

SEED = 20_260_101
CHAIN = 25
"""So many processes die over the same database, one after the other; then comes a fresh one."""
MOST_CHANGES = 1500
MOST_FACTS = 60
LONGEST_SECONDS = 0.1
"""A death by the clock comes so long after so many facts, or after the start."""
PLANTED = 8


def died_at_a_change(path: Path, seed: int) -> list[Fact]:
    """Killed in the middle of a write, or instead of a change: mostly within a commit or a checkpoint."""
    return killed_at_change(plan_of(path, seed, MOST_CHANGES))


def died_by_the_clock(path: Path, seed: int) -> list[Fact]:
    """Killed at any time, a fifth of them while they open the store."""
    chance = random.Random(seed)
    facts = 0 if chance.random() < 0.2 else chance.randrange(1, MOST_FACTS)
    return killed_after(Plan(path, seed), facts, chance.random() * LONGEST_SECONDS)


def died_in_haste(path: Path, seed: int) -> list[Fact]:
    """The planted hole: acknowledged before the commit."""
    return killed_at_change(plan_of(path, seed, MOST_CHANGES, hasty=True))


def faults_of(
    folder: Path, cycles: int, die: Callable[[Path, int], list[Fact]], seed: int
) -> tuple[list[str], int]:
    """What is wrong after each of so many deaths, and how many operations had been acknowledged."""
    found, acknowledged = [], 0
    for cycle in range(cycles):
        if cycle % CHAIN == 0:
            expected = Expected()
        path = folder / f"data{cycle // CHAIN}" / "playground.sqlite3"
        for fact in die(path, seed + cycle):
            if fact["state"] != "open":
                expected.take(fact)
                acknowledged += fact["state"] == "done"
        found += [f"seed {seed + cycle}: {each}" for each in problems(path, expected)]
        expected.settle()
    return found, acknowledged


@pytest.mark.parametrize("die", [died_at_a_change, died_by_the_clock])
def test_nothing_that_was_acknowledged_is_lost(
    tmp_path: Path, scale: Scale, tell: Tell, some: Part, die: Callable[[Path, int], list[Fact]]
) -> None:
    cycles, seed = some.share(scale(6, 500)), some.seed(SEED)
    found, acknowledged = faults_of(tmp_path, cycles, die, seed)
    tell(f"{cycles} kills from seed {seed}, {acknowledged} acknowledged operations, {len(found)} faults")
    assert found == []
    assert acknowledged > cycles


def test_a_store_that_acknowledges_before_it_commits_is_found_out(tmp_path: Path) -> None:
    found, _ = faults_of(tmp_path, PLANTED, died_in_haste, SEED)
    assert any("lost" in each or "tokens" in each or "0 times" in each for each in found)


def test_a_store_that_leaves_replies_open_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(_: Database) -> None:
        """The planted hole."""

    monkeypatch.setattr("storage.store.interrupt_open_generations", nothing)
    path = tmp_path / "data" / "playground.sqlite3"
    store = Store.open(path)
    begin(store, store.user_for_identity(identity("owner")).id)
    store.close()
    assert problems(path, Expected()) == ["1 open replies"]


def test_a_reply_that_never_began_is_interrupted_too(tmp_path: Path) -> None:
    path = tmp_path / "data" / "playground.sqlite3"
    store = Store.open(path)
    owner = store.user_for_identity(identity("owner")).id
    turn = begin(store, owner)
    store.close()
    again = Store.open(path)
    try:
        generation = again.get_generation(owner, turn.generation.id)
        assert generation.status is GenerationStatus.INTERRUPTED
        assert generation.finished_at is not None
        assert again.path(owner, turn.conversation.id) == [turn.user_message]
        begin(again, owner, "go on", conversation_id=turn.conversation.id)  # nothing stays blocked
    finally:
        again.close()

"""A process is killed at a random moment; what it had acknowledged is there, and the rest is consistent."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from storage.records import GenerationStatus
from storage.store import Store
from tests.storage.helpers import begin, identity

ROOT = Path(__file__).parents[2]


def killed(path: Path, what: str, acknowledgements: int) -> list[dict[str, Any]]:
    """Run the child, kill it after some acknowledgements, and return all that it had said."""
    command = [sys.executable, "-m", "tests.storage.crash_child", str(path), what]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        lines = []
        for line in child.stdout:
            lines.append(line)
            if len(lines) == acknowledgements:
                child.kill()
        assert child.wait(timeout=30) == -9
    return [json.loads(line) for line in lines if line.endswith("\n")]


def is_sound(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as connection:
        whole = connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return whole and connection.execute("PRAGMA foreign_key_check").fetchall() == []


@pytest.mark.parametrize("seed", range(3))
def test_acknowledged_messages_survive(path: Path, seed: int) -> None:
    said = killed(path, "begin_turns", 1 + random.Random(seed).randrange(25))
    store = Store.open(path)
    try:
        owner = store.user_for_identity(identity("owner")).id
        conversation = said[-1]["conversation"]
        questions = [row.content for row in store.path(owner, conversation) if row.generation_id is None]
        assert questions[: len(said)] == [fact["text"] for fact in said]
        statuses = [each.status for each in store.conversation_generations(owner, conversation)]
        assert set(statuses[:-1]) <= {GenerationStatus.FINISHED}
        assert statuses[-1] in (GenerationStatus.FINISHED, GenerationStatus.INTERRUPTED)
        assert store.get_conversation(owner, conversation).running_generation_id is None
        begin(store, owner, "go on", conversation_id=conversation)  # nothing stays blocked
    finally:
        store.close()
    assert is_sound(path)


@pytest.mark.parametrize("seed", range(3))
def test_the_text_of_a_killed_reply_is_kept(path: Path, seed: int) -> None:
    said = killed(path, "save_progress", 1 + random.Random(seed).randrange(60))
    store = Store.open(path)
    try:
        owner = store.user_for_identity(identity("owner")).id
        generation = store.get_generation(owner, said[-1]["generation"])
        assert generation.status is GenerationStatus.INTERRUPTED
        assert generation.finished_at is not None
        assert (generation.model, generation.revision) == ("demo", "r1")
        thought, answer = store.generation_messages(owner, generation.id)
        assert (thought.content, thought.complete) == ("thought", True)
        words = answer.content.count("word ")
        assert words >= said[-1]["words"]
        assert answer.complete is False
        assert store.generation_tokens(owner, generation.id).output_ids == tuple(range(words))
        assert store.path(owner, said[-1]["conversation"])[-1].id == answer.id
    finally:
        store.close()
    assert is_sound(path)


def test_a_reply_that_never_began_is_interrupted_too(path: Path) -> None:
    store = Store.open(path)
    owner = store.user_for_identity(identity("owner")).id
    turn = begin(store, owner)
    store.close()
    again = Store.open(path)
    try:
        generation = again.get_generation(owner, turn.generation.id)
        assert generation.status is GenerationStatus.INTERRUPTED
        assert again.path(owner, turn.conversation.id) == [turn.user_message]
    finally:
        again.close()

"""Begins turns or saves progress in a process of its own until it is killed, and says what is committed.

Each line on standard output is written only after the store's call has returned.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

from inference.types import Channel
from storage.store import Store
from tests.storage.helpers import begin, draft, finish, identity


def say(**facts: object) -> None:
    """One acknowledgement."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def begin_turns(store: Store, owner: str) -> None:
    """Turn after turn in one conversation."""
    conversation: str | None = None
    for number in range(1_000_000):
        turn = begin(store, owner, f"question {number}", conversation_id=conversation)
        conversation = turn.conversation.id
        say(conversation=conversation, text=f"question {number}")
        finish(store, owner, turn.generation.id, messages=[draft(0, f"answer {number}", complete=True)])


def save_progress(store: Store, owner: str) -> None:
    """One reply that grows by a word at each save."""
    turn = begin(store, owner)
    store.mark_running(owner, turn.generation.id, "demo", "r1")
    thought, answer = draft(0, "thought", complete=True), draft(1, "", Channel.FINAL)
    for number in range(1, 1_000_000):
        grown = replace(answer, message=replace(answer.message, content="word " * number))
        store.save_progress(owner, turn.generation.id, [thought, grown], range(number))
        say(conversation=turn.conversation.id, generation=turn.generation.id, words=number)


def main() -> None:
    """``crash_child.py PATH (begin_turns|save_progress)``"""
    store = Store.open(Path(sys.argv[1]))
    owner = store.user_for_identity(identity("owner")).id
    {"begin_turns": begin_turns, "save_progress": save_progress}[sys.argv[2]](store, owner)


if __name__ == "__main__":
    main()

"""What the page reads of a conversation while a reply ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inference.types import Channel, EngineHealth
from playground.shown import shown
from storage.store import Store
from tests.storage.helpers import begin, draft, finish, identity

IDLE = EngineHealth(alive=True, active=None, target=None)


def test_a_reply_that_ends_between_two_reads_never_looks_empty_and_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.open(tmp_path / "data" / "playground.sqlite3")
    owner = store.user_for_identity(identity("owner")).id
    turn = begin(store, owner)
    calls: list[str] = []

    def ending_before_the_second(name: str) -> Callable[..., Any]:
        read = getattr(store, name)

        def reading(*arguments: Any, **fields: Any) -> Any:
            calls.append(name)
            if len(calls) == 2:
                finish(store, owner, turn.generation.id, messages=[draft(0, "Four.", Channel.FINAL)])
            return read(*arguments, **fields)

        return reading

    for name in ("path", "conversation_generations"):
        monkeypatch.setattr(store, name, ending_before_the_second(name), raising=True)
    try:
        view = shown(store, owner, turn.conversation.id, IDLE)
    finally:
        store.close()
    assert len(calls) >= 2
    [generation] = view["generations"]
    answers = [each for each in view["messages"] if each["role"] == "assistant"]
    assert answers or generation["status"] in {"queued", "running"}
    assert [each["content"] for each in answers] == ["Four."]

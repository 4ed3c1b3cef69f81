"""What was deleted is not in a backup, not even as words in the index of the search."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from storage import backup
from storage.clock import steady_now
from storage.store import Store
from storage.verification import Stopped
from tests.storage.accounts_helpers import fill, found
from tests.storage.helpers import begin

WORD = "zyxxycanary"


def deleted_among_others(store: Store, owner: str) -> None:
    """One of several conversations is deleted for good."""
    for number in range(3):
        begin(store, owner, f"another question {number}")
    gone = begin(store, owner, f"The password is {WORD}77 and more").conversation.id
    begin(store, owner, "the last question")
    store.delete_conversation(owner, gone)
    assert store.purge_deleted(steady_now() + timedelta(days=1)) == [gone]


def test_a_backup_has_no_words_of_deleted_texts(store: Store, path: Path, owner: str, tmp_path: Path) -> None:
    deleted_among_others(store, owner)
    backup.backup(path, tmp_path / "copy.sqlite3")
    assert WORD.encode() not in (tmp_path / "copy.sqlite3").read_bytes()
    copy = Store.open(tmp_path / "copy.sqlite3")
    try:
        assert found(copy, owner, "question") == found(store, owner, "question")
        assert found(copy, owner, WORD) == found(store, owner, WORD)
    finally:
        copy.close()


def test_without_the_cleaning_they_would_be_there(
    store: Store, path: Path, owner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted hole."""
    monkeypatch.setattr(backup, "SEARCH_TABLES", set())
    deleted_among_others(store, owner)
    backup.backup(path, tmp_path / "copy.sqlite3")
    assert WORD.encode() in (tmp_path / "copy.sqlite3").read_bytes()


def test_the_cleaning_of_a_large_index_can_be_stopped(
    store: Store, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "STEPS_AT_ONCE", 1)
    fill(store, "cookie", "walrus")
    before = backup.backup(path, tmp_path / "whole.sqlite3")
    assert before.messages
    asked: list[bool] = []

    def stop() -> bool:
        """Not while pages are copied; then at the first look."""
        asked.append(True)
        return len(asked) > 2

    with pytest.raises(Stopped):
        backup.backup(path, tmp_path / "copy.sqlite3", stop)
    assert not (tmp_path / "copy.sqlite3").exists()

"""What each user set in the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference.types import ReasoningEffort
from storage.errors import NotFound
from storage.records import Preferences, Theme
from storage.store import Store


def test_a_new_user_has_the_defaults(store: Store, owner: str) -> None:
    assert store.get_preferences(owner) == Preferences(ReasoningEffort.MEDIUM, False, Theme.SYSTEM)


def test_only_what_is_given_changes(store: Store, owner: str) -> None:
    assert store.update_preferences(owner, show_reasoning=True) == Preferences(show_reasoning=True)
    assert store.update_preferences(owner, effort=ReasoningEffort.HIGH, theme=Theme.DARK) == Preferences(
        ReasoningEffort.HIGH, True, Theme.DARK
    )
    assert store.update_preferences(owner) == store.get_preferences(owner)
    assert store.update_preferences(owner, show_reasoning=False).show_reasoning is False


def test_preferences_survive_a_restart(store: Store, owner: str, path: Path) -> None:
    changed = store.update_preferences(owner, effort=ReasoningEffort.LOW, theme=Theme.LIGHT)
    store.close()
    again = Store.open(path)
    try:
        assert again.get_preferences(owner) == changed
    finally:
        again.close()


def test_an_unknown_owner_has_none(store: Store) -> None:
    with pytest.raises(NotFound):
        store.get_preferences("0" * 32)
    with pytest.raises(NotFound):
        store.update_preferences("0" * 32, show_reasoning=True)

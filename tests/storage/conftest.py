"""A real store in a fresh folder, and two people who use it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.store import Store
from tests.storage.helpers import identity


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database of this test lies; neither the file nor its folder exists yet."""
    return tmp_path / "data" / "playground.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """An open store."""
    opened = Store.open(path)
    yield opened
    opened.close()


@pytest.fixture
def owner(store: Store) -> str:
    """The id of the user whom the test is about."""
    return store.user_for_identity(identity("owner")).id


@pytest.fixture
def stranger(store: Store) -> str:
    """The id of another user."""
    return store.user_for_identity(identity("stranger")).id

"""What the log says about accounts at a start."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from playground.accounts.notices import warn_at_start
from playground.settings import Settings
from storage.account_records import AccountRole
from storage.store import Store
from tests.attacks.world import make_app
from tests.storage.accounts_helpers import NOW, sign_in

LIKE_A_SERVER: dict[str, Any] = {"oauth_client_id": "playground", "public_url": "https://chat.example.org"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Three admins, one of them banned, and a member."""
    store = Store.open(tmp_path / "playground.sqlite3")
    _, _, eve = [sign_in(store, name, role=AccountRole.ADMIN)[0] for name in ("ada", "bob", "eve")]
    store.set_ban(eve.user_id, NOW)
    sign_in(store, "carol")
    yield store
    store.close()


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ({}, None),
        ({"admin_users": "ada"}, 1),
        ({"admin_users": "carol"}, 2),
        ({"admin_users": "ada, id:subject bob"}, None),
        ({"admin_users": "ada, bob@example.org"}, None),
    ],
)
def test_admins_whom_the_operator_did_not_name_are_counted_and_not_named(
    store: Store, caplog: pytest.LogCaptureFixture, values: dict[str, Any], count: int | None
) -> None:
    with caplog.at_level(logging.WARNING):
        warn_at_start(Settings(**LIKE_A_SERVER, **values), store)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == (count is not None)
    assert all(f"said of them: {count}." in each and "ADMIN_USERS" in each for each in said)
    assert "bob" not in caplog.text


async def test_the_server_says_it_when_it_starts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        async with make_app(tmp_path):
            pass
        assert "ADMIN_USERS" not in caplog.text
        async with make_app(tmp_path, admin_users="boss"):
            pass
        assert "said of them: 1." in caplog.text


@pytest.mark.parametrize(
    ("values", "warned"),
    [
        ({"oauth_client_id": "playground"}, True),
        ({"oauth_client_id": "playground", "public_url": "https://chat.example.org"}, False),
        ({"oauth_client_id": "playground", "behind_proxy": True}, False),
        ({"oauth_client_id": "playground", "system": "spaces", "space_id": "a/b"}, False),
        ({}, False),
    ],
)
def test_whoever_sets_up_sign_in_hears_of_a_proxy(
    store: Store, caplog: pytest.LogCaptureFixture, values: dict[str, Any], warned: bool
) -> None:
    with caplog.at_level(logging.WARNING):
        warn_at_start(Settings(**values), store)
    assert ("PUBLIC_URL" in caplog.text) is warned
    assert len(caplog.records) == warned


def test_what_cannot_be_read_keeps_no_server_from_starting(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.close()
    with caplog.at_level(logging.WARNING):
        warn_at_start(Settings(**LIKE_A_SERVER, admin_users=("ada",)), store)
    assert "could not be counted" in caplog.text

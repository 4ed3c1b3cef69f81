"""Accounts of an older version are brought along, and nothing is believed that nobody has vouched for."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from storage.account_records import AccountRole
from storage.store import Store
from tests.storage.accounts_helpers import IDLE, NOW, sign_in
from tests.storage.helpers import identity
from tests.storage.old_database import TIME, OldDatabase, upgrade_to

ADA, EVE = "a" * 32, "e" * 32


@pytest.fixture
def old(path: Path) -> Path:
    """Two accounts of the version before names were vouched for, one of them an admin who is signed in."""
    path.parent.mkdir()
    upgrade_to(path, "0005")
    with closing(sqlite3.connect(path)) as raw:
        database = OldDatabase(raw)
        for user_id, name, role in ((ADA, "ada", "admin"), (EVE, "eve", "member")):
            database.add(
                "users",
                id=user_id,
                identity_hash=identity(name),
                change_sequence=0,
                purged_sequence=0,
                created_at=TIME,
                last_seen_at=TIME,
            )
            database.add(
                "accounts",
                user_id=user_id,
                provider="https://id.example",
                subject=f"subject {name}",
                handle=name,
                display_name=name.title(),
                email=f"{name}@example.org",
                role=role,
                banned_at=TIME if name == "eve" else None,
                created_at=TIME,
                signed_in_at=TIME,
            )
        time = NOW.replace(tzinfo=None).isoformat(" ") + ".000000"
        database.add(
            "sessions",
            id="s" * 32,
            token_hash=identity("cookie"),
            user_id=ADA,
            client="Firefox",
            created_at=time,
            last_seen_at=time,
            expires_at=time.replace("2026", "2027"),
        )
        database.add(
            "api_keys",
            id="k" * 32,
            user_id=ADA,
            name="laptop",
            key_hash=identity("key"),
            hint="abcd",
            scopes="inference",
            created_at=TIME,
        )
        raw.commit()
    return path


@pytest.mark.parametrize(
    ("statements", "role"),
    [
        (("SELECT 1",), AccountRole.MEMBER),
        (("DELETE FROM accounts", "DELETE FROM sessions"), AccountRole.MEMBER),
        (("DELETE FROM sessions", "DELETE FROM sqlite_sequence WHERE name = 'sessions'"), AccountRole.MEMBER),
        (
            (
                "DELETE FROM accounts",
                "DELETE FROM sessions",
                "DELETE FROM sqlite_sequence WHERE name = 'sessions'",
            ),
            AccountRole.ADMIN,
        ),
    ],
)
def test_where_somebody_has_signed_in_before_nobody_is_the_first(
    old: Path, statements: tuple[str, ...], role: AccountRole
) -> None:
    with closing(sqlite3.connect(old)) as raw:
        for statement in statements:
            raw.execute(statement)
        raw.commit()
    store = Store.open(old)
    try:
        assert sign_in(store, "bob")[0].role is role
    finally:
        store.close()


def test_accounts_keep_their_role_and_sign_in_again_before_a_list_matches_them(old: Path) -> None:
    store = Store.open(old)
    try:
        ada, eve = store.account_of(ADA), store.account_of(EVE)
        assert ada is not None
        assert eve is not None
        assert (ada.handle, ada.display_name, ada.role) == ("ada", "Ada", AccountRole.ADMIN)
        assert (eve.role, eve.banned_at is None) == (AccountRole.MEMBER, False)
        assert (ada.user_name, ada.email) == (None, None)
        assert store.session_for(identity("cookie"), now=NOW, idle=IDLE) is None
        assert [key.name for key in store.keys_of(ADA)] == ["laptop"]
        again, _ = sign_in(store, "ada")
        assert (again.user_id, again.role, again.user_name) == (ADA, AccountRole.ADMIN, "ada")
    finally:
        store.close()

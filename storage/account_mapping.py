"""Rows of accounts, sessions and keys to records."""

from __future__ import annotations

from storage.account_records import Account, ApiKey, KeyScope, LoginSession
from storage.account_schema import AccountRow, ApiKeyRow, LoginSessionRow


def account_record(row: AccountRow) -> Account:
    """One account."""
    return Account(
        user_id=row.user_id,
        provider=row.provider,
        subject=row.subject,
        handle=row.handle,
        display_name=row.display_name,
        email=row.email,
        role=row.role,
        banned_at=row.banned_at,
        created_at=row.created_at,
        signed_in_at=row.signed_in_at,
        user_name=row.user_name,
    )


def login_record(row: LoginSessionRow) -> LoginSession:
    """One session."""
    return LoginSession(
        id=row.id,
        user_id=row.user_id,
        client=row.client,
        created_at=row.created_at,
        last_seen_at=row.last_seen_at,
        expires_at=row.expires_at,
    )


def key_record(row: ApiKeyRow) -> ApiKey:
    """One key."""
    return ApiKey(
        id=row.id,
        name=row.name,
        hint=row.hint,
        scopes=frozenset(KeyScope(word) for word in row.scopes.split()),
        created_at=row.created_at,
        last_used_at=row.last_used_at,
    )

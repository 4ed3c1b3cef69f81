"""The values about accounts, sessions, keys and use that storage hands out and takes: frozen, free of rows.

Secrets never come here: of a session's cookie and of a key only the SHA-256 is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class AccountRole(StrEnum):
    """What an account may do: ``admin`` sees use and health and can ban, but reads no conversation."""

    MEMBER = "member"
    ADMIN = "admin"


class UserKind(StrEnum):
    """Which users an admin asks for; those who are banned are accounts, too."""

    ALL = "all"
    ACCOUNTS = "accounts"
    GUESTS = "guests"
    BANNED = "banned"


class KeyScope(StrEnum):
    """What an API key may be used for."""

    CONVERSATIONS = "conversations"
    INFERENCE = "inference"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is to a sign-in provider; ``subject`` is that provider's id of the person.

    ``handle`` and ``display_name`` are for people to read and prove nothing; ``email`` and ``user_name`` are
    there only where the provider vouches for them.
    """

    provider: str
    subject: str
    handle: str
    display_name: str
    email: str | None = None
    user_name: str | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """A user who has signed in. A user without one is a guest, known by a browser's cookie alone.

    The names are as in ``Identity``, as they were at the last sign-in.
    """

    user_id: str
    provider: str
    subject: str
    handle: str
    display_name: str
    email: str | None
    role: AccountRole
    banned_at: datetime | None
    created_at: datetime
    signed_in_at: datetime
    user_name: str | None = None


@dataclass(frozen=True, slots=True)
class LoginSession:
    """One browser that is signed in; ``client`` describes it to its owner."""

    id: str
    user_id: str
    client: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key of a user; ``hint`` is the little of the secret that may be shown again."""

    id: str
    name: str
    hint: str
    scopes: frozenset[KeyScope]
    created_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Usage:
    """What a user had on one day (YYYY-MM-DD, UTC)."""

    day: str
    requests: int = 0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class UserSummary:
    """What an admin sees of a user: counts, never a text.

    ``requests`` and ``tokens`` are those of the last 30 days. A guest has no names.
    """

    user_id: str
    handle: str | None
    display_name: str | None
    role: AccountRole
    banned_at: datetime | None
    created_at: datetime
    last_seen_at: datetime
    conversations: int
    messages: int
    requests: int
    tokens: int


@dataclass(frozen=True, slots=True)
class UserCounts:
    """How many users there are of each kind."""

    accounts: int
    guests: int
    banned: int


@dataclass(frozen=True, slots=True)
class Totals:
    """What the whole database holds; the last two are of this day (UTC)."""

    users: int
    accounts: int
    conversations: int
    messages: int
    database_bytes: int
    requests_today: int
    tokens_today: int

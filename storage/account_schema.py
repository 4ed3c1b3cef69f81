"""The tables of accounts, their sessions and keys, and what users had; see ``storage.schema``."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from storage.account_records import AccountRole
from storage.schema_base import Base


class AccountRow(Base):
    """A user who has signed in; one for each person of a provider.

    ``handle`` is for people to read; ``user_name`` is the one that the provider vouches for, if any.
    """

    __tablename__ = "accounts"
    __table_args__ = (UniqueConstraint("provider", "subject", name="uq_accounts_provider_subject"),)

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    provider: Mapped[str]
    subject: Mapped[str]
    handle: Mapped[str]
    display_name: Mapped[str]
    email: Mapped[str | None]
    user_name: Mapped[str | None]
    role: Mapped[AccountRole]
    banned_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    signed_in_at: Mapped[datetime]


class LoginSessionRow(Base):
    """One browser that is signed in. The provider's ``access_token`` is encrypted before it comes here."""

    __tablename__ = "sessions"
    __table_args__ = (
        CheckConstraint("length(token_hash) = 64", name="token_hash"),
        {"sqlite_autoincrement": True},
    )

    sequence: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    token_hash: Mapped[str] = mapped_column(unique=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    client: Mapped[str]
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    access_token: Mapped[bytes | None] = mapped_column(deferred=True)


class ApiKeyRow(Base):
    """A key of a user; ``scopes`` are words with spaces between them."""

    __tablename__ = "api_keys"
    __table_args__ = (
        CheckConstraint("length(key_hash) = 64", name="key_hash"),
        {"sqlite_autoincrement": True},
    )

    sequence: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    key_hash: Mapped[str] = mapped_column(unique=True)
    hint: Mapped[str]
    scopes: Mapped[str]
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]


class UsageRow(Base):
    """What a user had on one day (YYYY-MM-DD, UTC)."""

    __tablename__ = "usage"
    __table_args__ = (CheckConstraint("length(day) = 10", name="day"),)

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[str] = mapped_column(primary_key=True, index=True)
    requests: Mapped[int]
    tokens: Mapped[int]


class MilestoneRow(Base):
    """What happens only once in the life of a database, whatever is deleted afterwards."""

    __tablename__ = "milestones"

    name: Mapped[str] = mapped_column(primary_key=True)

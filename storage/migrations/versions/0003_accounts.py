"""Accounts, sessions, API keys, use by day, and checksums of what people read.

This file is history: change the tables by a new migration, never here.
"""

from __future__ import annotations

from zlib import crc32

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the tables, then give every message and every shared snapshot its checksum."""
    run(*TABLES)
    connection = op.get_bind().connection.driver_connection
    if connection is None:
        raise RuntimeError("the migration needs a connection")
    connection.create_function("checksum_of", -1, checksum_of, deterministic=True)
    run(*CHECKSUMS)


def run(*statements: str) -> None:
    """Run statements one after another."""
    for statement in statements:
        op.get_bind().exec_driver_sql(statement.strip())


def checksum_of(*columns: str | int | None) -> int:
    """The CRC-32 of these columns with zero bytes between them."""
    return crc32("\0".join(map(str, columns)).encode())


TABLES = (
    """
CREATE TABLE accounts (
    user_id TEXT NOT NULL,
    provider TEXT NOT NULL,
    subject TEXT NOT NULL,
    handle TEXT NOT NULL,
    display_name TEXT NOT NULL,
    email TEXT,
    role VARCHAR(16) NOT NULL,
    banned_at DATETIME,
    created_at DATETIME NOT NULL,
    signed_in_at DATETIME NOT NULL,
    CONSTRAINT pk_accounts PRIMARY KEY (user_id),
    CONSTRAINT uq_accounts_provider_subject UNIQUE (provider, subject),
    CONSTRAINT fk_accounts_user_id_users FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT ck_accounts_accountrole CHECK (role IN ('member', 'admin'))
)
""",
    """
CREATE TABLE sessions (
    sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    token_hash TEXT NOT NULL,
    user_id TEXT NOT NULL,
    client TEXT NOT NULL,
    created_at DATETIME NOT NULL,
    last_seen_at DATETIME NOT NULL,
    expires_at DATETIME NOT NULL,
    access_token BLOB,
    CONSTRAINT ck_sessions_token_hash CHECK (length(token_hash) = 64),
    CONSTRAINT uq_sessions_id UNIQUE (id),
    CONSTRAINT uq_sessions_token_hash UNIQUE (token_hash),
    CONSTRAINT fk_sessions_user_id_users FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
)
""",
    "CREATE INDEX ix_sessions_user_id ON sessions (user_id)",
    """
CREATE TABLE api_keys (
    sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    name TEXT NOT NULL,
    key_hash TEXT NOT NULL,
    hint TEXT NOT NULL,
    scopes TEXT NOT NULL,
    created_at DATETIME NOT NULL,
    last_used_at DATETIME,
    CONSTRAINT ck_api_keys_key_hash CHECK (length(key_hash) = 64),
    CONSTRAINT uq_api_keys_id UNIQUE (id),
    CONSTRAINT fk_api_keys_user_id_users FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT uq_api_keys_key_hash UNIQUE (key_hash)
)
""",
    "CREATE INDEX ix_api_keys_user_id ON api_keys (user_id)",
    """
CREATE TABLE usage (
    user_id TEXT NOT NULL,
    day TEXT NOT NULL,
    requests INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    CONSTRAINT pk_usage PRIMARY KEY (user_id, day),
    CONSTRAINT ck_usage_day CHECK (length(day) = 10),
    CONSTRAINT fk_usage_user_id_users FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
)
""",
    "CREATE INDEX ix_usage_day ON usage (day)",
)

CHECKSUMS = (
    "ALTER TABLE messages ADD COLUMN checksum INTEGER DEFAULT 0 NOT NULL",
    """
UPDATE messages SET checksum = checksum_of(
    id, conversation_id, parent_id, generation_id, role, channel, recipient, name, content_type,
    CAST(complete AS TEXT) || CAST(recovered AS TEXT) || CAST(token_count AS TEXT), content
)
""",
    "ALTER TABLE shares ADD COLUMN checksum INTEGER DEFAULT 0 NOT NULL",
    "UPDATE shares SET checksum = checksum_of(token, title, include_reasoning, message_count, snapshot)",
)

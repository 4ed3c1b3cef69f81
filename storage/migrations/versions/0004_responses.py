"""Stored responses of the OpenAI API.

This file is history: change the tables by a new migration, never here.
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the table and its indexes."""
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement.strip())


STATEMENTS = (
    """
CREATE TABLE responses (
    sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    owner_id TEXT NOT NULL,
    created_at DATETIME NOT NULL,
    used_at DATETIME NOT NULL,
    finished_at DATETIME,
    status VARCHAR(16) NOT NULL,
    background BOOLEAN NOT NULL,
    model TEXT NOT NULL,
    previous_response_id TEXT,
    size INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    usage TEXT,
    error TEXT,
    incomplete_reason TEXT,
    echo TEXT NOT NULL,
    input_items TEXT NOT NULL,
    output_items TEXT NOT NULL,
    written BLOB NOT NULL,
    deltas BLOB NOT NULL,
    CONSTRAINT uq_responses_id UNIQUE (id),
    CONSTRAINT fk_responses_owner_id_users FOREIGN KEY(owner_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT ck_responses_responsestatus
        CHECK (status IN ('queued', 'in_progress', 'completed', 'incomplete', 'failed', 'cancelled'))
)
""",
    "CREATE INDEX ix_responses_owner ON responses (owner_id, used_at, size)",
    "CREATE INDEX ix_responses_used_at ON responses (used_at)",
    "CREATE INDEX ix_responses_open ON responses (status) WHERE status IN ('queued', 'in_progress')",
)

"""Replies that go on from the results of functions, what was set for their turn, and checks of answers.

This file is history: change the tables by a new migration, never here.
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the table and its index."""
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement.strip())


STATEMENTS = (
    """
CREATE TABLE reply_details (
    generation_id TEXT NOT NULL,
    answers_id TEXT,
    settings TEXT NOT NULL,
    schema_valid BOOLEAN,
    schema_reason TEXT,
    CONSTRAINT pk_reply_details PRIMARY KEY (generation_id),
    CONSTRAINT fk_reply_details_generation_id_generations
        FOREIGN KEY(generation_id) REFERENCES generations (id) ON DELETE CASCADE
)
""",
    "CREATE INDEX ix_reply_details_answers_id ON reply_details (answers_id)",
)

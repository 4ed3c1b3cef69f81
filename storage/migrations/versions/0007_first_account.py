"""What happens only once in the life of a database: that its first account administers.

This file is history: change the tables by a new migration, never here.
"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the table, and note whether anybody has ever signed in."""
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement.strip())


STATEMENTS = (
    """
CREATE TABLE milestones (
    name TEXT NOT NULL,
    CONSTRAINT pk_milestones PRIMARY KEY (name)
)
""",
    # All accounts may be gone, but SQLite still knows the number of the last session.
    """
INSERT INTO milestones (name)
SELECT 'first_account'
WHERE EXISTS (SELECT 1 FROM accounts) OR EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'sessions')
""",
)

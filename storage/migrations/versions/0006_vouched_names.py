"""The user name that a provider vouches for, beside the name that is shown.

Of the accounts that are there nobody knows whether their names and addresses were vouched for. So both lists
of names match them again when they have signed in again, which this makes all of them do; roles stay.

This file is history: change the tables by a new migration, never here.
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the table of accounts anew, and end the sessions."""
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement.strip())


STATEMENTS = (
    """
CREATE TABLE new_accounts (
    user_id TEXT NOT NULL,
    provider TEXT NOT NULL,
    subject TEXT NOT NULL,
    handle TEXT NOT NULL,
    display_name TEXT NOT NULL,
    email TEXT,
    user_name TEXT,
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
INSERT INTO new_accounts (
    user_id, provider, subject, handle, display_name, role, banned_at, created_at, signed_in_at
)
SELECT user_id, provider, subject, handle, display_name, role, banned_at, created_at, signed_in_at
FROM accounts
""",
    "DROP TABLE accounts",
    "ALTER TABLE new_accounts RENAME TO accounts",
    "DELETE FROM sessions",
)

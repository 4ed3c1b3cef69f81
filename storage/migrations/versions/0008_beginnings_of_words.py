"""The search finds longer beginnings of words by an index, and not by gathering what everybody has.

This file is history: change the tables by a new migration, never here.
"""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Make the search's tables anew, and fill them from the texts."""
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement.strip())


TABLE = """
CREATE VIRTUAL TABLE {name} USING fts5(
    text, tokenize = "unicode61 remove_diacritics 2", prefix = '2 3 4 5 6'
)
"""
# In the order of the keys, or FTS5 writes a piece of its index for each of them.
FILL = """
INSERT INTO {name} (rowid, text)
SELECT keys.search_key, messages.content
FROM (SELECT search_key, sequence FROM searchable WHERE {which} ORDER BY search_key) AS keys
CROSS JOIN messages ON messages.sequence = keys.sequence
"""
NAMES = ("search_titles", "search_messages", "search_thoughts")
STATEMENTS = (
    *(f"DROP TABLE {name}" for name in NAMES),
    *(TABLE.format(name=name) for name in NAMES),
    """
INSERT INTO search_titles (rowid, text)
SELECT (users.number << 39) + (conversations.number << 1), title
FROM conversations JOIN users ON users.id = conversations.owner_id
""",
    FILL.format(name="search_messages", which="NOT thought"),
    FILL.format(name="search_thoughts", which="thought"),
)

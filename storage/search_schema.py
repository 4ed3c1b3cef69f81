"""The index of the search: three FTS5 tables, and the triggers that keep them.

``search_titles``, ``search_messages`` (questions and answers) and ``search_thoughts`` (reasoning and tools)
hold copies of the text. A key is ``(owner's number << 39) + (row's number << 1) + bit``, so that one owner's
rows are one range, newest last; the bit tells a question (0) from an answer (1) and reasoning (0) from tools
(1).

The beginnings of words have indexes of their own: without one, FTS5 gathers in memory what all owners have.
Those of seven letters and more are rare enough.

A question and a title are indexed at once, a reply when its generation closes: its text changes several
times a second until then. Deleting a key that was never indexed does nothing.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

OWNER_SHIFT = 39
TITLES, MESSAGES, THOUGHTS = "search_titles", "search_messages", "search_thoughts"
SEARCH_TABLES = {TITLES, MESSAGES, THOUGHTS}

_TABLE = """
CREATE VIRTUAL TABLE {name} USING fts5(
    text, tokenize = "unicode61 remove_diacritics 2", prefix = '2 3 4 5 6'
)
"""
_STATEMENTS = (
    *(_TABLE.format(name=name) for name in (TITLES, MESSAGES, THOUGHTS)),
    """
CREATE VIEW searchable AS
SELECT
    messages.sequence,
    messages.conversation_id,
    messages.generation_id,
    messages.role = 'tool' OR messages.recipient IS NOT NULL OR messages.channel IS 'analysis' AS thought,
    (users.number << 39) + (messages.sequence << 1) + CASE
        WHEN messages.role = 'tool' OR messages.recipient IS NOT NULL THEN 1
        WHEN messages.channel IS 'analysis' OR messages.role = 'user' THEN 0
        ELSE 1
    END AS search_key,
    messages.content AS text
FROM messages
JOIN conversations ON conversations.id = messages.conversation_id
JOIN users ON users.id = conversations.owner_id
WHERE messages.content <> '' AND NOT EXISTS (
    SELECT 1 FROM generations
    WHERE generations.id = messages.generation_id AND generations.status IN ('queued', 'running')
)
""",
    """
CREATE TRIGGER search_new_title AFTER INSERT ON conversations BEGIN
    INSERT INTO search_titles (rowid, text)
    SELECT (number << 39) + (NEW.number << 1), NEW.title FROM users WHERE id = NEW.owner_id;
END
""",
    """
CREATE TRIGGER search_other_title AFTER UPDATE OF title ON conversations WHEN OLD.title <> NEW.title BEGIN
    DELETE FROM search_titles
    WHERE rowid = (SELECT (number << 39) + (NEW.number << 1) FROM users WHERE id = NEW.owner_id);
    INSERT INTO search_titles (rowid, text)
    SELECT (number << 39) + (NEW.number << 1), NEW.title FROM users WHERE id = NEW.owner_id;
END
""",
    """
CREATE TRIGGER search_new_message AFTER INSERT ON messages BEGIN
    INSERT INTO search_messages (rowid, text)
    SELECT search_key, text FROM searchable WHERE sequence = NEW.sequence AND NOT thought;
    INSERT INTO search_thoughts (rowid, text)
    SELECT search_key, text FROM searchable WHERE sequence = NEW.sequence AND thought;
END
""",
    """
CREATE TRIGGER search_closed_reply AFTER UPDATE OF status ON generations
WHEN OLD.status IN ('queued', 'running') AND NEW.status NOT IN ('queued', 'running') BEGIN
    INSERT INTO search_messages (rowid, text)
    SELECT search_key, text FROM searchable WHERE generation_id = NEW.id AND NOT thought;
    INSERT INTO search_thoughts (rowid, text)
    SELECT search_key, text FROM searchable WHERE generation_id = NEW.id AND thought;
END
""",
    """
CREATE TRIGGER search_gone_conversation BEFORE DELETE ON conversations BEGIN
    DELETE FROM search_titles
    WHERE rowid = (SELECT (number << 39) + (OLD.number << 1) FROM users WHERE id = OLD.owner_id);
    DELETE FROM search_messages
    WHERE rowid IN (SELECT search_key FROM searchable WHERE conversation_id = OLD.id AND NOT thought);
    DELETE FROM search_thoughts
    WHERE rowid IN (SELECT search_key FROM searchable WHERE conversation_id = OLD.id AND thought);
END
""",
    """
CREATE TRIGGER search_gone_user BEFORE DELETE ON users BEGIN
    DELETE FROM search_titles WHERE rowid BETWEEN (OLD.number << 39) AND ((OLD.number + 1) << 39) - 1;
    DELETE FROM search_messages WHERE rowid BETWEEN (OLD.number << 39) AND ((OLD.number + 1) << 39) - 1;
    DELETE FROM search_thoughts WHERE rowid BETWEEN (OLD.number << 39) AND ((OLD.number + 1) << 39) - 1;
END
""",
)


def make_search_index(_target: Any, connection: Connection, **_: Any) -> None:
    """Make tables, view and triggers on a database that has the other tables."""
    for statement in _STATEMENTS:
        connection.exec_driver_sql(statement.strip())

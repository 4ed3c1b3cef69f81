"""Branches that are remembered, settings, search, shares, presets, and deleting that can be undone.

This file is history: change the tables by a new migration, never here. SQLite makes a table anew to change
its keys or the order of its columns (``prompt_ids`` stays last: it is long).
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Change the tables with all that is in them, then fill the pointers and the index."""
    run(*USERS, *CONVERSATIONS, *GENERATIONS, *MESSAGES, *NEW_TABLES)
    run(*NEWEST_BRANCH, *SHOWN_BRANCH)
    run(*SEARCH, *FILL_SEARCH)


def run(*statements: str) -> None:
    """Run statements one after another."""
    for statement in statements:
        op.get_bind().exec_driver_sql(statement.strip())


USERS = (
    """
CREATE TABLE new_users (
    number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    identity_hash TEXT NOT NULL,
    change_sequence INTEGER NOT NULL,
    purged_sequence INTEGER NOT NULL,
    created_at DATETIME NOT NULL,
    last_seen_at DATETIME NOT NULL,
    CONSTRAINT ck_users_identity_hash CHECK (length(identity_hash) = 64),
    CONSTRAINT uq_users_id UNIQUE (id),
    CONSTRAINT uq_users_identity_hash UNIQUE (identity_hash)
)
""",
    """
INSERT INTO new_users (id, identity_hash, change_sequence, purged_sequence, created_at, last_seen_at)
SELECT
    id,
    identity_hash,
    coalesce((SELECT max(updated_sequence) FROM conversations WHERE owner_id = users.id), 0),
    0,
    created_at,
    last_seen_at
FROM users
ORDER BY rowid
""",
    "DROP TABLE users",
    "ALTER TABLE new_users RENAME TO users",
)

CONVERSATIONS = (
    """
CREATE TABLE new_conversations (
    number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    owner_id TEXT NOT NULL,
    title TEXT NOT NULL,
    title_by_hand BOOLEAN NOT NULL,
    pinned BOOLEAN NOT NULL,
    archived BOOLEAN NOT NULL,
    settings TEXT NOT NULL,
    leaf_id TEXT,
    chosen_root_id TEXT,
    updated_sequence INTEGER NOT NULL,
    created_at DATETIME NOT NULL,
    updated_at DATETIME NOT NULL,
    deleted_at DATETIME,
    CONSTRAINT uq_conversations_owner_id_updated_sequence UNIQUE (owner_id, updated_sequence),
    CONSTRAINT uq_conversations_id UNIQUE (id),
    CONSTRAINT fk_conversations_owner_id_users FOREIGN KEY(owner_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT fk_conversations_leaf_id_messages FOREIGN KEY(leaf_id) REFERENCES messages (id)
)
""",
    # Nobody knows any more which titles were given by hand: none is ever replaced.
    """
INSERT INTO new_conversations (
    id, owner_id, title, title_by_hand, pinned, archived, settings, leaf_id, updated_sequence, created_at,
    updated_at
)
SELECT
    id,
    owner_id,
    title,
    1,
    0,
    0,
    CASE WHEN instructions IS NULL THEN '{}' ELSE json_object('instructions', instructions) END,
    leaf_id,
    updated_sequence,
    created_at,
    updated_at
FROM conversations
ORDER BY rowid
""",
    "DROP TABLE conversations",
    "ALTER TABLE new_conversations RENAME TO conversations",
    "CREATE INDEX ix_conversations_leaf_id ON conversations (leaf_id)",
    "CREATE INDEX ix_conversations_deleted ON conversations (deleted_at) WHERE deleted_at IS NOT NULL",
    """
CREATE INDEX ix_conversations_shown ON conversations (owner_id, archived, pinned, updated_at, number)
WHERE deleted_at IS NULL
""",
    "CREATE INDEX ix_conversations_updated ON conversations (owner_id, updated_at)",
)

GENERATIONS = (
    """
CREATE TABLE new_generations (
    sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    conversation_id TEXT NOT NULL,
    user_message_id TEXT NOT NULL,
    owner_id TEXT NOT NULL,
    client_id TEXT,
    status VARCHAR(16) NOT NULL,
    effort VARCHAR(16) NOT NULL,
    temperature DOUBLE NOT NULL,
    top_p DOUBLE NOT NULL,
    seed INTEGER,
    max_tokens INTEGER NOT NULL,
    model TEXT NOT NULL,
    revision TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    commentary_tokens INTEGER NOT NULL,
    final_tokens INTEGER NOT NULL,
    queued_seconds DOUBLE NOT NULL,
    ttft_seconds DOUBLE NOT NULL,
    total_seconds DOUBLE NOT NULL,
    tokens_per_second DOUBLE NOT NULL,
    reasoning_seconds DOUBLE NOT NULL,
    finish_reason VARCHAR(16),
    error TEXT,
    error_code TEXT,
    continues_id TEXT,
    primed_tokens INTEGER NOT NULL,
    mode VARCHAR(16),
    dropped_reasoning INTEGER NOT NULL,
    dropped_turns INTEGER NOT NULL,
    context_length INTEGER,
    created_at DATETIME NOT NULL,
    started_at DATETIME,
    finished_at DATETIME,
    prompt_ids BLOB NOT NULL,
    CONSTRAINT uq_generations_owner_id_client_id UNIQUE (owner_id, client_id),
    CONSTRAINT uq_generations_id UNIQUE (id),
    CONSTRAINT fk_generations_conversation_id_conversations
        FOREIGN KEY(conversation_id) REFERENCES conversations (id) ON DELETE CASCADE,
    CONSTRAINT fk_generations_user_message_id_messages FOREIGN KEY(user_message_id) REFERENCES messages (id),
    CONSTRAINT fk_generations_owner_id_users FOREIGN KEY(owner_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT ck_generations_generationstatus
        CHECK (status IN ('queued', 'running', 'finished', 'cancelled', 'failed', 'interrupted')),
    CONSTRAINT ck_generations_reasoningeffort CHECK (effort IN ('low', 'medium', 'high')),
    CONSTRAINT ck_generations_finishreason
        CHECK (finish_reason IN ('stop', 'length', 'tool_call', 'cancelled', 'error')),
    CONSTRAINT ck_generations_replymode CHECK (mode IN ('continue', 'answer_now'))
)
""",
    """
INSERT INTO new_generations (
    sequence, id, conversation_id, user_message_id, owner_id, client_id, status, effort, temperature, top_p,
    seed, max_tokens, model, revision, prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens,
    final_tokens, queued_seconds, ttft_seconds, total_seconds, tokens_per_second, reasoning_seconds,
    finish_reason, error, error_code, created_at, started_at, finished_at, prompt_ids,
    commentary_tokens, primed_tokens, dropped_reasoning, dropped_turns
)
SELECT
    sequence, id, conversation_id, user_message_id, owner_id, client_id, status, effort, temperature, top_p,
    seed, max_tokens, model, revision, prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens,
    final_tokens, queued_seconds, ttft_seconds, total_seconds, tokens_per_second, reasoning_seconds,
    finish_reason, error, error_code, created_at, started_at, finished_at, prompt_ids,
    0, 0, 0, 0
FROM generations
ORDER BY sequence
""",
    "DROP TABLE generations",
    "ALTER TABLE new_generations RENAME TO generations",
    "CREATE INDEX ix_generations_user_message_id ON generations (user_message_id)",
    "CREATE INDEX ix_generations_conversation_id ON generations (conversation_id)",
    """
CREATE UNIQUE INDEX ix_generations_open ON generations (conversation_id)
WHERE status IN ('queued', 'running')
""",
)

MESSAGES = (
    "ALTER TABLE messages ADD COLUMN chosen_generation_id TEXT",
    "ALTER TABLE messages ADD COLUMN chosen_child_id TEXT",
    """
CREATE INDEX ix_messages_questions ON messages (conversation_id, parent_id, id) WHERE role = 'user'
""",
)

NEW_TABLES = (
    "ALTER TABLE preferences ADD COLUMN settings TEXT DEFAULT '{}' NOT NULL",
    """
CREATE TABLE presets (
    sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    owner_id TEXT NOT NULL,
    name TEXT NOT NULL,
    settings TEXT NOT NULL,
    created_at DATETIME NOT NULL,
    CONSTRAINT uq_presets_owner_id_name UNIQUE (owner_id, name),
    CONSTRAINT uq_presets_id UNIQUE (id),
    CONSTRAINT fk_presets_owner_id_users FOREIGN KEY(owner_id) REFERENCES users (id) ON DELETE CASCADE
)
""",
    """
CREATE TABLE shares (
    sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    token TEXT NOT NULL,
    owner_id TEXT NOT NULL,
    conversation_id TEXT NOT NULL,
    title TEXT NOT NULL,
    include_reasoning BOOLEAN NOT NULL,
    message_count INTEGER NOT NULL,
    created_at DATETIME NOT NULL,
    snapshot TEXT NOT NULL,
    CONSTRAINT uq_shares_id UNIQUE (id),
    CONSTRAINT uq_shares_token UNIQUE (token),
    CONSTRAINT fk_shares_owner_id_users FOREIGN KEY(owner_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT fk_shares_conversation_id_conversations
        FOREIGN KEY(conversation_id) REFERENCES conversations (id) ON DELETE CASCADE
)
""",
    "CREATE INDEX ix_shares_owner_id ON shares (owner_id)",
    "CREATE INDEX ix_shares_conversation_id ON shares (conversation_id)",
)

NEWEST_BRANCH = (
    """
UPDATE conversations SET chosen_root_id = (
    SELECT id FROM messages
    WHERE conversation_id = conversations.id AND parent_id IS NULL AND role = 'user'
    ORDER BY sequence DESC LIMIT 1
)
""",
    """
UPDATE messages SET chosen_generation_id = (
    SELECT id FROM generations WHERE user_message_id = messages.id ORDER BY sequence DESC LIMIT 1
)
WHERE role = 'user'
""",
    """
UPDATE messages SET chosen_child_id = (
    SELECT id FROM messages AS child
    WHERE child.parent_id = messages.id AND child.role = 'user' ORDER BY sequence DESC LIMIT 1
)
""",
)

SHOWN_BRANCH = (
    """
CREATE TEMPORARY TABLE shown AS
WITH RECURSIVE chain (id, parent_id, role, generation_id, conversation_id) AS (
    SELECT messages.id, messages.parent_id, messages.role, messages.generation_id, messages.conversation_id
    FROM conversations JOIN messages ON messages.id = conversations.leaf_id
    UNION ALL
    SELECT messages.id, messages.parent_id, messages.role, messages.generation_id, messages.conversation_id
    FROM chain JOIN messages ON messages.id = chain.parent_id
)
SELECT * FROM chain
""",
    "CREATE INDEX temp.shown_parent ON shown (parent_id)",
    """
UPDATE conversations SET chosen_root_id = shown.id
FROM shown WHERE shown.conversation_id = conversations.id AND shown.parent_id IS NULL
""",
    """
UPDATE messages SET chosen_child_id = (
    SELECT child.id FROM shown AS child WHERE child.parent_id = messages.id AND child.role = 'user'
)
FROM shown WHERE shown.id = messages.id
""",
    """
UPDATE messages SET chosen_generation_id = child.generation_id
FROM shown AS child
WHERE child.parent_id = messages.id AND messages.role = 'user' AND child.generation_id IS NOT NULL
""",
    "DROP TABLE shown",
)

SEARCH_TABLE = """
CREATE VIRTUAL TABLE {name} USING fts5(
    text, tokenize = "unicode61 remove_diacritics 2", prefix = '2 3'
)
"""
SEARCH = (
    *(SEARCH_TABLE.format(name=name) for name in ("search_titles", "search_messages", "search_thoughts")),
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


FILL_SEARCH = (
    """
INSERT INTO search_titles (rowid, text)
SELECT (users.number << 39) + (conversations.number << 1), title
FROM conversations JOIN users ON users.id = conversations.owner_id
""",
    "INSERT INTO search_messages (rowid, text) SELECT search_key, text FROM searchable WHERE NOT thought",
    "INSERT INTO search_thoughts (rowid, text) SELECT search_key, text FROM searchable WHERE thought",
)

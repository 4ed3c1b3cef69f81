"""The first tables. This file is history: change the tables by a new migration, never here."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None

STATUSES = ("queued", "running", "finished", "cancelled", "failed", "interrupted")
EFFORTS = ("low", "medium", "high")


def upgrade() -> None:
    """Make the tables; a foreign key may name a table that comes later."""
    users()
    conversations()
    preferences()
    messages()
    generations()
    output_tokens()


def text(name: str, nullable: bool = False) -> sa.Column[str]:
    """A column of text."""
    return sa.Column(name, sa.Text(), nullable=nullable)


def integer(name: str, nullable: bool = False) -> sa.Column[int]:
    """A column of whole numbers."""
    return sa.Column(name, sa.Integer(), nullable=nullable)


def number(name: str) -> sa.Column[float]:
    """A column of numbers."""
    return sa.Column(name, sa.Double(), nullable=False)


def flag(name: str) -> sa.Column[bool]:
    """A column of yes or no."""
    return sa.Column(name, sa.Boolean(), nullable=False)


def time(name: str, nullable: bool = False) -> sa.Column[object]:
    """A column of UTC times."""
    return sa.Column(name, sa.DateTime(), nullable=nullable)


def word(name: str, kind: str, values: tuple[str, ...], nullable: bool = False) -> sa.Column[str]:
    """A column that takes these words only; the constraint is called after ``kind``."""
    enumeration = sa.Enum(*values, name=kind, native_enum=False, create_constraint=True, length=16)
    return sa.Column(name, enumeration, nullable=nullable)


def key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    """The primary key."""
    return sa.PrimaryKeyConstraint(*columns, name=op.f(f"pk_{table}"))


def unique(table: str, *columns: str) -> sa.UniqueConstraint:
    """No two rows with the same values."""
    return sa.UniqueConstraint(*columns, name=op.f(f"uq_{table}_{'_'.join(columns)}"))


def link(table: str, column: str, target: str, cascade: bool = False) -> sa.ForeignKeyConstraint:
    """A foreign key on the ``id`` of another table."""
    name = op.f(f"fk_{table}_{column}_{target}")
    return sa.ForeignKeyConstraint(
        [column], [f"{target}.id"], name=name, ondelete="CASCADE" if cascade else None
    )


def index(table: str, column: str) -> None:
    """An index on one column."""
    op.create_index(op.f(f"ix_{table}_{column}"), table, [column])


def users() -> None:
    """Identities."""
    op.create_table(
        "users",
        text("id"),
        text("identity_hash"),
        time("created_at"),
        time("last_seen_at"),
        key("users", "id"),
        sa.CheckConstraint("length(identity_hash) = 64", name=op.f("ck_users_identity_hash")),
        unique("users", "identity_hash"),
    )


def preferences() -> None:
    """What each user set."""
    op.create_table(
        "preferences",
        text("owner_id"),
        word("effort", "reasoningeffort", EFFORTS),
        flag("show_reasoning"),
        word("theme", "theme", ("system", "light", "dark")),
        key("preferences", "owner_id"),
        link("preferences", "owner_id", "users", cascade=True),
    )


def conversations() -> None:
    """Conversations."""
    op.create_table(
        "conversations",
        text("id"),
        text("owner_id"),
        text("title"),
        text("instructions", nullable=True),
        text("leaf_id", nullable=True),
        integer("updated_sequence"),
        time("created_at"),
        time("updated_at"),
        key("conversations", "id"),
        unique("conversations", "owner_id", "updated_sequence"),
        link("conversations", "owner_id", "users", cascade=True),
        link("conversations", "leaf_id", "messages"),
    )
    index("conversations", "leaf_id")


def messages() -> None:
    """The tree of messages."""
    op.create_table(
        "messages",
        integer("sequence"),
        text("id"),
        text("conversation_id"),
        text("parent_id", nullable=True),
        text("generation_id", nullable=True),
        word("role", "role", ("system", "developer", "user", "assistant", "tool")),
        word("channel", "channel", ("analysis", "commentary", "final"), nullable=True),
        text("recipient", nullable=True),
        text("name", nullable=True),
        text("content"),
        text("content_type", nullable=True),
        flag("complete"),
        flag("recovered"),
        integer("token_count"),
        time("created_at"),
        key("messages", "sequence"),
        unique("messages", "id"),
        link("messages", "conversation_id", "conversations", cascade=True),
        link("messages", "parent_id", "messages"),
        link("messages", "generation_id", "generations"),
        sqlite_autoincrement=True,
    )
    for column in ("conversation_id", "generation_id", "parent_id"):
        index("messages", column)


def generations() -> None:
    """The replies and how they were made."""
    counts = ("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "final_tokens")
    seconds = ("queued_seconds", "ttft_seconds", "total_seconds", "tokens_per_second", "reasoning_seconds")
    op.create_table(
        "generations",
        integer("sequence"),
        *(text(name) for name in ("id", "conversation_id", "user_message_id", "owner_id")),
        text("client_id", nullable=True),
        word("status", "generationstatus", STATUSES),
        word("effort", "reasoningeffort", EFFORTS),
        number("temperature"),
        number("top_p"),
        integer("seed", nullable=True),
        integer("max_tokens"),
        text("model"),
        text("revision"),
        *(integer(name) for name in counts),
        *(number(name) for name in seconds),
        word(
            "finish_reason",
            "finishreason",
            ("stop", "length", "tool_call", "cancelled", "error"),
            nullable=True,
        ),
        text("error", nullable=True),
        text("error_code", nullable=True),
        time("created_at"),
        time("started_at", nullable=True),
        time("finished_at", nullable=True),
        sa.Column("prompt_ids", sa.LargeBinary(), nullable=False),
        key("generations", "sequence"),
        unique("generations", "owner_id", "client_id"),
        unique("generations", "id"),
        link("generations", "conversation_id", "conversations", cascade=True),
        link("generations", "user_message_id", "messages"),
        link("generations", "owner_id", "users", cascade=True),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_generations_open",
        "generations",
        ["conversation_id"],
        unique=True,
        sqlite_where=sa.text("status IN ('queued', 'running')"),
    )
    for column in ("user_message_id", "conversation_id"):
        index("generations", column)


def output_tokens() -> None:
    """What the model wrote, as token ids in pieces."""
    op.create_table(
        "output_tokens",
        text("generation_id"),
        sa.Column("start", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("ids", sa.LargeBinary(), nullable=False),
        key("output_tokens", "generation_id", "start"),
        link("output_tokens", "generation_id", "generations", cascade=True),
    )

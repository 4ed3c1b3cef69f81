"""Alembic's entry point: runs the migrations on the connection that ``storage.migrate`` opened."""

from __future__ import annotations

from alembic import context

from storage.schema import UserRow

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=UserRow.metadata,  # its naming convention names the constraints
)
with context.begin_transaction():
    context.run_migrations()

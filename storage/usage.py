"""What each user had, by day."""

from __future__ import annotations

from sqlalchemy import select

from storage.account_records import Usage
from storage.account_schema import UsageRow
from storage.database import Queries
from storage.take_over import count_usage


class UsageQueries(Queries):
    """The store's part for use. A ``day`` is YYYY-MM-DD in UTC."""

    def add_usage(self, user_id: str, day: str, requests: int, tokens: int) -> None:
        """Count some more. Raises NotFound for an unknown user, InvalidValue for what is no day."""
        self._database.write(lambda session: count_usage(session, user_id, day, requests, tokens))

    def usage_of(self, user_id: str, day: str) -> Usage:
        """What this user had on this day."""
        statement = select(UsageRow.requests, UsageRow.tokens)
        with self._database.read() as session:
            row = session.execute(
                statement.where(UsageRow.user_id == user_id, UsageRow.day == day)
            ).one_or_none()
            return Usage(day) if row is None else Usage(day, *row)

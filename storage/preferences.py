"""What each user set in the page."""

from __future__ import annotations

from sqlalchemy.orm import Session

from inference.types import ReasoningEffort
from storage.database import Queries
from storage.errors import NotFound
from storage.mapping import preferences_record
from storage.records import ChatSettings, Preferences, Theme
from storage.schema import PreferencesRow


class PreferenceQueries(Queries):
    """The store's part for preferences."""

    def get_preferences(self, owner_id: str) -> Preferences:
        """This owner's preferences. Raises NotFound for an unknown owner."""
        with self._database.read() as session:
            return preferences_record(_owned(session, owner_id))

    def update_preferences(
        self,
        owner_id: str,
        *,
        effort: ReasoningEffort | None = None,
        show_reasoning: bool | None = None,
        theme: Theme | None = None,
        settings: ChatSettings | None = None,
    ) -> Preferences:
        """Change what is given, keep the rest; ``settings`` replaces the whole. Returns all."""

        def work(session: Session) -> Preferences:
            row = _owned(session, owner_id)
            if effort is not None:
                row.effort = effort
            if show_reasoning is not None:
                row.show_reasoning = show_reasoning
            if theme is not None:
                row.theme = theme
            if settings is not None:
                row.settings = settings
            return preferences_record(row)

        return self._database.write(work)


def _owned(session: Session, owner_id: str) -> PreferencesRow:
    row = session.get(PreferencesRow, owner_id)
    if row is None:
        raise NotFound
    return row

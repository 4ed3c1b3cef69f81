"""Presets: settings under a name."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from storage.database import Queries, fresh_id
from storage.errors import Conflict, InvalidValue, NotFound
from storage.mapping import preset_record
from storage.records import ChatSettings, PresetRecord
from storage.schema import PresetRow

MOST_PRESETS = 100


class PresetQueries(Queries):
    """The store's part for presets. Names differ; Conflict says which one is taken already."""

    def list_presets(self, owner_id: str) -> list[PresetRecord]:
        """All presets of this owner, by name."""
        statement = select(PresetRow).where(PresetRow.owner_id == owner_id)
        with self._database.read() as session:
            rows = session.scalars(statement)
            return sorted((preset_record(row) for row in rows), key=lambda each: each.name.casefold())

    def create_preset(self, owner_id: str, name: str, settings: ChatSettings) -> PresetRecord:
        """Keep settings under a name. Raises InvalidValue for the 101st, Conflict for a name in use."""

        def work(session: Session) -> PresetRecord:
            of_owner = select(func.count()).select_from(PresetRow).where(PresetRow.owner_id == owner_id)
            if (session.scalar(of_owner) or 0) >= MOST_PRESETS:
                raise InvalidValue(f"There is room for {MOST_PRESETS} presets. Delete one first.")
            _check_free(session, owner_id, name, "")
            row = PresetRow(
                id=fresh_id(session),
                owner_id=owner_id,
                name=name,
                settings=settings,
                created_at=datetime.now(UTC),
            )
            session.add(row)
            session.flush()
            return preset_record(row)

        return self._database.write(work)

    def update_preset(
        self,
        owner_id: str,
        preset_id: str,
        *,
        name: str | None = None,
        settings: ChatSettings | None = None,
    ) -> PresetRecord:
        """Change what is given. Raises NotFound, or Conflict for a name in use."""

        def work(session: Session) -> PresetRecord:
            row = _owned(session, owner_id, preset_id)
            if name is not None:
                _check_free(session, owner_id, name, preset_id)
                row.name = name
            if settings is not None:
                row.settings = settings
            return preset_record(row)

        return self._database.write(work)

    def delete_preset(self, owner_id: str, preset_id: str) -> None:
        """Remove a preset. Raises NotFound."""

        def work(session: Session) -> None:
            row = _owned(session, owner_id, preset_id)
            session.execute(delete(PresetRow).where(PresetRow.id == row.id))

        self._database.write(work)


def _owned(session: Session, owner_id: str, preset_id: str) -> PresetRow:
    row = session.scalar(select(PresetRow).where(PresetRow.id == preset_id, PresetRow.owner_id == owner_id))
    if row is None:
        raise NotFound
    return row


def _check_free(session: Session, owner_id: str, name: str, own_id: str) -> None:
    """Refuse the name of another preset."""
    taken = select(PresetRow.id).where(
        PresetRow.owner_id == owner_id, PresetRow.name == name, PresetRow.id != own_id
    )
    if session.scalar(taken) is not None:
        raise Conflict("There is a preset of this name already. Choose another name.")

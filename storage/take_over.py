"""All that one user has goes to another: what a guest made goes to the account that signs in there."""

from __future__ import annotations

from sqlalchemy import delete, exists, select, text, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Session, aliased

from storage.account_schema import ApiKeyRow, UsageRow
from storage.mapping import preferences_record
from storage.records import Preferences
from storage.schema import (
    ConversationRow,
    GenerationRow,
    PreferencesRow,
    PresetRow,
    ResponseRow,
    ShareRow,
    UserRow,
)
from storage.search_schema import MESSAGES, OWNER_SHIFT, THOUGHTS, TITLES


def take_over(session: Session, user_id: str, guest_id: str) -> None:
    """Give everything of one user to another and delete him.

    A reply that is still being written goes on: whoever writes it saves it for the other from now on.
    Preferences move unless the other has some, and a preset of a name that is taken gets another one.
    """
    _move_search(session, user_id, guest_id)
    _move_conversations(session, user_id, guest_id)
    _move_replies(session, user_id, guest_id)
    _move_presets(session, user_id, guest_id)
    session.execute(update(ShareRow).where(ShareRow.owner_id == guest_id).values(owner_id=user_id))
    session.execute(update(ResponseRow).where(ResponseRow.owner_id == guest_id).values(owner_id=user_id))
    session.execute(update(ApiKeyRow).where(ApiKeyRow.user_id == guest_id).values(user_id=user_id))
    _move_preferences(session, user_id, guest_id)
    for row in session.scalars(select(UsageRow).where(UsageRow.user_id == guest_id)).all():
        count_usage(session, user_id, row.day, row.requests, row.tokens)
    session.expire_all()
    session.execute(delete(UserRow).where(UserRow.id == guest_id))


def count_usage(session: Session, user_id: str, day: str, requests: int, tokens: int) -> None:
    """Add to what a user had on a day."""
    added = insert(UsageRow).values(user_id=user_id, day=day, requests=requests, tokens=tokens)
    session.execute(
        added.on_conflict_do_update(
            index_elements=["user_id", "day"],
            set_={
                "requests": UsageRow.requests + added.excluded.requests,
                "tokens": UsageRow.tokens + added.excluded.tokens,
            },
        )
    )


def _move_search(session: Session, user_id: str, guest_id: str) -> None:
    """The keys of the index begin with their owner's number."""
    numbers = dict(
        session.execute(select(UserRow.id, UserRow.number).where(UserRow.id.in_((user_id, guest_id)))).all()
    )
    first = numbers[guest_id] << OWNER_SHIFT
    values = {
        "first": first,
        "last": first + (1 << OWNER_SHIFT) - 1,
        "distance": (numbers[user_id] << OWNER_SHIFT) - first,
    }
    for table in (TITLES, MESSAGES, THOUGHTS):
        session.execute(
            text(f"UPDATE {table} SET rowid = rowid + :distance WHERE rowid BETWEEN :first AND :last"),  # noqa: S608
            values,
        )


def _move_conversations(session: Session, user_id: str, guest_id: str) -> None:
    """They come after all changes of their new owner, in the order that they had."""
    numbers = dict(
        session.execute(
            select(UserRow.id, UserRow.change_sequence).where(UserRow.id.in_((user_id, guest_id)))
        ).all()
    )
    session.execute(
        update(ConversationRow)
        .where(ConversationRow.owner_id == guest_id)
        .values(owner_id=user_id, updated_sequence=ConversationRow.updated_sequence + numbers[user_id])
    )
    session.execute(
        update(UserRow).where(UserRow.id == user_id).values(change_sequence=sum(numbers.values()))
    )


def _move_replies(session: Session, user_id: str, guest_id: str) -> None:
    """A browser's own id for a reply is unique for its owner: one that is taken is forgotten."""
    theirs = aliased(GenerationRow)
    taken = exists().where(theirs.owner_id == user_id, theirs.client_id == GenerationRow.client_id)
    session.execute(
        update(GenerationRow).where(GenerationRow.owner_id == guest_id, taken).values(client_id=None)
    )
    session.execute(update(GenerationRow).where(GenerationRow.owner_id == guest_id).values(owner_id=user_id))


def _move_presets(session: Session, user_id: str, guest_id: str) -> None:
    """Presets that are the same under the same name become one."""
    kept = {
        row.name: row.settings
        for row in session.scalars(select(PresetRow).where(PresetRow.owner_id == user_id))
    }
    for row in session.scalars(select(PresetRow).where(PresetRow.owner_id == guest_id)).all():
        if kept.get(row.name) == row.settings:
            session.delete(row)
            continue
        name, number = row.name, 2
        while name in kept:
            name, number = f"{row.name} ({number})", number + 1
        kept[name] = row.settings
        row.name, row.owner_id = name, user_id
    session.flush()


def _move_preferences(session: Session, user_id: str, guest_id: str) -> None:
    """Whoever has set nothing takes what the guest has set."""
    found = session.scalars(select(PreferencesRow).where(PreferencesRow.owner_id.in_((user_id, guest_id))))
    rows = {row.owner_id: row for row in found}
    if preferences_record(rows[user_id]) == Preferences():
        guest = preferences_record(rows[guest_id])
        session.execute(
            update(PreferencesRow)
            .where(PreferencesRow.owner_id == user_id)
            .values(
                effort=guest.effort,
                show_reasoning=guest.show_reasoning,
                theme=guest.theme,
                settings=guest.settings,
            )
        )

"""Presets and shares."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select

from storage.errors import Conflict, InvalidValue, NotFound
from storage.presets import MOST_PRESETS
from storage.records import ChatSettings
from storage.schema import ShareRow
from storage.store import Store
from tests.storage.helpers import begin, finish


def test_presets_are_kept_changed_and_deleted(store: Store, owner: str) -> None:
    settings = ChatSettings(instructions="Ünïcode \U0001f600", temperature=0.25)
    preset = store.create_preset(owner, "zebra", settings)
    other = store.create_preset(owner, "Apple", ChatSettings())
    assert preset.settings == settings
    assert store.list_presets(owner) == [other, preset]
    changed = store.update_preset(owner, preset.id, name="ant")
    assert (changed.name, changed.settings) == ("ant", settings)
    assert store.update_preset(owner, preset.id, name="ant") == changed
    changed = store.update_preset(owner, preset.id, settings=ChatSettings(seed=1))
    assert (changed.name, changed.settings) == ("ant", ChatSettings(seed=1))
    assert store.list_presets(owner) == [changed, other]
    store.delete_preset(owner, preset.id)
    assert store.list_presets(owner) == [other]
    with pytest.raises(NotFound):
        store.delete_preset(owner, preset.id)


def test_two_presets_have_two_names(store: Store, owner: str) -> None:
    store.create_preset(owner, "one", ChatSettings())
    two = store.create_preset(owner, "two", ChatSettings())
    with pytest.raises(Conflict, match="another name"):
        store.create_preset(owner, "one", ChatSettings())
    with pytest.raises(Conflict, match="another name"):
        store.update_preset(owner, two.id, name="one", settings=ChatSettings(seed=5))
    assert store.list_presets(owner)[1] == two


def test_there_is_room_for_so_many_presets(store: Store, owner: str) -> None:
    for number in range(MOST_PRESETS):
        store.create_preset(owner, str(number), ChatSettings())
    with pytest.raises(InvalidValue, match="Delete one first"):
        store.create_preset(owner, "one more", ChatSettings())
    assert len(store.list_presets(owner)) == MOST_PRESETS


def test_a_number_that_is_none_is_no_setting(store: Store, owner: str) -> None:
    with pytest.raises(InvalidValue):
        store.create_preset(owner, "x", ChatSettings(temperature=float("nan")))
    assert store.list_presets(owner) == []


def test_a_share_is_read_by_its_token_until_it_is_revoked(store: Store, owner: str) -> None:
    turn = begin(store, owner)
    other = begin(store, owner)
    shares = [
        store.create_share(
            owner,
            talk,
            title=title,
            include_reasoning=title == "b",
            snapshot=f'{{"{title}": 1}}',
            message_count=2,
        )
        for talk, title in (
            (turn.conversation.id, "a"),
            (turn.conversation.id, "b"),
            (other.conversation.id, "c"),
        )
    ]
    assert len({share.token for share in shares}) == 3
    assert all(len(share.token) == 32 and share.token.isascii() for share in shares)
    assert store.list_shares(owner) == shares[::-1]
    assert store.list_shares(owner, turn.conversation.id) == shares[1::-1]
    assert store.shared_snapshot(shares[1].token) == (shares[1], '{"b": 1}')
    assert shares[1].include_reasoning
    store.delete_share(owner, shares[1].id)
    for wrong in (shares[1].token, "", shares[0].token.lower() + "x", shares[0].id):
        with pytest.raises(NotFound):
            store.shared_snapshot(wrong)
    with pytest.raises(NotFound):
        store.delete_share(owner, shares[1].id)
    assert store.list_shares(owner) == [shares[2], shares[0]]


def test_a_share_goes_with_its_conversation(store: Store, owner: str) -> None:
    turn = begin(store, owner)
    finish(store, owner, turn.generation.id)
    store.create_share(
        owner, turn.conversation.id, title="a", include_reasoning=True, snapshot="s", message_count=1
    )
    store.delete_conversation(owner, turn.conversation.id)
    store.purge_deleted(datetime.now(UTC))
    with store._database.read() as session:
        assert session.scalar(select(func.count()).select_from(ShareRow)) == 0

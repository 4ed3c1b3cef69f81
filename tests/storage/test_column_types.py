"""UTC times and token ids."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects.sqlite.pysqlite import dialect

from storage.column_types import UtcDateTime, pack_ids, unpack_ids

SQLITE = dialect()


def test_ids_are_four_bytes_little_endian() -> None:
    assert pack_ids([1, 200_012, 2**32 - 1]) == bytes.fromhex("01000000 4c0d0300 ffffffff")


@given(st.lists(st.integers(0, 2**32 - 1)))
def test_ids_come_back(ids: list[int]) -> None:
    data = pack_ids(ids)
    assert len(data) == 4 * len(ids)
    assert unpack_ids(data) == tuple(ids)


@pytest.mark.parametrize("wrong", [-1, 2**32])
def test_an_id_of_more_than_32_bits_is_refused(wrong: int) -> None:
    with pytest.raises(OverflowError):
        pack_ids([wrong])


def test_half_an_id_is_refused() -> None:
    with pytest.raises(ValueError, match="size"):
        unpack_ids(b"\1\0\0")


def test_times_are_kept_as_utc() -> None:
    moment = datetime(2026, 3, 29, 2, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    stored = UtcDateTime().process_bind_param(moment, SQLITE)
    assert stored == datetime(2026, 3, 28, 21, 0)
    back = UtcDateTime().process_result_value(stored, SQLITE)
    assert back == moment
    assert back is not None
    assert back.tzinfo is UTC


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(TypeError):
        UtcDateTime().process_bind_param(datetime(2026, 1, 1), SQLITE)

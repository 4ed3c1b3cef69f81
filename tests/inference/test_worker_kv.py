"""Rows of keys and values: growing, joining and leaving keep what the others hold."""

from __future__ import annotations

import torch

from inference.worker.kv import GROWTH, DecodeView, Geometry, KvRows, PrefillView

GEOMETRY = Geometry((4, None), heads=2, head_dim=3, dtype=torch.float32, device=torch.device("cpu"))
LIMIT = 1024


def content(row: int, position: int) -> float:
    return 1000.0 * (row + 1) + position


def filled(row: int, length: int) -> KvRows:
    """One row whose keys tell their row and position, and whose values are the negatives."""
    kv = KvRows(GEOMETRY, LIMIT)
    for start in range(0, length, 5):
        count = min(5, length - start)
        view = PrefillView(kv, count)
        new = torch.tensor([content(row, start + k) for k in range(count)])[None, None, :, None].expand(
            1, 2, count, 3
        )
        for layer in range(2):
            view.update(new, -new, layer)
        kv.lengths[0] += count
    return kv


def decode(kv: KvRows, rows: list[int], labels: list[int]) -> list[list[set[float]]]:
    """Write one position for each row; give what each row of each layer then sees through its mask."""
    view = DecodeView(kv, rows)
    new = torch.tensor([content(label, kv.lengths[row]) for row, label in zip(rows, labels, strict=True)])
    new = new[:, None, None, None].expand(len(rows), 2, 1, 3)
    masks = view.masks(torch.float32)
    seen = []
    for layer, kind in enumerate(("sliding_attention", "full_attention")):
        keys, values = view.update(new, -new, layer)
        assert torch.equal(keys, -values)
        mask = masks[kind]
        shown = torch.ones(len(rows), keys.shape[2], dtype=torch.bool) if mask is None else mask[:, 0, 0] == 0
        seen.append([set(keys[number, 1, shown[number], 2].tolist()) for number in range(len(rows))])
    for row in rows:
        kv.lengths[row] += 1
    return seen


def expected(label: int, length: int) -> list[set[float]]:
    everything = [content(label, position) for position in range(length)]
    return [set(everything[-4:]), set(everything)]


def test_rows_of_many_lengths_join_grow_and_leave() -> None:
    group = filled(0, 3)
    members, lengths = [0], {0: 3}
    for label, length in [(1, 9), (2, 1), (3, 300), (4, 4)]:
        group.append(filled(label, length))
        members.append(label)
        lengths[label] = length
    for step in range(40):
        rows = list(range(len(members)))
        seen = decode(group, rows, members)
        for row, label in enumerate(members):
            lengths[label] += 1
            assert [seen[0][row], seen[1][row]] == expected(label, lengths[label])
        if step in {5, 11}:
            leaving = members.index({5: 1, 11: 4}[step])
            group.remove(leaving)
            members[leaving] = members[-1]
            members.pop()
        if step == 20:
            group.append(filled(7, 50))
            members.append(7)
            lengths[7] = 50
    assert sorted(members) == [0, 2, 3, 7]
    assert group.rows_allocated == 8


def test_some_rows_may_be_written_without_the_others() -> None:
    group = filled(0, 6)
    group.append(filled(1, 9))
    group.append(filled(2, 2))
    seen = decode(group, [2, 0], [2, 0])
    assert [seen[0][0], seen[1][0]] == expected(2, 3)
    assert [seen[0][1], seen[1][1]] == expected(0, 7)
    alone = decode(group, [1], [1])
    assert [alone[0][0], alone[1][0]] == expected(1, 10)


def test_a_pass_that_failed_can_be_repeated() -> None:
    kv = filled(0, 9)
    view = DecodeView(kv, [0])
    broken = torch.full((1, 2, 1, 3), 77.0)
    view.update(broken, -broken, 0)  # the pass dies here: the length was not advanced
    seen = decode(kv, [0], [0])
    assert [seen[0][0], seen[1][0]] == expected(0, 10)


def test_buffers_grow_in_steps_up_to_the_limit() -> None:
    kv = KvRows(GEOMETRY, LIMIT)
    kv.reserve(1)
    assert kv.capacity == GROWTH
    kv.reserve(GROWTH + 1)
    assert kv.capacity == 2 * GROWTH
    kv.reserve(4 * GROWTH - 5)
    assert kv.capacity == LIMIT
    assert GEOMETRY.bytes_for(LIMIT) == sum(buffer.nbytes for buffer in kv.keys + kv.values)


def test_a_window_sees_itself_and_the_positions_before() -> None:
    kv = filled(0, 6)
    view = PrefillView(kv, 3)
    sliding = view.masks(torch.float32)["sliding_attention"]
    full = view.masks(torch.float32)["full_attention"]
    assert sliding is not None
    assert full is not None
    assert (sliding[0, 0] == 0).int().tolist() == [[1, 1, 1, 1, 0, 0], [0, 1, 1, 1, 1, 0], [0, 0, 1, 1, 1, 1]]
    assert (full[0, 0] == 0).sum(-1).tolist() == [7, 8, 9]

"""Rotation, store and prefill attention against plain torch, for whole prompts and for what follows a cached
part.
"""

from __future__ import annotations

import pytest
import torch

from inference.worker.kernels.attention_prefill import PrefillConfig, prefill_attention, prefill_blocks
from inference.worker.kernels.fused import rotary_store
from tests.inference.kernels.attention_cases import NAN, Case, error, rotate

BOUND = 1e-2
SMALL = PrefillConfig(rows=32, keys=32, stages=1)
LARGE = PrefillConfig(rows=128, keys=64, stages=1)


def store(case: Case) -> torch.Tensor:
    """Rotate and store the new tokens; their projections with the queries rotated."""
    qkv = case.projections()
    pairs = list(zip(case.known, case.new, strict=True))
    positions = torch.cat([torch.arange(known, known + new) for known, new in pairs]).int()
    slots = torch.cat(
        [torch.full((new,), slot) for slot, new in zip(case.slots, case.new, strict=True)]
    ).int()
    rotary_store(qkv, positions, slots, case.cos, case.sin, case.table, case.k_pages, case.v_pages)
    return qkv


def stored(case: Case) -> torch.Tensor:
    """What ``store`` leaves, in plain torch."""
    qkv = case.projections()
    for index, (known, new) in enumerate(zip(case.known, case.new, strict=True)):
        for token in range(known, known + new):
            key, value = case.stored(index, token)
            key.copy_(case.k[index][token])
            value.copy_(case.v[index][token])
    qkv[:, : case.heads * case.size] = rotated_queries(case)
    return qkv


def rotated_queries(case: Case) -> torch.Tensor:
    """The new tokens' queries, [tokens, Hq * D]."""
    width = case.heads * case.size
    rows = zip(case.qkv, case.known, strict=True)
    turned = [
        rotate(
            qkv[known:, :width].view(-1, case.heads, case.size),
            case.cos[known : len(qkv)],
            case.sin[known : len(qkv)],
        )
        for qkv, known in rows
    ]
    return torch.cat(turned).flatten(1)


def prefill(case: Case, config: PrefillConfig = SMALL, qkv: torch.Tensor | None = None) -> torch.Tensor:
    out = torch.full((sum(case.new), case.heads * case.size), NAN, dtype=torch.bfloat16)
    pieces = zip(case.new, case.slots, case.known, strict=True)
    blocks = prefill_blocks(pieces, case.heads, case.kv_heads, config.rows)
    qkv = store(case) if qkv is None else qkv
    prefill_attention(
        *(qkv, case.k_pages, case.v_pages, case.table, blocks, case.sinks, case.window, out), config=config
    )
    return out


@pytest.mark.parametrize("window", [None, 128, 20])
@pytest.mark.parametrize(("group", "size"), [(1, 32), (2, 64), (8, 64)])
def test_whole_prompts_equal_plain_torch(group: int, size: int, window: int | None) -> None:
    case = Case([0] * 3, [1, 15, 129], 2 * group, 2, size, window)
    assert error(prefill(case, LARGE, stored(case)), case.expected()) < BOUND


@pytest.mark.parametrize("window", [None, 128, 20])
def test_what_follows_a_cached_part_equals_plain_torch(window: int | None) -> None:
    case = Case([16, 127, 200], [1, 2, 17], 4, 2, 32, window)
    assert error(prefill(case), case.expected()) < BOUND


@pytest.mark.parametrize("sink", [-1e30, -30.0, 8.0])
def test_adds_the_sink_once(sink: float) -> None:
    case = Case([0, 20], [40, 3], 2, 1, 32, sink=sink)
    assert error(prefill(case), case.expected()) < BOUND


def test_a_group_that_is_no_power_of_two() -> None:
    case = Case([0, 20], [20, 3], 6, 2, 32)
    assert error(prefill(case), case.expected()) < BOUND


@pytest.mark.parametrize(("heads", "kv_heads", "size"), [(4, 2, 32), (16, 2, 64), (1, 1, 64)])
def test_rotates_queries_and_stores_keys_and_values_and_nothing_else(
    heads: int, kv_heads: int, size: int
) -> None:
    case = Case([0, 15, 40], [2, 3, 8], heads, kv_heads, size)
    before = case.k_pages.clone(), case.v_pages.clone()
    qkv = store(case)
    flat = torch.cat([case.qkv[index][known:] for index, known in enumerate(case.known)])
    assert torch.equal(qkv[:, heads * size :], flat[:, heads * size :])
    assert error(qkv[:, : heads * size], rotated_queries(case)) < BOUND
    for index, (known, new) in enumerate(zip(case.known, case.new, strict=True)):
        for token in range(known, known + new):
            key, value = case.stored(index, token)
            assert torch.equal(value, case.v[index][token])
            assert error(key, case.k[index][token]) < BOUND
            key.fill_(NAN)
            value.fill_(NAN)
    assert torch.equal(before[0].view(torch.int16), case.k_pages.view(torch.int16))
    assert torch.equal(before[1].view(torch.int16), case.v_pages.view(torch.int16))


@pytest.mark.parametrize("window", [None, 20])
def test_a_chunk_gives_what_the_whole_prompt_gives(window: int | None) -> None:
    whole = prefill(Case([0], [40], 2, 1, 32, window))
    case = Case([0], [40], 2, 1, 32, window)
    projections = case.projections()
    parts = []
    for first, after in ((0, 21), (21, 40)):
        case.known, case.new = [first], [after - first]
        case.qkv = [projections[:after]]
        parts.append(prefill(case))
    assert torch.equal(torch.cat(parts), whole)


def test_blocks_cover_every_token_once() -> None:
    blocks = prefill_blocks([(5, 3, 0), (33, 1, 100), (1, 2, 7)], 16, 2, 128)
    covered = [flat + offset for flat, count, _, _ in blocks.tolist() for offset in range(count)]
    assert sorted(covered) == list(range(39))
    assert blocks.tolist()[0] == [37, 1, 1, 132]

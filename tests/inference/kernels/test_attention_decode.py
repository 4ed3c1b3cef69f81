"""The decode attention against plain torch: edges of pages, windows and shares, and nothing read that is not
ours.
"""

from __future__ import annotations

import pytest
import torch

from inference.worker.kernels.attention_decode import DecodeConfig, decode_attention, decode_workspace
from tests.inference.kernels.attention_cases import NAN, Case, error

BOUND = 1e-2
SHARED = DecodeConfig(shares=4, keys=64, least=64, alone=0, stages=1)


def decode(case: Case, config: DecodeConfig | None = None) -> torch.Tensor:
    rows = len(case.known)
    out = torch.full((rows, case.heads * case.size), NAN, dtype=torch.bfloat16)
    position = torch.zeros(len(case.table), dtype=torch.int32)
    position[case.slots] = torch.tensor(case.known, dtype=torch.int32)
    workspace = decode_workspace(rows, case.heads, case.kv_heads, case.size, "cpu")
    workspace.partial.fill_(NAN)
    decode_attention(
        *(case.projections(), case.cos, case.sin, case.k_pages, case.v_pages, case.table),
        *(torch.tensor(case.slots, dtype=torch.int32), position, case.sinks, case.window, out, workspace),
        config=config,
    )
    assert not workspace.arrivals.any()
    return out


@pytest.mark.parametrize("window", [None, 128, 20])
@pytest.mark.parametrize(("group", "size"), [(1, 32), (2, 64), (8, 64)])
def test_equals_plain_torch_at_every_edge(group: int, size: int, window: int | None) -> None:
    case = Case([0, 15, 16, 127, 128, 299], [1] * 6, 2 * group, 2, size, window)
    assert error(decode(case, SHARED if window is None else None), case.expected()) < BOUND


@pytest.mark.parametrize("sink", [-1e30, -30.0, 8.0])
def test_adds_the_sink_once(sink: float) -> None:
    case = Case([3, 200], [1, 1], 4, 2, 32, sink=sink)
    assert error(decode(case, SHARED), case.expected()) < BOUND


@pytest.mark.parametrize("shares", [1, 2, 16])
def test_any_number_of_shares_gives_the_same_result(shares: int) -> None:
    case = Case([0, 32, 33, 300], [1] * 4, 2, 1, 32)
    config = DecodeConfig(shares=shares, keys=16, least=16, alone=0, stages=1)
    assert error(decode(case, config), case.expected()) < BOUND


def test_refuses_a_workspace_that_is_too_small() -> None:
    with pytest.raises(ValueError, match="too small"):
        decode(Case([3], [1], 4, 2, 32), DecodeConfig(shares=64))


def test_stores_the_new_token() -> None:
    case = Case([15, 16, 77], [1] * 3, 4, 2, 32)
    decode(case)
    for index, known in enumerate(case.known):
        key, value = case.stored(index, known)
        assert torch.equal(value, case.v[index][known])
        assert error(key, case.k[index][known]) < BOUND


def test_touches_no_other_place() -> None:
    case = Case([15, 16, 77], [1] * 3, 4, 2, 32)
    before = case.k_pages.clone(), case.v_pages.clone()
    decode(case)
    for index, known in enumerate(case.known):
        for place in case.stored(index, known):
            place.fill_(NAN)
    assert torch.equal(before[0].view(torch.int16), case.k_pages.view(torch.int16))
    assert torch.equal(before[1].view(torch.int16), case.v_pages.view(torch.int16))


def test_a_row_does_not_depend_on_the_others_of_a_pass_of_the_same_shape() -> None:
    among = decode(Case([150, 40, 3], [1] * 3, 4, 2, 32), SHARED)
    alone = Case([150, 40, 3], [1] * 3, 4, 2, 32)
    alone.slots[1:] = [len(alone.table) - 1] * 2  # padding
    assert torch.equal(decode(alone, SHARED)[0], among[0])


def test_rows_of_the_dummy_slot_harm_nobody() -> None:
    case = Case([20], [1], 4, 2, 32)
    expected = case.expected()
    slots, known = case.slots + [len(case.table) - 1] * 2, [*case.known, 0, 0]
    projections = torch.cat((case.projections(), case.projections(), case.projections()))
    out = torch.full((3, case.heads * case.size), NAN, dtype=torch.bfloat16)
    position = torch.zeros(len(case.table), dtype=torch.int32)
    position[slots] = torch.tensor(known, dtype=torch.int32)
    decode_attention(
        *(projections, case.cos, case.sin, case.k_pages, case.v_pages, case.table),
        *(torch.tensor(slots, dtype=torch.int32), position, case.sinks, None, out),
        decode_workspace(3, 4, 2, 32, "cpu"),
    )
    assert error(out[:1], expected) < BOUND
    assert out.isfinite().all()

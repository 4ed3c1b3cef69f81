"""The packed layout keeps every weight exactly and takes the space of the checkpoint's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from inference.worker.kernels.mxfp4 import Mxfp4Matrix
from tests.inference.kernels.expert_cases import dequantised, random_checkpoint

# Where two neighbouring words have a code's bits (sign, two of exponent, one of mantissa), for the weights of
# the first; sixteen further, modulo 32, for the second's. Those of the last weight: in two rows merged.
PLACES = ((15, 8, 7, 6), (9, 2, 1, 0), (5, -2, -3, -4))
MERGED = ((3, -4, -5, -6), (13, 6, 5, 4))


def _codes(upper: Tensor, lower: Tensor, below: bool) -> Tensor:
    """The codes [4, words] of one of two rows, taken apart bit by bit, from pairs of words of both."""

    def own(place: int) -> Tensor:
        return (lower if below else upper) >> place % 32 & 1

    def merged(place: int) -> Tensor:
        place %= 32
        return lower >> place - 2 & 1 if place % 16 in (5, 6, 12, 13) else upper >> place & 1

    found = []
    for places, bit in [*((four, own) for four in PLACES), (MERGED[below], merged)]:
        code = [sum(bit(p + half) << (3 - i) for i, p in enumerate(places)) for half in (0, 16)]
        found.append(torch.stack(code, dim=-1).flatten())  # type: ignore[arg-type]
    return torch.stack(found)


def _unpacked(matrix: Mxfp4Matrix, expert: int) -> tuple[Tensor, Tensor]:
    """Codes and scales [rows, columns] of one expert, found by the definition of the layout, one by one."""
    rows, stored = matrix.rows, -(-matrix.columns // 64) * 64
    chunks = -(-stored // 128)
    codes = torch.empty(rows, stored, dtype=torch.int32)
    scales = torch.empty(rows, stored, dtype=torch.int32)
    pairs = matrix.words[expert].view(torch.int32).to(torch.int64) & 0xFFFFFFFF
    fields = matrix.scales[expert].view(torch.uint8).view(-1, 4).to(torch.int32)
    for row in range(rows):
        for chunk in range(chunks):
            width = min(128, stored - chunk * 128) // 4
            start = row // 32 * 32 * stored // 4 + chunk * 32 * 32 + row % 32 * width
            upper = start - row % 16 // 8 * 8 * width
            both = [pairs[at // 2 : (at + width) // 2] for at in (upper, upper + 8 * width)]
            bits = _codes(both[0], both[1], row % 16 >= 8)
            field = fields[(row // 32 * chunks + chunk) * 32 + row % 32]
            for part in range(4):
                at = slice(chunk * 128 + part * width, chunk * 128 + (part + 1) * width)
                codes[row, at] = bits[part]
                scales[row, at] = field[part]
    return codes[:, : matrix.columns], scales[:, : matrix.columns]


@pytest.mark.parametrize(("rows", "columns"), [(64, 256), (32, 64), (96, 320), (64, 96), (32, 160)])
def test_every_weight_stands_where_the_layout_says(rows: int, columns: int) -> None:
    checkpoint = random_checkpoint(2, columns, rows // 2)
    matrix = Mxfp4Matrix.pack(checkpoint.gate_up_blocks, checkpoint.gate_up_scales, checkpoint.gate_up_bias)
    for expert in range(2):
        codes, fields = _unpacked(matrix, expert)
        values = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])[(codes & 7).long()] * (1 - 2 * (codes >> 3))
        weights = values * torch.exp2(fields.float() - 126 - 127)
        assert torch.equal(
            weights, dequantised(checkpoint.gate_up_blocks[expert], checkpoint.gate_up_scales[expert])
        )


def test_gate_and_up_rows_stand_eight_by_eight() -> None:
    checkpoint = random_checkpoint(1, 64, 32)
    layer = checkpoint.packed()
    gates, ups = checkpoint.gate_up_bias[0, ::2], checkpoint.gate_up_bias[0, 1::2]
    expected = [part[i : i + 8] for i in range(0, 32, 8) for part in (gates, ups)]
    assert torch.equal(layer.gate_up.bias[0], torch.cat(expected))


def test_the_layout_takes_the_space_of_the_checkpoint() -> None:
    checkpoint = random_checkpoint(2, 256, 128)
    stored = sum(tensor.numel() * tensor.element_size() for tensor in vars(checkpoint).values())
    assert checkpoint.packed().nbytes == stored


def test_a_scale_that_would_overflow_is_refused() -> None:
    checkpoint = random_checkpoint(2, 64, 32)
    checkpoint.down_scales[1, 3, 0] = 129
    with pytest.raises(ValueError, match="out of range"):
        checkpoint.packed()


def test_rows_that_are_no_multiple_of_32_are_refused() -> None:
    checkpoint = random_checkpoint(2, 64, 32)
    with pytest.raises(ValueError, match="multiple of 32"):
        Mxfp4Matrix.pack(
            checkpoint.down_blocks[:, :48], checkpoint.down_scales[:, :48], checkpoint.down_bias[:, :48]
        )

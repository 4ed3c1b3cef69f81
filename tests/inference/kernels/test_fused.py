"""The norms against plain torch, at widths that are no power of two."""

from __future__ import annotations

import pytest
import torch

from inference.worker.kernels.fused import add_rms_norm, mark_broken, rms_norm
from tests.inference.kernels.attention_cases import NAN, error

EPS = 1e-5


def expected(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS) * weight.float()


@pytest.mark.parametrize(("rows", "width"), [(1, 2880), (3, 288), (7, 32)])
def test_norm(rows: int, width: int) -> None:
    x, weight = torch.randn(rows, width).bfloat16(), torch.randn(width).bfloat16()
    out = torch.full_like(x, NAN)
    assert rms_norm(x, weight, EPS, out=out) is out
    assert error(out, expected(x.float(), weight)) < 1e-2


def test_norm_of_a_tiny_row_heeds_eps() -> None:
    x, weight = torch.full((1, 32), 1e-4).bfloat16(), torch.ones(32).bfloat16()
    assert error(rms_norm(x, weight, EPS), expected(x.float(), weight)) < 1e-2


@pytest.mark.parametrize(("rows", "width"), [(1, 2880), (5, 288)])
def test_adds_to_the_residual_and_takes_the_norm_of_the_sum(rows: int, width: int) -> None:
    x, residual, weight = (torch.randn(size).bfloat16() for size in ((rows, width), (rows, width), (width,)))
    summed = (x.float() + residual.float()).bfloat16()
    out = add_rms_norm(x, residual, weight, EPS)
    assert torch.equal(residual, summed)
    assert error(out, expected(summed.float(), weight)) < 1e-2


@pytest.mark.parametrize("bad", [NAN, float("inf"), float("-inf")])
def test_marks_whoever_has_a_number_that_is_not_finite(bad: float) -> None:
    x, owner = torch.randn(5, 288).bfloat16(), torch.tensor([0, 0, 1, 2, 2], dtype=torch.int32)
    x[1, 287], x[3, 0] = bad, bad
    x[2, 5] = torch.finfo(torch.bfloat16).max
    ids = torch.tensor([7, 8, 9, 10])
    mark_broken(x, owner, ids)
    assert ids.tolist() == [-1, 8, -1, 10]

"""The skinny linear layers against plain torch, with every extra and at sizes that fill no tile."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from inference.worker.kernels.linear import (
    LinearConfig,
    add_linear,
    linear_workspace,
    row_linear,
)
from tests.inference.kernels.attention_cases import NAN, error

BOUND = 1e-2
EPS = 1e-5
ROW = LinearConfig(columns=8, inner=128)
TILES = LinearConfig(columns=32, inner=64, shares=3)
ALONE = LinearConfig(columns=32, inner=64, shares=1)
TOO_MANY = LinearConfig(columns=32, inner=128, shares=4)
"""The last of these shares has nothing to do."""


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).bfloat16()


def norm_of(x: Tensor, gain: Tensor) -> Tensor:
    wide = x.float()
    return wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + EPS) * gain.float()


def poisoned(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    return torch.full(shape, NAN, dtype=dtype)


@pytest.mark.parametrize("extras", ["none", "norm", "residual"])
def test_one_row_equals_plain_torch(extras: str) -> None:
    x, weight, bias = normal(1, 288), normal(100, 288, seed=1), normal(100, seed=2) * 8
    residual, gain = normal(1, 100, seed=3) * 8, normal(288, seed=4)
    expected = (norm_of(x, gain) if extras == "norm" else x.float()) @ weight.float().T + bias.float()
    expected = expected + residual.float() if extras == "residual" else expected
    out = residual if extras == "residual" else poisoned(1, 100)  # added to where it lies
    row_linear(
        *(x, weight, bias, out),
        norm=(gain, EPS) if extras == "norm" else None,
        residual=residual if extras == "residual" else None,
        config=ROW,
    )
    assert error(out, expected) < BOUND


@pytest.mark.parametrize(
    ("rows", "config"), [(1, TILES), (5, TILES), (16, ALONE), (33, TILES), (64, TOO_MANY)]
)
def test_adds_to_the_residual_in_place(rows: int, config: LinearConfig) -> None:
    x, weight, bias = normal(rows, 288), normal(100, 288, seed=1), normal(100, seed=2) * 8
    residual = normal(rows, 100, seed=3) * 8
    expected = x.float() @ weight.float().T + bias.float() + residual.float()
    workspace = linear_workspace(100, "cpu", config=config)
    workspace.partial.fill_(NAN)
    add_linear(x, weight, bias, residual, workspace, config=config)
    assert error(residual, expected) < BOUND
    assert not workspace.arrivals.any()


def test_a_row_does_not_depend_on_the_others_of_a_pass_of_the_same_shape() -> None:
    x, weight, bias, workspace = (
        normal(9, 288),
        normal(40, 288, seed=1),
        normal(40),
        linear_workspace(40, "cpu"),
    )
    among, alone = torch.zeros(9, 40).bfloat16(), torch.zeros(9, 40).bfloat16()
    add_linear(x, weight, bias, among, workspace)
    x[:4], x[5:] = 0, 1000
    add_linear(x, weight, bias, alone, workspace)
    assert torch.equal(among[4], alone[4])


def test_refuses_a_workspace_that_is_too_small() -> None:
    with pytest.raises(ValueError, match="too small"):
        add_linear(normal(2, 64), normal(400, 64), normal(400), poisoned(2, 400), linear_workspace(64, "cpu"))


def test_refuses_too_many_rows() -> None:
    weight, bias = normal(8, 64), normal(8)
    with pytest.raises(ValueError, match="too many rows"):
        row_linear(normal(2, 64), weight, bias, poisoned(2, 8))
    with pytest.raises(ValueError, match="too many rows"):
        add_linear(normal(65, 64), weight, bias, poisoned(65, 8), linear_workspace(8, "cpu"))

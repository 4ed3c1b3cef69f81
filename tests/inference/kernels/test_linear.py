"""The skinny linear layers against plain torch, with every extra and at sizes that fill no tile."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from inference.worker.kernels.linear import LinearConfig, linear, linear_workspace, norm_router
from tests.inference.kernels.attention_cases import NAN, error

BOUND = 1e-2
EPS = 1e-5
VECTOR = LinearConfig(columns=8, inner=128, vector=True)
TILES = LinearConfig(columns=32, inner=64)
SHARED = LinearConfig(columns=32, inner=64, shares=3)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).bfloat16()


def norm_of(x: Tensor, gain: Tensor) -> Tensor:
    wide = x.float()
    return wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + EPS) * gain.float()


def poisoned(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    return torch.full(shape, NAN, dtype=dtype)


@pytest.mark.parametrize(
    ("rows", "config"),
    [(1, VECTOR), (1, TILES), (1, SHARED), (5, TILES), (5, SHARED), (16, TILES), (32, SHARED), (33, TILES)],
)
@pytest.mark.parametrize("extras", ["none", "bias", "norm", "all"])
def test_equals_plain_torch(rows: int, config: LinearConfig, extras: str) -> None:
    x, weight, bias = normal(rows, 288), normal(100, 288, seed=1), normal(100, seed=2) * 8
    residual, gain = normal(rows, 100, seed=3) * 8, normal(288, seed=4)
    full = extras == "all"
    expected = (norm_of(x, gain) if full or extras == "norm" else x.float()) @ weight.float().T
    expected = (
        expected + (bias.float() if full or extras == "bias" else 0) + (residual.float() if full else 0)
    )
    out, workspace = poisoned(rows, 100), linear_workspace("cpu", 512)
    workspace.partial.fill_(NAN)
    linear(
        *(x, weight, bias if full or extras == "bias" else None, out, workspace),
        residual=residual if full else None,
        norm=(gain, EPS) if full or extras == "norm" else None,
        config=config,
    )
    assert error(out, expected) < BOUND
    assert not workspace.arrivals.any()


def test_adds_to_the_residual_in_place() -> None:
    x, weight, residual = normal(3, 64), normal(40, 64, seed=1), normal(3, 40, seed=2)
    expected = x.float() @ weight.float().T + residual.float()
    linear(x, weight, None, residual, linear_workspace("cpu", 256), residual=residual)
    assert error(residual, expected) < BOUND


def test_float32_results_are_not_rounded() -> None:
    x, weight = normal(2, 64), normal(40, 64, seed=1)
    out = poisoned(2, 40, dtype=torch.float32)
    linear(x, weight, None, out, linear_workspace("cpu", 256), config=TILES)
    assert error(out, x.float() @ weight.float().T) < 1e-5


def test_a_reproducible_row_does_not_depend_on_the_others() -> None:
    x, weight = normal(20, 288), normal(100, 288, seed=1)
    workspace = linear_workspace("cpu", 256)
    together, few, alone = poisoned(20, 100), poisoned(7, 100), poisoned(1, 100)
    linear(x, weight, None, together, workspace, reproducible=True)
    linear(x[:7], weight, None, few, workspace, reproducible=True)
    linear(x[:1], weight, None, alone, workspace, reproducible=True)
    assert torch.equal(together[:7], few)
    assert torch.equal(together[:1], alone)


def test_refuses_a_workspace_that_is_too_small() -> None:
    with pytest.raises(ValueError, match="too small"):
        linear(
            normal(2, 64), normal(400, 64), None, poisoned(2, 400), linear_workspace("cpu", 64), config=SHARED
        )


@pytest.mark.parametrize(("rows", "config"), [(2, VECTOR), (65, TILES)])
def test_refuses_too_many_rows(rows: int, config: LinearConfig) -> None:
    with pytest.raises(ValueError, match="too many rows"):
        linear(
            normal(rows, 64), normal(8, 64), None, poisoned(rows, 8), linear_workspace("cpu"), config=config
        )


@pytest.mark.parametrize(("rows", "experts", "columns"), [(1, 8, 4), (5, 33, 4), (3, 6, 16)])
def test_norm_and_router_in_one(rows: int, experts: int, columns: int) -> None:
    x, gain = normal(rows, 288), normal(288, seed=4)
    weight, bias = normal(experts, 288, seed=1), normal(experts, seed=2)
    normed, logits = poisoned(rows, 288), poisoned(rows, experts, dtype=torch.float32)
    norm_router(x, (gain, EPS), weight, bias, normed, logits, columns=columns)
    assert error(normed, norm_of(x, gain)) < BOUND
    assert error(logits, normed.float() @ weight.float().T + bias.float()) < 1e-5

"""The expert kernels compute what the definition says, whatever the routing and the batch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from inference.worker.kernels.expert_plans import Plan, Tile, plan_for
from inference.worker.kernels.experts import NextNorm, Workspace, experts_forward, routed_forward
from inference.worker.kernels.fused import rms_norm
from inference.worker.kernels.mxfp4 import Mxfp4Experts
from inference.worker.kernels.routing import route
from tests.inference.kernels.expert_cases import random_checkpoint, reference, relative_error

TOLERANCE = 6e-3  # one rounding of the activations and one of the output to bfloat16


def _inputs(tokens: int, hidden: int, experts: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(tokens)
    x = torch.randn(tokens, hidden, generator=generator).to(torch.bfloat16)
    logits = torch.randn(tokens, experts, generator=generator)
    return x, logits, torch.randn(tokens, hidden, generator=generator).to(torch.bfloat16)


def _poisoned(tokens: int, top_k: int, layer: Mxfp4Experts) -> Workspace:
    workspace = Workspace.empty(tokens, top_k, layer)
    for numbers in (workspace.activations, workspace.partial, workspace.routing.weights):
        numbers.fill_(float("nan"))
    for integers in (workspace.routing.pairs, workspace.routing.table, workspace.routing.counts):
        integers.fill_(10**9)
    workspace.routing.order.fill_(1)
    return workspace


def _forward(
    x: Tensor,
    logits: Tensor,
    top_k: int,
    residual: Tensor | None,
    layer: Mxfp4Experts,
    plan: Plan | None = None,
) -> Tensor:
    workspace = _poisoned(len(x), top_k, layer)
    out = torch.full_like(x, float("nan"))
    experts_forward(x, logits, top_k, residual, layer, workspace, out=out, plan=plan)
    return out


MORE_TOKENS = [pytest.param(tokens, marks=pytest.mark.long) for tokens in (3, 8, 70)]


@pytest.mark.parametrize("tokens", [1, 17, *MORE_TOKENS])
def test_output_is_that_of_the_definition(tokens: int) -> None:
    checkpoint = random_checkpoint(6, 192, 64)
    x, logits, residual = _inputs(tokens, 192, 6)
    out = _forward(x, logits, 4, residual, checkpoint.packed())
    assert relative_error(out, reference(x, logits, 4, residual, checkpoint)) < TOLERANCE


@pytest.mark.parametrize(("hidden", "intermediate"), [(32, 96), (96, 32), (160, 128), (256, 224)])
@pytest.mark.parametrize("splits", [1, pytest.param(2, marks=pytest.mark.long)])
def test_sizes_need_only_be_multiples_of_32(hidden: int, intermediate: int, splits: int) -> None:
    checkpoint = random_checkpoint(4, hidden, intermediate)
    x, logits, _ = _inputs(3, hidden, 4)
    plan = Plan(Tile(128, 16, 4, 3), Tile(64, 16, 4, 3, splits))
    out = _forward(x, logits, 2, None, checkpoint.packed(), plan=plan)
    assert relative_error(out, reference(x, logits, 2, None, checkpoint)) < TOLERANCE


@pytest.mark.parametrize(("hidden", "intermediate"), [(160, 96), (96, 288)])
@pytest.mark.parametrize(
    "tile", [Tile(64, 8, 1, 2), pytest.param(Tile(32, 16, 1, 3, 2), marks=pytest.mark.long)]
)
def test_programs_of_one_warp_compute_the_same(hidden: int, intermediate: int, tile: Tile) -> None:
    checkpoint = random_checkpoint(4, hidden, intermediate)
    x, logits, residual = _inputs(11, hidden, 4)
    logits[:9, 1] += 100  # more than a block of eight
    plan = Plan(replace(tile, splits=1), tile)
    out = _forward(x, logits, 2, residual, checkpoint.packed(), plan=plan)
    assert relative_error(out, reference(x, logits, 2, residual, checkpoint)) < TOLERANCE


@pytest.mark.parametrize("plan", [None, Plan(Tile(64, 16, 4, 3), Tile(64, 16, 4, 3, 2))])
def test_the_next_norm_is_that_of_the_output_which_may_take_the_residuals_place(plan: Plan | None) -> None:
    checkpoint = random_checkpoint(6, 96, 64)
    layer = checkpoint.packed()
    x, logits, residual = _inputs(5, 96, 6)
    gain = torch.linspace(-1, 2, 96).to(torch.bfloat16)
    expected = _forward(x, logits, 4, residual, layer, plan)
    normed = torch.full_like(x, float("nan"))
    workspace, plan = _poisoned(5, 4, layer), plan or plan_for(5)
    blocks = route(logits, 4, plan.gate_up.tokens, workspace.routing)
    then = NextNorm(gain, 1e-5, normed)
    routed_forward(x, blocks, residual, layer, workspace, residual, plan=plan, then=then)
    assert torch.equal(residual, expected)
    assert torch.equal(normed, rms_norm(expected, gain, 1e-5))


@pytest.mark.parametrize("tokens", [5, 70])
def test_all_tokens_may_choose_the_same_experts(tokens: int) -> None:
    checkpoint = random_checkpoint(8, 64, 64)
    x, logits, _ = _inputs(tokens, 64, 8)
    logits[:, 5] += 100
    logits[:, 2] += 50
    out = _forward(x, logits, 2, None, checkpoint.packed())
    assert relative_error(out, reference(x, logits, 2, None, checkpoint)) < TOLERANCE


def test_an_expert_with_more_tokens_than_a_block_has_several_blocks() -> None:
    checkpoint = random_checkpoint(8, 64, 64)
    x, logits, _ = _inputs(40, 64, 8)
    logits[:33, 5] += 100
    tile = Tile(64, 16, 4, 3)
    out = _forward(x, logits, 3, None, checkpoint.packed(), plan=Plan(tile, tile))
    assert relative_error(out, reference(x, logits, 3, None, checkpoint)) < TOLERANCE


def test_of_equal_logits_the_first_experts_win() -> None:
    checkpoint = random_checkpoint(6, 64, 64)
    x, _, _ = _inputs(4, 64, 6)
    logits = torch.zeros(4, 6, dtype=torch.bfloat16)
    logits[:, 4] = 1
    out = _forward(x, logits, 3, None, checkpoint.packed())
    assert relative_error(out, reference(x, logits, 3, None, checkpoint)) < TOLERANCE


def test_one_expert_a_token_and_a_number_of_experts_that_is_no_power_of_two() -> None:
    checkpoint = random_checkpoint(5, 64, 64)
    x, logits, residual = _inputs(9, 64, 5)
    out = _forward(x, logits, 1, residual, checkpoint.packed())
    assert relative_error(out, reference(x, logits, 1, residual, checkpoint)) < TOLERANCE


@pytest.mark.parametrize("tokens", [4, 70])
def test_a_token_without_numbers_leaves_the_others_alone(tokens: int) -> None:
    checkpoint = random_checkpoint(6, 64, 64)
    layer = checkpoint.packed()
    x, logits, _ = _inputs(tokens, 64, 6)
    expected = reference(x, logits, 2, None, checkpoint)
    x[1], logits[1] = float("nan"), float("nan")
    out = _forward(x, logits, 2, None, layer)
    others = torch.arange(tokens) != 1
    assert relative_error(out[others], expected[others]) < TOLERANCE
    assert out[1].isnan().all()


def test_a_workspace_serves_calls_of_different_sizes_one_after_the_other() -> None:
    checkpoint = random_checkpoint(6, 64, 64)
    layer = checkpoint.packed()
    workspace = _poisoned(70, 2, layer)
    for tokens in (70, 2, 33, 1):
        x, logits, residual = _inputs(tokens, 64, 6)
        out = experts_forward(x, logits, 2, residual, layer, workspace)
        assert relative_error(out, reference(x, logits, 2, residual, checkpoint)) < TOLERANCE


def test_a_workspace_that_is_too_small_is_refused() -> None:
    layer = random_checkpoint(6, 64, 64).packed()
    x, logits, _ = _inputs(3, 64, 6)
    with pytest.raises(ValueError, match="too small"):
        experts_forward(x, logits, 2, None, layer, Workspace.empty(2, 2, layer))


def test_a_plan_with_different_blocks_is_refused() -> None:
    with pytest.raises(ValueError, match="same block"):
        Plan(Tile(64, 16, 4, 3), Tile(64, 32, 4, 3))

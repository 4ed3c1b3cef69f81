"""The expert kernels compute what the definition says, whatever the routing, and alone what they do in a batch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from inference.worker.kernels.experts import REPRODUCIBLE, Plan, Tile, Workspace, experts_forward
from inference.worker.kernels.mxfp4 import Mxfp4Experts
from tests.inference.kernels.expert_cases import Checkpoint, random_checkpoint, reference, relative_error

TOLERANCE = 6e-3  # one rounding of the activations and one of the output to bfloat16


def _layer(experts: int = 8, hidden: int = 64, intermediate: int = 64) -> tuple[Checkpoint, Mxfp4Experts]:
    checkpoint = random_checkpoint(experts, hidden, intermediate)
    return checkpoint, Mxfp4Experts.pack(*checkpoint.tensors())


def _inputs(tokens: int, hidden: int, experts: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(tokens)
    x = torch.randn(tokens, hidden, generator=generator).to(torch.bfloat16)
    logits = torch.randn(tokens, experts, generator=generator)
    return x, logits, torch.randn(tokens, hidden, generator=generator).to(torch.bfloat16)


def _poisoned(tokens: int, top_k: int, layer: Mxfp4Experts) -> Workspace:
    workspace = Workspace.empty(tokens, top_k, layer)
    workspace.activations.fill_(float("nan"))
    workspace.partial.fill_(float("nan"))
    workspace.routing.weights.fill_(float("nan"))
    for numbers in (workspace.routing.pairs, workspace.routing.table, workspace.routing.counts):
        numbers.fill_(10**9)
    return workspace


@pytest.mark.parametrize("tokens", [1, 3, 8, 32, 70])
@pytest.mark.parametrize(("hidden", "intermediate", "top_k"), [(192, 64, 4), (64, 160, 2)])
def test_output_is_that_of_the_definition(tokens: int, hidden: int, intermediate: int, top_k: int) -> None:
    checkpoint, layer = _layer(6, hidden, intermediate)
    x, logits, residual = _inputs(tokens, hidden, 6)
    out = torch.full_like(x, float("nan"))
    experts_forward(x, logits, top_k, residual, layer, _poisoned(tokens, top_k, layer), out=out)
    assert relative_error(out, reference(x, logits, top_k, residual, checkpoint)) < TOLERANCE

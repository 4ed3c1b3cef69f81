"""Norm, router and routing of few tokens in one launch: as each of them alone."""

from __future__ import annotations

import pytest
import torch

from inference.worker.kernels.router import norm_router
from inference.worker.kernels.routing import Routing, route
from tests.inference.kernels.attention_cases import NAN, error
from tests.inference.kernels.test_linear import BOUND, EPS, norm_of, normal, poisoned


def routing_for(rows: int, experts: int, top_k: int) -> Routing:
    made = Routing.empty(rows, experts, top_k, torch.device("cpu"))
    made.weights.fill_(NAN)
    made.logits.fill_(NAN)
    for numbers in (made.pairs, made.table):
        numbers.fill_(10**9)
    return made


@pytest.mark.parametrize(
    ("rows", "experts", "top_k", "columns"), [(1, 8, 2, 4), (5, 33, 4, 4), (3, 6, 1, 16), (40, 8, 2, 4)]
)
def test_norm_router_and_routing_in_one(rows: int, experts: int, top_k: int, columns: int) -> None:
    x, gain = normal(rows, 288), normal(288, seed=4)
    weight, bias = normal(experts, 288, seed=1), normal(experts, seed=2)
    made, normed = routing_for(rows, experts, top_k), poisoned(rows, 288)
    for _ in range(2):  # the second launch finds what the first left
        most = norm_router(x, (gain, EPS), weight, bias, normed, made, top_k, 8, columns=columns)
    logits = made.logits.flatten()[: rows * experts].view(rows, experts)
    assert error(normed, norm_of(x, gain)) < BOUND
    assert error(logits, normed.float() @ weight.float().T + bias.float()) < 1e-5

    apart = routing_for(rows, experts, top_k)
    assert route(logits, top_k, 8, apart) == most
    assert torch.equal(made.table[:most, :3], apart.table[:most, :3])
    assert torch.equal(made.pairs, apart.pairs)
    assert torch.equal(made.weights, apart.weights)
    assert not made.arrivals.any()


def test_refuses_too_many_rows() -> None:
    with pytest.raises(ValueError, match="too many rows"):
        norm_router(
            *(normal(65, 32), (normal(32), EPS), normal(4, 32), normal(4), poisoned(65, 32)),
            routing_for(65, 4, 2),
            *(2, 8),
        )

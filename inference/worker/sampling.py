"""The choice of the next token, exact for every temperature and top-p.

Each request brings its own stream of random numbers and uses one number a token, so the same seed gives the
same tokens whatever else runs.
"""

from __future__ import annotations

import random

import torch
from torch import Tensor

from inference.types import SamplingParams

FIRST_CANDIDATES = 1024


class InvalidLogits(Exception):
    """The model's output holds NaN or infinity; there is nothing to choose from."""


def choose(logits: Tensor, sampling: SamplingParams, rng: random.Random) -> int:
    """Choose one id from ``logits`` (``[vocab]``, any float type).

    Temperature 0 takes the largest (the first of equals). Otherwise one uniform number is put through the
    inverse of the cumulative distribution, in double precision.

    Raises:
        InvalidLogits: a logit is not finite.
    """
    logits = logits.float()
    if not bool(torch.isfinite(logits).all()):
        raise InvalidLogits
    if sampling.temperature == 0:
        return int(logits.argmax())
    # The largest logit is taken off first: a very small temperature must not overflow.
    weights = torch.exp((logits.double() - logits.max()) / sampling.temperature)
    uniform = rng.random()
    if sampling.top_p >= 1:
        return _invert(weights, uniform)
    kept, ids = nucleus(weights, sampling.top_p)
    return int(ids[_invert(kept, uniform)])


def nucleus(weights: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """The fewest heaviest entries that hold ``top_p`` of the sum: their weights, heaviest first, and ids.

    A full sort of the vocabulary is dear, so first only the heaviest are sorted; when they do not hold enough
    (a flat distribution), eight times as many are, up to all of them. Nothing is cut off that belongs in.
    """
    goal = float(weights.sum()) * top_p
    size = weights.numel()
    count = min(FIRST_CANDIDATES, size)
    while True:
        heaviest, ids = torch.topk(weights, count)
        sums = heaviest.cumsum(0)
        if float(sums[-1]) >= goal or count == size:
            break
        count = min(count * 8, size)
    # An entry belongs in as long as the entries before it do not reach the goal; the first always does.
    inside = max(1, int(((sums - heaviest) < goal).sum()))
    return heaviest[:inside], ids[:inside]


def _invert(weights: Tensor, uniform: float) -> int:
    """The index where the running sum of ``weights`` passes ``uniform`` (in [0, 1)) of the whole."""
    sums = weights.cumsum(0)
    total = float(sums[-1])
    # Rounding may lift uniform * total to total itself, which no running sum passes.
    below_total = torch.nextafter(sums[-1], torch.zeros_like(sums[-1]))
    point = torch.minimum(torch.full_like(sums[-1], uniform * total), below_total)
    return int(torch.searchsorted(sums, point.reshape(1), right=True))

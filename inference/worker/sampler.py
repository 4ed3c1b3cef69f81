"""The choice of the next token, exact for every temperature and top-p, and log-probabilities.

The random number of a token follows from its request's seed and its place in the reply alone, so the same
seed gives the same tokens whatever else runs, and also when a pass had to be repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

import torch
from torch import Tensor

from inference.types import SamplingParams, TokenLogprob

FIRST_CANDIDATES = 1024
_CHUNK = 1024
_PART_BYTES = 2_000_000


Peak = tuple[float, int]
"""The largest logit of a row, and the first place where it stands."""


class InvalidLogits(Exception):
    """The model's output holds NaN or infinity; there is nothing to choose from."""


@dataclass(frozen=True, slots=True)
class Logits:
    """One row: ``values`` [n] of ``ids`` [n] (``None``: of all ids in order).

    With ``ids``, every other one of the ``vocab`` ids has the logit 0; with ``allowed``, a bool [vocab] that
    holds for all of ``ids`` and ``possible`` ids in all, every other one of those, and the rest can never be
    chosen.
    """

    values: Tensor
    ids: Tensor | None
    vocab: int
    allowed: Tensor | None = None
    possible: int | None = None

    @property
    def others(self) -> int:
        """How many ids have the logit 0 without being listed."""
        if self.ids is None:
            return 0
        return (self.vocab if self.possible is None else self.possible) - self.values.numel()

    def id_at(self, place: int) -> int:
        """The id of a place; places from ``n`` on are the ids that are not listed, in order."""
        if self.ids is None:
            return place
        if place < self.ids.numel():
            return int(self.ids[place])
        unlisted = torch.ones(self.vocab, dtype=torch.bool, device=self.ids.device)
        if self.allowed is not None:
            unlisted &= self.allowed
        unlisted[self.ids] = False
        return int(unlisted.nonzero()[place - self.ids.numel(), 0])

    def whole(self) -> Tensor:
        """``[vocab]``; minus infinity for what can never be chosen."""
        if self.ids is None:
            return self.values
        full = torch.zeros(self.vocab, dtype=self.values.dtype, device=self.values.device)
        if self.allowed is not None:
            full.masked_fill_(~self.allowed, float("-inf"))
        return full.index_copy_(0, self.ids, self.values)

    def within(self, allowed: Tensor) -> Logits:
        """The same row where only the ids of ``allowed``, bool [vocab], can be chosen."""
        if self.ids is None:
            kept = allowed.nonzero()[:, 0]
            return Logits(self.values[kept], kept, self.vocab, allowed, kept.numel())
        kept = allowed[self.ids]
        return Logits(self.values[kept], self.ids[kept], self.vocab, allowed, int(allowed.sum()))


def uniform_at(seed: int, place: int) -> float:
    """The random number in [0, 1) for the token at this place of a reply."""
    digest = blake2b(f"{seed} {place}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) * 2.0**-53


def find_peaks(rows: Tensor) -> list[Peak | None]:
    """The peak of each of ``rows`` [rows, n], ``None`` where a logit is not finite.

    To look for a place takes many times as long as to look for a value, so it is done in one chunk alone.
    The rows are taken in parts that stay in the cache from one look to the next.
    """
    width = max(1, _PART_BYTES // (4 * _CHUNK * len(rows))) * _CHUNK
    peaks, lows = [], []
    for stored in torch.split(rows, width, dim=1):
        part = stored.float()
        whole = part.shape[1] // _CHUNK * _CHUNK
        if whole:
            peaks.append(part[:, :whole].view(len(rows), -1, _CHUNK).amax(2))
        if whole < part.shape[1]:
            peaks.append(part[:, whole:].amax(1, keepdim=True))
        lows.append(part.amin(1, keepdim=True))
    highest, chunks = torch.cat(peaks, dim=1).max(1)
    # Both ends are NaN if anything is.
    finite = (highest.isfinite() & torch.cat(lows, dim=1).amin(1).isfinite()).tolist()
    found: list[Peak | None] = []
    for row, peak, chunk, good in zip(rows, highest.tolist(), chunks.tolist(), finite, strict=True):
        start = chunk * _CHUNK
        place = start + int(row[start : start + _CHUNK].argmax()) if good else 0
        found.append((peak, place) if good else None)
    return found


def choose_within(
    logits: Logits, sampling: SamplingParams, uniform: float, top: Peak, allowed: Tensor, *, rare: bool
) -> int:
    """As ``choose``, among the ids of ``allowed``, bool [vocab] on the row's device, of which there is one.

    ``rare``: what is not allowed has next to no weight. Then the choice is that of ``choose`` as long as that
    is allowed, and another one is drawn where it is not.
    """
    if rare:
        token = choose(logits, sampling, uniform, top)
        if bool(allowed[token]):
            return token
        uniform = uniform_at(int(uniform * 2**53), 0)  # this one led to what is not allowed
    kept = logits.within(allowed)
    if not kept.values.numel():  # all are equal
        return kept.id_at(min(int(uniform * kept.others), kept.others - 1) if sampling.temperature else 0)
    place = int(kept.values.argmax())
    return choose(kept, sampling, uniform, (float(kept.values[place]), place))


def choose(logits: Logits, sampling: SamplingParams, uniform: float, top: Peak) -> int:
    """Choose one id of a row whose peak is ``top``.

    Temperature 0 takes the largest logit (the lowest id of equals). Otherwise ``uniform`` (in [0, 1)) is put
    through the inverse of the cumulative distribution, in double precision.
    """
    values, (peak, place) = logits.values, top
    if sampling.temperature == 0:
        if logits.others and peak <= 0:
            return int(logits.whole().argmax())
        return logits.id_at(place)
    if logits.others:
        peak = max(peak, 0.0)
    # The largest logit is taken off first: a very small temperature must not overflow.
    weights = values.double().sub_(peak).div_(sampling.temperature).exp_()
    if sampling.top_p < 1:
        return _choose_from_nucleus(logits, weights, peak, sampling, uniform)
    sums = weights.cumsum(0)
    if not logits.others:
        return logits.id_at(_invert(sums, uniform))
    listed, each = float(sums[-1]), _zero_weight(peak, sampling.temperature)
    point = uniform * (listed + each * logits.others)
    if point < listed or each == 0:
        return logits.id_at(_invert(sums, min(point / listed, 1.0)))
    return logits.id_at(logits.values.numel() + min(int((point - listed) / each), logits.others - 1))


def _zero_weight(peak: float, temperature: float) -> float:
    """The weight of a logit of 0."""
    return float(torch.exp(torch.tensor(-peak / temperature, dtype=torch.float64)))


def _choose_from_nucleus(
    logits: Logits, weights: Tensor, peak: float, sampling: SamplingParams, uniform: float
) -> int:
    zero = _zero_weight(peak, sampling.temperature) if logits.others else 0.0
    goal = (float(weights.sum()) + zero * logits.others) * sampling.top_p
    heavy = weights if zero == 0 else torch.where(weights > zero, weights, 0.0)
    if zero and float(heavy.sum()) < goal:  # an id that is not listed belongs in, too
        weights = torch.exp((logits.whole().double() - peak) / sampling.temperature)
        kept, places = nucleus(weights, goal)
        return int(places[_invert(kept.cumsum(0), uniform)])
    kept, places = nucleus(heavy, goal)
    return logits.id_at(int(places[_invert(kept.cumsum(0), uniform)]))


def nucleus(weights: Tensor, goal: float) -> tuple[Tensor, Tensor]:
    """The fewest heaviest entries that hold ``goal`` of the sum: their weights, heaviest first, and places.

    A full sort of the vocabulary is dear, so first only the heaviest are sorted; when they do not hold enough
    (a flat distribution), eight times as many are, up to all of them. Nothing is cut off that belongs in.
    """
    size = weights.numel()
    count = min(FIRST_CANDIDATES, size)
    while True:
        heaviest, places = torch.topk(weights, count)
        sums = heaviest.cumsum(0)
        if float(sums[-1]) >= goal or count == size:
            break
        count = min(count * 8, size)
    # An entry belongs in as long as the entries before it do not reach the goal; the first always does.
    inside = max(1, int(((sums - heaviest) < goal).sum()))
    return heaviest[:inside], places[:inside]


def _invert(sums: Tensor, uniform: float) -> int:
    """The first place where the running ``sums`` pass ``uniform`` (in [0, 1)) of the whole."""
    total = float(sums[-1])
    # Rounding may lift uniform * total to total itself, which no running sum passes.
    below_total = torch.nextafter(sums[-1], torch.zeros_like(sums[-1]))
    point = torch.minimum(torch.full_like(sums[-1], uniform * total), below_total)
    return int(torch.searchsorted(sums, point.reshape(1), right=True))


def logprobs(logits: Logits, token: int, count: int) -> TokenLogprob:
    """Natural log-probabilities of ``token`` and of the ``count`` likeliest ids, of the model's distribution
    before temperature and top-p.
    """
    whole = logits.whole().double()
    logs = whole - torch.logsumexp(whole, 0)
    best, ids = torch.topk(logs, min(count, logs.numel()))
    top = tuple(zip(ids.tolist(), best.tolist(), strict=True))
    return TokenLogprob(token, float(logs[token]), top)

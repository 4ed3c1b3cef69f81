"""Random sequences in shuffled pages, and their attention in plain torch, float32."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

PAGE = 16
NAN = float("nan")


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Heads [T, heads, D] at the positions of ``cos`` and ``sin`` [T, D / 2], in float32."""
    first, second = x.float().chunk(2, dim=-1)
    cos, sin = cos[:, None], sin[:, None]
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def angles(places: int, size: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines [places, D / 2]."""
    frequencies = 10_000.0 ** (-torch.arange(size // 2) / (size // 2))
    turns = torch.arange(places)[:, None] * frequencies
    return turns.cos(), turns.sin()


def attention(q: Tensor, k: Tensor, v: Tensor, sinks: Tensor, window: int | None) -> Tensor:
    """The last rows of a causal attention: ``q`` [n, Hq, D] over ``k`` and ``v`` [m, Hkv, D], [n, Hq * D]."""
    group = q.shape[1] // k.shape[1]
    k, v = (x.float().repeat_interleave(group, dim=1) for x in (k, v))
    scores = torch.einsum("qhd,khd->hqk", q.float(), k) / math.sqrt(q.shape[2])
    query = torch.arange(len(k) - len(q), len(k))[:, None]
    key = torch.arange(len(k))[None]
    hidden = (key > query) if window is None else (key > query) | (key <= query - window)
    scores = scores.masked_fill(hidden, -math.inf)
    with_sinks = torch.cat((scores, sinks.float()[:, None, None].expand(-1, len(q), 1)), dim=-1)
    weights = with_sinks.softmax(-1)[..., :-1]
    return torch.einsum("hqk,khd->qhd", weights, v).flatten(1)


@dataclass
class Case:
    """Some sequences; of each, ``known`` tokens are in the pages and ``new`` ones are not."""

    known: list[int]
    new: list[int]
    heads: int
    kv_heads: int
    size: int
    window: int | None = None
    sink: float | None = None

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(7)
        slots = len(self.known) + 2
        lengths = [known + new for known, new in zip(self.known, self.new, strict=True)]
        self.cos, self.sin = angles(max(lengths) + 1, self.size)
        self.sinks = (
            self.normal(self.heads).bfloat16() if self.sink is None else torch.full((self.heads,), self.sink)
        )
        self.slots = torch.randperm(slots, generator=self.generator)[: len(self.known)].int().tolist()
        pages = sum(math.ceil(length / PAGE) for length in lengths)
        order = (torch.randperm(pages, generator=self.generator) + 1).tolist()
        self.table = torch.zeros(slots + 1, max(lengths) // PAGE + 2, dtype=torch.int32)
        shape = (pages + 3, PAGE, self.kv_heads, self.size)
        self.k_pages = torch.full(shape, NAN, dtype=torch.bfloat16)
        self.v_pages = torch.full(shape, NAN, dtype=torch.bfloat16)
        self.qkv: list[Tensor] = []
        self.k: list[Tensor] = []
        self.v: list[Tensor] = []
        for known, length, slot in zip(self.known, lengths, self.slots, strict=True):
            self._place(known, length, slot, order)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator)

    def _place(self, known: int, length: int, slot: int, order: list[int]) -> None:
        """Draw a sequence. Only those known tokens stand in the pages that a new token may see."""
        count = (self.heads + 2 * self.kv_heads) * self.size
        qkv = self.normal(length, count).bfloat16()
        keys_and_values = qkv.view(length, -1, self.size)[:, self.heads :]
        k, v = keys_and_values[:, : self.kv_heads], keys_and_values[:, self.kv_heads :]
        k = rotate(k, self.cos[:length], self.sin[:length]).bfloat16()
        first = 0 if self.window is None else max(0, known - self.window + 1)
        for index in range(first // PAGE, math.ceil(length / PAGE)):
            self.table[slot, index] = order.pop()
        for token in range(first, known):
            page = self.table[slot, token // PAGE]
            self.k_pages[page, token % PAGE], self.v_pages[page, token % PAGE] = k[token], v[token]
        self.qkv.append(qkv)
        self.k.append(k)
        self.v.append(v)

    def projections(self) -> Tensor:
        """The new tokens of all sequences, one after the other, before the rotation."""
        return torch.cat([qkv[known:] for qkv, known in zip(self.qkv, self.known, strict=True)])

    def expected(self) -> Tensor:
        """The attention of the new tokens."""
        results = []
        for qkv, k, v, known in zip(self.qkv, self.k, self.v, self.known, strict=True):
            q = qkv[known:].view(len(qkv) - known, -1, self.size)[:, : self.heads]
            q = rotate(q, self.cos[known : len(qkv)], self.sin[known : len(qkv)])
            results.append(attention(q, k, v, self.sinks, self.window))
        return torch.cat(results)

    def stored(self, index: int, token: int) -> tuple[Tensor, Tensor]:
        """What the pages hold of a token."""
        page = self.table[self.slots[index], token // PAGE]
        return self.k_pages[page, token % PAGE], self.v_pages[page, token % PAGE]


def error(result: Tensor, expected: Tensor) -> float:
    """The relative error; never a number where the result is none."""
    difference = (result.float() - expected.float()).norm() / expected.float().norm()
    return math.inf if difference.isnan() else float(difference)

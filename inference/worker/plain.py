"""The forward pass of gpt-oss in plain torch operations: on the CPU, and on GPUs without kernels of ours.

The arithmetic is that of transformers' ``modeling_gpt_oss.py``; products are in the number type of the
weights, all between them is in float32. A row's numbers do not depend, to the bit, on how many others are
computed beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from inference.worker.plain_attention import PagedKv, Span, attend
from inference.worker.plain_linear import ROWS, Head, Linear
from inference.worker.weights import LayerWeights, Shape, Weights


@dataclass(frozen=True, slots=True)
class _Layer:
    """One layer, its products ready. The router's choice is made in float32."""

    norm: Tensor
    qkv: Linear
    out: Linear
    sinks: Tensor
    mlp_norm: Tensor
    router: Linear
    gate_up: list[Linear]
    down: list[Linear]

    @staticmethod
    def of(layer: LayerWeights) -> _Layer:
        experts = layer.experts
        return _Layer(
            norm=layer.norm.float(),
            qkv=Linear(layer.qkv, layer.qkv_bias),
            out=Linear(layer.out, layer.out_bias),
            sinks=layer.sinks.float(),
            mlp_norm=layer.mlp_norm.float(),
            router=Linear(layer.router.float(), layer.router_bias.float()),
            gate_up=list(map(Linear, experts.gate_up, experts.gate_up_bias)),
            down=list(map(Linear, experts.down, experts.down_bias)),
        )


class PlainNetwork:
    """A forward pass over pages.

    The layers are taken out of ``weights`` one by one, so that those that are packed are not there twice.
    """

    def __init__(self, weights: Weights) -> None:
        self.shape, self.dtype = weights.shape, weights.norm.dtype
        self.head = Head(weights.head)
        self.embedding = weights.embedding
        self._row_of: Tensor | None = None
        if self.head.ids is not None and weights.head is weights.embedding:
            self.embedding, self._row_of = _without_zeros(weights.embedding, self.head.ids)
        self._norm = weights.norm.float()
        self._inv_freq, self._rope_scale = weights.inv_freq, weights.rope_scale
        self._layers: list[_Layer] = []
        while weights.layers:
            self._layers.append(_Layer.of(weights.layers.pop(0)))

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.embedding.device

    def forward(
        self,
        kv: PagedKv,
        ids: Tensor,
        positions: Tensor,
        places: dict[int | None, Tensor],
        spans: dict[int | None, list[Span]],
    ) -> Tensor:
        """The last layer's normed output, float32 ``[rows, hidden]``.

        ``ids`` and ``positions`` are [rows], rows a multiple of ``ROWS``; ``places`` says where the keys of
        the real rows go, and ``spans`` what they see, for each kind of layer (by its window).
        """
        shape = self.shape
        angles = positions[:, None].float() * self._inv_freq
        cos, sin = angles.cos() * self._rope_scale, angles.sin() * self._rope_scale
        cos, sin = torch.cat((cos, cos), dim=-1)[:, None], torch.cat((-sin, sin), dim=-1)[:, None]
        rows = ids if self._row_of is None else self._row_of[ids]
        hidden = functional.embedding(rows, self.embedding).float()
        count, turned = len(places[shape.windows[0]]), shape.heads + shape.kv_heads
        for number, (layer, window) in enumerate(zip(self._layers, shape.windows, strict=True)):
            normed = _norm(hidden, layer.norm, shape.eps).to(layer.qkv.dtype)
            qkv = layer.qkv(normed).float().view(len(ids), -1, shape.head_dim)
            _rotate(qkv[:, :turned], cos, sin)
            kv.store(number, places[window], qkv[:count, shape.heads :])
            seen = attend(kv, number, qkv[:, : shape.heads], spans[window], layer.sinks)
            hidden += layer.out(seen.to(layer.out.dtype))
            hidden[:count] += _experts(_norm(hidden, layer.mlp_norm, shape.eps), count, layer, shape)
        return _norm(hidden, self._norm, shape.eps)


def _without_zeros(embedding: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """The ``kept`` rows and one of zeros, and the row of each id: those that are not kept share the last."""
    rows = torch.cat((embedding[kept], torch.zeros_like(embedding[:1])))
    row_of = torch.full((len(embedding),), len(kept), dtype=torch.int32, device=embedding.device)
    row_of[kept] = torch.arange(len(kept), dtype=torch.int32, device=embedding.device)
    return rows, row_of


def _norm(hidden: Tensor, weight: Tensor, eps: float) -> Tensor:
    # torch's own operation is made of the same steps, and of more beside them.
    scale = hidden.square().mean(dim=-1, keepdim=True).add_(eps).rsqrt_()
    return (hidden * scale).mul_(weight)


def _rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> None:
    """Turn ``heads`` [rows, heads, head_dim] in place; ``sin`` has its sign for either half."""
    first, second = heads.chunk(2, dim=-1)
    crossed = torch.cat((second, first), dim=-1).mul_(sin)
    heads.mul_(cos).add_(crossed)


def _experts(hidden: Tensor, count: int, layer: _Layer, shape: Shape) -> Tensor:
    """Mixture of experts for the first ``count`` rows (the others are padding): the sum over the ``top_k``
    chosen ones, in the order of the experts, float32 [count, hidden].
    """
    best, chosen = torch.topk(layer.router(hidden)[:count], shape.top_k, dim=-1)
    weights = torch.softmax(best, dim=-1)
    chosen, order = chosen.sort(dim=-1)
    weights = weights.gather(1, order)[..., None]
    # Each expert's rows stand together, in a multiple of ROWS; the first row fills up.
    rows: list[int] = []
    ends: list[tuple[int, int]] = []
    place_of = [0] * (count * shape.top_k)
    for expert, members in _by_expert(chosen.flatten().tolist()):
        for member in members:
            place_of[member] = len(rows)
            rows.append(member // shape.top_k)
        rows += [0] * (-len(members) % ROWS)
        ends.append((expert, len(rows)))
    given = hidden.to(layer.out.dtype).index_select(0, torch.tensor(rows, device=hidden.device))
    made = _run_experts(given, ends, layer, shape)
    made = made.index_select(0, torch.tensor(place_of, device=hidden.device))
    made = made.view(count, shape.top_k, -1) * weights
    total = made[:, 0]
    for place in range(1, shape.top_k):
        total = total + made[:, place]
    return total


def _by_expert(chosen: list[int]) -> list[tuple[int, list[int]]]:
    """The places in ``chosen`` of each expert that occurs, by expert."""
    places: dict[int, list[int]] = {}
    for place, expert in enumerate(chosen):
        places.setdefault(expert, []).append(place)
    return sorted(places.items())


def _run_experts(rows: Tensor, ends: list[tuple[int, int]], layer: _Layer, shape: Shape) -> Tensor:
    """``rows`` [rows, hidden] through their experts; ``ends`` says each expert and where its rows end."""
    sizes = [end - first for (_, end), first in zip(ends, [0, *(end for _, end in ends)], strict=False)]
    parts = zip(ends, torch.split(rows, sizes), strict=True)
    mixed = torch.cat([layer.gate_up[expert](part) for (expert, _), part in parts]).float()
    gate, up = mixed.chunk(2, dim=-1)
    gate, up = gate.clamp(max=shape.limit), up.clamp(-shape.limit, shape.limit)
    gated = (gate * shape.alpha).sigmoid_().mul_(gate).mul_(up.add_(1)).to(rows.dtype)
    parts = zip(ends, torch.split(gated, sizes), strict=True)
    return torch.cat([layer.down[expert](part) for (expert, _), part in parts])

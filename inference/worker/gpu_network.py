"""The forward pass of gpt-oss on a CUDA GPU, with our kernels: MXFP4 experts stay in four bits.

The arithmetic is that of transformers' ``modeling_gpt_oss.py`` in bfloat16 with float32 sums; cosines and
sines stay in float32. Everything is launched without waiting for the device, so a CUDA graph can hold a pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from inference.worker.kernels.expert_plans import plan_for
from inference.worker.kernels.experts import NextNorm, Workspace, experts_forward, routed_forward
from inference.worker.kernels.fused import add_rms_norm, rms_norm
from inference.worker.kernels.linear import MOST_ROWS, add_linear, linear_workspace, row_linear
from inference.worker.kernels.mxfp4 import Mxfp4Experts
from inference.worker.kernels.router import norm_router
from inference.worker.pages import PAGE
from inference.worker.weights import LayerWeights, PackedExperts, Shape, Weights

#: From the q/k/v projection [tokens, (Hq + 2 Hkv) * D] of a layer to its attention's output [tokens, Hq * D].
Attend = Callable[[int, Tensor], Tensor]


def adopt_experts(packed: PackedExperts, shape: Shape) -> Mxfp4Experts:
    """The experts of one layer in the layout that the kernels read, on the device where they are."""
    return Mxfp4Experts.pack(
        packed.gate_up_blocks,
        packed.gate_up_scales,
        packed.gate_up_bias,
        packed.down_blocks,
        packed.down_scales,
        packed.down_bias,
        shape.limit,
        shape.alpha,
    )


@dataclass(frozen=True, slots=True)
class GpuPages:
    """Keys and values, [pages, PAGE, kv_heads, head_dim] for each layer."""

    keys: list[Tensor]
    values: list[Tensor]

    @staticmethod
    def empty(shape: Shape, full: int, sliding: int, device: torch.device) -> GpuPages:
        """Take the memory. What was never written is never read."""

        def buffers() -> list[Tensor]:
            return [
                torch.empty(
                    (full if window is None else sliding, PAGE, shape.kv_heads, shape.head_dim),
                    dtype=torch.bfloat16,
                    device=device,
                )
                for window in shape.windows
            ]

        return GpuPages(buffers(), buffers())


class GpuNetwork:
    """Weights, tables of the rotation for ``places`` positions, and room for passes of ``tokens`` tokens."""

    def __init__(self, weights: Weights, places: int, tokens: int) -> None:
        self.weights = weights
        device = weights.embedding.device
        angles = torch.arange(places, dtype=torch.float32, device=device)[:, None] * weights.inv_freq
        self.cos = angles.cos() * weights.rope_scale
        self.sin = angles.sin() * weights.rope_scale
        self._experts = Workspace.empty(tokens, weights.shape.top_k, weights.layers[0].experts)
        self._linear = linear_workspace(weights.shape.hidden, device)

    def trunk(self, ids: Tensor, attend: Attend, *, normed: bool = False) -> Tensor:
        """The last layer's output [tokens, hidden] of ``ids`` [tokens], before or after the last norm."""
        weights = self.weights
        hidden = functional.embedding(ids, weights.embedding)
        if 1 < len(ids) <= MOST_ROWS:
            after = self._few(hidden, attend)
            return after if normed else hidden
        one_layer = self._one if len(ids) == 1 else self._many
        for number, layer in enumerate(weights.layers):
            hidden = one_layer(hidden, number, layer, attend)
        return rms_norm(hidden, weights.norm, weights.shape.eps) if normed else hidden

    def logits(self, normed: Tensor, out: Tensor) -> None:
        """Write [rows, vocab] bfloat16 of ``normed`` [rows, hidden]."""
        torch.mm(normed, self.weights.head.t(), out=out)

    def _few(self, hidden: Tensor, attend: Attend) -> Tensor:
        """All layers for so few tokens that reading the weights is what takes the time.

        ``hidden`` becomes the last one's output; its norm is returned. Every layer's first norm is taken by
        the kernel that ends the layer before it.
        """
        weights, shape = self.weights, self.weights.shape
        norms = [*(layer.norm for layer in weights.layers), weights.norm]
        normed = rms_norm(hidden, norms[0], shape.eps)
        for number, layer in enumerate(weights.layers):
            qkv = functional.linear(normed, layer.qkv, layer.qkv_bias)
            add_linear(attend(number, qkv), layer.out, layer.out_bias, hidden, self._linear)
            blocks = self._route(hidden, layer, normed)
            then = NextNorm(norms[number + 1], shape.eps, normed)
            routed_forward(normed, blocks, hidden, layer.experts, self._experts, hidden, then=then)
        return normed

    def _one(self, hidden: Tensor, number: int, layer: LayerWeights, attend: Attend) -> Tensor:
        """One layer for one token."""
        shape = self.weights.shape
        qkv = hidden.new_empty(1, shape.qkv_rows)
        row_linear(hidden, layer.qkv, layer.qkv_bias, qkv, norm=(layer.norm, shape.eps))
        row_linear(attend(number, qkv), layer.out, layer.out_bias, hidden, residual=hidden)
        normed = torch.empty_like(hidden)
        blocks = self._route(hidden, layer, normed)
        return routed_forward(normed, blocks, hidden, layer.experts, self._experts, hidden)

    def _route(self, hidden: Tensor, layer: LayerWeights, normed: Tensor) -> int:
        """Choose the experts; the norm of ``hidden`` goes into ``normed``."""
        block = plan_for(len(hidden)).gate_up.tokens
        norm = (layer.mlp_norm, self.weights.shape.eps)
        routing, top_k = self._experts.routing, self.weights.shape.top_k
        return norm_router(hidden, norm, layer.router, layer.router_bias, normed, routing, top_k, block)

    def _many(self, hidden: Tensor, number: int, layer: LayerWeights, attend: Attend) -> Tensor:
        """One layer for so many tokens that arithmetic is what takes the time."""
        shape = self.weights.shape
        normed = rms_norm(hidden, layer.norm, shape.eps)
        seen = attend(number, functional.linear(normed, layer.qkv, layer.qkv_bias))
        normed = add_rms_norm(
            functional.linear(seen, layer.out, layer.out_bias), hidden, layer.mlp_norm, shape.eps, out=normed
        )
        logits = functional.linear(normed, layer.router, layer.router_bias)
        return experts_forward(normed, logits, shape.top_k, hidden, layer.experts, self._experts)

"""The forward pass of gpt-oss on a CUDA GPU, with our kernels: MXFP4 experts stay in four bits.

The arithmetic is that of transformers' ``modeling_gpt_oss.py`` in bfloat16 with float32 sums; cosines and
sines stay in float32. Everything is launched without waiting for the device, so a CUDA graph can hold a pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.worker.kernels.experts import Workspace, experts_forward
from inference.worker.kernels.fused import add_rms_norm, rms_norm
from inference.worker.kernels.linear import linear
from inference.worker.kernels.mxfp4 import Mxfp4Experts
from inference.worker.pages import PAGE
from inference.worker.weights import PackedExperts, Shape, Weights

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

    @property
    def nbytes(self) -> int:
        """What they take."""
        return sum(tensor.nbytes for tensor in (*self.keys, *self.values))


class GpuNetwork:
    """Weights, tables of the rotation, and work space for passes of up to ``tokens`` tokens."""

    def __init__(self, weights: Weights, places: int, tokens: int, *, reproducible: bool) -> None:
        self.weights = weights
        self.reproducible = reproducible
        device = weights.embedding.device
        angles = torch.arange(places, dtype=torch.float32, device=device)[:, None] * weights.inv_freq
        self.cos = angles.cos() * weights.rope_scale
        self.sin = angles.sin() * weights.rope_scale
        self._workspace = Workspace.empty(tokens, weights.shape.top_k, weights.layers[0].experts)

    def trunk(self, ids: Tensor, attend: Attend) -> Tensor:
        """The last layer's normed output [tokens, hidden] of ``ids`` [tokens]."""
        weights, shape = self.weights, self.weights.shape
        hidden = torch.nn.functional.embedding(ids, weights.embedding)
        for number, layer in enumerate(weights.layers):
            qkv = linear(rms_norm(hidden, layer.norm, shape.eps), layer.qkv, layer.qkv_bias)
            seen = linear(attend(number, qkv), layer.out, layer.out_bias)
            normed = add_rms_norm(seen, hidden, layer.mlp_norm, shape.eps)
            hidden = experts_forward(
                normed,
                linear(normed, layer.router, layer.router_bias),
                shape.top_k,
                hidden,
                layer.experts,
                self._workspace,
                reproducible=self.reproducible,
            )
        return rms_norm(hidden, weights.norm, shape.eps)

    def logits(self, hidden: Tensor) -> Tensor:
        """[rows, vocab] bfloat16 of ``[rows, hidden]``."""
        return linear(hidden, self.weights.head, None)

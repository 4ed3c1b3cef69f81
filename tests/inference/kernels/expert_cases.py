"""Random experts in the checkpoint's format, and what they compute, in plain torch and float32."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from inference.worker.kernels.mxfp4 import Mxfp4Experts

CODES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0)


@dataclass(frozen=True)
class Checkpoint:
    """One layer's tensors under the checkpoint's names."""

    gate_up_blocks: Tensor
    gate_up_scales: Tensor
    gate_up_bias: Tensor
    down_blocks: Tensor
    down_scales: Tensor
    down_bias: Tensor

    def packed(self) -> Mxfp4Experts:
        """The layer as the kernels read it."""
        return Mxfp4Experts.pack(
            self.gate_up_blocks, self.gate_up_scales, self.gate_up_bias,
            self.down_blocks, self.down_scales, self.down_bias,
        )  # fmt: skip


def random_checkpoint(
    experts: int, hidden: int, intermediate: int, device: str = "cpu", seed: int = 0
) -> Checkpoint:
    """Weights of about 0.05, so that activations neither vanish nor are all clamped."""
    generator = torch.Generator(device).manual_seed(seed)

    def matrix(rows: int, columns: int) -> tuple[Tensor, Tensor, Tensor]:
        shape = (experts, rows, columns // 32)
        blocks = torch.randint(0, 256, (*shape, 16), dtype=torch.uint8, device=device, generator=generator)
        scales = torch.randint(119, 124, shape, dtype=torch.uint8, device=device, generator=generator)
        bias = torch.randn(experts, rows, device=device, generator=generator).to(torch.bfloat16)
        return blocks, scales, bias

    return Checkpoint(*matrix(2 * intermediate, hidden), *matrix(hidden, intermediate))


def dequantised(blocks: Tensor, scales: Tensor) -> Tensor:
    """float32 [..., rows, columns], exactly: the low half of a byte is the even column."""
    table = torch.tensor(CODES, device=blocks.device)
    pairs = torch.stack((blocks & 15, blocks >> 4), dim=-1).flatten(-2)
    weights = table[pairs.to(torch.int64)] * torch.exp2(scales.to(torch.float32) - 127)[..., None]
    return weights.flatten(-2)


def reference(
    x: Tensor, logits: Tensor, top_k: int, residual: Tensor | None, checkpoint: Checkpoint
) -> Tensor:
    """The definition, expert by expert, in float32."""
    _, chosen = torch.sort(logits.float(), dim=-1, descending=True, stable=True)
    chosen = chosen[:, :top_k]
    weights = torch.softmax(logits.float().gather(1, chosen), dim=-1)
    out = torch.zeros_like(x, dtype=torch.float32) if residual is None else residual.float()
    c = checkpoint
    for expert in range(c.down_blocks.shape[0]):
        token, rank = torch.where(chosen == expert)
        if not len(token):
            continue
        gate_up = x[token].float() @ dequantised(c.gate_up_blocks[expert], c.gate_up_scales[expert]).T
        gate_up = gate_up + c.gate_up_bias[expert].float()
        gate, up = gate_up[:, ::2].clamp(max=7.0), gate_up[:, 1::2].clamp(-7.0, 7.0)
        hidden = (up + 1) * gate * torch.sigmoid(1.702 * gate)
        result = hidden @ dequantised(c.down_blocks[expert], c.down_scales[expert]).T
        result = result + c.down_bias[expert].float()
        out = out.index_add(0, token, result * weights[token, rank, None])
    return out


def relative_error(out: Tensor, expected: Tensor) -> float:
    """The norm of the difference over the norm; no number where ``out`` has one that is none."""
    return float((out.float() - expected).norm() / expected.norm())

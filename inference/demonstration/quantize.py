"""MXFP4, the number format of gpt-oss's experts, in plain torch.

Blocks of 32 values along the input dimension share one power-of-two scale (E8M0, bias 127); each value is a
4-bit E2M1 number. Source: OCP Microscaling Formats (MX) specification 1.0; the checkpoint layout is that of
openai/gpt-oss: ``blocks`` uint8 [experts, out, in/32, 16], two values a byte, the first in the low nibble,
and ``scales`` uint8 [experts, out, in/32].
"""

from __future__ import annotations

import torch

BLOCK = 32
SCALE_BIAS = 127
#: The eight magnitudes of E2M1; a nibble's highest bit is the sign.
MAGNITUDES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
_BORDERS = (0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0)


def _magnitude_index(scaled: torch.Tensor) -> torch.Tensor:
    borders = torch.tensor(_BORDERS, dtype=scaled.dtype, device=scaled.device)
    return torch.bucketize(scaled.abs(), borders)


def _blocked(weight: torch.Tensor) -> torch.Tensor:
    """[experts, in, out] → [experts, out, in/32, 32] in float32."""
    experts, inputs, outputs = weight.shape
    if inputs % BLOCK:
        raise ValueError(f"The input dimension {inputs} is not a multiple of {BLOCK}.")
    return weight.float().transpose(1, 2).reshape(experts, outputs, inputs // BLOCK, BLOCK).contiguous()


def _exponents(blocked: torch.Tensor) -> torch.Tensor:
    """The power of two for each block that leaves the smaller squared error, of the two that can."""
    top = blocked.abs().amax(-1, keepdim=True).clamp(min=2.0**-100)
    base = torch.floor(torch.log2(top)) - 2
    magnitudes = torch.tensor(MAGNITUDES, dtype=blocked.dtype, device=blocked.device)

    def error(exponent: torch.Tensor) -> torch.Tensor:
        scale = torch.exp2(exponent)
        rounded = magnitudes[_magnitude_index(blocked / scale)] * scale
        return (rounded - blocked.abs()).square().sum(-1, keepdim=True)

    return torch.where(error(base + 1) < error(base), base + 1, base)


def quantize(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """[experts, in, out] → (blocks [experts, out, in/32, 16], scales [experts, out, in/32]), both uint8."""
    blocked = _blocked(weight)
    exponent = _exponents(blocked)
    index = _magnitude_index(blocked / torch.exp2(exponent))
    nibbles = (index + 8 * (blocked < 0)).to(torch.uint8)
    blocks = nibbles[..., 0::2] | (nibbles[..., 1::2] << 4)
    return blocks.contiguous(), (exponent.squeeze(-1) + SCALE_BIAS).to(torch.uint8).contiguous()


def dequantize(blocks: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """The inverse: (blocks, scales) → float32 [experts, in, out]."""
    values = torch.tensor([*MAGNITUDES, *(-m for m in MAGNITUDES)], device=blocks.device)
    nibbles = torch.stack((blocks & 15, blocks >> 4), dim=-1).flatten(-2).long()
    exponent = scales.to(torch.float32) - SCALE_BIAS
    blocked = values[nibbles] * torch.exp2(exponent)[..., None]
    return blocked.flatten(-2).transpose(1, 2).contiguous()


def fake_quantize(weight: torch.Tensor) -> torch.Tensor:
    """The rounded weight in the forward pass, the identity in the backward pass (straight-through)."""
    with torch.no_grad():
        blocked = _blocked(weight)
        scale = torch.exp2(_exponents(blocked))
        magnitudes = torch.tensor(MAGNITUDES, dtype=blocked.dtype, device=blocked.device)
        rounded = magnitudes[_magnitude_index(blocked / scale)] * scale * blocked.sign()
        difference = rounded.flatten(-2).transpose(1, 2).to(weight.dtype) - weight
    return weight + difference

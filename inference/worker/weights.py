"""The weights of a checkpoint as the engine's forward passes want them, read straight from its files.

Names and shapes are those of transformers' ``GptOssForCausalLM``. Matrices are ``[out, in]``; query, key and
value rows stand in one matrix. Experts are either dense, or MXFP4 bytes as they are in the files.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import GptOssConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from inference.errors import ModelLoadError
from inference.worker.checkpoint import Checkpoint, weight_files

logger = logging.getLogger(__name__)

_open_file: Any = safe_open  # the library is only partly annotated

_VALUES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a gpt-oss model. ``windows`` has one entry a layer: the window, or ``None`` for full."""

    vocab: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    experts: int
    top_k: int
    windows: tuple[int | None, ...]
    eps: float
    limit: float
    alpha: float
    max_positions: int

    @property
    def qkv_rows(self) -> int:
        return (self.heads + 2 * self.kv_heads) * self.head_dim

    @property
    def window(self) -> int | None:
        """The window of the sliding layers, if there are any."""
        return next((window for window in self.windows if window is not None), None)

    @property
    def has_full(self) -> bool:
        return None in self.windows

    def layers_of(self, window: int | None) -> int:
        """How many layers have this window."""
        return self.windows.count(window)

    @staticmethod
    def of(config: Any) -> Shape:
        """The shape that a ``GptOssConfig`` describes."""
        windows = [
            config.sliding_window if kind == "sliding_attention" else None for kind in config.layer_types
        ]
        return Shape(
            config.vocab_size,
            config.hidden_size,
            config.intermediate_size,
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
            config.num_local_experts,
            config.num_experts_per_tok,
            tuple(windows),
            config.rms_norm_eps,
            # Constants of the published models, which older releases of transformers do not configure.
            float(getattr(config, "swiglu_limit", 7.0)),
            float(getattr(config, "swiglu_alpha", 1.702)),
            config.max_position_embeddings,
        )


@dataclass(frozen=True, slots=True)
class DenseExperts:
    """``gate_up`` [experts, 2 * intermediate, hidden], all gate rows before all up rows, ``down`` [experts,
    hidden, intermediate], and their biases.
    """

    gate_up: Tensor
    gate_up_bias: Tensor
    down: Tensor
    down_bias: Tensor


@dataclass(frozen=True, slots=True)
class PackedExperts:
    """As the files have them: ``*_blocks`` uint8 [experts, out, in / 32, 16], ``*_scales`` uint8 [experts,
    out, in / 32]; gate and up rows in turn.
    """

    gate_up_blocks: Tensor
    gate_up_scales: Tensor
    gate_up_bias: Tensor
    down_blocks: Tensor
    down_scales: Tensor
    down_bias: Tensor


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """One layer. ``experts`` may also be what a backend made of the packed experts."""

    norm: Tensor
    qkv: Tensor
    qkv_bias: Tensor
    out: Tensor
    out_bias: Tensor
    sinks: Tensor
    mlp_norm: Tensor
    router: Tensor
    router_bias: Tensor
    experts: Any


@dataclass(frozen=True, slots=True)
class Weights:
    """All weights. ``inv_freq`` (float32 [head_dim / 2]) and ``rope_scale`` are the rotation, with YaRN."""

    shape: Shape
    embedding: Tensor
    layers: list[LayerWeights]
    norm: Tensor
    head: Tensor
    inv_freq: Tensor
    rope_scale: float


def model_config(checkpoint: Checkpoint) -> Any:
    """The checkpoint's configuration as transformers understands it."""
    return GptOssConfig(**{k: v for k, v in checkpoint.config.items() if k != "quantization_config"})


def rotation(config: Any, device: torch.device) -> tuple[Tensor, float]:
    """Inverse frequencies float32 [head_dim / 2] and the scale of cos and sin, by transformers' own rules."""
    kind = config.rope_parameters["rope_type"]
    if kind != "default":
        inv_freq, scale = ROPE_INIT_FUNCTIONS[kind](config, device)
        return inv_freq.float(), float(scale)
    steps = torch.arange(0, config.head_dim, 2, dtype=torch.float32, device=device) / config.head_dim
    return 1.0 / (config.rope_parameters["rope_theta"] ** steps), 1.0


def dequantize(blocks: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
    """MXFP4 bytes to ``[..., out, in]``: exact in bfloat16 and float32.

    Source: OCP Microscaling Formats (MX) specification 1.0, E2M1 values with E8M0 scales.
    """
    values = torch.tensor([*_VALUES, *(-v for v in _VALUES)], device=blocks.device)
    nibbles = torch.stack((blocks & 15, blocks >> 4), dim=-1).flatten(-2)
    exponent = scales.to(torch.int32) - 127
    return torch.ldexp(values[nibbles.int()], exponent[..., None]).flatten(-2).to(dtype)


class Reader:
    """The tensors of a checkpoint by name, from all of its files. ``progress`` is told after each layer."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> None:
        self._device, self._dtype = device, dtype
        self._files: list[Any] = [
            _open_file(str(checkpoint.folder / name), "pt", device=str(device))
            for name in weight_files(checkpoint.folder)
        ]
        self._place = {name: file for file in self._files for name in file.keys()}  # noqa: SIM118

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files:
            file.__exit__(kind, error, trace)

    def raw(self, name: str) -> Tensor:
        """A tensor as it is stored."""
        tensor: Tensor = self._place[name].get_tensor(name)
        return tensor

    def __contains__(self, name: str) -> bool:
        return name in self._place

    def get(self, name: str) -> Tensor:
        """A tensor in the engine's number type."""
        return self.raw(name).to(self._dtype)

    def joined(self, prefix: str, kind: str) -> Tensor:
        """Query, key and value rows one under the other."""
        return torch.cat([self.get(f"{prefix}.{part}_proj.{kind}") for part in "qkv"])

    def biases(self, prefix: str, shape: Shape) -> tuple[Tensor, Tensor]:
        """Those of the attention; zeros for a fine-tune without them."""
        if f"{prefix}.q_proj.bias" in self:
            return self.joined(prefix, "bias"), self.get(f"{prefix}.o_proj.bias")
        zeros = torch.zeros(max(shape.qkv_rows, shape.hidden), dtype=self._dtype, device=self._device)
        return zeros[: shape.qkv_rows], zeros[: shape.hidden]

    def experts(self, prefix: str, *, packed: bool) -> DenseExperts | PackedExperts:
        biases = self.get(f"{prefix}.gate_up_proj_bias"), self.get(f"{prefix}.down_proj_bias")
        names = [f"{prefix}.{part}_proj" for part in ("gate_up", "down")]
        if names[0] in self:  # stored are [experts, in, out]
            up, down = (self.get(name).transpose(1, 2).contiguous() for name in names)
            return DenseExperts(_parted(up), _parted(biases[0]), down, biases[1])
        stored = [(self.raw(f"{name}_blocks"), self.raw(f"{name}_scales")) for name in names]
        if packed:
            return PackedExperts(*stored[0], biases[0], *stored[1], biases[1])
        up, down = (_unpacked(blocks, scales, self._dtype) for blocks, scales in stored)
        return DenseExperts(_parted(up), _parted(biases[0]), down, biases[1])


def _parted(rows: Tensor) -> Tensor:
    """``[experts, rows, ...]`` with gate and up rows in turn to all gate rows before all up rows."""
    return torch.cat((rows[:, ::2], rows[:, 1::2]), dim=1)


def _unpacked(blocks: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
    """One expert after another, because the steps between take many times the room of the result."""
    experts, outside, groups = scales.shape
    dense = torch.empty(experts, outside, groups * 32, dtype=dtype, device=blocks.device)
    for expert in range(experts):
        dense[expert] = dequantize(blocks[expert], scales[expert], dtype)
    return dense


def read_weights(
    checkpoint: Checkpoint,
    device: torch.device,
    dtype: torch.dtype,
    progress: Callable[[str], None],
    adopt: Callable[[PackedExperts, Shape], Any] | None = None,
) -> Weights:
    """Read every weight. MXFP4 experts are unpacked, or with ``adopt`` stay bytes: it turns those of each
    layer into what a backend reads best.

    Raises:
        ModelLoadError: ``not_enough_memory`` or ``corrupt_model``.
    """
    config = model_config(checkpoint)
    shape = Shape.of(config)
    try:
        with Reader(checkpoint, device, dtype) as reader:
            layers = []
            for number in range(len(shape.windows)):
                progress(f"Loading layer {number + 1} of {len(shape.windows)}")
                layers.append(_layer(reader, f"model.layers.{number}", shape, adopt))
            embedding = reader.get("model.embed_tokens.weight")
            tied = config.tie_word_embeddings or "lm_head.weight" not in reader
            head = embedding if tied else reader.get("lm_head.weight")
            norm = reader.get("model.norm.weight")
    except (torch.OutOfMemoryError, MemoryError):
        raise ModelLoadError("There was not enough memory to load this model.", "not_enough_memory") from None
    except (SafetensorError, KeyError) as error:
        logger.warning("A weight could not be read.", exc_info=True)
        raise ModelLoadError("A weight file of the model is damaged.", "corrupt_model") from error
    return Weights(shape, embedding, layers, norm, head, *rotation(config, device))


def _layer(
    reader: Reader,
    prefix: str,
    shape: Shape,
    adopt: Callable[[PackedExperts, Shape], Any] | None,
) -> LayerWeights:
    attention, mlp = f"{prefix}.self_attn", f"{prefix}.mlp"
    experts: Any = reader.experts(f"{mlp}.experts", packed=adopt is not None)
    if adopt is not None and isinstance(experts, PackedExperts):
        experts = adopt(experts, shape)
    qkv_bias, out_bias = reader.biases(attention, shape)
    return LayerWeights(
        norm=reader.get(f"{prefix}.input_layernorm.weight"),
        qkv=reader.joined(attention, "weight"),
        qkv_bias=qkv_bias,
        out=reader.get(f"{attention}.o_proj.weight"),
        out_bias=out_bias,
        sinks=reader.get(f"{attention}.sinks"),
        mlp_norm=reader.get(f"{prefix}.post_attention_layernorm.weight"),
        router=reader.get(f"{mlp}.router.weight"),
        router_bias=reader.get(f"{mlp}.router.bias"),
        experts=experts,
    )

"""A checkpoint folder becomes a model that answers: checks, the choice of number type, weights, warm-up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import GptOssConfig, GptOssForCausalLM
from transformers.utils import logging as _transformers_logging
from transformers.utils.quantization_config import Mxfp4Config

from inference.catalog import fits, gigabytes
from inference.errors import ModelLoadError
from inference.types import ModelStage, ModelStatus
from inference.worker.checkpoint import Checkpoint
from inference.worker.device import Machine
from inference.worker.kv import Geometry, KvRows, reserved_tokens
from inference.worker.messages import EngineConfig, Limits
from inference.worker.network import CompactHead, LoadedModel

logger = logging.getLogger(__name__)

# transformers is only partly annotated.
_network_class: Any = GptOssForCausalLM
_library_log: Any = _transformers_logging

Progress = Callable[[str], None]

_DAMAGED = "The model's weights do not fit its configuration: the folder is damaged or not a gpt-oss model."
_ATTENTION_BYTES = {"cpu": 256_000_000, "cuda": 2_000_000_000}
_KV_SHARE = {"cpu": 0.25, "cuda": 0.35}  # growing a batch copies it, so less than half of what is free


@dataclass(frozen=True, slots=True)
class Plan:
    """How a checkpoint will be loaded. ``note`` is a sentence for people, or empty."""

    dtype: torch.dtype
    native_mxfp4: bool
    note: str = ""


def make_plan(checkpoint: Checkpoint, machine: Machine) -> Plan:
    """Choose the number type that fits into memory.

    A GPU runs bfloat16, with MXFP4 experts as they are when the kernels are there. A CPU runs float32, or
    bfloat16 when only that fits.

    Raises:
        ModelLoadError: ``not_enough_memory``, with the figures.
    """
    free = machine.free_bytes()
    if not machine.is_gpu:
        for dtype in (torch.float32, torch.bfloat16):
            if checkpoint.bytes_needed(dtype.itemsize, native_mxfp4=False) <= free:
                return Plan(dtype, native_mxfp4=False)
        needed = checkpoint.bytes_needed(2, native_mxfp4=False)
        raise ModelLoadError(
            f"This model needs {gigabytes(needed)} of memory, and {gigabytes(free)} are free.",
            "not_enough_memory",
        )
    unpacked = checkpoint.bytes_needed(2, native_mxfp4=False)
    packed = checkpoint.bytes_needed(2, native_mxfp4=True)
    if checkpoint.mxfp4 and machine.native_mxfp4:
        if fits(packed, free):
            return Plan(torch.bfloat16, native_mxfp4=True)
        raise ModelLoadError(
            f"This model needs {gigabytes(packed)} of GPU memory and some more; {gigabytes(free)} are free.",
            "not_enough_memory",
        )
    sizes = f"{gigabytes(unpacked)} instead of {gigabytes(packed)}"
    if fits(unpacked, free):
        note = f"The MXFP4 kernels are missing, so the weights run unpacked and take {sizes}."
        return Plan(torch.bfloat16, native_mxfp4=False, note=note if checkpoint.mxfp4 else "")
    why = (
        f"Without the MXFP4 kernels this model takes {sizes}"
        if checkpoint.mxfp4
        else (f"This model needs {gigabytes(unpacked)} of GPU memory")
    )
    raise ModelLoadError(f"{why}, and {gigabytes(free)} are free.", "not_enough_memory")


def load(checkpoint: Checkpoint, machine: Machine, engine: EngineConfig, progress: Progress) -> LoadedModel:
    """Load a checkpoint, whole or not at all; ``progress`` is told each stage and may raise to stop it.

    The status of the result lacks what the files do not say: name, revision, whether it is the demonstration.

    Raises:
        ModelLoadError: ``corrupt_model``, ``not_enough_memory`` or ``load_failed``.
    """
    progress("Checking the files")
    check_tensors(checkpoint)
    plan = make_plan(checkpoint, machine)
    network = _read_weights(checkpoint, machine, plan, progress)
    model = _wrap(network, checkpoint, machine, plan, engine)
    progress("Warming up")
    with torch.inference_mode():
        kv = KvRows(model.geometry, 3)
        model.prefill(kv, [0, 0], last=True)
        model.decode(kv, [0], [0])
    return model


def check_tensors(checkpoint: Checkpoint) -> None:
    """Compare every tensor's name and shape with what the configuration asks for, before weights are read.

    transformers fills tensors that are missing with random numbers and only logs it.

    Raises:
        ModelLoadError: ``corrupt_model``.
    """
    try:
        config = GptOssConfig(**{k: v for k, v in checkpoint.config.items() if k != "quantization_config"})
        with torch.device("meta"):
            network = _network_class(config)
    except Exception as error:
        logger.warning("A model's configuration was refused.", exc_info=True)
        raise ModelLoadError("The model's configuration makes no sense.", "corrupt_model") from error
    tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
    for name, parameter in network.named_parameters(remove_duplicate=False):
        shape = tuple(parameter.shape)
        if name not in tied and not _is_stored(checkpoint, name, shape):
            logger.warning("The checkpoint lacks %s in the right shape.", name)
            raise ModelLoadError(_DAMAGED, "corrupt_model")


def _is_stored(checkpoint: Checkpoint, name: str, shape: tuple[int, ...]) -> bool:
    stored = checkpoint.tensors.get(name)
    if stored is not None:
        return stored.shape == shape and stored.dtype != "U8"
    if not checkpoint.mxfp4 or not name.endswith(("gate_up_proj", "down_proj")):
        return False
    # Stored are [experts, out, in / 32, 16] with two weights a byte; the parameter is [experts, in, out].
    experts, inside, outside = shape
    blocks = checkpoint.tensors.get(f"{name}_blocks")
    scales = checkpoint.tensors.get(f"{name}_scales")
    return (
        blocks is not None
        and scales is not None
        and (blocks.dtype, scales.dtype) == ("U8", "U8")
        and blocks.shape == (experts, outside, inside // 32, 16)
        and scales.shape == (experts, outside, inside // 32)
    )


def _read_weights(checkpoint: Checkpoint, machine: Machine, plan: Plan, progress: Progress) -> Any:
    """transformers' model with every weight from the files, on the device, in ``plan.dtype``."""
    options: dict[str, Any] = {}
    if checkpoint.mxfp4:
        options["quantization_config"] = Mxfp4Config(dequantize=not plan.native_mxfp4)
    if machine.is_gpu:
        options["device_map"] = {"": str(machine.device)}
    try:
        with _weights_progress(progress):
            network, info = _network_class.from_pretrained(
                checkpoint.folder,
                dtype=plan.dtype,
                attn_implementation="eager",
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
                **options,
            )
    except (torch.OutOfMemoryError, MemoryError):
        raise ModelLoadError(
            f"There was not enough memory to load this model ({gigabytes(machine.free_bytes())} are free).",
            "not_enough_memory",
        ) from None
    except SafetensorError as error:
        raise ModelLoadError("A weight file of the model is damaged.", "corrupt_model") from error
    # Not even one weight may be made up.
    if info["missing_keys"] or info["mismatched_keys"] or info.get("error_msgs"):
        logger.error("Weights were not loaded: %s %s", info["missing_keys"], info["mismatched_keys"])
        raise ModelLoadError(_DAMAGED, "corrupt_model")
    network.requires_grad_(False)
    if plan.dtype == torch.float32:
        network.float()  # unpacked experts come as bfloat16, whatever was asked for
    return network.eval()


@contextmanager
def _weights_progress(progress: Progress) -> Iterator[None]:
    """Tell ``progress`` what transformers would draw as a bar; nothing is written to the terminal."""
    _library_log.set_verbosity_error()
    set_hook = getattr(_library_log, "set_tqdm_hook", None)
    if set_hook is None:  # older releases have no hook
        _library_log.disable_progress_bar()
        yield
        return
    previous = set_hook(lambda _factory, args, kwargs: _Bar(progress, *args, **kwargs))
    try:
        yield
    finally:
        set_hook(previous)


class _Bar:
    """Stands in for a tqdm bar over an iterable."""

    def __init__(self, progress: Progress, iterable: Any = (), *_: Any, **options: Any) -> None:
        self._progress = progress
        self._iterable = iterable
        total = options.get("total")
        self._total = len(iterable) if total is None and hasattr(iterable, "__len__") else total

    def __iter__(self) -> Iterator[Any]:
        for number, item in enumerate(self._iterable, 1):
            self._progress(f"Loading weights {number} of {self._total}")
            yield item

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to clean up."""

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_args, **_kwargs: None


def _wrap(
    network: Any, checkpoint: Checkpoint, machine: Machine, plan: Plan, engine: EngineConfig
) -> LoadedModel:
    """Put what is known about the loaded weights together; its status has no name and revision yet."""
    config = network.config
    windows = [config.sliding_window if kind == "sliding_attention" else None for kind in config.layer_types]
    geometry = Geometry(
        tuple(windows), config.num_key_value_heads, config.head_dim, plan.dtype, machine.device
    )
    kind = machine.device.type
    free = machine.free_bytes()
    budget = (
        int(free * _KV_SHARE.get(kind, 0.25)) if engine.kv_budget_bytes is None else engine.kv_budget_bytes
    )
    limits = Limits(config.vocab_size, _context_length(geometry, budget, config.max_position_embeddings))
    max_running = engine.max_running or (32 if machine.is_gpu else 8)
    dtype = str(plan.dtype).removeprefix("torch.")
    unpacked = f"dequantised to {dtype}" if checkpoint.mxfp4 else "none"
    status = ModelStatus(
        name="",
        stage=ModelStage.READY,
        note=plan.note,
        device=kind,
        dtype=dtype,
        quantization="mxfp4" if plan.native_mxfp4 else unpacked,
        parameters=checkpoint.parameters,
        context_length=limits.context_length,
    )
    return LoadedModel(
        status=status,
        limits=limits,
        network=network,
        geometry=geometry,
        decode_width=max_running if machine.is_gpu else 1,
        max_running=max_running,
        kv_budget=budget,
        max_prefill_chunk=engine.max_prefill_chunk,
        attention_heads=config.num_attention_heads,
        attention_bytes=_ATTENTION_BYTES.get(kind, _ATTENTION_BYTES["cpu"]),
        head=CompactHead.of(network.lm_head.weight),
    )


def _context_length(geometry: Geometry, budget: int, wanted: int) -> int:
    """The most tokens, up to ``wanted``, that one request alone may hold within ``budget`` bytes.

    Raises:
        ModelLoadError: ``not_enough_memory``; not even a short conversation fits.
    """
    size = reserved_tokens(wanted)
    if geometry.bytes_for(size) <= budget:
        return wanted
    smaller = [reserved for power in range(10, 31) for reserved in (2**power, 2**power * 3 // 2)]
    best = max((reserved for reserved in smaller if geometry.bytes_for(reserved) <= budget), default=0)
    if best == 0:
        raise ModelLoadError(
            "The model fits into memory, but no room is left for a conversation "
            f"({gigabytes(geometry.bytes_for(1024))} are needed, {gigabytes(budget)} are free for it).",
            "not_enough_memory",
        )
    return min(best, wanted)

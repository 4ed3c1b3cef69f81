"""A checkpoint folder becomes a model that answers: checks, the choice of number type, weights, warm-up."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GptOssForCausalLM

from inference.catalog import fits, gigabytes
from inference.errors import ModelLoadError
from inference.types import GenerationRequest, ModelStage, ModelStatus, SamplingParams
from inference.worker.capacity import Capacity, page_bytes, plan_capacity
from inference.worker.checkpoint import Checkpoint
from inference.worker.core import EngineCore
from inference.worker.device import Machine
from inference.worker.messages import CpuDtype, EngineConfig, Limits
from inference.worker.network import LoadedModel
from inference.worker.pages import KvPages
from inference.worker.plain import PlainNetwork
from inference.worker.plain_attention import PagedKv
from inference.worker.runner import PlainRunner, Runner
from inference.worker.weights import PackedExperts, Shape, Weights, model_config, read_weights

logger = logging.getLogger(__name__)

# transformers is only partly annotated.
_network_class: Any = GptOssForCausalLM

Progress = Callable[[str], None]

_DAMAGED = "The model's weights do not fit its configuration: the folder is damaged or not a gpt-oss model."
_MAX_RUNNING = 32
_CHUNK = {"cpu": 512, "cuda": 2048}  # prompt tokens in one step
_CHUNK_BESIDE = 512  # on a GPU, while replies are written
_ROWS_BESIDE = 2
_KV_SHARE = {"cpu": 0.25, "cuda": 0.8}  # of what is free beside the weights
_GOOD_SHARE = 0.9  # of the context that a model would have alone; for less the one before it has to go


@dataclass(frozen=True, slots=True)
class Plan:
    """How a checkpoint will be loaded. ``note`` is a sentence for people, or empty."""

    dtype: torch.dtype
    native_mxfp4: bool
    note: str = ""


def make_plan(
    checkpoint: Checkpoint, machine: Machine, free: int | None = None, cpu_dtype: CpuDtype = "float32"
) -> Plan:
    """Choose the number type that fits into ``free`` bytes (``None``: what is free now).

    A GPU runs bfloat16, with MXFP4 experts as they are when it can run our kernels. A CPU runs ``cpu_dtype``,
    or bfloat16 when only that fits.

    Raises:
        ModelLoadError: ``not_enough_memory``, with the figures.
    """
    free = machine.free_bytes() if free is None else free
    if not machine.is_gpu:
        for dtype in (torch.float32, torch.bfloat16) if cpu_dtype == "float32" else (torch.bfloat16,):
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
        note = f"This GPU cannot run four-bit weights, so they run unpacked and take {sizes}."
        return Plan(torch.bfloat16, native_mxfp4=False, note=note if checkpoint.mxfp4 else "")
    why = (
        f"Unpacked, for this GPU cannot run four-bit weights, this model takes {sizes}"
        if checkpoint.mxfp4
        else (f"This model needs {gigabytes(unpacked)} of GPU memory")
    )
    raise ModelLoadError(f"{why}, and {gigabytes(free)} are free.", "not_enough_memory")


def fits_beside(checkpoint: Checkpoint, machine: Machine, engine: EngineConfig, loaded_bytes: int) -> bool:
    """Whether the model, which was checked, gets beside the loaded ones nearly what it would get alone.

    That is the same number type, and at least nine tenths of the context.

    Raises:
        ModelLoadError: ``not_enough_memory``; even without them it has no room.
    """
    shape = Shape.of(model_config(checkpoint))

    def foresee(free: int) -> tuple[Plan, int]:
        plan = make_plan(checkpoint, machine, free, engine.cpu_dtype)
        left = free - checkpoint.bytes_needed(plan.dtype.itemsize, native_mxfp4=plan.native_mxfp4)
        return plan, _room(shape, left, plan, machine, engine).context_length

    alone, longest = foresee(machine.free_alone(loaded_bytes))
    try:
        beside, context = foresee(machine.free_bytes())
    except ModelLoadError:
        return False
    return (beside.dtype, beside.native_mxfp4) == (alone.dtype, alone.native_mxfp4) and (
        context >= longest * _GOOD_SHARE
    )


def load(checkpoint: Checkpoint, machine: Machine, engine: EngineConfig, progress: Progress) -> LoadedModel:
    """Load a checkpoint, whole or not at all; ``progress`` is told each stage and may raise to stop it.

    The status of the result lacks what the files do not say: name, revision, whether it is the demonstration.

    Raises:
        ModelLoadError: ``corrupt_model``, ``not_enough_memory`` or ``load_failed``.
    """
    progress("Checking the files")
    check_tensors(checkpoint)
    plan = make_plan(checkpoint, machine, cpu_dtype=engine.cpu_dtype)
    adopt = _adopter() if plan.native_mxfp4 else None
    weights = read_weights(checkpoint, machine.device, plan.dtype, progress, adopt)
    try:
        model = _wrap(weights, checkpoint, machine, plan, engine)
        progress("Warming up")
        _warm_up(model)
        model.runner.capture()
    except (torch.OutOfMemoryError, MemoryError):
        raise ModelLoadError(
            "The model fits into memory, but no room is left to work with it.", "not_enough_memory"
        ) from None
    return model


def check_tensors(checkpoint: Checkpoint) -> None:
    """Compare every tensor's name and shape with what the configuration asks for, before weights are read.

    transformers fills tensors that are missing with random numbers and only logs it.

    Raises:
        ModelLoadError: ``corrupt_model``.
    """
    try:
        config = model_config(checkpoint)
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


def _room(shape: Shape, free: int, plan: Plan, machine: Machine, engine: EngineConfig) -> Capacity:
    """The pages, where so many bytes are free beside the weights."""
    kind = machine.device.type
    budget = engine.kv_budget_bytes
    if budget is None:
        budget = int(free * _KV_SHARE[kind])
    chunk = engine.max_prefill_chunk or _CHUNK[kind]
    max_running, steady = engine.max_running or _MAX_RUNNING, machine.is_gpu and engine.reproducible
    return plan_capacity(shape, budget, plan.dtype.itemsize, max_running, chunk, steady=steady)


def _wrap(
    weights: Weights, checkpoint: Checkpoint, machine: Machine, plan: Plan, engine: EngineConfig
) -> LoadedModel:
    """Put what is known about the loaded weights together; its status has no name and revision yet."""
    shape, kind = weights.shape, machine.device.type
    max_running = engine.max_running or _MAX_RUNNING
    chunk = engine.max_prefill_chunk or _CHUNK[kind]
    room = _room(shape, machine.free_bytes(), plan, machine, engine)
    make = _gpu_runner if plan.native_mxfp4 else _plain_runner
    reproducible = machine.is_gpu and engine.reproducible  # on a CPU replies always are
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
        context_length=room.context_length,
    )
    return LoadedModel(
        status=status,
        limits=Limits(shape.vocab, room.context_length),
        runner=make(weights, room, max_running, chunk, engine),
        pages=KvPages(room.full, room.sliding, shape.window, reuse=not reproducible),
        max_running=max_running,
        chunk_tokens=chunk,
        # In the reproducible mode a prompt is cut in the same places whoever else writes.
        chunk_beside=_CHUNK_BESIDE if machine.is_gpu and not reproducible else None,
        # On a GPU the number of tokens in a pass changes how they are rounded.
        max_pieces=1 if reproducible else None,
        # On a GPU a step takes hardly longer with more rows.
        rows_beside=None if machine.is_gpu else _ROWS_BESIDE,
        steady=reproducible,
        held_bytes=checkpoint.bytes_needed(plan.dtype.itemsize, native_mxfp4=plan.native_mxfp4)
        + room.full * page_bytes(shape, None, plan.dtype.itemsize)
        + room.sliding * page_bytes(shape, shape.window, plan.dtype.itemsize),
    )


def _plain_runner(
    weights: Weights, room: Capacity, _slots: int, _chunk: int, _engine: EngineConfig
) -> Runner:
    network = PlainNetwork(weights)
    kv = PagedKv(network.shape, room.full, room.sliding, network.dtype, network.device)
    return PlainRunner(network, kv)


def _adopter() -> Callable[[PackedExperts, Shape], Any]:
    from inference.worker.gpu_network import adopt_experts

    return adopt_experts


def _gpu_runner(weights: Weights, room: Capacity, slots: int, chunk: int, engine: EngineConfig) -> Runner:
    # Triton is there only where there is a GPU.
    from inference.worker.gpu import GpuRunner
    from inference.worker.gpu_network import GpuNetwork, GpuPages

    network = GpuNetwork(weights, room.context_length + 1, max(slots, chunk))
    pages = GpuPages.empty(weights.shape, room.full, room.sliding, weights.embedding.device)
    return GpuRunner(network, pages, slots, room.context_length, reproducible=engine.reproducible)


def _warm_up(model: LoadedModel) -> None:
    """One request goes through both forward passes, and leaves nothing behind."""
    params = SamplingParams(temperature=0, max_tokens=2)
    core = EngineCore(model, lambda _event: None)
    core.submit(GenerationRequest("warm-up", (0, 0), params), time.monotonic())
    while core.busy:
        core.step()

"""Speed of the engine on one CUDA GPU: ``python -m benchmarks.engine_gpu``.

Random weights of the gpt-oss-20b shape (MXFP4 experts, bfloat16 for the rest) run through the engine's own
step loop, as requests do. Speed does not depend on what the weights are, but for the routing: random experts
are chosen evenly, so at 32 streams nearly all of them are read in every step. Exactness is measured on the
demonstration model.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from inference.types import (
    GenerationRequest,
    ModelStage,
    ModelStatus,
    SamplingParams,
    TokenEvent,
    TokensFinished,
    TokensGenerated,
)
from inference.worker.capacity import plan_capacity
from inference.worker.core import EngineCore
from inference.worker.gpu import GpuRunner
from inference.worker.gpu_network import GpuNetwork, GpuPages, adopt_experts
from inference.worker.messages import Limits
from inference.worker.network import LoadedModel
from inference.worker.pages import KvPages
from inference.worker.weights import LayerWeights, PackedExperts, Shape, Weights

GIB = 2**30
CHUNK = 2048
SLOTS = 32
YARN_SCALE = 1.3465735902799727  # 0.1 * ln(32) + 1


def shape_20b(layers: int) -> Shape:
    """The published sizes of gpt-oss-20b."""
    windows = tuple(128 if number % 2 == 0 else None for number in range(layers))
    return Shape(201_088, 2880, 2880, 64, 8, 64, 32, 4, windows, 1e-5, 7.0, 1.702, 131_072)


def random_weights(shape: Shape, device: torch.device) -> Weights:
    """Weights of a size that keeps the numbers of all layers near one."""
    generator = torch.Generator(device).manual_seed(0)

    def normal(*size: int, scale: float = 0.02) -> torch.Tensor:
        made = torch.empty(size, dtype=torch.bfloat16, device=device)
        return made.normal_(0, scale, generator=generator)

    def packed() -> PackedExperts:
        def blocks(rows: int, columns: int) -> torch.Tensor:
            size = (shape.experts, rows, columns // 32, 16)
            return torch.randint(0, 256, size, dtype=torch.uint8, device=device, generator=generator)

        def scales(rows: int, columns: int) -> torch.Tensor:
            size = (shape.experts, rows, columns // 32)
            return torch.randint(119, 122, size, dtype=torch.uint8, device=device, generator=generator)

        hidden, inside = shape.hidden, shape.intermediate
        return PackedExperts(
            blocks(2 * inside, hidden),
            scales(2 * inside, hidden),
            normal(shape.experts, 2 * inside),
            blocks(hidden, inside),
            scales(hidden, inside),
            normal(shape.experts, hidden),
        )

    def layer() -> LayerWeights:
        attention = shape.heads * shape.head_dim
        return LayerWeights(
            norm=normal(shape.hidden, scale=0.1) + 1,
            qkv=normal(shape.qkv_rows, shape.hidden),
            qkv_bias=normal(shape.qkv_rows),
            out=normal(shape.hidden, attention),
            out_bias=normal(shape.hidden),
            sinks=normal(shape.heads, scale=1.0),
            mlp_norm=normal(shape.hidden, scale=0.1) + 1,
            router=normal(shape.experts, shape.hidden),
            router_bias=normal(shape.experts),
            experts=adopt_experts(packed(), shape),
        )

    steps = torch.arange(0, shape.head_dim, 2, dtype=torch.float32, device=device) / shape.head_dim
    return Weights(
        shape,
        normal(shape.vocab, shape.hidden, scale=1.0),
        [layer() for _ in shape.windows],
        normal(shape.hidden, scale=0.1) + 1,
        normal(shape.vocab, shape.hidden),
        150_000.0**-steps,
        YARN_SCALE,
    )


def make_model(weights: Weights, *, reproducible: bool = False) -> LoadedModel:
    """The model as the loader would put it together."""
    shape, device = weights.shape, weights.embedding.device
    room = plan_capacity(shape, 20 * GIB, 2, SLOTS, CHUNK, steady=reproducible)
    network = GpuNetwork(weights, room.context_length + 1, CHUNK)
    pages = GpuPages.empty(shape, room.full, room.sliding, device)
    runner = GpuRunner(network, pages, SLOTS, room.context_length, reproducible=reproducible)
    status = ModelStatus("random", ModelStage.READY)
    model = LoadedModel(
        status=status,
        limits=Limits(shape.vocab, room.context_length),
        runner=runner,
        pages=KvPages(room.full, room.sliding, shape.window, reuse=not reproducible),
        max_running=SLOTS,
        chunk_tokens=CHUNK,
        chunk_beside=None if reproducible else 512,
        max_pieces=1 if reproducible else None,
        steady=reproducible,
    )
    run(model, 1, 8, 4)
    runner.capture()
    return model


class Recorder:
    """Keeps when each request got which token."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}
        self.ids: dict[str, list[int]] = {}

    def __call__(self, event: TokenEvent) -> None:
        if isinstance(event, TokensGenerated):
            now = time.perf_counter()
            self.times.setdefault(event.request_id, []).extend(now for _ in event.token_ids)
            self.ids.setdefault(event.request_id, []).extend(event.token_ids)
        elif isinstance(event, TokensFinished) and event.error:
            raise SystemExit(f"{event.request_id} failed: {event.error_code}")


_prompts = torch.Generator().manual_seed(1)


def prompt(length: int) -> tuple[int, ...]:
    """Random ids; no two prompts share a prefix."""
    return tuple(torch.randint(0, 200_000, (length,), generator=_prompts).tolist())


def run(
    model: LoadedModel, streams: int, length: int, new: int, **sampling: Any
) -> tuple[float, float, Recorder]:
    """Tokens a second of all streams together, seconds to the last first token, and what was told.

    The rate counts from the moment when all streams have their first token.
    """
    told = Recorder()
    core = EngineCore(model, told)
    params = SamplingParams(**{"temperature": 0.0, "max_tokens": new, **sampling})
    torch.cuda.synchronize()
    began = time.perf_counter()
    for number in range(streams):
        core.submit(
            GenerationRequest(f"r{number}", prompt(length), replace(params, seed=number)), time.monotonic()
        )
    while core.busy:
        core.step()
    first = max(times[0] for times in told.times.values())
    last = max(times[-1] for times in told.times.values())
    count = sum(sum(moment > first for moment in times) for times in told.times.values())
    return count / (last - first) if last > first else 0.0, first - began, told


def time_to_first(model: LoadedModel, ids: tuple[int, ...]) -> float:
    """Seconds from submission to the first token, with nothing else running."""
    told = Recorder()
    core = EngineCore(model, told)
    torch.cuda.synchronize()
    began = time.perf_counter()
    core.submit(
        GenerationRequest("one", ids, SamplingParams(temperature=0.0, max_tokens=1)), time.monotonic()
    )
    while core.busy:
        core.step()
    return told.times["one"][0] - began


def follow_up(model: LoadedModel, cached: int, new: int) -> float:
    """The same for a prompt whose first ``cached`` tokens the engine has read before."""
    start = prompt(cached)
    time_to_first(model, (*start, *prompt(4)))
    return time_to_first(model, (*start, *prompt(new)))


@contextmanager
def section(title: str) -> Iterator[None]:
    """A heading, and how long it took."""
    began = time.perf_counter()
    print(f"\n## {title}")
    yield
    print(f"({time.perf_counter() - began:.1f} s)", flush=True)


def speed(model: LoadedModel, repeats: int) -> None:
    """The rows of the table of targets."""
    print("| streams | tokens/s greedy | temperature 1 | temperature 1, top-p 0.9 |\n|---|---|---|---|")
    for streams in (1, 8, 32):
        cells = []
        for options in ({}, {"temperature": 1.0}, {"temperature": 1.0, "top_p": 0.9}):
            rates = [run(model, streams, 128, 256, **options)[0] for _ in range(repeats)]
            cells.append(f"{statistics.median(rates):,.0f}")
        print(f"| {streams} | {' | '.join(cells)} |", flush=True)
    ttft = [time_to_first(model, prompt(2048)) for _ in range(5)]
    print(f"TTFT of a 2,048-token prompt: {1000 * statistics.median(ttft):.1f} ms")
    for new in (16, 64):
        again = [follow_up(model, 2000, new) for _ in range(5)]
        print(f"TTFT with 2,000 tokens cached and {new} new: {1000 * statistics.median(again):.1f} ms")
    print(f"32 prompts of 128 tokens, last first token: {1000 * run(model, 32, 128, 2)[1]:.1f} ms")


def profile(model: LoadedModel, streams: int) -> None:
    """Which kernels a decode step spends its time in."""
    told = Recorder()
    core = EngineCore(model, told)
    for number in range(streams):
        core.submit(
            GenerationRequest(f"r{number}", prompt(128), SamplingParams(0.0, max_tokens=60)), time.monotonic()
        )
    for _ in range(20):
        core.step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as recorded:
        for _ in range(20):
            core.step()
        torch.cuda.synchronize()
    core.cancel_all()
    while core.busy:
        core.step()
    rows = sorted(recorded.key_averages(), key=lambda row: -row.device_time_total)[:14]
    total = sum(row.device_time_total for row in recorded.key_averages())
    print(f"{streams} streams: {total / 20:.0f} us of kernels a step")
    for row in rows:
        each = row.device_time_total / row.count
        print(f"{row.device_time_total / 20:8.0f} us  {row.count / 20:5.0f} x {each:6.1f} us  {row.key[:70]}")


def main(
    layers: Annotated[int, typer.Option(help="Layers; fewer for a quick look.")] = 24,
    repeats: Annotated[int, typer.Option(help="Runs of each row; the median counts.")] = 3,
    with_profile: Annotated[bool, typer.Option("--profile", help="Also list the kernels of a step.")] = False,
    reproducible: Annotated[bool, typer.Option(help="Also measure the reproducible mode.")] = True,
    demo: Annotated[Path | None, typer.Option(help="A checkpoint folder to check exactness on.")] = None,
    peers: Annotated[bool, typer.Option(help="Then time transformers on the same shape.")] = True,
) -> None:
    """Print the tables of docs/performance.md."""
    device = torch.device("cuda", 0)
    print(f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}")
    with section("weights"):
        before = torch.cuda.memory_allocated()
        weights = random_weights(shape_20b(layers), device)
        print(f"weights {(torch.cuda.memory_allocated() - before) / GIB:.2f} GiB")
        model = make_model(weights)
        print(f"with pages and work space {(torch.cuda.memory_allocated() - before) / GIB:.2f} GiB")
    with section("speed"), torch.inference_mode():
        speed(model, repeats)
    if with_profile:
        with section("profile"):
            for streams in (1, 8, 32):
                profile(model, streams)
    if reproducible:
        del model
        with section("reproducible"), torch.inference_mode():
            model = make_model(weights, reproducible=True)
            speed(model, 1)
    if demo is not None:
        from benchmarks.engine_exact import check

        with section("exactness"):
            check(demo)
    del weights, model
    gc.collect()
    torch.cuda.empty_cache()
    if peers:
        from benchmarks.gpu_peers import compare

        with section("transformers"):
            compare(device, new=48)


if __name__ == "__main__":
    typer.run(main)

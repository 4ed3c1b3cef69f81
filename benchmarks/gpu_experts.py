"""The expert kernels on a GPU, at gpt-oss-20b's shape: first checked, then timed, with a few tiles each.

    python -m benchmarks.gpu_experts [--quick] [--bandwidth 4.3] [--peak 790]

The weights are random; eight layers take turns, so that no cache holds them. The floor of a line is the
greater of the needed bytes at ``--bandwidth`` (TB/s) and the needed arithmetic at ``--peak`` (TFLOP/s).
``--quick`` times the plans in use alone. Times are medians of CUDA graphs, launches included. Exits with 1
if a result is wrong.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
import triton
from torch import Tensor

from inference.worker.kernels import experts as kernels
from inference.worker.kernels.expert_plans import Plan, Tile, plan_for
from inference.worker.kernels.experts import Workspace, experts_forward
from inference.worker.kernels.mxfp4 import Mxfp4Experts, Mxfp4Matrix
from inference.worker.kernels.routing import route
from tests.inference.kernels.expert_cases import Checkpoint, random_checkpoint, reference, relative_error

HIDDEN, INNER, EXPERTS, TOP_K = 2880, 2880, 32, 4
LAYERS = 8
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 512, 2048)
BOUND = 1e-2
Candidates = dict[int, tuple[list[Tile], list[Tile]]]

SHARED = [Tile(128, 16, 4, 4)]  # words go through shared memory
FIRST = [Tile(16, 8, 1, 2), Tile(16, 8, 1, 3), Tile(32, 8, 1, 2)]  # or do not
SECOND = [Tile(16, 8, 1, 3), Tile(32, 8, 1, 2), Tile(64, 8, 1, 2)]
HALVES = [replace(tile, splits=2) for tile in SECOND]
# tokens: (tiles of the first product, tiles of the second); the same place in both has equal blocks
CANDIDATES: Candidates = {
    1: ([Tile(64, 16, 4, 4), *FIRST], [Tile(64, 16, 4, 4, 2), *HALVES, replace(SECOND[1], splits=4)]),
    2: (FIRST, [*HALVES, SECOND[2]]),
    4: (FIRST, [*HALVES, SECOND[2]]),
    8: (FIRST, [*SECOND, *HALVES]),
    16: ([*FIRST, *SHARED], [*SECOND, *SHARED]),
    32: ([*FIRST, *SHARED, Tile(128, 32, 4, 3)], [*SECOND, *SHARED, Tile(128, 32, 4, 3)]),
}


@dataclass(frozen=True)
class Floors:
    """What the device can do at best: bytes and floating-point operations a second."""

    bandwidth: float
    peak: float

    def microseconds(self, moved: float, work: float) -> float:
        """The least time for so many bytes and operations."""
        return max(moved / self.bandwidth, work / self.peak) * 1e6


def inputs(tokens: int) -> tuple[Tensor, Tensor, Tensor]:
    """Random x, router logits and residual."""
    generator = torch.Generator("cuda").manual_seed(tokens)
    x = torch.randn(tokens, HIDDEN, device="cuda", generator=generator).to(torch.bfloat16)
    logits = torch.randn(tokens, EXPERTS, device="cuda", generator=generator)
    return x, logits, torch.randn(tokens, HIDDEN, device="cuda", generator=generator).to(torch.bfloat16)


def empty_layer() -> Mxfp4Experts:
    """A layer of the right shape without contents: enough to compile."""

    def matrix(rows: int, columns: int) -> Mxfp4Matrix:
        words = torch.zeros(EXPERTS, rows * columns // 4, dtype=torch.int16, device="cuda")
        scales = torch.zeros(EXPERTS, rows * -(-columns // 128), dtype=torch.int32, device="cuda")
        return Mxfp4Matrix(words, scales, torch.zeros(EXPERTS, rows, device="cuda").bfloat16(), rows, columns)

    return Mxfp4Experts(matrix(2 * INNER, HIDDEN), matrix(HIDDEN, INNER), 7.0, 1.702)


def compile_one(case: tuple[int, Plan]) -> str:
    """Run one plan once in a process of its own, which leaves the compiled kernels in the cache on disk."""
    tokens, plan = case
    layer = empty_layer()
    x, logits, residual = inputs(tokens)
    try:
        workspace = Workspace.empty(tokens, TOP_K, layer)
        experts_forward(x, logits, TOP_K, residual, layer, workspace, plan=plan)
        torch.cuda.synchronize()
    except Exception as error:  # a candidate that does not fit is reported and left out
        return f"{tokens} tokens, {plan}: {type(error).__name__}: {str(error)[:200]}"
    return ""


def compile_all(candidates: Candidates) -> None:
    """Compile everything that will run, in parallel."""
    unique = [(tokens, plan) for tokens in COUNTS for plan in plans(tokens, candidates)]
    with multiprocessing.get_context("spawn").Pool(12) as pool:
        for message in pool.imap_unordered(compile_one, unique):
            if message:
                print(message)


def median_us(launches: Sequence[Callable[[], object]]) -> float:
    """The time of one launch: all of them in one graph, replayed until the median is steady."""
    for launch in launches:
        launch()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for launch in [*launches, *launches]:
            launch()
    graph.replay()
    times = []
    for _ in range(9):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return float(statistics.median(times)) * 1e3 / (2 * len(launches))


def check(checkpoint: Checkpoint, layer: Mxfp4Experts, candidates: Candidates) -> bool:
    """Every number of tokens with every plan against the definition, and twice."""
    right = True
    for tokens in COUNTS:
        x, logits, residual = inputs(tokens)
        expected = reference(x, logits, TOP_K, residual, checkpoint) - residual.float()
        workspace = Workspace.empty(tokens, TOP_K, layer)
        for plan in plans(tokens, candidates):
            workspace.activations.fill_(float("nan"))
            workspace.partial.fill_(float("nan"))
            out = torch.full_like(x, float("nan"))
            experts_forward(x, logits, TOP_K, residual, layer, workspace, plan=plan, out=out)
            again = experts_forward(x, logits, TOP_K, residual, layer, workspace, plan=plan)
            repeats = torch.equal(again, out)
            error = relative_error(out - residual.float(), expected)
            good = repeats and error < BOUND  # an error that is no number is not below the bound either
            if not good or plan == plan_for(tokens):
                print(f"check {tokens:5d} tokens, {name_of(plan)}: {error:.2e}; repeats: {repeats}")
            right = right and good
    return right


def name_of(plan: Plan) -> str:
    """A plan in a few letters."""
    return f"{tile_name(plan.gate_up)} / {tile_name(plan.down)}"


def tile_name(tile: Tile) -> str:
    """A tile in a few letters."""
    return f"{tile.rows}x{tile.tokens} w{tile.warps} s{tile.stages} k{tile.splits}"


def plans(tokens: int, candidates: Candidates) -> list[Plan]:
    """The plan in use, and every candidate at least once."""
    first, second = candidates.get(tokens, ([], []))
    found = [plan_for(tokens)]
    for i in range(max(len(first), len(second))):
        gate_up, down = first[min(i, len(first) - 1)], second[min(i, len(second) - 1)]
        found.append(Plan(gate_up, down))
    return list(dict.fromkeys(found))


def line(name: str, tile: str, us: float, floors: Floors, moved: float, work: float) -> None:
    """One line of the table."""
    floor = floors.microseconds(moved, work)
    print(
        f"{name:34s} {tile:18s} {us:9.1f} us {moved / us / 1e3:8.0f} GB/s {work / us / 1e6:7.1f} TFLOP/s "
        f"floor {floor:7.1f} us, {100 * floor / us:3.0f} %"
    )


def matrix_bytes(matrix: Mxfp4Matrix) -> float:
    """The bytes of one expert's matrix."""
    return (matrix.words.nbytes + matrix.scales.nbytes + matrix.bias.nbytes) / EXPERTS


def experts_in_use(logits: Tensor) -> int:
    """How many experts at least one token chose."""
    chosen = torch.topk(logits, TOP_K, dim=1).indices.flatten()
    return int(torch.zeros(EXPERTS, device="cuda").index_fill(0, chosen, 1).sum())


def time_plans(layers: list[Mxfp4Experts], floors: Floors) -> None:
    """The whole forward of a layer."""
    layer = layers[0]
    for tokens in COUNTS:
        x, logits, residual = inputs(tokens)
        workspace = Workspace.empty(tokens, TOP_K, layer)
        active = experts_in_use(logits)
        moved = active * (matrix_bytes(layer.gate_up) + matrix_bytes(layer.down)) + 6 * x.nbytes
        work = 6.0 * tokens * TOP_K * HIDDEN * INNER
        forward = partial(experts_forward, x, logits, TOP_K, residual)
        us = median_us([partial(forward, one, workspace) for one in layers])
        line(f"layer, {tokens} tokens, {active} experts", "plan in use", us, floors, moved, work)


def time_parts(layers: list[Mxfp4Experts], floors: Floors, candidates: Candidates) -> None:
    """Each kernel with each of its candidates."""
    for tokens, (first, second) in candidates.items():
        x, logits, residual = inputs(tokens)
        workspace = Workspace.empty(tokens, TOP_K, layers[0])
        active = experts_in_use(logits)
        pairs = tokens * TOP_K
        us = median_us([partial(route, logits, TOP_K, first[0].tokens, workspace.routing)] * 4)
        print(f"route {tokens} tokens {us:.1f} us")
        workspace.activations.normal_()
        workspace.partial.normal_()
        out = torch.empty_like(x)
        combine = partial(kernels.launch_combine, x, residual, layers[0], workspace, second[0].splits, out)
        us = median_us([combine] * 4)
        print(f"combine {tokens} tokens {us:.1f} us")
        for kernel, tiles in (("gate_up", first), ("down", second)):
            for tile in tiles:
                blocks = route(logits, TOP_K, tile.tokens, workspace.routing)
                if kernel == "gate_up":
                    launches = [
                        partial(kernels.launch_gate_up, x, one, workspace, blocks, tile) for one in layers
                    ]
                else:
                    launches = [
                        partial(kernels.launch_down, pairs, one, workspace, blocks, tile) for one in layers
                    ]
                matrix = layers[0].gate_up if kernel == "gate_up" else layers[0].down
                text = tile_name(tile)
                try:
                    us = median_us(launches)
                except triton.runtime.errors.OutOfResources:
                    print(f"{kernel}, {tokens} tokens {text}: does not fit")
                    continue
                work = 2.0 * pairs * matrix.rows * matrix.columns
                moved = active * matrix_bytes(matrix)
                line(f"{kernel}, {tokens} tokens", text, us, floors, moved, work)


def main() -> int:
    """Check, then time."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--bandwidth", type=float, default=4.3)
    parser.add_argument("--peak", type=float, default=790.0)
    options = parser.parse_args()
    floors = Floors(options.bandwidth * 1e12, options.peak * 1e12)
    candidates = {} if options.quick else CANDIDATES
    start = time.monotonic()
    compile_all(candidates)
    print(f"compiled after {time.monotonic() - start:.1f} s")
    checkpoint = random_checkpoint(EXPERTS, HIDDEN, INNER, "cuda")
    layers = [checkpoint.packed()]
    for seed in range(1, LAYERS):
        layers.append(random_checkpoint(EXPERTS, HIDDEN, INNER, "cuda", seed).packed())
    torch.cuda.synchronize()
    print(f"packed after {time.monotonic() - start:.1f} s; a layer takes {layers[0].nbytes / 2**20:.1f} MiB")
    right = check(checkpoint, layers[0], candidates)
    print(f"checked after {time.monotonic() - start:.1f} s")
    time_parts(layers, floors, candidates)
    time_plans(layers, floors)
    name, seconds = torch.cuda.get_device_name(), time.monotonic() - start
    print(f"done after {seconds:.1f} s on {name}, triton {triton.__version__}")
    print("all results right" if right else "WRONG RESULTS above")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())

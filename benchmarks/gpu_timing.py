"""How the GPU benchmarks check and time a kernel."""

from __future__ import annotations

import math
import statistics
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

BYTES_PER_US = 4.3e6
FLOPS_PER_US = 790e6
BOUND = 1e-2
REPLAYS = 7
LAUNCHES = 24
CACHE_BYTES = 256 << 20


def relative_error(result: Tensor, expected: Tensor) -> float:
    """The relative error; infinite where the result is no number."""
    difference = (result.float() - expected.float()).norm() / expected.float().norm()
    return math.inf if bool(difference.isnan()) else float(difference)


@dataclass
class Bench:
    """Checks, times and prints. ``timing`` False: only checks."""

    timing: bool = True
    wrong: int = 0

    def __post_init__(self) -> None:
        self.flush = torch.empty(CACHE_BYTES, dtype=torch.uint8, device="cuda")
        torch.manual_seed(0)

    def section(self, name: str, run: Callable[[Bench], None]) -> None:
        """Run one section; what it raises counts as wrong and stops only itself."""
        print(f"== {name}", flush=True)
        try:
            run(self)
            torch.cuda.synchronize()
        except Exception:
            print(f"{name} failed:\n{traceback.format_exc()}", flush=True)
            self.wrong += 1
        torch.cuda.empty_cache()

    def check(self, name: str, result: Tensor, expected: Tensor, bound: float = BOUND) -> bool:
        """Compare, and tell of an error above the bound."""
        error = relative_error(result, expected)
        if not error <= bound:
            self.wrong += 1
            print(f"WRONG {name}: relative error {error:.2e}", flush=True)
        return error <= bound

    def time(
        self, name: str, launches: Sequence[Callable[[], object]], floor: float, error: str = ""
    ) -> None:
        """Print the microseconds of one launch, of which ``launches`` are some with other data each."""
        if not self.timing:
            launches[0]()
            return
        took = microseconds(launches, self.flush)
        print(f"{name:58s} {took:9.1f} us   floor {floor:8.2f}   {floor / took:6.1%}   {error}", flush=True)


def copies(each: int) -> int:
    """So many inputs of ``each`` bytes make the cache useless, or as many launches as a graph holds."""
    return max(2, min(LAUNCHES, math.ceil(2 * CACHE_BYTES / max(each, 1))))


def microseconds(launches: Sequence[Callable[[], object]], flush: Tensor) -> float:
    """The median time of one launch inside a CUDA graph of some dozens."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    with torch.cuda.stream(stream):
        launches[0]()
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for index in range(LAUNCHES):
            launches[index % len(launches)]()
    graph.replay()
    times: list[float] = []
    for _ in range(REPLAYS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        flush.zero_()
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) * 1e3 / LAUNCHES)
    return statistics.median(times)

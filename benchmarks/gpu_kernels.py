"""Check and time the GPU kernels of the engine (all but the experts') at the shape of gpt-oss-20b.

One command on a machine with a Hopper GPU: ``python3 -m benchmarks.gpu_kernels``. Every kernel and
configuration is compared with plain torch in float32 first; a relative error above 1e-2 ends the run with
exit status 1. Then each is timed inside a CUDA graph, over inputs that the cache does not hold, as the median
of some replays. The floor is the bytes that must be read over 4.3 TB/s, or the multiplications over 790
TFLOP/s. ``--only NAME`` runs one section; ``--compile-only`` runs everything once, which fills Triton's
cache. Without either, all sections compile side by side first.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from benchmarks import gpu_attention, gpu_linear, gpu_sample
from benchmarks.gpu_timing import Bench

SECTIONS: dict[str, Callable[[Bench], None]] = {
    "decode": gpu_attention.decode,
    "window": gpu_attention.window,
    "prefill": gpu_attention.prefill,
    "sample": gpu_sample.run,
    "linear": gpu_linear.linear,
    "small": gpu_linear.small,
}


def compile_all(names: Sequence[str]) -> None:
    """Run every section once, each in a process of its own, so that their compilations share the cores."""
    command = [sys.executable, "-m", "benchmarks.gpu_kernels", "--compile-only", "--only"]
    processes = [
        (name, subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True)) for name in names
    ]
    for name, process in processes:
        output, _ = process.communicate()
        if process.returncode:
            print(f"{name} fails to compile or to run:\n{output[-2000:]}")


def main() -> int:
    """Run the sections; 1 where one is wrong or fails."""
    parser = argparse.ArgumentParser(description="Check and time the GPU kernels.")
    parser.add_argument("--only", choices=SECTIONS, action="append")
    parser.add_argument("--compile-only", action="store_true")
    arguments = parser.parse_args()
    names = arguments.only or list(SECTIONS)
    start = time.monotonic()
    if not arguments.compile_only and len(names) > 1:
        compile_all(names)
        print(f"compiled in {time.monotonic() - start:.0f} s", flush=True)
    bench = Bench(timing=not arguments.compile_only)
    for name in names:
        bench.section(name, SECTIONS[name])
    print(f"{time.monotonic() - start:.0f} s in all; {bench.wrong} wrong")
    return 1 if bench.wrong else 0


if __name__ == "__main__":
    sys.exit(main())

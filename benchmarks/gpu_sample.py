"""The sampler on a GPU: checks and times."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks.gpu_timing import BYTES_PER_US, Bench, copies
from inference.worker.kernels.sample import sample, sample_workspace

VOCABULARY = 201_088
ROWS = 32
DRAWS = 64


class Sampler:
    """The state of some rows."""

    def __init__(self, rows: int, temperature: float, top_p: float) -> None:
        slots = rows + 1
        self.slots = torch.arange(rows, dtype=torch.int32, device="cuda")
        self.temperature = torch.full((slots,), temperature, device="cuda")
        self.top_p = torch.full((slots,), top_p, device="cuda")
        self.seed = torch.arange(slots, dtype=torch.int64, device="cuda") * 977
        self.position, self.last = (torch.zeros(slots, dtype=torch.int32, device="cuda") for _ in range(2))
        self.out = torch.full((rows,), -9, dtype=torch.int32, device="cuda")
        self.workspace = sample_workspace(rows, VOCABULARY, "cuda")

    def __call__(self, logits: Tensor, warps: int = 4) -> Tensor:
        sample(
            *(
                logits,
                self.slots,
                self.temperature,
                self.top_p,
                self.seed,
                self.position,
                self.last,
                self.out,
            ),
            self.workspace,
            warps=warps,
        )
        return self.out


def expect(bench: Bench, name: str, *, holds: bool) -> None:
    if not holds:
        bench.wrong += 1
        print(f"WRONG {name}", flush=True)


def checks(bench: Bench) -> None:
    """The argmax, the frequencies, the nucleus, the same draw elsewhere, and a logit that is no number."""
    logits = torch.randn(ROWS, VOCABULARY, device="cuda") * 3
    for typed in (logits, logits.bfloat16()):
        highest = (typed == typed.max(-1, keepdim=True).values).int().argmax(-1)
        expect(bench, "argmax", holds=bool((Sampler(ROWS, 0.0, 1.0)(typed) == highest).all()))
    for top_p in (0.3, 0.9):
        ids = Sampler(ROWS, 1.2, top_p)(logits).long()
        weights = (logits.double() / 1.2).softmax(-1)
        heavier = torch.where(logits > logits.gather(1, ids[:, None]), weights, 0.0).sum(-1)
        expect(bench, f"nucleus of {top_p}", holds=bool((heavier < top_p + 1e-5).all()))
    ids = Sampler(ROWS, 1.0, 1.0)(logits).clone()
    alone = Sampler(1, 1.0, 1.0)
    alone.seed[0] = 977 * 5
    expect(bench, "the same draw in another row", holds=int(alone(logits[5:6])) == int(ids[5]))
    expect(bench, "the same draw with 8 warps", holds=bool((Sampler(ROWS, 1.0, 1.0)(logits, 8) == ids).all()))
    logits[3, VOCABULARY - 1] = math.nan
    ids = Sampler(ROWS, 1.0, 0.9)(logits)
    expect(bench, "a logit that is no number", holds=int(ids[3]) == -1 and int((ids < 0).sum()) == 1)
    frequencies(bench)


def frequencies(bench: Bench) -> None:
    """Some thousand draws among eight entries of the vocabulary, compared with the softmax."""
    heavy = torch.arange(8, device="cuda") * 25_000
    logits = torch.full((ROWS, VOCABULARY), -100.0, device="cuda")
    logits[:, heavy] = torch.linspace(-1, 1.5, 8, device="cuda")
    sampler = Sampler(ROWS, 1.0, 1.0)
    counts = torch.zeros(VOCABULARY, device="cuda")
    for _ in range(DRAWS):
        counts += torch.bincount(sampler(logits), minlength=VOCABULARY)
    expected = torch.linspace(-1, 1.5, 8, device="cuda").softmax(-1) * ROWS * DRAWS
    statistic = float(((counts[heavy] - expected) ** 2 / expected).sum())
    expect(bench, f"frequencies: chi square {statistic:.1f} of 7", holds=statistic < 24.3)
    expect(bench, "steps on", holds=sampler.position.tolist() == [DRAWS] * ROWS + [0])


def run(bench: Bench) -> None:
    """Check, then time the ways of choosing."""
    checks(bench)
    for rows in (1, 8, 32):
        for dtype in (torch.float32, torch.bfloat16):
            each = rows * VOCABULARY * dtype.itemsize
            logits = [
                (torch.randn(rows, VOCABULARY, device="cuda") * 3).to(dtype)
                for _ in range(min(4, copies(each)))
            ]
            for temperature, top_p in ((0.0, 1.0), (1.0, 1.0), (1.0, 0.9)):
                for warps in (4, 8):
                    sampler = Sampler(rows, temperature, top_p)
                    launches: list[Callable[[], object]] = [partial(sampler, one, warps) for one in logits]
                    name = f"sample B{rows} {str(dtype)[6:]} T={temperature} top-p={top_p} warps={warps}"
                    bench.time(name, launches, each / BYTES_PER_US)

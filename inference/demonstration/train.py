"""Train the demonstration model from scratch on one GPU: ``python -m inference.demonstration.train``.

Processes make samples without end; the GPU takes packed rows from them. The learning rate follows the
clock, so the training ends when the minutes are over, whatever the machine's speed. In the second part the
experts are trained as the MXFP4 numbers that they become.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import queue
import threading
import time
from collections.abc import Iterator
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import nn

from inference.demonstration.dataset import Rows, TokenMap, count_ids, packed_rows, unwritable
from inference.demonstration.network import Network, NetworkShape
from inference.demonstration.pack import PACKAGE, load_package, package_ids, write_package
from inference.demonstration.tasks import TASKS, TRAINED_ONLY
from inference.harmony import HarmonyCodec
from inference.vocabulary import CALL, CHANNEL, CONSTRAIN, END, MESSAGE, RETURN, START

WARM_UP, QUANTIZED_FROM = 0.02, 0.45  # parts of the training time
FIRST_SEED = int(time.time())  # another run goes on with other samples
_SPAWN = multiprocessing.get_context("spawn")


def ids_in_use(workers: int, samples: int) -> list[int]:
    """Ids that samples use more than once, all numbers of up to three digits, and harmony's markers."""
    with _SPAWN.Pool(workers) as pool:
        counts = sum(
            pool.starmap(count_ids, [(9_000_000 + i, samples) for i in range(workers)]),
            np.zeros(201_088, np.int64),
        )
    codec = HarmonyCodec.load()
    digits = [codec.encode_text(str(n).zfill(width))[0] for width in (1, 2, 3) for n in range(10**width)]
    markers = [RETURN, CONSTRAIN, CHANNEL, START, END, MESSAGE, CALL]
    return sorted({*np.flatnonzero(counts > 1).tolist(), *digits, *markers})


def _produce(
    seed: int, ids: list[int], length: int, rows: int, emphasis: dict[str, float], out: Queue[Rows]
) -> None:
    for batch in packed_rows(seed, TokenMap(ids), length, rows, emphasis):
        out.put(batch)


def _batches(
    ids: list[int], workers: int, rows: int, length: int, emphasis: dict[str, float], device: torch.device
) -> Iterator[tuple[torch.Tensor, ...]]:
    """Batches on the device, made ready by a thread while the step before runs."""
    made: Queue[Rows] = _SPAWN.Queue(64)
    for number in range(workers):
        _SPAWN.Process(
            target=_produce, args=(FIRST_SEED + number, ids, length, rows, emphasis, made), daemon=True
        ).start()
    ready: queue.Queue[tuple[torch.Tensor, ...]] = queue.Queue(8)

    def move() -> None:
        while True:
            batch = made.get()
            arrays = (
                batch.ids.astype(np.int64),
                batch.positions.astype(np.int64),
                batch.wanted.astype(np.int64),
            )
            ready.put(tuple(torch.from_numpy(a).to(device, non_blocking=True) for a in arrays))

    threading.Thread(target=move, daemon=True).start()
    while True:
        yield ready.get()


def _optimizer(network: nn.Module, device: torch.device) -> torch.optim.Optimizer:
    matrices = [p for p in network.parameters() if p.dim() > 1]
    others = [p for p in network.parameters() if p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": 0.02}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.98), eps=1e-9, fused=device.type == "cuda")


def _rate(peak: float, progress: float) -> float:
    return peak * min(1.0, 0.01 + progress / WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * min(progress, 1.0)))


def train_network(
    network: Network,
    batches: Iterator[tuple[torch.Tensor, ...]],
    seconds: float,
    peak: float,
    compiled: bool,
    device: torch.device,
) -> int:
    """Train until ``seconds`` are over, at most at the learning rate ``peak``; returns the number of
    steps.
    """
    optimizer = _optimizer(network, device)
    run = torch.compile(network, dynamic=False) if compiled else network
    first = next(batches)
    with torch.autocast(device.type, torch.bfloat16):
        for quantized in (True, False):  # both graphs are compiled before the clock starts
            run(*first, quantized).backward()
    network.zero_grad(set_to_none=True)
    start, told, waited, step = time.monotonic(), 0.0, 0.0, 0
    while (elapsed := time.monotonic() - start) < seconds:
        progress = elapsed / seconds
        for group in optimizer.param_groups:
            group["lr"] = _rate(peak, progress)
        asked = time.monotonic()
        batch = next(batches)
        waited += time.monotonic() - asked
        with torch.autocast(device.type, torch.bfloat16):
            loss = run(*batch, progress > QUANTIZED_FROM)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        if step % 10 == 0 and elapsed - told > 15:
            told = elapsed
            speed = f"{1000 * elapsed / step:.1f} ms a step, {waited / elapsed:.0%} of it waiting for data"
            typer.echo(f"{elapsed:5.0f} s  step {step}  loss {loss.item():.4f}  {speed}")
    return step


def _weights(entries: list[str]) -> dict[str, float]:
    """``TASK=WEIGHT`` entries as a dictionary."""
    weights = {}
    for entry in entries:
        task, _, weight = entry.partition("=")
        if task not in TASKS | TRAINED_ONLY or not weight.replace(".", "", 1).isdigit():
            raise typer.BadParameter(f"{entry!r} is not TASK=WEIGHT with the name of a task.")
        weights[task] = float(weight)
    return weights


def main(
    minutes: Annotated[float, typer.Option(help="Training time.")] = 8.5,
    out: Annotated[Path, typer.Option(help="The package to write.")] = PACKAGE,
    rows: Annotated[int, typer.Option(help="Packed rows in a step.")] = 72,
    length: Annotated[int, typer.Option(help="Tokens in a row.")] = 512,
    workers: Annotated[int, typer.Option(help="Processes that make samples.")] = max(
        1, (os.cpu_count() or 2) - 2
    ),
    samples: Annotated[int, typer.Option(help="Samples for each process to find the ids in use.")] = 6000,
    compiled: Annotated[bool, typer.Option(help="Use torch.compile.")] = True,
    peak: Annotated[float, typer.Option(help="The highest learning rate.")] = 2.5e-3,
    start: Annotated[
        Path | None, typer.Option(help="A package to go on from; its ids in use are kept.")
    ] = None,
    emphasis: Annotated[
        list[str] | None, typer.Option(help="TASK=WEIGHT: another weight for a task, as often as wanted.")
    ] = None,
) -> None:
    """Train, round the experts to MXFP4, and write the package."""
    weights = _weights(emphasis or [])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_float32_matmul_precision("high")
    torch.manual_seed(0)
    ids = package_ids(start) if start else ids_in_use(workers, samples)
    lost = unwritable(FIRST_SEED, TokenMap(ids), 3000) if start else {}
    if sum(lost.values()) > 30:
        raise typer.BadParameter(f"{start} has no rows for words of these tasks: {', '.join(lost)}.")
    shape = NetworkShape()
    network = Network(shape, len(ids)).to(device)
    if start:
        load_package(start, network)
    count = sum(p.numel() for p in network.parameters())
    typer.echo(f"{len(ids)} token ids in use, {count / 1e6:.2f} million parameters, {device}")
    steps = train_network(
        network, _batches(ids, workers, rows, length, weights, device), minutes * 60, peak, compiled, device
    )
    size = write_package(out, network.state_dict(), shape, ids)
    typer.echo(f"{steps} steps of {rows * length} tokens; {out.name} has {size / 1e6:.2f} MB")


if __name__ == "__main__":
    typer.run(main)

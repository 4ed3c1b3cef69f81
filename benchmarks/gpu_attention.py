"""The attention kernels on a GPU: checks and times."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from benchmarks.gpu_timing import BYTES_PER_US, FLOPS_PER_US, Bench, copies, relative_error
from inference.worker.kernels.attention_decode import (
    DecodeConfig,
    DecodeWorkspace,
    decode_attention,
    decode_workspace,
)
from inference.worker.kernels.attention_prefill import PrefillConfig, prefill_attention, prefill_blocks
from inference.worker.kernels.fused import rotary_store

PAGE, HEADS, KV_HEADS, SIZE, WINDOW = 16, 64, 8, 64, 128
WIDTH = (HEADS + 2 * KV_HEADS) * SIZE
KEY_BYTES = 2 * KV_HEADS * SIZE * 2
PLACES = 1 << 17

DECODE = {
    1: (
        DecodeConfig(32, stages=5), DecodeConfig(16), DecodeConfig(32, keys=128, least=256),
        DecodeConfig(16, keys=128, least=256), DecodeConfig(32, keys=128, least=512),
    ),
    8: (DecodeConfig(8), DecodeConfig(8, stages=5), DecodeConfig(16), DecodeConfig(16, keys=128)),
    32: (DecodeConfig(4), DecodeConfig(4, stages=5), DecodeConfig(8), DecodeConfig(16)),
}  # fmt: skip
DECODE_WINDOW = (
    DecodeConfig(1, stages=2), DecodeConfig(1, stages=4), DecodeConfig(1, keys=128, stages=1),
    DecodeConfig(1, keys=128, warps=8, stages=1), DecodeConfig(2, least=64, stages=1),
)  # fmt: skip
PREFILL = (
    PrefillConfig(), PrefillConfig(warps=8), PrefillConfig(keys=128, warps=8), PrefillConfig(rows=64),
    PrefillConfig(stages=4), PrefillConfig(keys=128, warps=8, stages=2),
)  # fmt: skip


def angles(device: str = "cuda") -> tuple[Tensor, Tensor]:
    """Cosines and sines of every place (plain rotary positions: the time does not depend on the angles)."""
    turns = torch.arange(PLACES, device=device)[:, None] * 150_000.0 ** (
        -torch.arange(SIZE // 2, device=device) / 32
    )
    return turns.cos(), turns.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.float().chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def reference(q: Tensor, k: Tensor, v: Tensor, sinks: Tensor, window: int | None) -> Tensor:
    """The last rows of a causal attention in float32: q [n, Hq, D], k and v [m, Hkv, D] to [n, Hq * D]."""
    k, v = (x.float().repeat_interleave(HEADS // KV_HEADS, dim=1) for x in (k, v))
    query = torch.arange(len(k) - len(q), len(k), device=q.device)[:, None]
    key = torch.arange(len(k), device=q.device)[None]
    hidden = (key > query) if window is None else (key > query) | (key <= query - window)
    scores = (torch.einsum("qhd,khd->hqk", q.float(), k) / math.sqrt(SIZE)).masked_fill(hidden, -math.inf)
    logits = torch.cat((scores, sinks.float()[:, None, None].expand(-1, len(q), 1)), dim=-1)
    return torch.einsum("hqk,khd->qhd", logits.softmax(-1)[..., :-1], v).flatten(1)


class Layers:
    """Pages, tables and projections of several layers' worth of ``rows`` sequences of ``length`` known
    tokens.
    """

    def __init__(self, rows: int, length: int, new: int, window: int | None) -> None:
        self.rows, self.length, self.window = rows, length, window
        # Every table's rows are whole multiples of 16, so that a kernel is compiled once for all lengths.
        each = math.ceil((length + new) / PAGE / 16) * 16
        self.count = copies(rows * min(length, window or length) * KEY_BYTES)
        shape = (1 + self.count * rows * each, PAGE, KV_HEADS, SIZE)
        self.k, self.v = (torch.randn(shape, dtype=torch.bfloat16, device="cuda") for _ in range(2))
        order = (torch.randperm(shape[0] - 1, device="cuda") + 1).int().view(self.count, rows, each)
        self.tables = torch.cat((order, torch.zeros_like(order[:, :1])), dim=1)
        self.qkv = torch.randn(self.count, rows * new, WIDTH, dtype=torch.bfloat16, device="cuda")
        self.sinks = torch.randn(HEADS, dtype=torch.bfloat16, device="cuda")
        self.slots = torch.arange(rows, dtype=torch.int32, device="cuda")
        self.out = torch.full((rows * new, HEADS * SIZE), math.nan, dtype=torch.bfloat16, device="cuda")

    def sequence(self, layer: int, row: int) -> tuple[Tensor, Tensor]:
        """The keys and values in the pages of one sequence."""
        pages = self.tables[layer, row].long()
        return self.k[pages].flatten(0, 1), self.v[pages].flatten(0, 1)


def decode_error(layers: Layers, cos: Tensor, sin: Tensor) -> float:
    """The error of what the decode left in ``out`` for layer 0, over the first and the last row."""
    now, worst = layers.length, 0.0
    for row in {0, layers.rows - 1}:
        q, k, v = torch.split(layers.qkv[0, row].view(-1, SIZE), [HEADS, KV_HEADS, KV_HEADS])
        keys, values = (x[:now] for x in layers.sequence(0, row))
        k_all = torch.cat((keys.float(), rotate(k, cos[now], sin[now])[None]))
        v_all = torch.cat((values, v[None]))
        expected = reference(rotate(q, cos[now], sin[now])[None], k_all, v_all, layers.sinks, layers.window)
        worst = max(worst, relative_error(layers.out[row : row + 1], expected))
    return worst


def decode_case(
    bench: Bench, rows: int, length: int, window: int | None, configs: Sequence[DecodeConfig]
) -> None:
    layers, (cos, sin) = Layers(rows, length, 1, window), angles()
    position = torch.full((rows + 1,), length, dtype=torch.int32, device="cuda")
    floor = rows * min(length, window or length) * KEY_BYTES / BYTES_PER_US

    def launch(layer: int, config: DecodeConfig, workspace: DecodeWorkspace) -> None:
        decode_attention(
            *(layers.qkv[layer], cos, sin, layers.k, layers.v, layers.tables[layer], layers.slots, position),
            *(layers.sinks, window, layers.out, workspace),
            config=config,
        )

    for config in configs:
        workspace = decode_workspace(rows, HEADS, KV_HEADS, SIZE, "cuda", config=config)
        layers.out.fill_(math.nan)
        launch(0, config, workspace)
        error = decode_error(layers, cos, sin)
        name = f"decode B{rows} {length} {'window ' if window else ''}{short(config)}"
        if not error < 1e-2:
            bench.wrong += 1
            print(f"WRONG {name}: relative error {error:.2e}")
        launches = [partial(launch, layer, config, workspace) for layer in range(layers.count)]
        bench.time(name, launches, floor, f"error {error:.1e}")


def short(config: DecodeConfig | PrefillConfig) -> str:
    """The configuration in few letters."""
    fields = ("shares", "rows", "keys", "least", "warps", "stages")
    return " ".join(f"{name}={getattr(config, name)}" for name in fields if hasattr(config, name))


def decode(bench: Bench) -> None:
    """Full layers."""
    for rows, configs in DECODE.items():
        for length in (128, 2048, 16384) if bench.timing else (1000,):
            decode_case(bench, rows, length, None, configs)
    if bench.timing:
        decode_case(bench, 1, 100_000, None, DECODE[1][:2])


def window(bench: Bench) -> None:
    """Sliding-window layers."""
    for rows in (1, 8, 32):
        decode_case(bench, rows, 2048, WINDOW, DECODE_WINDOW)


def prefill_case(bench: Bench, known: int, new: int, window: int | None) -> None:
    layers, (cos, sin) = Layers(1, known, new, window), angles()
    positions = torch.arange(known, known + new, dtype=torch.int32, device="cuda")
    slots = torch.zeros(new, dtype=torch.int32, device="cuda")
    table, plain = layers.tables[0], layers.qkv[0].clone()
    qkv = plain.clone()
    pages = (cos, sin, table, layers.k, layers.v)
    rotary_store(qkv, positions, slots, *pages)
    heads = plain.view(new, -1, SIZE)
    turned = rotate(
        heads[:, : HEADS + KV_HEADS], cos[known : known + new, None], sin[known : known + new, None]
    )
    keys, values = layers.sequence(0, 0)
    name = f"{'window' if window else 'full'} prefill {new} after {known}"
    bench.check(f"rotary queries, {name}", qkv.view(new, -1, SIZE)[:, :HEADS], turned[:, :HEADS])
    bench.check(f"rotary keys, {name}", keys[known : known + new], turned[:, HEADS:])
    bench.check(f"stored values, {name}", values[known : known + new], heads[:, HEADS + KV_HEADS :], 0.0)
    moved = new * WIDTH * 4 / BYTES_PER_US
    bench.time(
        f"rotary and store, {new} tokens", [partial(rotary_store, plain, positions, slots, *pages)], moved
    )
    expected = reference(
        qkv.view(new, -1, SIZE)[:, :HEADS], keys[: known + new], values[: known + new], layers.sinks, window
    )
    pairs = new * known + new * new / 2 if window is None else new * window
    for config in PREFILL:
        blocks = prefill_blocks([(new, 0, known)], HEADS, KV_HEADS, config.rows).cuda()
        layers.out.fill_(math.nan)
        launch: Callable[[], None] = partial(
            prefill_attention,
            qkv,
            layers.k,
            layers.v,
            table,
            blocks,
            layers.sinks,
            window,
            layers.out,
            config=config,
        )
        launch()
        bench.check(f"{name} {short(config)}", layers.out, expected)
        bench.time(f"{name} {short(config)}", [launch], 4 * pairs * HEADS * SIZE / FLOPS_PER_US)


def prefill(bench: Bench) -> None:
    """Long prompts, and a chunk after a cached part."""
    prefill_case(bench, 0, 2048, None)
    prefill_case(bench, 0, 2048, WINDOW)
    if bench.timing:
        prefill_case(bench, 2000, 100, None)

"""Choose the next token of every row on the GPU, exactly, without sorting the vocabulary (Triton).

At temperature 0 the choice is the first of the heaviest entries. Above it the choice is ``argmax(logit / T +
g)``, with g independent Gumbel numbers: an exact draw from the softmax. The numbers come from a counter,
Philox, of the row's seed, its position, the vocabulary index and the round; so the same seed and position
give the same token in any row of any batch.

For top-p below 1 that draw is a proposal: it stands if the entries strictly heavier than it hold less than
top-p of the mass. Otherwise neither it nor any lighter entry belongs to the nucleus, and the next round draws
among the heavier ones alone. A proposal that stands is an exact draw from the nucleus, whatever was refused
before. (Equal entries belong together or not at all.)

A row may have a mask: what it leaves out counts as if its logit were minus infinity.

A row with a logit that is no finite number gets -1, be it masked or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl

LANES = 512
"""Entries that share the four numbers of a counter lie so far apart. Part of what a seed means: never change
it.
"""

CHUNK = 4 * LANES
WARPS = 4
PROGRAMS = 1056
"""Programs of a launch, over all rows: eight on each multiprocessor of an H200."""

NONE = tl.constexpr(2**31 - 1)


@dataclass(frozen=True, slots=True)
class SampleWorkspace:
    """What a row's programs leave for the last of them. ``arrivals`` is zero between launches."""

    numbers: torch.Tensor
    arrivals: torch.Tensor


def sample_workspace(rows: int, vocabulary: int, device: torch.device | str) -> SampleWorkspace:
    """Room for launches of up to ``rows`` rows, one after the other."""
    parts = max(count * _parts(count, vocabulary) for count in range(1, rows + 1))
    return SampleWorkspace(
        numbers=torch.empty(4 * parts, dtype=torch.float32, device=device),
        arrivals=torch.zeros(rows, dtype=torch.int32, device=device),
    )


def _parts(rows: int, vocabulary: int) -> int:
    """Programs of one row; the result does not depend on how many."""
    return min(-(-vocabulary // CHUNK), max(1, PROGRAMS // rows))


@triton.jit
def _gumbel(bits: tl.tensor) -> tl.tensor:
    """-log(-log(1 - u)) of a uniform u of 32 random bits, right to the last digits where u is small: the far
    tail of the distribution, which decides among many entries."""
    u = (bits.to(tl.float32) + 0.5) * 2.3283064365386963e-10
    u = tl.minimum(u, 0.99999994)
    series = u * (1.0 + u * (0.5 + u * (0.33333334 + u * 0.25)))
    return -tl.log(tl.where(u < 0.01, series, -tl.log(1.0 - u)))


@triton.jit
def _better(score: tl.tensor, index: tl.tensor, best: tl.tensor, best_index: tl.tensor) -> Any:
    """Keep the higher score, lane by lane; the earlier of equals."""
    wins = score > best
    return tl.where(wins, score, best), tl.where(wins, index, best_index)


@triton.jit
def _within(
    logit: tl.tensor,
    index: tl.tensor,
    mask: tl.tensor,
    masked: tl.tensor,
    V: tl.constexpr,
    MASKS: tl.constexpr,
) -> tl.tensor:
    """``logit``, or minus infinity where the row is ``masked`` and its ``mask`` has no bit for ``index``."""
    if MASKS:
        word = tl.load(mask + (index >> 5), mask=(index < V) & (masked > 0), other=-1)
        logit = tl.where(((word >> (index & 31)) & 1) > 0, logit, float("-inf"))
    return logit


@triton.jit
def _propose(
    logits: tl.tensor,
    mask: tl.tensor,
    masked: tl.tensor,
    pivot: tl.tensor,
    inverse: tl.tensor,
    seed: tl.tensor,
    position: tl.tensor,
    turn: tl.tensor,
    begin: tl.tensor,
    step: tl.tensor,
    V: tl.constexpr,
    LANES: tl.constexpr,
    MASKS: tl.constexpr,
) -> Any:
    """The best score among entries heavier than ``pivot`` in every ``step``-th chunk from ``begin``.

    Gives the score, its index, the heaviest logit, and 1 where a logit is not finite. ``inverse`` is one over
    the temperature, or 0 at temperature 0.
    """
    lane = tl.arange(0, LANES)
    factor = tl.where(inverse > 0, inverse, 1.0)
    best, heaviest = tl.full([LANES], float("-inf"), tl.float32), tl.full([LANES], float("-inf"), tl.float32)
    best_index, odd = tl.full([LANES], NONE, tl.int32), tl.zeros([LANES], tl.int32)
    for chunk in range(begin, tl.cdiv(V, 4 * LANES), step):
        none = tl.zeros([LANES], tl.float32)
        noise = (none, none, none, none)
        if inverse > 0:
            counter = (chunk * LANES + lane).to(tl.uint32)
            zero = counter * 0
            bits = tl.philox(seed, counter, zero + position.to(tl.uint32), zero + turn.to(tl.uint32), zero)
            noise = (_gumbel(bits[0]), _gumbel(bits[1]), _gumbel(bits[2]), _gumbel(bits[3]))
        for part in tl.static_range(4):
            index = chunk * (4 * LANES) + part * LANES + lane
            logit = tl.load(logits + index, mask=index < V, other=float("-inf")).to(tl.float32)
            finite = tl.abs(logit) < float("inf")
            odd |= ((index < V) & (finite == 0)).to(tl.int32)
            logit = _within(tl.where(finite, logit, float("-inf")), index, mask, masked, V, MASKS)
            heaviest = tl.maximum(heaviest, logit)
            score = tl.where(logit > pivot, logit * factor + noise[part], float("-inf"))
            best, best_index = _better(score, index, best, best_index)
    top = tl.max(best, axis=0)
    first = tl.min(tl.where(best == top, best_index, NONE), axis=0)
    return top, first, tl.max(heaviest, axis=0), tl.max(odd, axis=0)


@triton.jit
def _belongs(
    logits: tl.tensor,
    mask: tl.tensor,
    masked: tl.tensor,
    chosen: tl.tensor,
    heaviest: tl.tensor,
    inverse: tl.tensor,
    top_p: tl.tensor,
    V: tl.constexpr,
    BLOCK: tl.constexpr,
    MASKS: tl.constexpr,
) -> tl.tensor:
    """Whether the entries strictly heavier than the logit ``chosen`` hold less than ``top_p`` of the mass."""
    lane = tl.arange(0, BLOCK)
    mass, above = tl.zeros([BLOCK], tl.float32), tl.zeros([BLOCK], tl.float32)
    for start in tl.range(0, V, BLOCK, num_stages=3):
        logit = tl.load(logits + start + lane, mask=start + lane < V, other=float("-inf")).to(tl.float32)
        logit = _within(logit, start + lane, mask, masked, V, MASKS)
        weight = tl.exp((logit - heaviest) * inverse)
        mass += weight
        above += tl.where(logit > chosen, weight, 0.0)
    return tl.sum(above, axis=0) < top_p * tl.sum(mass, axis=0)


@triton.jit
def _gather(numbers: tl.tensor, parts: tl.tensor, PARTS: tl.constexpr) -> Any:
    """The best of what a row's programs left, as ``_propose`` gives it."""
    part = tl.arange(0, PARTS)
    known = part < parts
    at = numbers + part * 4
    best = tl.load(at, mask=known, other=float("-inf"), cache_modifier=".cg")
    index = tl.load(at + 1, mask=known, other=0.0, cache_modifier=".cg").to(tl.int32, bitcast=True)
    heaviest = tl.load(at + 2, mask=known, other=float("-inf"), cache_modifier=".cg")
    odd = tl.load(at + 3, mask=known, other=0.0, cache_modifier=".cg")
    top = tl.max(best, axis=0)
    first = tl.min(tl.where(known & (best == top), index, NONE), axis=0)
    return first, tl.max(heaviest, axis=0), tl.max(odd, axis=0)


@triton.jit
def _nucleus(
    logits: tl.tensor,
    mask: tl.tensor,
    masked: tl.tensor,
    index: tl.tensor,
    heaviest: tl.tensor,
    inverse: tl.tensor,
    top_p: tl.tensor,
    seed: tl.tensor,
    position: tl.tensor,
    V: tl.constexpr,
    LANES: tl.constexpr,
    BLOCK: tl.constexpr,
    MASKS: tl.constexpr,
) -> tl.tensor:
    """The proposal ``index``, or the first one after it that stands. The heaviest entry always does."""
    chosen = tl.load(logits + index).to(tl.float32)
    turn = index * 0
    belongs = _belongs(logits, mask, masked, chosen, heaviest, inverse, top_p, V, BLOCK, MASKS)
    refused = (chosen < heaviest) & (belongs == 0)
    while refused:
        turn += 1
        zero = turn * 0
        _, index, _, _ = _propose(
            logits, mask, masked, chosen, inverse, seed, position, turn, zero, zero + 1, V, LANES, MASKS
        )
        chosen = tl.load(logits + index).to(tl.float32)
        belongs = _belongs(logits, mask, masked, chosen, heaviest, inverse, top_p, V, BLOCK, MASKS)
        refused = (chosen < heaviest) & (belongs == 0)
    return index


@triton.jit
def _sample_kernel(
    logits: tl.tensor,
    slot_of_row: tl.tensor,
    temperatures: tl.tensor,
    top_ps: tl.tensor,
    seeds: tl.tensor,
    positions: tl.tensor,
    last_ids: tl.tensor,
    out_ids: tl.tensor,
    numbers: tl.tensor,
    arrivals: tl.tensor,
    masks: tl.tensor,
    has_mask: tl.tensor,
    dummy: tl.tensor,
    V: tl.constexpr,
    LANES: tl.constexpr,
    PARTS: tl.constexpr,
    BLOCK: tl.constexpr,
    MASKS: tl.constexpr,
) -> None:
    # long because each of its many arguments has a line
    row, part, parts = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.num_programs(1)
    slot = tl.load(slot_of_row + row).to(tl.int64)
    temperature, top_p = tl.load(temperatures + slot), tl.load(top_ps + slot)
    seed, position = tl.load(seeds + slot), tl.load(positions + slot)
    inverse = tl.where(temperature > 0, 1.0 / tl.maximum(temperature, 1e-30), 0.0)
    logits += row * V
    masked = part * 0
    if MASKS:
        masked = tl.load(has_mask + slot)
        masks += slot * ((V + 31) // 32)
    top, index, heaviest, odd = _propose(
        logits, masks, masked, float("-inf"), inverse, seed, position, part * 0, part, parts, V, LANES, MASKS
    )
    numbers += row * parts * 4
    tl.store(numbers + part * 4, top)
    tl.store(numbers + part * 4 + 1, index.to(tl.float32, bitcast=True))
    tl.store(numbers + part * 4 + 2, heaviest)
    tl.store(numbers + part * 4 + 3, odd.to(tl.float32))
    tl.debug_barrier()
    if tl.atomic_add(arrivals + row, 1, sem="acq_rel") == parts - 1:
        tl.store(arrivals + row, 0)
        chosen, heaviest, broken = _gather(numbers, parts, PARTS)
        if (inverse > 0) & (top_p < 1) & (broken == 0):
            chosen = _nucleus(
                logits,
                masks,
                masked,
                chosen,
                heaviest,
                inverse,
                top_p,
                seed,
                position,
                V,
                LANES,
                BLOCK,
                MASKS,
            )
        tl.store(out_ids + row, tl.where(broken > 0, -1, chosen))
        if slot != dummy:
            tl.store(last_ids + slot, tl.where(broken > 0, 0, chosen))
            tl.store(positions + slot, position + 1)


def sample(
    logits: torch.Tensor,
    slot_of_row: torch.Tensor,
    temperature: torch.Tensor,
    top_p: torch.Tensor,
    seed: torch.Tensor,
    position: torch.Tensor,
    last_id: torch.Tensor,
    out_ids: torch.Tensor,
    workspace: SampleWorkspace,
    *,
    masks: torch.Tensor | None = None,
    has_mask: torch.Tensor | None = None,
    warps: int = WARPS,
) -> None:
    """Choose a token for each row of ``logits`` [B, V] (contiguous, bfloat16 or float32), and step on.

    By slot: ``temperature`` and ``top_p`` float32, ``seed`` int64, ``position`` and ``last_id`` integers. The
    row's choice goes to ``out_ids[row]`` and ``last_id[slot]``, and ``position[slot]`` grows by one. -1 in
    ``out_ids`` tells of a logit that is no finite number (``last_id`` then holds 0, which the next step can
    read). The last slot is the dummy of padded rows: nothing of it changes.

    ``masks`` int32 [slots, ceil(V / 32)], the lowest bit of a word first, and ``has_mask`` int32 [slots] hold
    rows whose ``has_mask`` is not 0 to the ids whose bit is set; at least one is.
    """
    rows, vocabulary = logits.shape
    parts = _parts(rows, vocabulary)
    if masks is None or has_mask is None:
        masks = has_mask = slot_of_row  # not read
        has_masks = False
    else:
        has_masks = True
    if rows * parts * 4 > workspace.numbers.numel():
        raise ValueError("The workspace is too small for so many rows.")
    _sample_kernel[(rows, parts)](
        *(logits, slot_of_row, temperature, top_p, seed, position, last_id, out_ids),
        *(workspace.numbers, workspace.arrivals, masks, has_mask, temperature.shape[0] - 1),
        *(vocabulary, LANES, triton.next_power_of_2(parts), CHUNK * 2, has_masks),
        num_warps=warps,
    )

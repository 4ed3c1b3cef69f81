"""Which expert computes which token: top-k, and the blocks of tokens that share an expert, on the device.

A pair is a token with one of its experts, numbered ``token * top_k + rank``. The pairs are sorted by expert
(and by token within it) and cut into blocks of at most ``block`` pairs of one expert; ``table`` lists them as
(expert, first place in the sorted pairs, how many), with -1 in the places that are not needed. So a
grid that depends on the number of tokens alone serves every choice, and nothing waits for the host.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language import constexpr, tensor

TOKENS = 64  # tokens that one program routes
SMALLEST = 8  # pairs of the smallest block
LOWEST = constexpr(-3.0e38)  # stands for a logit that is no number, above those of experts taken already


@triton.jit
def _top_k(
    logits_ptr: tensor, weights_ptr: tensor, token: tensor, tokens: tensor,
    E: constexpr, TOP_K: constexpr, EE: constexpr, KK: constexpr,
) -> tensor:  # fmt: skip
    """Write the weights of each token's experts; give [tokens, EE] the rank of the chosen, -1 elsewhere."""
    expert = tl.arange(0, EE)[None, :]
    rank = tl.arange(0, KK)[None, :]
    mask = (token < tokens)[:, None] & (expert < E)
    # other programs of the same launch may have written them: not from this processor's own cache
    logits = tl.load(
        logits_ptr + token[:, None] * E + expert, mask, other=float("-inf"), cache_modifier=".cg"
    ).to(tl.float32)
    logits = tl.where(mask, tl.where(logits > LOWEST, logits, LOWEST), float("-inf"))
    order = tl.full(logits.shape, -1, tl.int32)
    chosen = tl.full((token.shape[0], KK), float("-inf"), tl.float32)
    for j in tl.static_range(TOP_K):
        best = tl.max(logits, 1)
        index = tl.min(tl.where(logits == best[:, None], expert, EE), 1)  # of equal ones the first
        hit = mask & (expert == index[:, None])
        order = tl.where(hit, j, order)
        chosen = tl.where(rank == j, best[:, None], chosen)
        logits = tl.where(hit, float("-inf"), logits)
    chosen = tl.where((token < tokens)[:, None], chosen, 0.0)
    weights = tl.exp(chosen - tl.max(chosen, 1)[:, None])
    weights = tl.where(rank < TOP_K, weights, 0.0)
    weights = weights / tl.sum(weights, 1)[:, None]
    tl.store(weights_ptr + token[:, None] * TOP_K + rank, weights, (token < tokens)[:, None] & (rank < TOP_K))
    return order


@triton.jit
def _write_pairs(pairs_ptr: tensor, order: tensor, first: tensor, token: tensor, TOP_K: constexpr) -> None:
    """Write the pairs of these tokens to their places; ``first`` [EE] is each expert's next place."""
    hit = (order >= 0).to(tl.int32)
    place = first[None, :] + tl.cumsum(hit, 0) - hit
    tl.store(pairs_ptr + place, token[:, None] * TOP_K + order, hit > 0)


@triton.jit
def _write_table(
    table_ptr: tensor, count: tensor, most: tensor, longest: tensor, BLOCK: constexpr, EE: constexpr
) -> None:
    """Write the blocks of every expert; ``count`` [EE] pairs, ``longest``: the most that one can have."""
    expert = tl.arange(0, EE)
    first = tl.cumsum(count, 0) - count
    blocks = (count + BLOCK - 1) // BLOCK
    place = tl.cumsum(blocks, 0) - blocks
    for i in range(0, tl.cdiv(longest, BLOCK)):
        row = table_ptr + (place + i) * 4
        mask = i < blocks
        tl.store(row, expert, mask)
        tl.store(row + 1, first + i * BLOCK, mask)
        tl.store(row + 2, tl.minimum(count - i * BLOCK, BLOCK), mask)
    for i in range(tl.sum(blocks, 0) // EE, tl.cdiv(most, EE)):
        place = i * EE + expert
        mask = (place >= tl.sum(blocks, 0)) & (place < most)
        for column in tl.static_range(3):
            tl.store(table_ptr + place * 4 + column, -1, mask)


@triton.jit
def route_block(
    logits_ptr: tensor, weights_ptr: tensor, pairs_ptr: tensor, table_ptr: tensor, tokens: tensor,
    most: tensor, E: constexpr, TOP_K: constexpr, BLOCK: constexpr, EE: constexpr, KK: constexpr,
    TT: constexpr,
) -> None:  # fmt: skip
    """All of the routing of at most TT tokens in one program."""
    token = tl.arange(0, TT)
    order = _top_k(logits_ptr, weights_ptr, token, tokens, E, TOP_K, EE, KK)
    count = tl.sum((order >= 0).to(tl.int32), 0)
    _write_pairs(pairs_ptr, order, tl.cumsum(count, 0) - count, token, TOP_K)
    _write_table(table_ptr, count, most, tokens, BLOCK, EE)


@triton.jit(do_not_specialize=["tokens", "most"])
def route_few(
    logits_ptr: tensor, weights_ptr: tensor, pairs_ptr: tensor, table_ptr: tensor, tokens: tensor,
    most: tensor, E: constexpr, TOP_K: constexpr, BLOCK: constexpr, EE: constexpr, KK: constexpr,
    TT: constexpr,
) -> None:  # fmt: skip
    """The same as a launch of its own."""
    route_block(logits_ptr, weights_ptr, pairs_ptr, table_ptr, tokens, most, E, TOP_K, BLOCK, EE, KK, TT)


@triton.jit(do_not_specialize=["tokens"])
def route_top_k(
    logits_ptr: tensor, weights_ptr: tensor, order_ptr: tensor, counts_ptr: tensor, tokens: tensor,
    E: constexpr, TOP_K: constexpr, EE: constexpr, KK: constexpr, TT: constexpr,
) -> None:  # fmt: skip
    """The first of two steps: the choice of TT tokens a program, and how many of them chose each expert."""
    block = tl.program_id(0)
    token = block * TT + tl.arange(0, TT)
    expert = tl.arange(0, EE)
    order = _top_k(logits_ptr, weights_ptr, token, tokens, E, TOP_K, EE, KK)
    tl.store(order_ptr + token[:, None] * EE + expert[None, :], order.to(tl.int8), (token < tokens)[:, None])
    tl.store(counts_ptr + block * EE + expert, tl.sum((order >= 0).to(tl.int32), 0))


@triton.jit(do_not_specialize=["tokens", "most"])
def route_sort(
    order_ptr: tensor, counts_ptr: tensor, pairs_ptr: tensor, table_ptr: tensor, tokens: tensor, most: tensor,
    TOP_K: constexpr, BLOCK: constexpr, EE: constexpr, TT: constexpr, ROUND: constexpr,
) -> None:  # fmt: skip
    """The second step: the places of a program's pairs follow from the counts of all programs."""
    block = tl.program_id(0)
    blocks = tl.num_programs(0)
    token = block * TT + tl.arange(0, TT)
    expert = tl.arange(0, EE)
    total = tl.zeros((EE,), tl.int32)
    before = tl.zeros((EE,), tl.int32)
    for start in range(0, blocks, ROUND):
        other = start + tl.arange(0, ROUND)[:, None]
        counts = tl.load(counts_ptr + other * EE + expert[None, :], other < blocks, other=0)
        total += tl.sum(counts, 0)
        before += tl.sum(tl.where(other < block, counts, 0), 0)
    mask = (token < tokens)[:, None]
    order = tl.load(order_ptr + token[:, None] * EE + expert[None, :], mask, other=-1).to(tl.int32)
    _write_pairs(pairs_ptr, order, tl.cumsum(total, 0) - total + before, token, TOP_K)
    if block == 0:
        _write_table(table_ptr, total, most, tokens, BLOCK, EE)


@dataclass(frozen=True, eq=False)
class Routing:
    """Device memory for the routing of at most ``tokens`` tokens, with the contents of the latest call."""

    weights: Tensor  # fp32 [tokens, top_k]
    pairs: Tensor  # int32 [tokens * top_k]
    table: Tensor  # int32 [blocks, 4]
    order: Tensor  # int8 [tokens, experts rounded up to a power of two]
    counts: Tensor  # int32 [programs, experts rounded up to a power of two]
    logits: Tensor  # fp32 [64, experts], of few tokens
    arrivals: Tensor  # int32 [1]; zero between launches

    @classmethod
    def empty(cls, tokens: int, experts: int, top_k: int, device: torch.device) -> "Routing":
        """Take the memory."""
        wide = triton.next_power_of_2(experts)
        return cls(
            torch.empty(tokens, top_k, dtype=torch.float32, device=device),
            torch.empty(tokens * top_k, dtype=torch.int32, device=device),
            torch.empty(most_blocks(tokens, experts, top_k, SMALLEST), 4, dtype=torch.int32, device=device),
            torch.empty(tokens, wide, dtype=torch.int8, device=device),
            torch.empty(triton.cdiv(tokens, TOKENS), wide, dtype=torch.int32, device=device),
            torch.empty(TOKENS, experts, dtype=torch.float32, device=device),
            torch.zeros(1, dtype=torch.int32, device=device),
        )


def most_blocks(tokens: int, experts: int, top_k: int, block: int) -> int:
    """The most blocks that any choice of experts for ``tokens`` tokens needs."""
    pairs = tokens * top_k
    return min(pairs, pairs // block + experts, experts * -(-tokens // block))


def route(logits: Tensor, top_k: int, block: int, routing: Routing) -> int:
    """Fill ``routing`` from the router's ``logits`` [tokens, experts]; returns how many table rows it has."""
    tokens, experts = logits.shape
    wide, ranks = triton.next_power_of_2(experts), triton.next_power_of_2(top_k)
    most = most_blocks(tokens, experts, top_k, block)
    if tokens <= TOKENS:
        route_few[(1,)](
            logits, routing.weights, routing.pairs, routing.table, tokens, most,
            experts, top_k, block, wide, ranks, triton.next_power_of_2(tokens),
            num_warps=1 if tokens <= 4 else 4,
        )  # fmt: skip
        return most
    programs = triton.cdiv(tokens, TOKENS)
    route_top_k[(programs,)](
        logits, routing.weights, routing.order, routing.counts, tokens, experts, top_k, wide, ranks, TOKENS
    )
    route_sort[(programs,)](
        routing.order, routing.counts, routing.pairs, routing.table, tokens, most,
        top_k, block, wide, TOKENS, 16,
    )  # fmt: skip
    return most

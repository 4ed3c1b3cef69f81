"""How the products of the expert kernels are cut into programs, by the number of tokens."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tile:
    """How a product is cut: rows and tokens of a program, warps, chunks on their way, parts of the sum.

    Programs of one warp read the weights straight into registers.
    """

    rows: int
    tokens: int
    warps: int
    stages: int
    splits: int = 1

    @property
    def direct(self) -> int:
        """For how many chunks a program of one warp asks before it needs them; 0 for other programs."""
        return self.stages if self.warps == 1 else 0


@dataclass(frozen=True)
class Plan:
    """The tiles of both products, whose blocks of tokens are the same."""

    gate_up: Tile
    down: Tile

    def __post_init__(self) -> None:
        """Both products share one table of blocks."""
        if self.gate_up.tokens != self.down.tokens or self.gate_up.splits != 1:
            raise ValueError("Both products need the same block of tokens, and the first cannot be split.")


# (up to this many tokens, plan), as benchmarks/gpu_experts.py measured on an H200
PLANS = (
    (1, Plan(Tile(16, 8, 1, 2), Tile(32, 8, 1, 2, 4))),
    (4, Plan(Tile(32, 8, 1, 2), Tile(32, 8, 1, 2, 2))),
    (8, Plan(Tile(32, 8, 1, 2), Tile(64, 8, 1, 2))),
    (32, Plan(Tile(32, 8, 1, 2), Tile(32, 8, 1, 2))),
    (768, Plan(Tile(128, 64, 8, 3), Tile(128, 64, 4, 3))),
)
LARGE = Plan(Tile(256, 128, 8, 3), Tile(128, 128, 8, 3))
MOST_SPLITS = 4
SPLIT_TOKENS = 8  # more tokens are never split


def plan_for(tokens: int) -> Plan:
    """The plan for ``tokens`` tokens."""
    return next((plan for most, plan in PLANS if tokens <= most), LARGE)

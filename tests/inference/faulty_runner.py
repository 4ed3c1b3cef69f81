"""A real runner whose passes fail at random, and whose results may come one step later than they are made."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Several
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from inference.worker.runner import Chosen, PlainRunner
from inference.worker.scheduling import Piece
from inference.worker.sequence import Sequence

ERRORS: tuple[Callable[[], Exception], ...] = (MemoryError, torch.OutOfMemoryError, RuntimeError, ValueError)


@dataclass(frozen=True, slots=True)
class Late:
    """A pass that is told of, or fails, when it is collected."""

    runner: FaultyRunner
    chosen: list[Chosen]
    failure: Exception | None

    def collect(self) -> list[Chosen]:
        for one in self.chosen:
            self.runner.coming[one.sequence].popleft()
        if self.failure is not None:
            raise self.failure
        return self.chosen


class FaultyRunner:
    """Wraps a ``PlainRunner``. At the given ``rate`` a pass raises when it is launched (before or after the
    work is done) or when it is collected, or brings a row no token.
    """

    def __init__(self, real: PlainRunner, depth: int, rate: float, rng: random.Random) -> None:
        self.depth = depth
        self.faults = 0
        self.rate = rate
        # Ids that the engine does not know yet, though the next pass starts from them.
        self.coming: dict[Sequence, deque[int | None]] = {}
        self._real, self._rng = real, rng

    def prefill(self, pieces: Several[Piece]) -> Late:
        return self._launch(lambda: self._real.prefill(pieces).collect())

    def decode(self, sequences: Several[Sequence]) -> Late:
        with self._known(sequences):
            return self._launch(lambda: self._real.decode(sequences).collect())

    def scrub(self, sequence: Sequence) -> None:
        self._real.scrub(sequence)

    def capture(self) -> None:
        self._real.capture()

    def _launch(self, work: Callable[[], list[Chosen]]) -> Late:
        fault = self._rng.choice(("before", "after", "collect", "numbers")) if self._strikes() else None
        failure = self._rng.choice(ERRORS)()
        if fault == "before":
            raise failure
        chosen = work()
        if fault == "after":
            raise failure
        if fault == "numbers" and chosen:
            hurt = self._rng.randrange(len(chosen))
            chosen[hurt] = Chosen(chosen[hurt].sequence, None)
        for one in chosen:
            self.coming.setdefault(one.sequence, deque()).append(one.token)
        return Late(self, chosen, failure if fault == "collect" else None)

    def _strikes(self) -> bool:
        strikes = self._rng.random() < self.rate
        self.faults += strikes
        return strikes

    @contextmanager
    def _known(self, sequences: Several[Sequence]) -> Iterator[None]:
        """For a moment the sequences hold the ids that are still on their way."""
        held = [(sequence, sequence.pending) for sequence in sequences]
        for sequence, pending in held:
            ids = list(self.coming.get(sequence, ()))[-pending:] if pending else []
            assert len(ids) == pending
            sequence.tokens.extend(0 if token is None else token for token in ids)
            sequence.pending = 0
        try:
            yield
        finally:
            for sequence, pending in held:
                sequence.pending = pending
                del sequence.tokens[len(sequence.tokens) - pending :]

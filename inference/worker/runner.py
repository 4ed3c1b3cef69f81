"""What carries out a planned step: the two forward passes, and the choice of the next tokens."""

from __future__ import annotations

from collections.abc import Sequence as Several
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from inference.types import TokenLogprob
from inference.worker.pages import PAGE
from inference.worker.plain import PlainNetwork
from inference.worker.plain_attention import PagedKv, Span, piece_spans, token_spans
from inference.worker.plain_linear import pad_rows
from inference.worker.sampler import Logits, Peak, choose, choose_within, find_peaks, logprobs, uniform_at
from inference.worker.scheduling import Piece
from inference.worker.sequence import Sequence


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a forward pass brought one sequence: its next token, or ``None`` if its numbers went wrong."""

    sequence: Sequence
    token: int | None
    logprob: TokenLogprob | None = None


class Launch(Protocol):
    """A forward pass on its way."""

    def collect(self) -> list[Chosen]:
        """Wait for the pass, and give the next token of every sequence that got one, and ``None`` for every
        one whose numbers went wrong, if only in the middle of its prompt.
        """
        ...


class Runner(Protocol):
    """Forward passes over pages. ``depth`` is how many steps may be on their way when another is launched."""

    depth: int

    def prefill(self, pieces: Several[Piece]) -> Launch:
        """Compute pieces of prompts; those that end their sequence's known tokens bring the next one."""
        ...

    def decode(self, sequences: Several[Sequence]) -> Launch:
        """Compute the last token of each of these sequences, and choose the next."""
        ...

    def capture(self) -> None:
        """Prepare for speed, once, after both passes have run."""
        ...

    def scrub(self, sequence: Sequence) -> None:
        """The last pass wrote numbers that are not finite into this sequence's pages: make them harmless.

        What is confirmed is right, and others may share it; it must not change.
        """
        ...


@dataclass(frozen=True, slots=True)
class Done:
    """A pass that is over when its launch returns."""

    chosen: list[Chosen]

    def collect(self) -> list[Chosen]:
        """See ``Launch``."""
        return self.chosen


class PlainRunner:
    """Plain torch operations. Every pass is over when it returns."""

    depth = 0

    def __init__(self, network: PlainNetwork, kv: PagedKv) -> None:
        self._network, self._kv = network, kv
        self._device = network.device

    def prefill(self, pieces: Several[Piece]) -> Done:
        """See ``Runner``."""
        with torch.inference_mode():
            return Done(self._read(pieces))

    def decode(self, sequences: Several[Sequence]) -> Done:
        """See ``Runner``."""
        with torch.inference_mode():
            return Done(self._write(sequences))

    def capture(self) -> None:
        """See ``Runner``. There is nothing to prepare."""

    def scrub(self, sequence: Sequence) -> None:
        """See ``Runner``."""
        with torch.inference_mode():
            first = sequence.confirmed // PAGE
            self._kv.scrub(
                sequence.full_pages[first:], [page for page in sequence.sliding_pages[first:] if page]
            )

    def _read(self, pieces: Several[Piece]) -> list[Chosen]:
        ids = [id_ for p in pieces for id_ in p.sequence.tokens[p.start : p.start + p.count]]
        positions = [range(p.start, p.start + p.count) for p in pieces]
        spans = {
            window: piece_spans([(p.start, p.count, _pages(p.sequence, window)) for p in pieces], window)
            for window in set(self._kv.shape.windows)
        }
        places = {
            window: [
                _place(pages, position)
                for piece, own in zip(pieces, positions, strict=True)
                for pages in [_pages(piece.sequence, window)]
                for position in own
            ]
            for window in spans
        }
        hidden = self._forward(ids, [position for own in positions for position in own], places, spans)
        # Others may find these pages as soon as this pass is over, so all of it must have gone well.
        finite = torch.isfinite(hidden[: len(ids)]).all(dim=1)
        made, ending, last = [], [], -1
        for piece in pieces:
            last += piece.count
            if not bool(finite[last + 1 - piece.count : last + 1].all()):
                made.append(Chosen(piece.sequence, None))
            elif piece.last:
                ending.append((piece.sequence, last))
        if not ending:
            return made
        chosen = torch.tensor([row for _, row in ending], device=self._device)
        return made + self._choose(hidden.index_select(0, chosen), [sequence for sequence, _ in ending])

    def _write(self, sequences: Several[Sequence]) -> list[Chosen]:
        positions = [sequence.computed - 1 for sequence in sequences]  # the plan counts the new token already
        tables = {
            window: [_pages(sequence, window) for sequence in sequences]
            for window in set(self._kv.shape.windows)
        }
        spans = {window: token_spans(positions, tables[window], window) for window in tables}
        places = {window: list(map(_place, tables[window], positions)) for window in tables}
        hidden = self._forward([s.tokens[-1] for s in sequences], positions, places, spans)
        return self._choose(hidden[: len(sequences)], sequences)

    def _forward(
        self,
        ids: list[int],
        positions: list[int],
        places: dict[int | None, list[int]],
        spans: dict[int | None, list[Span]],
    ) -> Tensor:
        padding = [0] * (pad_rows(len(ids)) - len(ids))
        return self._network.forward(
            self._kv,
            torch.tensor(ids + padding, device=self._device),
            torch.tensor(positions + padding, device=self._device),
            {window: torch.tensor(flat, device=self._device) for window, flat in places.items()},
            {window: [span.to(self._device) for span in made] for window, made in spans.items()},
        )

    def _choose(self, hidden: Tensor, sequences: Several[Sequence]) -> list[Chosen]:
        head = self._network.head
        rows = head(hidden)
        made = []
        for row, peak, sequence in zip(rows, find_peaks(rows), sequences, strict=True):
            if peak is None:
                made.append(Chosen(sequence, None))
                continue
            sampling = sequence.request.sampling
            logits = Logits(row, head.ids, head.vocab)
            number = uniform_at(sequence.seed, sequence.length - sequence.prompt_length)
            token = self._pick(logits, sequence, number, peak)
            scores = None if sampling.logprobs is None else logprobs(logits, token, sampling.logprobs)
            made.append(Chosen(sequence, token, scores))
        return made

    def _pick(self, logits: Logits, sequence: Sequence, number: float, peak: Peak) -> int:
        """The next token of a row, by the random ``number``."""
        sampling, mask = sequence.request.sampling, sequence.mask
        if mask is None:
            return choose(logits, sampling, number, peak)
        allowed = mask.allowed(logits.vocab).to(self._device)
        return choose_within(logits, sampling, number, peak, allowed, rare=mask.rare)


def _pages(sequence: Sequence, window: int | None) -> list[int]:
    return sequence.full_pages if window is None else sequence.sliding_pages


def _place(pages: list[int], position: int) -> int:
    return pages[position // PAGE] * PAGE + position % PAGE

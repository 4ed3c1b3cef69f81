"""The engine of one loaded model. ``step()`` is its heartbeat: plan, launch, collect, tell."""

from __future__ import annotations

import logging
import secrets
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass

import torch

from inference.metrics import MetricsBuilder
from inference.types import (
    FinishReason,
    GenerationRequest,
    TokenEvent,
    TokensFinished,
    TokensGenerated,
    TokensStarted,
    Usage,
)
from inference.worker.guide import Guide, Unguided
from inference.worker.guide_maker import GuideMaker
from inference.worker.network import LoadedModel
from inference.worker.runner import Chosen, Launch
from inference.worker.sampler import InvalidLogits
from inference.worker.scheduling import Piece, Scheduler
from inference.worker.sequence import Sequence

logger = logging.getLogger(__name__)

Emit = Callable[[TokenEvent], None]

FAILURES = {
    "out_of_memory": "There was not enough memory to go on with this reply. Try a shorter conversation.",
    "invalid_logits": "The model's numbers went wrong, so this reply was stopped. Try again.",
    "generation_failed": "Something went wrong while this reply was written. Try again.",
    "constraint_failed": "The format that was asked for is too complex to be followed to its end.",
    "engine_unavailable": "The model was changed before this reply was complete. Ask again in a moment.",
}

GUIDE_WAIT = 0.01
"""Seconds that a step waits for guides when there is nothing else to do; then commands are looked at."""


class DeviceLost(Exception):
    """The GPU reported an error after which nothing more can run in this process."""


@dataclass(frozen=True, slots=True)
class Flight:
    """A launched pass, and what it computes: pieces of prompts, or one token of each of ``rows``."""

    launch: Launch
    pieces: tuple[Piece, ...] = ()
    rows: tuple[Sequence, ...] = ()

    @property
    def members(self) -> list[Sequence]:
        return [*(piece.sequence for piece in self.pieces), *self.rows]


class EngineCore:
    """Runs the requests of ``model``; every event goes to ``emit``."""

    def __init__(self, model: LoadedModel, emit: Emit, metrics: MetricsBuilder | None = None) -> None:
        self.model = model
        self.metrics = metrics or MetricsBuilder()
        self.scheduler = Scheduler(
            model.pages,
            max_running=model.max_running,
            chunk_tokens=model.chunk_tokens,
            chunk_beside=model.chunk_beside,
            max_pieces=model.max_pieces,
            rows_beside=model.rows_beside,
            steady=model.steady,
        )
        self._emit = emit
        self._sequences: dict[str, Sequence] = {}
        self._flights: deque[list[Flight]] = deque()
        self._guides = GuideMaker(model.limits.vocab_size)
        self._guided: dict[Sequence, Future[Guide | None]] = {}  # these wait for their guides

    @property
    def running(self) -> int:
        """Requests that left the queue and are not finished."""
        return self.scheduler.running

    @property
    def waiting(self) -> int:
        """Requests in the queue, those that had to step back included."""
        return self.scheduler.waiting + len(self._guided)

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._sequences or self._flights)

    def submit(self, request: GenerationRequest, submitted: float) -> None:
        """Put a request, which the border has checked, at the end of its user's queue.

        One with the id of a request that is here is ignored: whoever waits for this id gets its one end.
        """
        if request.request_id in self._sequences:
            logger.warning("A request came with the id of another one that is not finished.")
            return
        seed = request.sampling.seed
        # 53 bits: a browser, too, can name such a number exactly when it asks for the same reply again.
        seed = secrets.randbits(53) if seed is None else seed
        sequence = Sequence.of(request, submitted, seed)
        self._sequences[request.request_id] = sequence
        if request.constraint is None:
            self.scheduler.add(sequence)
        else:
            self._guided[sequence] = self._guides.make(request.constraint, request.prompt_ids)

    def cancel(self, request_id: str) -> bool:
        """End the request now, wherever it stands; False when it is not here."""
        sequence = self._sequences.get(request_id)
        if sequence is not None:
            self._finish(sequence, FinishReason.CANCELLED)
        return sequence is not None

    def cancel_all(self) -> None:
        """End every request as cancelled."""
        for sequence in list(self._sequences.values()):
            self._finish(sequence, FinishReason.CANCELLED)

    def give_up(self) -> None:
        """End every request with an error, for the model is taken away."""
        for sequence in list(self._sequences.values()):
            self._finish(sequence, FinishReason.ERROR, "engine_unavailable")

    def step(self) -> None:
        """One step for everybody.

        Raises:
            DeviceLost: the GPU is gone; no request of this process can go on.
        """
        if not self.busy:
            return
        self._take_guides()
        began = time.monotonic()
        flights = self._launch()
        if flights:
            self._flights.append(flights)
        depth = self.model.runner.depth if flights else 0
        while len(self._flights) > depth:
            for flight in self._flights.popleft():
                self._land(flight)
        self.metrics.stepped(time.monotonic() - began)

    # --- constraints -----------------------------------------------------------------------------

    def _take_guides(self) -> None:
        """Requests whose guides are ready get into the queue."""
        if not self._guided:
            return
        if len(self._guided) == len(self._sequences) and not self._flights:
            wait(self._guided.values(), GUIDE_WAIT, FIRST_COMPLETED)
        for sequence, made in [pair for pair in self._guided.items() if pair[1].done()]:
            del self._guided[sequence]
            try:
                sequence.guide = made.result()
            except Exception as error:
                self._fail(sequence, error)
            else:
                self.scheduler.add(sequence)

    def _has_mask(self, sequence: Sequence) -> bool:
        """Find what its next token may be; False when that cannot be, and the request is over."""
        if sequence.guide is not None:
            try:
                sequence.mask = sequence.guide.mask()
            except Exception as error:
                self._fail(sequence, error)
                return False
        return True

    # --- launching -------------------------------------------------------------------------------

    def _launch(self) -> list[Flight]:
        plan = self.scheduler.plan()
        for sequence in plan.failed:
            self._finish(sequence, FinishReason.ERROR, "out_of_memory", gone=True)
        for _ in plan.preempted:
            self.metrics.preempted()
        for sequence in plan.started:
            self._tell_start(sequence)
        rows = [sequence for sequence in plan.decode if self._has_mask(sequence)]
        pieces = [piece for piece in plan.prefill if not piece.last or self._has_mask(piece.sequence)]
        flights: list[Flight] = []
        if rows:
            flights += self._launch_rows(rows)
        if pieces:
            flights += self._launch_pieces(pieces)
        return flights

    def _tell_start(self, sequence: Sequence) -> None:
        if sequence.started is not None:
            return  # it had to step back, and goes on
        sequence.started = time.monotonic()
        self.metrics.started(sequence.prompt_length, sequence.cached)
        status, request_id = self.model.status, sequence.request.request_id
        self._emit(TokensStarted(request_id, status.name, status.revision, sequence.seed))

    def _launch_rows(self, rows: list[Sequence]) -> list[Flight]:
        try:
            launch = self.model.runner.decode(rows)
        except Exception as error:
            if _is_device_lost(error):
                raise DeviceLost from error
            if len(rows) == 1:
                self._fail(rows[0], error)
                return []
            logger.warning("A forward pass failed; repeating it one request at a time.")
            _release_memory()
            return [flight for row in rows for flight in self._launch_rows([row])]
        for row in rows:
            row.pending += 1
        return [Flight(launch, rows=tuple(rows))]

    def _launch_pieces(self, pieces: list[Piece]) -> list[Flight]:
        try:
            launch = self.model.runner.prefill(pieces)
        except Exception as error:
            if _is_device_lost(error):
                raise DeviceLost from error
            if len(pieces) == 1:
                self._fail(pieces[0].sequence, error)
                return []
            _release_memory()
            return [flight for piece in pieces for flight in self._launch_pieces([piece])]
        for piece in pieces:
            if piece.last:
                piece.sequence.pending += 1
        return [Flight(launch, pieces=tuple(pieces))]

    # --- landing ---------------------------------------------------------------------------------

    def _land(self, flight: Flight) -> None:
        """Wait for a pass and take what it brought."""
        try:
            chosen = flight.launch.collect()
        except Exception as error:
            if _is_device_lost(error):
                raise DeviceLost from error
            for sequence in flight.members:
                self._fail(sequence, error)
            return
        now = time.monotonic()
        unfinished = {piece.sequence for piece in flight.pieces if not piece.last}
        for one in chosen:
            if one.sequence not in unfinished:
                one.sequence.pending -= 1
            if self._is_here(one.sequence):
                self._take(one, now)
        for piece in flight.pieces:
            if self._is_here(piece.sequence):
                self.scheduler.confirm(piece.sequence, piece.start + piece.count)

    def _is_here(self, sequence: Sequence) -> bool:
        return self._sequences.get(sequence.request.request_id) is sequence

    def _take(self, chosen: Chosen, now: float) -> None:
        """A new token: tell it, and end the request when it was the last."""
        sequence, token = chosen.sequence, chosen.token
        if token is None:
            self._fail(sequence, InvalidLogits())
            return
        if sequence.first_token is None:
            sequence.first_token = now
            self.metrics.first_token(now - sequence.submitted)
        else:
            self.metrics.next_tokens(now - (sequence.latest_token or now))
        sequence.latest_token = now
        sequence.tokens.append(token)
        request = sequence.request
        scores = () if chosen.logprob is None else (chosen.logprob,)
        self._emit(TokensGenerated(request.request_id, (token,), scores))
        self.scheduler.confirm(sequence)
        if token in request.sampling.stop_token_ids:
            self._finish(sequence, FinishReason.STOP)
        elif sequence.generated >= request.sampling.max_tokens:
            self._finish(sequence, FinishReason.LENGTH)
        elif sequence.guide is not None:
            try:
                sequence.guide.follow(sequence.tokens)
            except Exception as error:
                self._fail(sequence, error)

    # --- ending ----------------------------------------------------------------------------------

    def _fail(self, sequence: Sequence, error: Exception) -> None:
        """This request ends with an error; the others go on."""
        if not self._is_here(sequence):
            return
        code = "generation_failed"
        if _is_memory(error):
            code = "out_of_memory"
        elif isinstance(error, Unguided):
            code = "constraint_failed"
        elif isinstance(error, InvalidLogits):
            code = "invalid_logits"
            self.model.runner.scrub(sequence)
        logger.error("A request failed.", exc_info=error)
        # What this pass wrote may be wrong, so it must not be found by others.
        self.scheduler.rollback(sequence)
        self._finish(sequence, FinishReason.ERROR, code)
        if code == "out_of_memory":
            _release_memory()

    def _finish(
        self, sequence: Sequence, reason: FinishReason, error_code: str | None = None, *, gone: bool = False
    ) -> None:
        """Give back place and pages, then tell the end. ``gone``: the scheduler has forgotten it already."""
        if (made := self._guided.pop(sequence, None)) is not None:
            made.cancel()
        elif not gone:
            self.scheduler.finish(sequence)
        del self._sequences[sequence.request.request_id]
        usage = Usage(sequence.prompt_length, sequence.cached, sequence.generated)
        error = FAILURES[error_code] if error_code else None
        request_id, timings = sequence.request.request_id, sequence.timings(time.monotonic())
        self.metrics.ended(reason)
        self._emit(TokensFinished(request_id, reason, usage, timings, error, error_code))


def _is_device_lost(error: Exception) -> bool:
    """CUDA errors other than want of memory (an assertion, an illegal access) poison the whole process."""
    if _is_memory(error):
        return False
    text = str(error)
    return isinstance(error, torch.AcceleratorError) or "CUDA error" in text or "Triton Error [CUDA]" in text


def _is_memory(error: Exception) -> bool:
    """Want of memory, whoever says so: torch, CUDA itself, Triton or cuBLAS."""
    text = str(error)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in text or "ALLOC_FAILED" in text)
    )


def _release_memory() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()

"""The requests of one loaded model: waiting, reading their prompts, and writing.

A turn starts what fits, reads one piece of one prompt, and writes one token of every running reply.
"""

from __future__ import annotations

import logging
import random
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from inference.types import (
    FinishReason,
    GenerationRequest,
    Timings,
    TokenEvent,
    TokensFinished,
    TokensGenerated,
    TokensStarted,
    Usage,
)
from inference.worker.kv import KvRows, reserved_tokens
from inference.worker.network import LoadedModel
from inference.worker.sampling import InvalidLogits, choose

logger = logging.getLogger(__name__)

Emit = Callable[[TokenEvent], None]

FAILURES = {
    "out_of_memory": "There was not enough memory to go on with this reply. Try a shorter conversation.",
    "invalid_logits": "The model's numbers went wrong, so this reply was stopped. Try again.",
    "generation_failed": "Something went wrong while this reply was written. Try again.",
}


class DeviceLost(Exception):
    """The GPU reported an error after which nothing more can run in this process."""


@dataclass(eq=False, slots=True)
class Sequence:
    """One request on its way. ``size`` is its class in tokens; times are ``time.monotonic()``."""

    request: GenerationRequest
    submitted: float
    seed: int
    rng: random.Random
    size: int
    kv: KvRows | None = None
    generated: int = 0
    last_token: int = -1
    started: float | None = None
    first_token: float | None = None
    latest_token: float | None = None


@dataclass(eq=False, slots=True)
class Group:
    """Replies that are written in one forward pass; ``members[i]`` is row ``i`` of ``kv``."""

    kv: KvRows
    members: list[Sequence] = field(default_factory=list)


class Scheduler:
    """Runs the requests of ``model``; every event goes to ``emit``."""

    def __init__(self, model: LoadedModel, emit: Emit) -> None:
        self.model = model
        self._emit = emit
        self._waiting: deque[Sequence] = deque()
        self._reading: deque[Sequence] = deque()
        self._groups: list[Group] = []
        self._used_bytes = 0

    @property
    def running(self) -> int:
        """Requests that left the queue and are not finished."""
        return len(self._reading) + sum(len(group.members) for group in self._groups)

    @property
    def used_bytes(self) -> int:
        """Memory that is set aside for the caches of running requests."""
        return self._used_bytes

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._waiting or self._reading or self._groups)

    def submit(self, request: GenerationRequest, submitted: float) -> None:
        """Put a request, which the border has checked, at the end of the queue."""
        seed = request.sampling.seed
        # 53 bits: a browser, too, can name such a number exactly when it asks for the same reply again.
        seed = secrets.randbits(53) if seed is None else seed
        size = reserved_tokens(len(request.prompt_ids) + request.sampling.max_tokens)
        self._waiting.append(Sequence(request, submitted, seed, random.Random(seed), size))

    def cancel(self, request_id: str) -> bool:
        """End the request now, wherever it stands; False when it is not here."""
        for sequence in self._all():
            if sequence.request.request_id == request_id:
                self._finish(sequence, FinishReason.CANCELLED)
                return True
        return False

    def cancel_all(self) -> None:
        """End every request as cancelled."""
        for sequence in self._all():
            self._finish(sequence, FinishReason.CANCELLED)

    def turn(self) -> None:
        """One step for everybody.

        Raises:
            DeviceLost: the GPU is gone; no request of this process can go on.
        """
        with torch.inference_mode():
            self._admit()
            if self._reading:
                self._read(self._reading[0])
            for group in list(self._groups):
                self._write(group)

    def _cost(self, sequence: Sequence) -> int:
        return self.model.geometry.bytes_for(sequence.size)

    def _all(self) -> list[Sequence]:
        members = [member for group in self._groups for member in group.members]
        return [*self._waiting, *self._reading, *members]

    def _admit(self) -> None:
        """Start requests in order, as long as there is a place and memory for all that they may write."""
        while self._waiting and self.running < self.model.max_running:
            sequence = self._waiting[0]
            if self.running and self._used_bytes + self._cost(sequence) > self.model.kv_budget:
                return
            self._waiting.popleft()
            self._used_bytes += self._cost(sequence)
            sequence.started = time.monotonic()
            self._reading.append(sequence)
            status = self.model.status
            request_id = sequence.request.request_id
            self._emit(TokensStarted(request_id, status.name, status.revision, sequence.seed))

    def _read(self, sequence: Sequence) -> None:
        """One piece of the prompt; after the last one the first token is there."""
        prompt = sequence.request.prompt_ids
        try:
            if sequence.kv is None:
                sequence.kv = KvRows(self.model.geometry, sequence.size)
            start = sequence.kv.lengths[0]
            end = start + self.model.prefill_count(start, len(prompt))
            logits = self.model.prefill(sequence.kv, prompt[start:end], last=end == len(prompt))
            if logits is None:
                return
            token = choose(logits, sequence.request.sampling, sequence.rng)
        except Exception as error:
            self._fail(sequence, error)
            return
        self._take(sequence, token)
        if sequence in self._reading:
            self._reading.remove(sequence)
            self._join(sequence)

    def _join(self, sequence: Sequence) -> None:
        """The prompt is read: the request begins to write, beside others of about its length."""
        kv, sequence.kv = sequence.kv, None
        if kv is None:
            raise RuntimeError("a request cannot write before its prompt is read")
        for group in self._groups:
            if group.kv.limit == sequence.size and len(group.members) < self.model.decode_width:
                try:
                    group.kv.append(kv)
                except Exception as error:
                    self._fail(sequence, error)
                    return
                group.members.append(sequence)
                return
        self._groups.append(Group(kv, [sequence]))

    def _write(self, group: Group) -> None:
        """One token for each member."""
        members = list(group.members)
        try:
            rows = self._decode(group, members)
        except Exception as error:
            if _is_device_lost(error):
                raise DeviceLost from error
            if len(members) == 1:
                self._fail(members[0], error)
                return
            logger.warning("A forward pass failed; repeating it one request at a time.")
            _release_memory()
            for member in members:
                self._write_alone(group, member)
            return
        for member, logits in zip(members, rows, strict=True):
            self._choose(group, member, logits)

    def _write_alone(self, group: Group, member: Sequence) -> None:
        try:
            logits = self._decode(group, [member])[0]
        except Exception as error:
            self._fail(member, error)
            return
        self._choose(group, member, logits)

    def _decode(self, group: Group, members: list[Sequence]) -> Tensor:
        rows = [group.members.index(member) for member in members]
        return self.model.decode(group.kv, rows, [member.last_token for member in members])

    def _choose(self, group: Group, member: Sequence, logits: Tensor) -> None:
        try:
            token = choose(logits, member.request.sampling, member.rng)
        except Exception as error:
            self._fail(member, error)
            return
        self.model.commit(group.kv, [group.members.index(member)])
        self._take(member, token)

    def _take(self, sequence: Sequence, token: int) -> None:
        """A new token: tell it, and end the request when it was the last."""
        now = time.monotonic()
        if sequence.first_token is None:
            sequence.first_token = now
        sequence.latest_token = now
        sequence.last_token = token
        sequence.generated += 1
        self._emit(TokensGenerated(sequence.request.request_id, (token,)))
        if token in sequence.request.sampling.stop_token_ids:
            self._finish(sequence, FinishReason.STOP)
        elif sequence.generated >= sequence.request.sampling.max_tokens:
            self._finish(sequence, FinishReason.LENGTH)

    def _fail(self, sequence: Sequence, error: Exception) -> None:
        """This request ends with an error; the others go on."""
        if _is_device_lost(error):
            raise DeviceLost from error
        logger.error("A request failed.", exc_info=error)
        code = "generation_failed"
        if isinstance(error, MemoryError | torch.OutOfMemoryError):
            code = "out_of_memory"
        elif isinstance(error, InvalidLogits):
            code = "invalid_logits"
        self._finish(sequence, FinishReason.ERROR, code)
        if code == "out_of_memory":
            _release_memory()

    def _finish(self, sequence: Sequence, reason: FinishReason, error_code: str | None = None) -> None:
        """Give back the place and the memory, then tell the end."""
        if sequence in self._waiting:
            self._waiting.remove(sequence)
        else:
            self._used_bytes -= self._cost(sequence)
        if sequence in self._reading:
            self._reading.remove(sequence)
        for group in list(self._groups):
            if sequence in group.members:
                self._leave(group, sequence)
        sequence.kv = None
        usage = Usage(prompt=len(sequence.request.prompt_ids), completion=sequence.generated)
        error = FAILURES[error_code] if error_code else None
        request_id = sequence.request.request_id
        self._emit(TokensFinished(request_id, reason, usage, _timings(sequence), error, error_code))

    def _leave(self, group: Group, sequence: Sequence) -> None:
        row = group.members.index(sequence)
        with (
            torch.inference_mode()
        ):  # a cancel comes between turns, and the buffers belong to the turns' mode
            group.kv.remove(row)
        last = group.members.pop()
        if last is not sequence:
            group.members[row] = last
        if not group.members:
            self._groups.remove(group)


def _timings(sequence: Sequence) -> Timings:
    now = time.monotonic()
    first, latest = sequence.first_token, sequence.latest_token
    speed = 0.0
    if first is not None and latest is not None and sequence.generated > 1 and latest > first:
        speed = (sequence.generated - 1) / (latest - first)
    return Timings(
        queued=(sequence.started or now) - sequence.submitted,
        ttft=0.0 if first is None else first - sequence.submitted,
        total=now - sequence.submitted,
        tokens_per_second=speed,
    )


def _is_device_lost(error: Exception) -> bool:
    """CUDA errors other than want of memory (an assertion, an illegal access) poison the whole process."""
    if isinstance(error, torch.OutOfMemoryError):
        return False
    return isinstance(error, torch.AcceleratorError) or "CUDA error" in str(error)


def _release_memory() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()

"""A device on paper for the scheduler's tests: what a forward pass would read and write in the pages.

The entry of a token stands for its keys and values: a number that follows from every token up to this one.
It is worked out from the entry before it, which is read through the pages, and the next token follows from
it. So a page that is lost, shared wrongly, overwritten or found under a wrong key changes what comes out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from collections.abc import Sequence as Values
from dataclasses import dataclass

from inference.types import GenerationRequest, SamplingParams
from inference.worker.pages import PAGE, KvPages
from inference.worker.scheduling import Plan, Scheduler
from inference.worker.sequence import Sequence

START = 1
Entries = dict[tuple[int, int], int]


def entry(before: int, token: int) -> int:
    return (before * 1_000_003 + token * 97 + 13) % (2**61 - 1)


def sample(last: int) -> int:
    return last % 5


def entries(tokens: Iterable[int]) -> list[int]:
    found, latest = [], START
    for token in tokens:
        latest = entry(latest, token)
        found.append(latest)
    return found


def reply(prompt: Values[int], limit: int, stops: Values[int] = ()) -> list[int]:
    """The tokens that follow ``prompt`` when nothing else runs."""
    latest = entries(prompt)[-1]
    tokens: list[int] = []
    while len(tokens) < limit and not (tokens and tokens[-1] in stops):
        tokens.append(sample(latest))
        latest = entry(latest, tokens[-1])
    return tokens


def sequence_of(
    prompt: Values[int], limit: int = 8, user: str = "ada", stops: tuple[int, ...] = ()
) -> Sequence:
    sampling = SamplingParams(max_tokens=limit, stop_token_ids=stops)
    return Sequence.of(GenerationRequest("request", tuple(prompt), sampling, user), 0.0, 0)


@dataclass
class Result:
    """What one pass will tell of a sequence: ``token`` if it sampled one, ``computed`` tokens in all."""

    sequence: Sequence
    computed: int
    token: int | None


class PaperDevice:
    """Runs the plans of a scheduler. The results of the latest ``depth`` plans are still on their way."""

    def __init__(self, scheduler: Scheduler, depth: int = 0) -> None:
        self.scheduler = scheduler
        self.depth = depth
        self.full: Entries = {}
        self.sliding: Entries = {}
        self.slots: dict[int, tuple[int, int]] = {}
        self.in_flight: deque[list[Result]] = deque()
        self.finished: list[Sequence] = []
        self.failed: list[Sequence] = []

    @property
    def pages(self) -> KvPages:
        return self.scheduler.pages

    def step(self, broken: bool = False) -> Plan:
        """Plan and run one step; a ``broken`` one writes nonsense and then fails."""
        plan = self.scheduler.plan()
        self.failed.extend(plan.failed)
        self.in_flight.append(self._break(plan) if broken else self._run(plan))
        while len(self.in_flight) > self.depth:
            self.receive()
        return plan

    def receive(self) -> None:
        """The oldest pass ends."""
        for result in self.in_flight.popleft():
            self._tell(result)

    def cancel(self, sequence: Sequence) -> None:
        assert self.scheduler.finish(sequence)

    def drain(self, steps: int = 20_000) -> int:
        """Step until everybody is finished; how many steps that took."""
        for taken in range(steps):
            if not self.scheduler.sequences():
                while self.in_flight:
                    self.receive()
                return taken
            self.step()
        raise AssertionError("not everybody finished")

    def _tell(self, result: Result) -> None:
        sequence = result.sequence
        if result.token is not None:
            sequence.pending -= 1
        if sequence not in self.scheduler.sequences():
            return
        if result.token is not None:
            sequence.tokens.append(result.token)
        self.scheduler.confirm(sequence, result.computed)
        stops = sequence.request.sampling.stop_token_ids
        if result.token in stops or len(sequence.tokens) == sequence.limit:
            assert self.scheduler.finish(sequence)
            self.finished.append(sequence)

    def _run(self, plan: Plan) -> list[Result]:
        results = []
        for piece in plan.prefill:
            sequence, end = piece.sequence, piece.start + piece.count
            assert sequence.pending == 0
            latest = self._read(sequence, piece.start - 1)
            for position in range(piece.start, end):
                latest = entry(latest, sequence.tokens[position])
                self._write(sequence, position, latest)
            assert piece.last == (end == len(sequence.tokens))
            if piece.last:
                self.slots[sequence.slot] = (sample(latest), end)
            results.append(Result(sequence, end, sample(latest) if piece.last else None))
        for sequence in plan.decode:
            token, position = self.slots[sequence.slot]
            assert position == sequence.computed - 1
            latest = entry(self._read(sequence, position - 1), token)
            self._write(sequence, position, latest)
            self.slots[sequence.slot] = (sample(latest), position + 1)
            results.append(Result(sequence, position + 1, sample(latest)))
        for result in results:
            self._look(result)
            result.sequence.pending += result.token is not None
        return results

    def _break(self, plan: Plan) -> list[Result]:
        for piece in plan.prefill:
            for position in range(piece.start, piece.start + piece.count):
                self._write(piece.sequence, position, -1)
        for sequence in plan.decode:
            self._write(sequence, sequence.computed - 1, -1)
        for sequence in [*plan.decode, *(piece.sequence for piece in plan.prefill)]:
            self.slots.pop(sequence.slot, None)
            self.scheduler.rollback(sequence)
        return []

    def _read(self, sequence: Sequence, position: int) -> int:
        if position < 0:
            return START
        pages, store = sequence.full_pages, self.full
        if not pages:
            pages, store = sequence.sliding_pages, self.sliding
        return store[pages[position // PAGE], position % PAGE]

    def _write(self, sequence: Sequence, position: int, value: int) -> None:
        for pages, store in ((sequence.full_pages, self.full), (sequence.sliding_pages, self.sliding)):
            if pages:
                assert pages[position // PAGE] > 0
                store[pages[position // PAGE], position % PAGE] = value

    def _look(self, result: Result) -> None:
        """After all rows have written: the latest token of each sees what belongs to it, in both kinds."""
        sequence, end = result.sequence, result.computed
        expected = entries([*sequence.request.prompt_ids, *reply(sequence.request.prompt_ids, end)][:end])
        for position in range(end if sequence.full_pages else 0):
            page = sequence.full_pages[position // PAGE]
            assert self.full[page, position % PAGE] == expected[position]
        if self.pages.window is not None:
            for position in range(max(end - self.pages.window, 0), end):
                page = sequence.sliding_pages[position // PAGE]
                assert self.sliding[page, position % PAGE] == expected[position]

"""What the next step does: who reads a piece of a prompt, who writes a token, who starts and who steps back.

The scheduler only plans. The caller runs the plan, appends the sampled ids when they come back, and then says
so with ``confirm``. A plan may be made while the one before it is still in flight.

**Turns.** Users take turns: in each turn a user's oldest unread prompt gets a piece, or the user's next
request starts. Within a user the order is that of arrival. So a user with 500 requests, or with one very long
prompt, delays another user's first piece by one turn.

**Want of slots.** When all slots are taken, and somebody waits who has none, the user with the most gives
back the one that was given last, and gets no other before those who have none. A steady scheduler, which
never reads a reply again, does not do that.

**Want of pages.** A running sequence that needs a page takes it from the sequence that started last, of the
user who holds the most. That one waits again, keeps its tokens, and is read again later.

**Why everybody finishes.** A sequence is made to step back at most ``PREEMPTIONS`` times; then it is
protected and steps back only for a protected one that arrived earlier. So the protected one that arrived
first never steps back while it runs, and always gets the pages that it needs: it ends, and the next one is
the first. A request that finds no room to start keeps its turn, and nobody starts before it.

**Steady.** A steady scheduler starts a request only when there are pages for the longest that it and all
running ones may become, and cuts its prompt where its own length says: nothing depends on the others.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import count

from inference.worker.pages import KvPages, pages_for
from inference.worker.sequence import Sequence
from inference.worker.sharing import RowShares

PREEMPTIONS = 3


@dataclass(frozen=True, slots=True)
class Piece:
    """Read the tokens ``start .. start + count - 1`` of ``sequence``; their pages are there.

    After the ``last`` piece all tokens are read, and the next one is sampled.
    """

    sequence: Sequence
    start: int
    count: int
    last: bool


@dataclass(slots=True)
class Plan:
    """One step. The caller adds one to ``pending`` for each row of ``decode`` and for each ``last`` piece.

    ``started`` have a new slot (for the first time or again), ``preempted`` lost theirs, ``failed`` can never
    get the pages that they need and are no longer in the scheduler.
    """

    prefill: list[Piece] = field(default_factory=list)
    decode: list[Sequence] = field(default_factory=list)
    started: list[Sequence] = field(default_factory=list)
    preempted: list[Sequence] = field(default_factory=list)
    failed: list[Sequence] = field(default_factory=list)


@dataclass(slots=True)
class _Draft:
    """A plan in the making: ``budget`` tokens may still be read; ``closed`` means that nobody else starts.

    ``reading`` holds, by user, the running sequences that could get a piece and have none yet.
    """

    plan: Plan
    budget: int
    reading: dict[str, deque[Sequence]] = field(default_factory=dict)
    closed: bool = False


class Scheduler:
    """Plans the steps of one model.

    At most ``max_running`` sequences run at once, in the slots from 0 on. One plan reads at most
    ``chunk_tokens`` tokens of prompts, in at most ``max_pieces`` pieces; while replies are written, at most
    ``chunk_beside``, and then at most ``rows_beside`` replies of a user, if others are there.
    """

    def __init__(
        self,
        pages: KvPages,
        *,
        max_running: int,
        chunk_tokens: int,
        chunk_beside: int | None = None,
        max_pieces: int | None = None,
        rows_beside: int | None = None,
        steady: bool = False,
    ) -> None:
        if min(max_running, chunk_tokens, chunk_beside or 1, max_pieces or 1, rows_beside or 1) < 1:
            raise ValueError("a scheduler needs room for one sequence, one token and one piece")
        self.pages = pages
        self._chunk_tokens = chunk_tokens
        self._chunk_beside = min(chunk_beside or chunk_tokens, chunk_tokens)
        self._max_pieces = max_pieces or max_running
        self._shares = RowShares(rows_beside)
        self._steady = steady
        self._slots = list(range(max_running))
        heapify(self._slots)
        self._numbers = count()
        self._arrivals: dict[Sequence, int] = {}
        self._queues: dict[str, deque[Sequence]] = {}
        self._turns: OrderedDict[str, None] = OrderedDict()
        # Running sequences in order of start, and those of them whose last token is on the device.
        self._running: dict[Sequence, None] = {}
        self._writing: set[Sequence] = set()
        self._held: Counter[str] = Counter()  # slots, by user
        # Who found no room to start, and the free pages of both kinds that there were.
        self._short: tuple[Sequence, int, int] | None = None

    @property
    def running(self) -> int:
        """Sequences that have a slot."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Sequences without a slot, those that stepped back included."""
        return len(self._arrivals) - len(self._running)

    def sequences(self) -> list[Sequence]:
        """All that were added and are not finished, in order of arrival."""
        return list(self._arrivals)

    def add(self, sequence: Sequence) -> None:
        """Put a new sequence at the end of its user's queue.

        Raises:
            ValueError: there is nothing to read, or it was added before.
        """
        if sequence in self._arrivals or not sequence.tokens:
            raise ValueError("a sequence is added once, with at least one token")
        self._arrivals[sequence] = next(self._numbers)
        self._enqueue(sequence)

    def finish(self, sequence: Sequence) -> bool:
        """Forget ``sequence``, wherever it stands, and free what it holds; False when it is not here."""
        if sequence not in self._arrivals:
            return False
        if sequence in self._running:
            self._stop(sequence)
        else:
            self._dequeue(sequence)
        del self._arrivals[sequence]
        if self._short is not None and self._short[0] is sequence:
            self._short = None
        return True

    def confirm(self, sequence: Sequence, tokens: int | None = None) -> None:
        """A pass ended well and its sampled id, if any, was appended: ``tokens`` tokens are computed.

        Without ``tokens``: all but those that pending ids wait for. That is right unless a piece of this
        sequence's prompt is still in flight. A sequence that stepped back has nothing to confirm.
        """
        if sequence in self._running:
            known = sequence.computed - sequence.pending
            self.pages.confirm(sequence, known if tokens is None else min(tokens, known))

    def rollback(self, sequence: Sequence) -> None:
        """A pass with ``sequence`` failed: what is not confirmed is computed again, from ids the host knows.

        The caller leaves in ``pending`` only the ids that still come back, from passes before the failed one.
        """
        if sequence in self._running:
            self._writing.discard(sequence)
            self.pages.rollback(sequence)

    def plan(self) -> Plan:
        """The next step; the sequences' ``computed``, slots and pages are as they will be after it."""
        draft = _Draft(Plan(), self._chunk_tokens)
        self._share_slots(draft)
        self._decode(draft)
        if draft.plan.decode:
            draft.budget = self._chunk_beside
        self._prefill(draft)
        return draft.plan

    # --- writing ---------------------------------------------------------------------------------

    def _decode(self, draft: _Draft) -> None:
        """One row for every running sequence that may grow."""
        ready = [each for each in self._running if each in self._writing and each.may_grow]
        alone = len(self._held.keys() | self._queues.keys()) == 1
        for sequence in ready if alone else self._shares.of(ready):
            if sequence in self._writing and self._make_room(draft, sequence):  # else it stepped back
                sequence.computed += 1
                draft.plan.decode.append(sequence)

    def _make_room(self, draft: _Draft, sequence: Sequence, tokens: int | None = None) -> bool:
        """Get the pages for ``tokens`` tokens of ``sequence`` (or its next), at others' cost if need be."""
        tokens = sequence.computed + 1 if tokens is None else tokens
        if not self.pages.fits(tokens):
            if not sequence.pending:  # else its last ids come back first
                self._fail(draft, sequence)
            return False
        while not self.pages.extend(sequence, tokens):
            if len(self._running) == 1:
                return False  # its own sliding pages come back as soon as a pass is confirmed
            self._preempt(draft, self._victim())
            if sequence not in self._running:
                return False
        return True

    def _victim(self) -> Sequence:
        """Who steps back when pages run out."""
        open_to_it = [sequence for sequence in self._running if not _protected(sequence)]
        if not open_to_it:
            return max(self._running, key=self._arrivals.__getitem__)
        held: Counter[str] = Counter()
        for sequence in self._running:
            held[sequence.request.user_key] += len(sequence.full_pages) + len(sequence.sliding_pages)
        most = max(held[sequence.request.user_key] for sequence in open_to_it)
        return [sequence for sequence in open_to_it if held[sequence.request.user_key] == most][-1]

    def _first_in_rank(self) -> Sequence:
        """The running sequence that gets pages before everybody else."""
        protected = filter(_protected, self._running)
        return min(protected, key=self._arrivals.__getitem__, default=next(iter(self._running)))

    # --- reading ---------------------------------------------------------------------------------

    def _prefill(self, draft: _Draft) -> None:
        """Users take turns until the budget is spent or nobody can use it."""
        for sequence in self._running:
            if self._is_reading(sequence):
                user = sequence.request.user_key
                draft.reading.setdefault(user, deque()).append(sequence)
                self._turns.setdefault(user)
        if not draft.reading and not (self._slots and self._queues):
            return
        served = True
        while served:
            served = False
            for user in list(self._turns):
                if draft.budget == 0 or len(draft.plan.prefill) == self._max_pieces:
                    return
                if self._turn(draft, user):
                    self._turns.move_to_end(user)
                    served = True
                elif user not in self._queues and user not in draft.reading:
                    del self._turns[user]

    def _is_reading(self, sequence: Sequence) -> bool:
        return sequence not in self._writing and not sequence.pending

    def _turn(self, draft: _Draft, user: str) -> bool:
        """One piece for ``user``: of what runs already, or of the next request."""
        reading = draft.reading.get(user)
        while reading:
            if self._read(draft, reading.popleft()):
                return True
        sequence = self._start(draft, user)
        return sequence is not None and self._read(draft, sequence)

    def _read(self, draft: _Draft, sequence: Sequence) -> bool:
        """Plan the longest piece that budget and pages allow; False when there is no page."""
        if sequence not in self._running:
            return False
        start = sequence.computed
        goal = min(sequence.length, start + draft.budget)
        least = goal if self._steady else start + 1
        if self.pages.room(sequence) < least and not (
            sequence is self._first_in_rank() and self._make_room(draft, sequence, least)
        ):
            return False
        end = min(goal, self.pages.room(sequence))
        self.pages.extend(sequence, end)
        sequence.computed = end
        draft.budget -= end - start
        last = end == sequence.length
        draft.plan.prefill.append(Piece(sequence, start, end - start, last))
        if last:
            self._writing.add(sequence)
        return True

    def _start(self, draft: _Draft, user: str) -> Sequence | None:
        """Give the next request of ``user`` a slot and its cached prefix, if there is room."""
        while user in self._queues and self._slots and not draft.closed:
            if self._held[user] and len(self._slots) <= self._without_slots():
                return None
            sequence = self._queues[user][0]
            if sequence.pending:
                return None  # its ids come back in a moment, and then it can be read
            if not self.pages.fits(sequence.length):
                self._fail(draft, sequence)
                continue
            if not self._admit(sequence):
                draft.closed = True
                return None
            self._dequeue(sequence)
            self._running[sequence] = None
            self._held[user] += 1
            sequence.slot = heappop(self._slots)
            draft.plan.started.append(sequence)
            return sequence
        return None

    def _admit(self, sequence: Sequence) -> bool:
        """Take the cached prefix if the rest fits beside what the running ones need soon.

        That is a page for each of them and the unread part of their prompts: two long prompts that start
        together and fill the pool half read would only push each other out.
        """
        if not self._running:
            return self.pages.admit(sequence)
        free = (self.pages.full.free, self.pages.sliding.free)
        # To look through a long prefix at every step costs time, and it needs more room than there was.
        short, *least = self._short or (None, 0, 0)
        if short is sequence and free[0] <= least[0] and free[1] <= least[1]:
            return False
        promised = sum(
            pages_for(other.limit if self._steady else other.length) - len(other.full_pages)
            for other in self._running
            if self._steady or self._is_reading(other)
        )
        if self._steady:
            promised += pages_for(sequence.limit) - pages_for(sequence.length)
        admitted = self.pages.admit(
            sequence, chunk=self._chunk_tokens, spare=len(self._running), promised=promised
        )
        self._short = None if admitted else (sequence, *free)
        return admitted

    def _without_slots(self) -> int:
        """Users who wait and run nothing."""
        return sum(user not in self._held for user in self._queues)

    def _share_slots(self, draft: _Draft) -> None:
        """Let sequences of those with the most step back, one for each user who has none."""
        wanted = 0 if self._slots or self._steady else self._without_slots()
        while wanted and (most := max(self._held.values())) > 1:
            wanted -= 1
            for sequence in reversed(self._running):
                if self._held[sequence.request.user_key] == most and not _protected(sequence):
                    self._preempt(draft, sequence)
                    break
            else:
                return

    # --- coming and going ------------------------------------------------------------------------

    def _enqueue(self, sequence: Sequence) -> None:
        """Into its user's queue, which stays in order of arrival: who stepped back is before who is new."""
        queue = self._queues.setdefault(sequence.request.user_key, deque())
        arrival = self._arrivals[sequence]
        index = len(queue)
        if queue and arrival < self._arrivals[queue[-1]]:
            index = next(i for i, other in enumerate(queue) if arrival < self._arrivals[other])
        queue.insert(index, sequence)
        self._turns.setdefault(sequence.request.user_key)

    def _dequeue(self, sequence: Sequence) -> None:
        queue = self._queues[sequence.request.user_key]
        queue.remove(sequence)
        if not queue:
            del self._queues[sequence.request.user_key]

    def _stop(self, sequence: Sequence) -> None:
        """Take back the slot and the pages."""
        del self._running[sequence]
        user = sequence.request.user_key
        self._held[user] -= 1
        if not self._held[user]:
            del self._held[user]
        self._writing.discard(sequence)
        self.pages.release(sequence)
        heappush(self._slots, sequence.slot)
        sequence.slot = -1

    def _preempt(self, draft: _Draft, sequence: Sequence) -> None:
        """Let ``sequence`` step back; nobody starts in this step, or its pages would go to a newcomer."""
        self._stop(sequence)
        sequence.preemptions += 1
        self._enqueue(sequence)
        plan = draft.plan
        draft.closed = True
        plan.decode = [other for other in plan.decode if other is not sequence]
        plan.prefill = [piece for piece in plan.prefill if piece.sequence is not sequence]
        if sequence in plan.started:
            plan.started.remove(sequence)  # the caller never heard of it
        else:
            plan.preempted.append(sequence)

    def _fail(self, draft: _Draft, sequence: Sequence) -> None:
        self.finish(sequence)
        draft.plan.failed.append(sequence)


def _protected(sequence: Sequence) -> bool:
    return sequence.preemptions >= PREEMPTIONS

"""The scheduler: turns, slots, want of pages, failed passes; and random days with all of it."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from inference.worker.pages import PAGE, KvPages, pages_for
from inference.worker.scheduling import PREEMPTIONS, Scheduler
from inference.worker.sequence import Sequence
from tests.inference.paper_device import PaperDevice, entries, reply, sequence_of

BASES = [[3] * 20, [3] * 35 + [1] * 20, [2] * 48, []]


def device(
    full: int = 100,
    sliding: int = 100,
    window: int | None = 20,
    *,
    max_running: int = 4,
    chunk: int = 64,
    beside: int | None = None,
    pieces: int | None = None,
    depth: int = 0,
    rows: int | None = None,
) -> PaperDevice:
    scheduler = Scheduler(
        KvPages(full, sliding, window),
        max_running=max_running,
        chunk_tokens=chunk,
        chunk_beside=beside,
        max_pieces=pieces,
        rows_beside=rows,
    )
    return PaperDevice(scheduler, depth)


def prompt_of(number: int, length: int) -> list[int]:
    """Prompts that differ from the first token on."""
    return [number + 100] * length


REQUESTS = st.builds(
    lambda base, cut, tail, limit, user, stops: sequence_of([*base[:cut], *tail], limit, user, stops),
    base=st.sampled_from(BASES),
    cut=st.integers(0, 60),
    tail=st.lists(st.integers(1, 3), min_size=1, max_size=20),
    limit=st.integers(1, 60),
    user=st.sampled_from("abc"),
    stops=st.sampled_from([(), (), (0,)]),
)


class Days(RuleBasedStateMachine):
    """Requests come, are cancelled, lose their pages and survive broken passes, over small pools."""

    @initialize(
        full=st.integers(5, 12),
        extra=st.integers(0, 8),
        window=st.sampled_from([None, 2, 5, 17, 20, 40]),
        kinds=st.sampled_from(["both", "both", "sliding"]),
        max_running=st.integers(1, 6),
        chunk=st.integers(1, 50),
        pieces=st.sampled_from([None, None, 1, 2]),
        depth=st.integers(0, 1),
        rows=st.sampled_from([None, None, 1, 2]),
    )
    def open(
        self,
        full: int,
        extra: int,
        window: int | None,
        kinds: str,
        max_running: int,
        chunk: int,
        pieces: int | None,
        depth: int,
        rows: int | None,
    ) -> None:
        if window is not None and kinds == "sliding":
            full = 0
        sliding = pages_for(window or 1) + 2 + extra
        self.device = device(
            full, sliding, window, max_running=max_running, chunk=chunk, pieces=pieces, depth=depth, rows=rows
        )
        self.added: list[Sequence] = []
        self.cancelled: list[Sequence] = []
        self.keys: dict[bytes, int] = {}

    @rule(requests=st.lists(REQUESTS, min_size=1, max_size=6))
    def add(self, requests: list[Sequence]) -> None:
        for sequence in requests:
            self.device.scheduler.add(sequence)
            self.added.append(sequence)

    @rule(count=st.integers(1, 12))
    def step(self, count: int) -> None:
        for _ in range(count):
            self.device.step()
            self.ledger()

    @rule()
    def receive(self) -> None:
        if self.device.in_flight:
            self.device.receive()

    @rule()
    def broken_pass(self) -> None:
        self.device.step(broken=True)

    @precondition(lambda self: self.device.scheduler.sequences())
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        sequence = data.draw(st.sampled_from(self.device.scheduler.sequences()))
        self.device.cancel(sequence)
        self.cancelled.append(sequence)

    @rule(data=st.data())
    def next_turn(self, data: st.DataObject) -> None:
        """A conversation goes on: the next prompt begins with all that was said."""
        if self.device.finished:
            before = data.draw(st.sampled_from(self.device.finished))
            if len(before.tokens) < 100:
                self.add([sequence_of([*before.tokens, 2], 5, before.request.user_key)])

    @invariant()
    def ledger(self) -> None:
        scheduler = self.device.scheduler
        everybody = scheduler.sequences()
        self.device.pages.check(everybody)
        running = [sequence for sequence in everybody if sequence.slot >= 0]
        assert len(running) == scheduler.running == len({sequence.slot for sequence in running})
        assert len(everybody) - len(running) == scheduler.waiting
        for sequence in everybody:
            assert sequence.confirmed <= sequence.computed <= sequence.length
            if sequence.slot < 0:
                assert not sequence.full_pages
                assert not sequence.sliding_pages

    @invariant()
    def keyed_pages_hold_their_tokens(self) -> None:
        for sequence in self.added:
            contents = entries(sequence.tokens)[PAGE - 1 :: PAGE]
            self.keys.update(zip(sequence.page_keys, contents, strict=False))
        for pool, store in (
            (self.device.pages.full, self.device.full),
            (self.device.pages.sliding, self.device.sliding),
        ):
            for key, page in pool._pages.items():
                assert store[page, PAGE - 1] == self.keys[key]

    def teardown(self) -> None:
        if not hasattr(self, "device"):
            return
        self.device.drain()
        pages = self.device.pages
        pages.check([])
        assert pages.full.used == pages.sliding.used == 0
        ended = [*self.device.finished, *self.device.failed, *self.cancelled]
        assert len(ended) == len(self.added)
        for sequence in self.device.finished:
            prompt, sampling = sequence.request.prompt_ids, sequence.request.sampling
            expected = reply(prompt, sampling.max_tokens, sampling.stop_token_ids)
            assert sequence.tokens[len(prompt) :] == expected
        for sequence in self.device.failed:
            assert pages_for(sequence.length) > pages.full.capacity


TestDays = Days.TestCase
TestDays.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_a_single_request_is_read_in_pieces_and_then_written() -> None:
    run = device(chunk=40)
    sequence = sequence_of(prompt_of(1, 90), 3)
    run.scheduler.add(sequence)
    plans = [run.step() for _ in range(5)]
    pieces = [(piece.start, piece.count, piece.last) for plan in plans for piece in plan.prefill]
    assert pieces == [(0, 40, False), (40, 40, False), (80, 10, True)]
    assert [len(plan.decode) for plan in plans] == [0, 0, 0, 1, 1]
    assert plans[0].started == run.finished == [sequence]
    assert not run.scheduler.sequences()


def test_a_prompt_of_one_token_is_read_before_it_is_written() -> None:
    run = device()
    run.scheduler.add(sequence_of([5], 2))
    first = run.step()
    assert [piece.count for piece in first.prefill] == [1]
    assert not first.decode
    run.drain()


def test_a_reply_at_its_limit_waits_for_its_last_token() -> None:
    run = device(depth=1)
    sequence = sequence_of(prompt_of(1, 10), 2)
    run.scheduler.add(sequence)
    assert [len(run.step().decode) for _ in range(4)] == [0, 1, 0, 0]
    assert run.finished == [sequence]


def test_the_next_turn_and_a_stranger_share_whole_pages() -> None:
    run = device()
    first = sequence_of(prompt_of(1, 50), 30)
    run.scheduler.add(first)
    run.drain()
    again = sequence_of([*first.tokens, 9, 9], 2)
    stranger = sequence_of([*first.tokens[:40], 9, 9], 2, "bob")
    for sequence in (again, stranger):
        run.scheduler.add(sequence)
    plan = run.step()
    assert again.cached == 79 // PAGE * PAGE  # the last of the 80 tokens was never computed
    assert stranger.cached == 32
    assert [piece.start for piece in plan.prefill] == [again.cached, stranger.cached]
    run.drain()


def test_five_hundred_requests_of_one_user_delay_nobody_by_more_than_a_turn() -> None:
    run = device(400, 400, max_running=3, chunk=32)
    flood = [sequence_of([5, 6, n % 7 + 1, *[8] * 30], 4) for n in range(500)]
    for sequence in flood:
        run.scheduler.add(sequence)
    run.step()
    others = [sequence_of([4, *[n + 1] * 20], 4, user) for n, user in enumerate("vwxyz")]
    for sequence in others:
        run.scheduler.add(sequence)
    order: list[Sequence] = []
    while not set(others) <= set(order):
        order.extend(run.step().started)
    assert sum(sequence in flood for sequence in order) <= 1
    run.drain()
    assert len(run.finished) == 505


def test_a_long_prompt_delays_the_first_piece_of_others_by_one_step() -> None:
    run = device(max_running=8, chunk=32, pieces=1)
    book = sequence_of([3] * 1000, 2)
    run.scheduler.add(book)
    run.step()
    note = sequence_of([4] * 30, 2, "bob")
    run.scheduler.add(note)
    served = [run.step().prefill[0].sequence for _ in range(2)]
    assert note in served
    assert book in served


def test_pieces_are_smaller_only_while_others_write() -> None:
    run = device(chunk=40, beside=8)
    run.scheduler.add(sequence_of(prompt_of(1, 10), 4))
    assert [piece.count for piece in run.step().prefill] == [10]
    for number, length in ((2, 50), (3, 50)):
        run.scheduler.add(sequence_of(prompt_of(number, length), 1, f"user {number}"))
    plans = []
    while run.scheduler.sequences():
        plans.append(run.step())
    read = [(len(plan.decode), sum(piece.count for piece in plan.prefill)) for plan in plans]
    assert read == [(1, 8), (1, 8), (1, 8), (0, 40), (0, 36)]


def test_slots_are_given_again() -> None:
    run = device(max_running=2)
    replies = [sequence_of(prompt_of(n, 5), 3) for n in (1, 500, 1000)]
    for sequence in replies:
        run.scheduler.add(sequence)
    run.step()
    assert [sequence.slot for sequence in replies] == [0, 1, -1]
    assert run.scheduler.running == 2
    assert run.scheduler.waiting == 1
    run.cancel(replies[0])
    run.step()
    assert [sequence.slot for sequence in replies] == [-1, 1, 0]
    run.drain()


def test_who_started_last_of_the_greediest_user_steps_back() -> None:
    run = device(full=13, max_running=4)
    small = sequence_of(prompt_of(1, 10), 60, "bob")
    large = [sequence_of(prompt_of(n, 40), 60, "ada") for n in (5000, 9000)]
    for sequence in (small, *large):
        run.scheduler.add(sequence)
    back: list[Sequence] = []
    while not back:
        back = run.step().preempted
    assert back == [large[1]]
    assert large[1].slot == -1
    assert large[1].preemptions == 1
    run.drain()
    assert len(run.finished) == 3


def test_a_request_that_cannot_fit_fails_alone() -> None:
    run = device(full=9)
    too_long = sequence_of([3] * 200, 5)
    grows = sequence_of(prompt_of(1, 100), 60, "bob")
    fits = sequence_of(prompt_of(7000, 20), 30, "eve")
    for sequence in (too_long, grows, fits):
        run.scheduler.add(sequence)
    run.drain()
    assert run.failed == [too_long, grows]
    assert grows.generated == 8 * PAGE + 1 - 100  # every token that there was a page for came out
    assert run.finished == [fits]


def test_want_of_pages_never_turns_in_a_circle() -> None:
    """Eight replies that each need most of the pool: all end, each steps back a bounded number of times."""
    run = device(full=13, sliding=40, max_running=8, depth=1)
    replies = [sequence_of(prompt_of(n, 30), 140, "ab"[n % 2]) for n in range(8)]
    for sequence in replies:
        run.scheduler.add(sequence)
    run.drain(steps=6000)
    assert len(run.finished) == 8
    assert sum(sequence.preemptions > 0 for sequence in replies) > 3
    assert max(sequence.preemptions for sequence in replies) <= PREEMPTIONS + len(replies)


def test_a_protected_reply_keeps_its_pages() -> None:
    run = device(full=13, max_running=2)
    old, young = (sequence_of(prompt_of(n, 30), 120) for n in (1, 4000))
    young.preemptions = PREEMPTIONS
    for sequence in (old, young):
        run.scheduler.add(sequence)
    back: list[Sequence] = []
    while not back:
        back = run.step().preempted
    assert back == [old]  # by age alone it would be the other
    run.drain()


def test_after_a_broken_pass_the_same_tokens_come() -> None:
    run = device(chunk=24)
    sequence = sequence_of(prompt_of(1, 60), 20)
    run.scheduler.add(sequence)
    for number in range(12):
        run.step(broken=number % 3 == 1)
    run.drain()
    assert sequence.tokens[60:] == reply(sequence.request.prompt_ids, 20)


def test_who_waits_for_an_id_is_not_read() -> None:
    run = device(depth=1)
    sequence = sequence_of([1] * 20)
    sequence.pending = 1
    run.scheduler.add(sequence)
    assert not run.step().prefill
    sequence.pending = 0
    assert run.step().prefill
    run.scheduler.rollback(sequence)  # the id of its last piece is still on its way
    assert not run.step().prefill
    assert run.step().prefill
    run.drain()


def test_who_steps_back_is_in_no_row_of_the_same_plan() -> None:
    run = device(full=30, chunk=16)
    first, second = sequence_of(prompt_of(1, 200)), sequence_of(prompt_of(2, 40), user="bob")
    first.preemptions = PREEMPTIONS
    for sequence in (first, second):
        run.scheduler.add(sequence)
    while second.computed < 32:
        run.step()
    run.step()
    filler = run.pages.full.take(run.pages.full.free - 1)
    plan = run.step()  # bob's turn comes first and takes the last page, which then goes to the protected one
    assert [piece.sequence for piece in plan.prefill] == [first]
    assert plan.preempted == [second]
    for page in filler:
        run.pages.full.give(page)
    run.drain()


def test_who_is_added_twice_or_empty_is_refused() -> None:
    run = device()
    sequence = sequence_of([1])
    run.scheduler.add(sequence)
    with pytest.raises(ValueError, match="once"):
        run.scheduler.add(sequence)
    with pytest.raises(ValueError, match="one token"):
        run.scheduler.add(sequence_of([]))
    assert run.scheduler.finish(sequence)
    assert not run.scheduler.finish(sequence)
    with pytest.raises(ValueError, match="room"):
        device(chunk=0)

"""The steady scheduler of the reproducible mode: what is computed for a request never depends on others."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given, settings

from inference.worker.pages import KvPages, pages_for
from inference.worker.scheduling import Scheduler
from inference.worker.sequence import Sequence
from tests.inference.paper_device import PaperDevice, sequence_of


@settings(max_examples=60, deadline=None)
@given(
    requests=st.lists(
        st.tuples(st.integers(1, 90), st.integers(1, 40), st.sampled_from("abc")), min_size=1, max_size=12
    ),
    full=st.integers(9, 20),
    chunk=st.integers(8, 40),
    max_running=st.integers(1, 5),
    depth=st.integers(0, 1),
)
def test_a_steady_scheduler_cuts_prompts_alike_whoever_else_is_there_and_lets_nobody_step_back(
    requests: list[tuple[int, int, str]], full: int, chunk: int, max_running: int, depth: int
) -> None:
    window = 20
    sliding = 1 + pages_for(window) + 2 * pages_for(chunk) + 3 + max_running * 2 * (pages_for(window) + 2)
    pages = KvPages(full, sliding, window)
    scheduler = Scheduler(pages, max_running=max_running, chunk_tokens=chunk, max_pieces=1, steady=True)
    paper = PaperDevice(scheduler, depth)
    cuts: dict[Sequence, list[int]] = {}
    for number, (length, limit, user) in enumerate(requests):
        paper.scheduler.add(sequence_of([number + 100] * length, limit, user))
    for _ in range(5_000):
        plan = paper.step()
        assert not plan.preempted
        for piece in plan.prefill:
            cuts.setdefault(piece.sequence, []).append(piece.count)
    assert not paper.scheduler.sequences()
    assert len(paper.finished) + len(paper.failed) == len(requests)
    for sequence, counts in cuts.items():
        length = sequence.prompt_length
        assert counts == [chunk] * (length // chunk) + [length % chunk] * (length % chunk > 0)

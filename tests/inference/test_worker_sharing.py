"""Rows of a step are shared between users, and between the replies of one."""

from __future__ import annotations

from tests.inference.paper_device import sequence_of
from tests.inference.test_worker_scheduling import device, prompt_of


def test_a_user_writes_few_replies_at_once_while_others_are_there_and_all_take_turns() -> None:
    run = device(max_running=8, rows=2)
    many = [sequence_of(prompt_of(n, 5), 30, "ada") for n in range(0, 5000, 1000)]
    for sequence in many:
        run.scheduler.add(sequence)
    run.step()
    assert len(run.step().decode) == 5  # nobody else is there
    other = sequence_of(prompt_of(9000, 5), 10, "bob")
    run.scheduler.add(other)
    written = dict.fromkeys(many, 0)
    while run.scheduler.sequences() and other in run.scheduler.sequences():
        plan = run.step()
        rows = [sequence for sequence in plan.decode if sequence is not other]
        assert len(rows) == 2
        for sequence in rows:
            written[sequence] += 1
    assert max(written.values()) - min(written.values()) <= 1
    assert len(run.step().decode) == 5
    run.drain()
    assert len(run.finished) == 6

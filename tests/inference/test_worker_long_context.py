"""A step of a long conversation costs the host no more than a step of a short one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, SupportsIndex, overload

from inference.worker.pages import PAGE, KvPages
from inference.worker.scheduling import Scheduler
from tests.inference.paper_device import sequence_of


class Watched(list[Any]):
    """A list that counts the elements that are read from it."""

    read = 0

    @overload
    def __getitem__(self, key: SupportsIndex) -> Any: ...
    @overload
    def __getitem__(self, key: slice) -> list[Any]: ...
    def __getitem__(self, key: SupportsIndex | slice) -> Any:
        found = super().__getitem__(key)
        Watched.read += len(found) if isinstance(key, slice) else 1
        return found

    def __iter__(self) -> Any:
        Watched.read += len(self)
        return super().__iter__()


def work(action: Callable[[], object]) -> int:
    """How many lines of Python ``action`` runs and how many elements of the watched lists it reads."""
    lines = 0

    def trace(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    Watched.read = 0
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
    return lines + Watched.read


def most_work_of_a_step(length: int) -> int:
    """The step of one reply after ``length`` tokens, planned, told and confirmed."""
    scheduler = Scheduler(KvPages(9000, 9000, 128), max_running=2, chunk_tokens=length)
    sequence = sequence_of([number % 50_000 for number in range(length)], limit=1000)

    def step() -> None:
        plan = scheduler.plan()
        assert plan.decode or plan.prefill
        sequence.pending += 1
        sequence.pending -= 1
        sequence.tokens.append(7)
        scheduler.confirm(sequence)

    scheduler.add(sequence)
    step()
    for name in ("tokens", "full_pages", "sliding_pages", "page_keys"):
        setattr(sequence, name, Watched(getattr(sequence, name)))
    return max(work(step) for _ in range(4 * PAGE))


def test_a_decode_step_is_as_cheap_after_131072_tokens_as_after_a_thousand() -> None:
    assert most_work_of_a_step(131_072) == most_work_of_a_step(1024)

"""A line that is fair by address, then by person: whoever has had the most waits."""

from __future__ import annotations

import asyncio
import threading

import pytest

from playground.errors import PlaygroundError
from playground.limits.addresses import asking_address
from playground.limits.line import PROMPTS_AT_ONCE, FairLine, PromptThreads, Ticket
from tests.playground.limits.test_rates import Clock


async def begun(line: FairLine, address: str, person: str = "") -> asyncio.Task[Ticket]:
    """Somebody who stands in line, or has a place already."""
    asking_address.set(address)
    task = asyncio.create_task(line.enter(person))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task


async def order_of(line: FairLine, first: Ticket, tasks: dict[str, asyncio.Task[Ticket]]) -> str:
    """The names in the order in which they get the one place."""
    order, held = "", first
    for _ in tasks:
        line.leave(held)
        await asyncio.sleep(0)
        name = next(name for name, task in tasks.items() if task.done() and name not in order)
        order, held = order + name, tasks[name].result()
    line.leave(held)
    return order


async def test_an_address_never_has_all_places() -> None:
    line = FairLine(2)
    flood = [await begun(line, "one") for _ in range(5)]
    assert [task.done() for task in flood] == [True, False, False, False, False]
    other = await begun(line, "two")
    assert other.done()
    line.leave(other.result())
    assert line.waiting("one") == 4
    for number in range(5):
        line.leave(await flood[number])
    assert line.waiting("one") == 0


async def test_whoever_has_had_the_most_waits() -> None:
    clock = Clock()
    line = FairLine(1, clock=clock)
    first = await (await begun(line, "loud", "a"))
    tasks = {
        "a": await begun(line, "loud", "a"),
        "b": await begun(line, "loud", "b"),
        "c": await begun(line, "quiet", "c"),
    }
    clock.now += 8
    assert await order_of(line, first, tasks) == "cba"


async def test_who_has_had_the_same_comes_in_turn() -> None:
    line = FairLine(1, clock=Clock())
    first = await (await begun(line, "x"))
    tasks = {name: await begun(line, name) for name in "abcd"}
    assert await order_of(line, first, tasks) == "abcd"


async def test_nothing_is_remembered_of_a_quiet_time() -> None:
    clock = Clock()
    line = FairLine(1, clock=clock)
    first = await (await begun(line, "loud"))
    clock.now += 8
    line.leave(first)
    first = await (await begun(line, "x"))
    tasks = {"a": await begun(line, "loud"), "b": await begun(line, "quiet")}
    assert await order_of(line, first, tasks) == "ab"


async def test_a_line_that_is_full_says_so_to_its_own_address_alone() -> None:
    line = FairLine(1, longest=2)
    tasks = [await begun(line, "loud") for _ in range(3)]
    with pytest.raises(PlaygroundError) as refused:
        await (await begun(line, "loud"))
    assert (refused.value.status, refused.value.code, refused.value.retry_after) == (429, "rate_limited", 5)
    tasks.append(await begun(line, "quiet"))
    for task in (tasks[0], tasks[3], tasks[1], tasks[2]):
        line.leave(await task)


async def test_who_leaves_takes_no_place() -> None:
    line = FairLine(1)
    first = await (await begun(line, "x"))
    gone, late, last = [await begun(line, name) for name in "abc"]
    gone.cancel()
    line.leave(first)  # in the same moment
    late.cancel()  # has its place, and has not heard of it
    line.leave(await last)
    assert await asyncio.gather(gone, late, return_exceptions=True)
    assert (await (await begun(line, "x"))).began


async def test_a_place_is_taken_until_the_work_has_ended() -> None:
    done: list[int] = []
    threads, go = PromptThreads(), threading.Event()
    asking_address.set("one")
    working = asyncio.create_task(threads.run("a", go.wait))
    waiting = asyncio.create_task(threads.run("a", done.append, 1))
    for _ in range(3):
        await asyncio.sleep(0)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert threads.line.waiting("one") == 1
    asking_address.set("two")
    assert await threads.run("b", lambda: "answered") == "answered"
    assert not done
    go.set()
    await waiting
    assert done == [1]
    with pytest.raises(ZeroDivisionError):
        await threads.run("b", lambda: 1 // 0)
    for _ in range(2 * PROMPTS_AT_ONCE):
        assert await threads.run("b", int, "7") == 7
    threads.close()

"""The wall clock jumps or stands still: the order is that of what happened, and nothing ends early."""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import httpx
import pytest
from sqlalchemy.orm import Session

from playground import housekeeping
from storage.clock import steady_now
from storage.store import Store
from tests.playground.world import World, ask, running, settled
from tests.storage.helpers import begin, identity

YEAR = timedelta(days=365)
SUMMER = datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC)
WINTER = datetime(2026, 10, 25, 0, 59, 59, tzinfo=UTC)
"""A second before the clocks of Berlin go forward, and back."""

SetClock = Callable[[timedelta | datetime], None]


def wall_clock(change: timedelta | datetime) -> type[datetime]:
    """A ``datetime`` whose ``now`` is wrong by this much, or always this moment."""

    class Changed(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return change.astimezone(tz) if isinstance(change, datetime) else datetime.now(tz) + change

    return Changed


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[SetClock]:
    """Set the wall clock of the product: how wrong it is, or the moment where it stands still."""

    def change(to: timedelta | datetime) -> None:
        for name, module in list(sys.modules.items()):
            known = vars(module).get("datetime") if name.startswith(("storage.", "playground.")) else None
            if isinstance(known, type) and issubclass(known, datetime):
                monkeypatch.setattr(module, "datetime", wall_clock(to))

    yield change
    monkeypatch.undo()
    time.tzset()


JUMPS: dict[str, list[timedelta | datetime]] = {
    "forward and back": [timedelta(0), YEAR, timedelta(0), -YEAR, timedelta(0)],
    "frozen": [SUMMER, SUMMER, SUMMER],
    "summer time": [SUMMER, SUMMER + timedelta(seconds=2), SUMMER + timedelta(hours=1)],
    "winter time": [WINTER, WINTER + timedelta(seconds=2), WINTER + timedelta(hours=1)],
}


def latest_first(talks: list[str]) -> list[str]:
    """The first conversation goes on each time, just before a new one is begun."""
    return [talks[-1], talks[0], *reversed(talks[1:-1])]


async def wrong_order(world: World, browser: httpx.AsyncClient, set_clock: SetClock, name: str) -> list[str]:
    """Ask in one conversation and in new ones at all of these times; what is not told in that order."""
    first = await ask(browser, "begin")
    await settled(browser, first["generation"]["id"])
    talk = first["conversation"]["id"]
    questions, talks = ["begin"], [talk]
    for number, clock in enumerate(JUMPS[name]):
        set_clock(clock)
        for conversation in (talk, None):
            questions.append(f"apple {number}")
            turn = await ask(browser, questions[-1], conversation_id=conversation)
            await settled(browser, turn["generation"]["id"])
            if conversation is None:
                talks.append(turn["conversation"]["id"])
                questions.pop()
        page = (await browser.get("/api/conversations")).json()
        if [each["id"] for each in page["items"]] != latest_first(talks):
            return [f"the list after jump {number}"]
    return await _wrong_reads(browser, talk, questions, talks)


async def _wrong_reads(
    browser: httpx.AsyncClient, talk: str, questions: list[str], talks: list[str]
) -> list[str]:
    """Reading, paging, exporting and searching."""
    found = []
    page = (await browser.get(f"/api/conversations/{talk}")).json()
    if [each["content"] for each in page["messages"] if each["role"] == "user"] != questions:
        found.append("the messages")
    told: list[str] = []
    address: str | None = "/api/conversations?limit=1"
    while address is not None:
        part = (await browser.get(address)).json()
        told += [each["id"] for each in part["items"]]
        following = part["next_cursor"]
        address = None if following is None else f"/api/conversations?limit=1&cursor={following}"
    if told != latest_first(talks):
        found.append("the pages of the list")
    text = (await browser.get(f"/api/conversations/{talk}/export?format=markdown")).text
    places = [text.find(question) for question in questions]
    if places != sorted(places):
        found.append("the export")
    answer = (await browser.get("/api/search?q=apple")).json()
    if {hit["conversation"]["id"] for hit in answer["items"]} != set(talks):
        found.append("the search")
    return found


@pytest.mark.parametrize("name", JUMPS)
async def test_everything_is_told_in_the_order_in_which_it_happened(
    tmp_path: Path, set_clock: SetClock, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    async with running(tmp_path) as world, world.browser() as browser:
        assert await wrong_order(world, browser, set_clock, name) == []


async def test_a_list_by_the_wall_clock_is_found_out(
    tmp_path: Path, set_clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def now(_: Session, __: str) -> datetime:
        """The planted hole."""
        return datetime.now(UTC) + jump

    jump = timedelta(0)
    async with running(tmp_path) as world, world.browser() as browser:
        for module in ("storage.owned", "storage.turns"):
            monkeypatch.setattr(f"{module}.next_time", now)
        first = await ask(browser, "begin")
        await settled(browser, first["generation"]["id"])
        jump = -YEAR
        assert await wrong_order(world, browser, set_clock, "frozen") == ["the list after jump 0"]


async def is_undone(world: World, browser: httpx.AsyncClient, meanwhile: Callable[[], None]) -> bool:
    """Whether a delete can be taken back after something happened and the server has tidied up."""
    turn = await ask(browser)
    await settled(browser, turn["generation"]["id"])
    address = f"/api/conversations/{turn['conversation']['id']}"
    assert (await browser.delete(address)).is_success
    meanwhile()
    await housekeeping.tidy(world.app.state.stores, world.app.state.turns)
    return (await browser.post(f"{address}/restore")).is_success


@pytest.mark.parametrize("jump", [timedelta(0), YEAR, -YEAR])
async def test_a_delete_can_be_taken_back_for_a_minute_and_no_longer(
    tmp_path: Path, set_clock: SetClock, monkeypatch: pytest.MonkeyPatch, jump: timedelta
) -> None:
    def a_minute_later() -> None:
        set_clock(jump)
        monkeypatch.setattr(housekeeping, "steady_now", lambda: steady_now() + timedelta(seconds=61))

    async with running(tmp_path) as world, world.browser() as browser:
        assert await is_undone(world, browser, lambda: set_clock(jump))
        set_clock(timedelta(0))
        assert not await is_undone(world, browser, a_minute_later)


async def test_a_purge_by_the_wall_clock_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wall() -> datetime:
        """The planted hole, with a clock that was set forward."""
        return datetime.now(UTC) + YEAR

    async with running(tmp_path) as world, world.browser() as browser:
        assert not await is_undone(
            world, browser, lambda: monkeypatch.setattr(housekeeping, "steady_now", wall)
        )


def test_what_was_deleted_is_gone_after_a_start_whatever_the_clock_says(
    tmp_path: Path, set_clock: SetClock
) -> None:
    path = tmp_path / "data" / "playground.sqlite3"
    store = Store.open(path)
    owner = store.user_for_identity(identity("owner")).id
    store.delete_conversation(owner, begin(store, owner).conversation.id)
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE conversations SET deleted_at = '2099-01-01 00:00:00.000000'")
        connection.commit()
    set_clock(-YEAR)
    Store.open(path).close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM conversations").fetchone() == (0,)

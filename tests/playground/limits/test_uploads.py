"""How many files may come in at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from playground.errors import PlaygroundError
from playground.limits.uploads import MOST_OF_ADDRESS, MOST_OF_ALL, MOST_OF_ONE, Uploads
from tests.playground.limits.test_storing import HERE, file_of, imported, told
from tests.playground.openai.chats import until
from tests.playground.world import running


async def slow_file(go: asyncio.Event) -> AsyncIterator[bytes]:
    """A file whose end comes late."""
    content = file_of(1000)
    yield content[:100]
    await go.wait()
    yield content[100:]


async def test_only_a_few_files_come_at_once(tmp_path: Path) -> None:
    async with (
        running(tmp_path, behind_proxy=True) as world,
        world.browser() as greedy,
        world.browser() as other,
    ):
        go = asyncio.Event()
        for browser in (greedy, other):
            await browser.get("/api/bootstrap")
        slow = [
            asyncio.create_task(greedy.post("/api/import", content=slow_file(go), headers=HERE))
            for _ in range(MOST_OF_ONE)
        ]
        uploads: Uploads = world.app.state.uploads
        await until(lambda: uploads.count == MOST_OF_ONE)
        refused = await greedy.post("/api/import", content=file_of(10), headers=HERE)
        assert told(refused)[:2] == (429, "rate_limited")
        assert int(refused.headers["retry-after"]) == refused.json()["error"]["retry_after"] > 0
        assert (await imported(other))[0] == 200
        go.set()
        assert [answer.status_code for answer in await asyncio.gather(*slow)] == [200] * MOST_OF_ONE
        assert (await imported(greedy))[0] == 200
        assert uploads.count == 0
        assert not uploads._open


def test_of_an_address_and_of_all_there_are_only_a_few() -> None:
    uploads = Uploads()
    open_here = [uploads.one(f"guest {number}", "here") for number in range(MOST_OF_ADDRESS)]
    for each in open_here:
        each.__enter__()
    with pytest.raises(PlaygroundError), uploads.one("another", "here"):
        pass
    beside = [uploads.one(f"account {number}", "") for number in range(MOST_OF_ALL - MOST_OF_ADDRESS)]
    for each in beside:
        each.__enter__()
    with pytest.raises(PlaygroundError), uploads.one("late", ""):
        pass
    for each in (*open_here, *beside):
        each.__exit__(None, None, None)
    assert uploads.count == 0
    with uploads.one("late", ""):
        assert uploads.count == 1

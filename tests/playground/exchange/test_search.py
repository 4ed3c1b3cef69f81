"""Search over HTTP: what is found of whom, in which kinds, page by page."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.playground.exchange.files import PLAIN_CHATGPT
from tests.playground.world import World, ask, running, settled

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One server for the whole module; every test comes with a browser of its own."""
    async with running(tmp_path_factory.mktemp("search")) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="module")
async def browser(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody with one imported conversation."""
    async with world.browser() as browser:
        answer = await browser.post("/api/import", content=json.dumps([PLAIN_CHATGPT]))
        assert answer.status_code == 200
        yield browser


async def found(browser: httpx.AsyncClient, q: str, **params: Any) -> list[dict[str, Any]]:
    answer = await browser.get("/api/search", params={"q": q, **params})
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def test_a_hit_names_its_place_and_marks_the_words(browser: httpx.AsyncClient) -> None:
    [hit] = await found(browser, "What")
    opened = (await browser.get(f"/api/conversations/{hit['conversation']['id']}")).json()
    [question, thought, _] = opened["messages"]
    assert (hit["kind"], hit["message_id"], hit["generation_id"]) == ("question", question["id"], None)
    assert hit["snippet"] == [{"text": "What", "hit": True}, {"text": " is 1 + 1?", "hit": False}]
    [hidden] = await found(browser, "One", kinds="reasoning")
    assert (hidden["message_id"], hidden["generation_id"]) == (thought["id"], thought["generation_id"])
    [title] = await found(browser, "sum", kinds="title")
    assert (title["message_id"], title["generation_id"], title["kind"]) == (None, None, "title")


async def test_reasoning_is_searched_only_where_it_is_asked_for(browser: httpx.AsyncClient) -> None:
    assert await found(browser, "One") == []
    assert [hit["kind"] for hit in await found(browser, "One", kinds="reasoning,tool")] == ["reasoning"]


async def test_nobody_finds_what_is_somebody_elses_deleted_or_temporary(
    world: World, browser: httpx.AsyncClient
) -> None:
    turn = await ask(browser, "A zebra in passing", temporary=True)
    await settled(browser, turn["generation"]["id"])
    assert await found(browser, "zebra") == []
    [hit] = await found(browser, "What")
    async with world.browser() as other:
        assert await found(other, "What", kinds="title,question,answer,reasoning,tool") == []
    await browser.delete(f"/api/conversations/{hit['conversation']['id']}")
    assert await found(browser, "What") == []
    await browser.post(f"/api/conversations/{hit['conversation']['id']}/restore")
    assert len(await found(browser, "What")) == 1


async def test_pages_hold_every_hit_once(browser: httpx.AsyncClient) -> None:
    chats = [{"messages": [{"role": "user", "content": f"walrus {n}"}]} for n in range(7)]
    await browser.post("/api/import", content=json.dumps(chats))
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(20):
        params: dict[str, str | int] = {
            "q": "walrus",
            "kinds": "question",
            "limit": 3,
            **({"cursor": cursor} if cursor else {}),
        }
        answer = (await browser.get("/api/search", params=params)).json()
        seen += [hit["message_id"] for hit in answer["items"]]
        cursor = answer["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 7


@pytest.mark.parametrize(
    "params",
    [
        {"kinds": "secret"},
        {"kinds": ""},
        {"kinds": "title,"},
        {"limit": "0"},
        {"limit": "101"},
        {"limit": "x"},
        {"q": "x" * 1001},
        {"cursor": "nonsense"},
        {"cursor": "9" * 201},
    ],
)
async def test_a_wrong_wish_is_refused(browser: httpx.AsyncClient, params: dict[str, str]) -> None:
    answer = await browser.get("/api/search", params={"q": "What", **params})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_parameter"


@pytest.mark.parametrize(
    "q",
    ["", " ", '"', '"""', "*", "AND", "NOT What", "a OR", "NEAR(", "(", ")", "title:x", "^a", "-a", "\x00",
     "🙂", "' OR 1=1 --", "a" * 1000, "a " * 500, "%", "_", "\\", "{a b}", 'x" OR "y', "ÄÖ", "\u202e"],
)  # fmt: skip
async def test_any_text_can_be_searched_for(browser: httpx.AsyncClient, q: str) -> None:
    assert isinstance(await found(browser, q), list)

"""Links: what readers get, what they never get, and that a link that is taken back leads nowhere at once."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from playground.accounts.identity import token_hash
from playground.exchange.sharing import encoded, snapshot
from playground.security import SHARED_HEADERS
from storage.store import Store
from tests.playground.exchange.files import NOW, OWN, drafts
from tests.playground.scripted import Script
from tests.playground.world import World, ask, running, settled

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "the hidden premise"
THOUGHTS = Script([("analysis", f"I rely on {SECRET}."), ("final", "The answer is 42.")])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One server for the whole module; every test comes with browsers of its own."""
    async with running(tmp_path_factory.mktemp("sharing"), THOUGHTS) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="module")
async def owner(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with world.browser() as browser:
        await browser.get("/api/bootstrap")
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def reader(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with world.browser() as browser:
        yield browser


async def conversation(browser: httpx.AsyncClient, *texts: str) -> str:
    """A finished conversation with these questions."""
    conversation_id = None
    for text in texts:
        turn = await ask(browser, text, conversation_id=conversation_id)
        conversation_id = turn["conversation"]["id"]
        await settled(browser, turn["generation"]["id"])
    assert conversation_id is not None
    return str(conversation_id)


async def share(
    browser: httpx.AsyncClient, conversation_id: str, *, reasoning: bool = True
) -> dict[str, Any]:
    body = {"conversation_id": conversation_id, "include_reasoning": reasoning}
    answer = await browser.post("/api/shares", json=body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()["share"]
    return found


def token_of(link: dict[str, Any]) -> str:
    path: str = link["path"]
    assert path.startswith("/s/")
    return path.removeprefix("/s/")


async def test_a_reader_without_an_account_sees_the_conversation(
    owner: httpx.AsyncClient, reader: httpx.AsyncClient
) -> None:
    link = await share(owner, await conversation(owner, "What is 12 + 30?"))
    assert len(token_of(link)) >= 22, "at least 128 bits at 6 to a character"
    answer = await reader.get(f"/api/shared/{token_of(link)}")
    assert answer.status_code == 200
    value = answer.json()
    assert set(value) == {"title", "created_at", "include_reasoning", "model", "messages", "generations"}
    assert [(each["channel"] or each["role"], each["content"]) for each in value["messages"]] == [
        ("user", "What is 12 + 30?"),
        ("analysis", f"I rely on {SECRET}."),
        ("final", "The answer is 42."),
    ]
    assert value["generations"][0]["usage"]["reasoning"] > 0
    page = await reader.get(link["path"])
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    for each in (answer, page):
        assert "set-cookie" not in each.headers
        for name, expected in SHARED_HEADERS.items():
            assert each.headers.get_list(name) == [expected]
    assert "unsafe" not in SHARED_HEADERS["content-security-policy"]
    assert "<script>" not in page.text
    assert " style=" not in page.text
    assert not reader.cookies


async def test_withheld_reasoning_is_absent_from_every_byte(
    owner: httpx.AsyncClient, reader: httpx.AsyncClient, world: World
) -> None:
    conversation_id = await conversation(owner, "What is 12 + 30?")
    shown = (await owner.get(f"/api/conversations/{conversation_id}")).json()
    link = await share(owner, conversation_id, reasoning=False)
    answer = await reader.get(f"/api/shared/{token_of(link)}")
    value = answer.json()
    assert [each["channel"] for each in value["messages"]] == [None, "final"]
    for word in (SECRET, "analysis", '"reasoning"', "reasoning_seconds", "completion", "seed", "timings"):
        assert word not in answer.text, word
    ids = [each["id"] for each in shown["messages"] + shown["generations"]] + [conversation_id]
    assert not [each for each in ids if each in answer.text], "no id of the database leaves it"
    assert value["generations"][0]["usage"].keys() == {"commentary", "final"}
    times = {each["created_at"] for each in [value["messages"][1], *value["generations"]]}
    assert len(times) == 1, "when the answer was begun would tell how long the model had reasoned"


async def test_calls_of_tools_stay_and_their_reasoning_goes() -> None:
    file = json.loads(json.dumps(OWN))
    [chat] = file["conversations"]
    call = {"role": "assistant", "channel": "commentary", "recipient": "functions.add", "content": "{}"}
    result = {"role": "tool", "name": "functions.add", "channel": "commentary", "content": "3"}
    python = {"role": "assistant", "channel": "analysis", "recipient": "python", "content": "secret()"}
    printed = {"role": "tool", "name": "python", "content": "secret output"}
    chat["messages"][2:] = [
        {
            **each,
            "key": f"m{n}",
            "parent": f"m{n - 1}",
            "generation": "g1",
            "created_at": "2026-01-01T10:00:00Z",
        }
        for n, each in enumerate((call, result, python, printed, chat["messages"][2]), 3)
    ]
    chat["shown"] = "m7"
    store = Store.open_in_memory()
    try:
        user = store.user_for_identity("a" * 64).id
        [record] = store.insert_conversations(user, drafts(file))
        text = encoded(
            snapshot(
                record,
                store.path(user, record.id),
                store.conversation_generations(user, record.id),
                include_reasoning=False,
                now=NOW,
            )
        )
    finally:
        store.close()
    assert "secret" not in text
    kept = [(each["channel"], each["recipient"] or each["name"]) for each in json.loads(text)["messages"]]
    assert kept == [
        (None, None),
        ("commentary", "functions.add"),
        ("commentary", "functions.add"),
        ("final", None),
    ]


async def test_what_comes_later_does_not_reach_a_link(
    owner: httpx.AsyncClient, reader: httpx.AsyncClient
) -> None:
    conversation_id = await conversation(owner, "What is 12 + 30?")
    link = await share(owner, conversation_id)
    before = await reader.get(f"/api/shared/{token_of(link)}")
    turn = await ask(owner, "A later secret", conversation_id=conversation_id)
    await settled(owner, turn["generation"]["id"])
    await owner.patch(f"/api/conversations/{conversation_id}", json={"title": "A later title"})
    after = await reader.get(f"/api/shared/{token_of(link)}")
    assert after.content == before.content
    [listed] = (await owner.get("/api/shares", params={"conversation_id": conversation_id})).json()["items"]
    assert listed == link
    assert (listed["messages"], listed["include_reasoning"]) == (3, True)


async def test_other_branches_do_not_reach_a_link(
    owner: httpx.AsyncClient, reader: httpx.AsyncClient
) -> None:
    conversation_id = await conversation(owner, "The first wording")
    shown = (await owner.get(f"/api/conversations/{conversation_id}")).json()
    question = next(each["id"] for each in shown["messages"] if each["role"] == "user")
    turn = await ask(owner, "The second wording", conversation_id=conversation_id, edit_of=question)
    await settled(owner, turn["generation"]["id"])
    link = await share(owner, conversation_id)
    text = (await reader.get(f"/api/shared/{token_of(link)}")).text
    assert "The second wording" in text
    assert "The first wording" not in json.dumps(json.loads(text)["messages"])


async def test_a_link_taken_back_reads_like_one_that_never_was(
    owner: httpx.AsyncClient, reader: httpx.AsyncClient
) -> None:
    link = await share(owner, await conversation(owner, "What is 12 + 30?"))
    token = token_of(link)
    assert (await owner.delete(f"/api/shares/{link['id']}")).status_code == 204
    for address in ("/api/shared/", "/s/"):
        gone = await reader.get(address + token)
        never = await reader.get(address + secrets.token_urlsafe(24))
        assert (gone.status_code, gone.content) == (404, never.content)
        assert never.status_code == 404
        ignored = {"date"}
        assert [pair for pair in gone.headers.items() if pair[0] not in ignored] == [
            pair for pair in never.headers.items() if pair[0] not in ignored
        ]
    assert (await reader.post(f"/api/shared/{token}/import")).status_code == 404
    assert (await owner.delete(f"/api/shares/{link['id']}")).status_code == 404
    assert link not in (await owner.get("/api/shares")).json()["items"]


async def test_the_links_of_a_deleted_conversation_come_back_with_it(
    owner: httpx.AsyncClient, reader: httpx.AsyncClient
) -> None:
    conversation_id = await conversation(owner, "What is 12 + 30?")
    link = await share(owner, conversation_id)
    await owner.delete(f"/api/conversations/{conversation_id}")
    assert (await reader.get(f"/api/shared/{token_of(link)}")).status_code == 404
    assert (await reader.get(link["path"])).status_code == 404
    await owner.post(f"/api/conversations/{conversation_id}/restore")
    assert (await reader.get(f"/api/shared/{token_of(link)}")).status_code == 200


async def test_a_reader_imports_a_copy_and_goes_on(
    owner: httpx.AsyncClient, reader: httpx.AsyncClient, world: World
) -> None:
    original = await conversation(owner, "What is 12 + 30?", "And 1 more?")
    link = await share(owner, original)
    answer = await reader.post(f"/api/shared/{token_of(link)}/import")
    assert answer.status_code == 201
    copy = answer.json()["conversation"]
    assert copy["title"] == "What is 12 + 30?"
    mine = (await reader.get(f"/api/conversations/{copy['id']}")).json()
    theirs = (await owner.get(f"/api/conversations/{original}")).json()
    assert [each["content"] for each in mine["messages"]] == [each["content"] for each in theirs["messages"]]
    assert not {each["id"] for each in mine["messages"]} & {each["id"] for each in theirs["messages"]}
    turn = await ask(reader, "Go on", conversation_id=copy["id"])
    assert (await settled(reader, turn["generation"]["id"]))["generation"]["status"] == "finished"
    assert (await owner.get(f"/api/conversations/{original}")).json()["messages"] == theirs["messages"]


async def test_a_running_reply_is_not_shared(owner: httpx.AsyncClient, world: World) -> None:
    hold = asyncio.Event()
    world.engine.script = Script(hold=hold, hold_at=1)
    try:
        turn = await ask(owner, "Wait")
        body = {"conversation_id": turn["conversation"]["id"], "include_reasoning": True}
        answer = await owner.post("/api/shares", json=body)
        assert answer.status_code == 409
        assert answer.json()["error"]["message"].endswith("Share it when the reply is complete.")
    finally:
        hold.set()
        world.engine.script = THOUGHTS
    await settled(owner, turn["generation"]["id"])
    await share(owner, turn["conversation"]["id"])


async def test_nobody_else_can_share_list_or_take_back(
    owner: httpx.AsyncClient, reader: httpx.AsyncClient
) -> None:
    conversation_id = await conversation(owner, "What is 12 + 30?")
    link = await share(owner, conversation_id)
    body = {"conversation_id": conversation_id, "include_reasoning": True}
    assert (await reader.post("/api/shares", json=body)).status_code == 404
    assert (await reader.get("/api/shares")).json() == {"items": []}
    assert (await reader.get("/api/shares", params={"conversation_id": conversation_id})).json() == {
        "items": []
    }
    assert (await reader.delete(f"/api/shares/{link['id']}")).status_code == 404
    assert (await reader.get(f"/api/conversations/{conversation_id}")).status_code == 404
    assert (await reader.get(link["path"])).status_code == 200


@pytest.mark.parametrize(
    "token", ["x", "x" * 32, "x" * 64, "%00", "..%2f..", "a.b", "x" * 65, "ä", "' OR 1=1 --", "%ff"]
)
async def test_odd_tokens_are_not_found(reader: httpx.AsyncClient, token: str) -> None:
    for address in ("/s/", "/api/shared/"):
        answer = await reader.get(address + token)
        assert answer.status_code == 404, answer.text


async def test_a_temporary_chat_cannot_be_shared(owner: httpx.AsyncClient) -> None:
    turn = await ask(owner, "Forget this", temporary=True)
    await settled(owner, turn["generation"]["id"])
    body = {"conversation_id": turn["conversation"]["id"], "include_reasoning": True}
    assert (await owner.post("/api/shares", json=body)).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"conversation_id": "x"},
        {"conversation_id": 5, "include_reasoning": True},
        {"conversation_id": "x", "include_reasoning": "yes"},
        {"conversation_id": "x", "include_reasoning": 1},
        {"conversation_id": "x", "include_reasoning": True, "title": "x"},
    ],
)
async def test_a_wrong_wish_is_refused(owner: httpx.AsyncClient, body: dict[str, Any]) -> None:
    answer = await owner.post("/api/shares", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_parameter"


async def test_the_owners_cookie_is_not_renewed_or_needed_by_a_link(
    owner: httpx.AsyncClient, world: World
) -> None:
    link = await share(owner, await conversation(owner, "What is 12 + 30?"))
    answer = await owner.get(f"/api/shared/{token_of(link)}")
    assert "set-cookie" not in answer.headers
    assert world.store.user_for_identity(token_hash(owner.cookies["playground"])).id

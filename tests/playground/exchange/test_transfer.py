"""Downloads and uploads over HTTP: names, types, whose they are, and that nothing is ever half-stored."""

from __future__ import annotations

import asyncio
import io
import json
import re
import zipfile
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from playground.exchange.archive import attachment, file_name, numbered
from tests.playground.exchange.files import OWN, PLAIN_CHATGPT, chatgpt, node, zipped
from tests.playground.world import TIMEOUT, World, ask, running, settled

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One server for the whole module; every test comes with a browser of its own."""
    async with running(tmp_path_factory.mktemp("transfer")) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="module")
async def browser(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with world.browser() as browser:
        await browser.get("/api/bootstrap")
        yield browser


async def upload(browser: httpx.AsyncClient, content: Any) -> httpx.Response:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    kind = "application/zip" if data[:2] == b"PK" else "application/json"
    return await browser.post("/api/import", content=data, headers={"content-type": kind})


async def titles(browser: httpx.AsyncClient) -> list[str]:
    items = (await browser.get("/api/conversations?limit=100")).json()["items"]
    return sorted(each["title"] for each in items)


async def test_an_import_is_stored_listed_and_reported(browser: httpx.AsyncClient) -> None:
    empty = chatgpt(node("root", None, ["h"]), node("h", "root", [], "system", "x", weight=0), title="Empty")
    answer = await upload(
        browser, zipped({"conversations.json": json.dumps([PLAIN_CHATGPT, empty]).encode()})
    )
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert [each["title"] for each in body["conversations"]] == ["Sums"]
    assert body["report"] == [
        {"source": "ChatGPT", "title": "Sums", "taken": 3, "left_out": []},
        {
            "source": "ChatGPT",
            "title": "Empty",
            "taken": 0,
            "left_out": ["A hidden message was left out.", "It holds no question, so it was not taken."],
        },
    ]
    opened = (await browser.get(f"/api/conversations/{body['conversations'][0]['id']}")).json()
    assert [each["content"] for each in opened["messages"]] == ["What is 1 + 1?", "One and one.", "It is 2."]
    turn = await ask(browser, "And 1 more?", conversation_id=body["conversations"][0]["id"])
    assert (await settled(browser, turn["generation"]["id"]))["generation"]["status"] == "finished"


async def test_a_conversation_with_tools_can_go_on(browser: httpx.AsyncClient) -> None:
    call = {"content_type": "code", "text": "print(1)"}
    output = {"content_type": "execution_output", "text": "1"}
    python = chatgpt(
        node("q", None, ["c"], "user", "Count"),
        node("c", "q", ["o"], "assistant", call, recipient="python"),
        node("o", "c", ["a"], "tool", output, name="python"),
        node("a", "o", [], "assistant", "One."),
    )
    function = {
        "messages": [
            {"role": "user", "content": "Add"},
            {
                "role": "assistant",
                "tool_calls": [{"id": "c", "function": {"name": "add", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c", "content": "2"},
        ]
    }
    for chat in (await upload(browser, [python, function])).json()["conversations"]:
        turn = await ask(browser, "And then?", conversation_id=chat["id"])
        assert (await settled(browser, turn["generation"]["id"]))["generation"]["status"] == "finished"


async def test_a_refused_file_leaves_nothing_behind(browser: httpx.AsyncClient) -> None:
    wrong = chatgpt(node("a", None, [], "root", "x"), title="Broken")
    answer = await upload(browser, [PLAIN_CHATGPT, wrong])
    assert answer.status_code == 400
    assert answer.json() == {
        "error": {
            "code": "invalid_import",
            "type": "invalid_request_error",
            "message": "The conversation “Broken” has a message with the role “root”, "
            "which no message can have.",
        }
    }
    assert await titles(browser) == []


async def test_what_is_exported_can_be_imported_by_somebody_else(
    world: World, browser: httpx.AsyncClient
) -> None:
    await upload(browser, OWN)
    turn = await ask(browser, "What is 12 + 30?")
    await settled(browser, turn["generation"]["id"])
    file = await browser.get("/api/export", params={"format": "json"})
    assert file.headers["content-type"] == "application/json"
    assert re.fullmatch(
        r"attachment; filename=\"gpt-oss-playground-\d{4}-\d\d-\d\d\.json\"; filename\*=UTF-8''\S+",
        file.headers["content-disposition"],
    )
    async with world.browser() as other:
        answer = await upload(other, file.content)
        assert answer.status_code == 200, answer.text
        assert await titles(other) == await titles(browser) == ["Sums", "What is 12 + 30?"]
        again = json.loads((await other.get("/api/export")).content)
    assert sorted(map(str, again["conversations"])) == sorted(
        map(str, json.loads(file.content)["conversations"])
    )


@pytest.mark.parametrize(
    ("format_", "kind", "ending"),
    [("markdown", "text/markdown; charset=utf-8", "md"), ("html", "text/html; charset=utf-8", "html"),
     ("json", "application/json", "json")],
)  # fmt: skip
@pytest.mark.parametrize("reasoning", [True, False])
async def test_one_conversation_in_every_format_with_and_without_reasoning(
    browser: httpx.AsyncClient, format_: str, kind: str, ending: str, reasoning: bool
) -> None:
    [chat] = (await upload(browser, [PLAIN_CHATGPT])).json()["conversations"]
    params = {"format": format_, "reasoning": str(reasoning).lower()}
    answer = await browser.get(f"/api/conversations/{chat['id']}/export", params=params)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == kind
    assert answer.headers["cache-control"] == "no-store"
    assert f'filename="Sums.{ending}"' in answer.headers["content-disposition"]
    assert "It is 2." in answer.text
    assert ("One and one." in answer.text) is reasoning


async def test_all_conversations_in_one_zip_with_names_of_their_own(browser: httpx.AsyncClient) -> None:
    names = ["Same", "same", "Same", "../../etc/passwd", "CON", "Ünï 🙂 / code", "x" * 200, " . "]
    chats = [{"title": name, "messages": [{"role": "user", "content": "Hi"}]} for name in names]
    assert (await upload(browser, chats)).status_code == 200
    for format_, ending in (("markdown", "md"), ("html", "html")):
        answer = await browser.get("/api/export", params={"format": format_})
        assert answer.headers["content-type"] == "application/zip"
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            assert archive.testzip() is None
            found = sorted(archive.namelist(), key=str.casefold)
            assert all("Hi" in archive.read(name).decode() for name in found)
        stems = {"etc passwd", "conversation-CON", "Ünï 🙂 code", "x" * 80}
        assert {f"{stem}.{ending}" for stem in stems} <= set(found)
        assert len({name.casefold() for name in found}) == len(names)
        assert not [name for name in found if "/" in name or "\\" in name or name.startswith(".")]


async def test_nobody_elses_conversation_is_exported(world: World, browser: httpx.AsyncClient) -> None:
    [chat] = (await upload(browser, [PLAIN_CHATGPT])).json()["conversations"]
    async with world.browser() as other:
        for format_ in ("markdown", "json", "html"):
            theirs = await other.get(f"/api/conversations/{chat['id']}/export", params={"format": format_})
            nobodys = await other.get(f"/api/conversations/{'0' * 32}/export", params={"format": format_})
            assert (theirs.status_code, theirs.content) == (404, nobodys.content)
        assert json.loads((await other.get("/api/export")).content)["conversations"] == []
        empty = await other.get("/api/export", params={"format": "html"})
        assert zipfile.ZipFile(io.BytesIO(empty.content)).namelist() == []


async def test_a_temporary_chat_can_be_exported_and_is_not_among_all(browser: httpx.AsyncClient) -> None:
    turn = await ask(browser, "Forget this", temporary=True)
    await settled(browser, turn["generation"]["id"])
    answer = await browser.get(f"/api/conversations/{turn['conversation']['id']}/export")
    assert answer.status_code == 200
    assert "Forget this" in answer.text
    assert "Forget this" not in (await browser.get("/api/export")).text


async def test_a_file_above_fifty_megabytes_is_refused_before_it_is_read(browser: httpx.AsyncClient) -> None:
    reader, writer = await asyncio.open_connection(browser.base_url.host, browser.base_url.port)
    writer.write(b"POST /api/import HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000001\r\n\r\n")
    async with asyncio.timeout(TIMEOUT):
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readuntil(b"}}")
    writer.close()
    assert head.startswith(b"HTTP/1.1 413 ")
    assert json.loads(body)["error"]["message"] == "This request is larger than 50 MB."


async def test_a_file_that_grows_above_fifty_megabytes_is_refused(browser: httpx.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(51):
            yield b" " * 1_000_000

    try:
        answer = await browser.post("/api/import", content=chunks())
    except httpx.WriteError:  # the server hung up while it was still being sent to
        return
    assert answer.status_code == 413
    assert answer.json()["error"]["message"] == "This request is larger than 50 MB."


async def test_other_addresses_still_take_two_megabytes_only(browser: httpx.AsyncClient) -> None:
    for path in ("/api/turns", "/api/import/", "/api/shares"):
        answer = await browser.post(path, content=b" " * 2_000_001)
        assert answer.status_code == 413, path


async def test_three_megabytes_of_conversations_are_taken(browser: httpx.AsyncClient) -> None:
    chats = [{"messages": [{"role": "user", "content": "x" * 10_000}]} for _ in range(300)]
    answer = await upload(browser, chats)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["conversations"]) == 300


async def test_a_foreign_page_cannot_import(browser: httpx.AsyncClient) -> None:
    headers = {"origin": "https://evil.example", "content-type": "application/json"}
    answer = await browser.post("/api/import", content=json.dumps(OWN), headers=headers)
    assert answer.status_code == 403
    assert await titles(browser) == []


@pytest.mark.parametrize("query", ["format=pdf", "format=", "reasoning=perhaps"])
async def test_an_unknown_format_is_refused(browser: httpx.AsyncClient, query: str) -> None:
    for path in ("/api/export", f"/api/conversations/{'0' * 32}/export"):
        answer = await browser.get(f"{path}?{query}")
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "invalid_parameter"


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Plain", "Plain"),
        ("../../etc/passwd", "etc passwd"),
        ("C:\\x\\y", "C x y"),
        ("a\x00b\nc", "a b c"),
        ("con", "conversation-con"),
        ("NUL.txt", "conversation-NUL.txt"),
        ("lpt1", "conversation-lpt1"),
        (".hidden", "hidden"),
        ("...", "conversation"),
        ("", "conversation"),
        ("\u202egnp.exe", "gnp.exe"),
        ('What? <b>: *1* | "2"', "What b 1 2"),
        ("日本語", "日本語"),
        ("x" * 300, "x" * 80),
    ],
)
async def test_titles_become_names_that_are_safe_everywhere(title: str, name: str) -> None:
    assert file_name(title) == name


async def test_a_download_is_named_for_old_and_new_programs() -> None:
    assert (
        attachment("Ünï 🙂.md")
        == "attachment; filename=\"Uni .md\"; filename*=UTF-8''%C3%9Cn%C3%AF%20%F0%9F%99%82.md"
    )
    assert (
        attachment("日本.md")
        == "attachment; filename=\"conversation.md\"; filename*=UTF-8''%E6%97%A5%E6%9C%AC.md"
    )
    assert "\r" not in attachment('a"\r\nset-cookie: x.md')
    assert attachment('a"b.md').startswith('attachment; filename="ab.md"')


async def test_equal_names_are_numbered_also_against_numbers_that_are_taken() -> None:
    taken: dict[str, int] = {}
    names = [numbered(name, taken) for name in ("a", "a (2)", "a", "A", "a (2)")]
    assert len({name.casefold() for name in names}) == 5
    assert names[:2] == ["a", "a (2)"]

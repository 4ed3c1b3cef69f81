"""Every kind of bad input gets a 4xx with the one shape and a clear sentence, and nothing is saved."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.playground.world import World, ask, running, settled

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One server for the whole module; every test comes with a browser of its own."""
    async with running(tmp_path_factory.mktemp("bad-input"), max_message_chars=1000) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="module")
async def browser(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with world.browser() as browser:
        await browser.get("/api/bootstrap")
        yield browser


def fault(answer: httpx.Response) -> dict[str, str]:
    """The error of an answer, after a check of its shape."""
    body = answer.json()
    assert set(body) == {"error"}, body
    error: dict[str, str] = body["error"]
    assert {"code", "type", "message"} <= set(error) <= {"code", "type", "message", "param", "request_id"}
    assert error["message"].endswith((".", "?"))
    assert "Traceback" not in answer.text
    return error


TURNS: list[tuple[str, dict[str, Any], str, str]] = [
    ("empty", {"text": ""}, "empty_message", "Write a message first."),
    ("white space", {"text": " \n\t\u2003 "}, "empty_message", "Write a message first."),
    ("100,000 spaces", {"text": " " * 100_000}, "empty_message", "Write a message first."),
    ("zero-width characters", {"text": "\u200b\ufeff \u2060"}, "empty_message", "Write a message first."),
    (
        "too long",
        {"text": "x" * 1001},
        "message_too_long",
        "This message has 1,001 characters; at most 1,000 fit.",
    ),
    ("lone surrogate", {"text": "a\ud800b"}, "invalid_text", ""),
    ("NUL", {"text": "a\x00b"}, "invalid_text", ""),
    ("unknown effort", {"effort": "maximal"}, "invalid_effort", "Effort is one of low, medium and high."),
    ("effort as a list", {"effort": ["low"]}, "invalid_effort", "Effort is one of low, medium and high."),
    ("no text", {"text": None}, "invalid_parameter", ""),
    ("text as a number", {"text": 5}, "invalid_parameter", ""),
    ("unknown field", {"txet": "x"}, "invalid_parameter", "txet is not a parameter here."),
    (
        "a long unknown field",
        {"x" * 90_000: 1},
        "invalid_parameter",
        "x" * 60 + "… is not a parameter here.",
    ),
    (
        "endless temperature",
        {"temperature": float("-inf")},
        "invalid_parameter",
        "temperature is not valid: input should be a finite number.",
    ),
    ("hot", {"temperature": 2.1}, "invalid_parameter", ""),
    ("cold", {"temperature": -0.1}, "invalid_parameter", ""),
    ("temperature as text", {"temperature": "1"}, "invalid_parameter", ""),
    ("temperature as a truth value", {"temperature": True}, "invalid_parameter", ""),
    ("infinite temperature", {"temperature": float("inf")}, "invalid_parameter", ""),
    ("temperature that is no number", {"temperature": float("nan")}, "invalid_parameter", ""),
    ("top_p of 0", {"top_p": 0}, "invalid_parameter", ""),
    ("top_p above 1", {"top_p": 1.01}, "invalid_parameter", ""),
    ("negative seed", {"seed": -1}, "invalid_parameter", ""),
    ("huge seed", {"seed": 2**63}, "invalid_parameter", ""),
    ("no tokens", {"max_tokens": 0}, "invalid_parameter", ""),
    ("too many tokens", {"max_tokens": 10**9}, "invalid_parameter", ""),
    ("half a token", {"max_tokens": 1.5}, "invalid_parameter", ""),
    ("empty client id", {"client_id": ""}, "invalid_parameter", ""),
    ("broken client id", {"client_id": "\udfff"}, "invalid_text", ""),
    ("conversation as a number", {"conversation_id": 7}, "invalid_parameter", ""),
    ("absent conversation", {"conversation_id": "0" * 32}, "not_found", "There is nothing here."),
    ("odd conversation", {"conversation_id": "../../etc"}, "not_found", "There is nothing here."),
    ("broken conversation", {"conversation_id": "\ud800"}, "invalid_text", ""),
    ("a parent without conversation", {"parent_id": "0" * 32}, "not_found", "There is nothing here."),
]


@pytest.mark.parametrize(
    ("change", "code", "sentence"), [row[1:] for row in TURNS], ids=[r[0] for r in TURNS]
)
async def test_a_turn_with_bad_input_is_refused(
    browser: httpx.AsyncClient, change: dict[str, Any], code: str, sentence: str
) -> None:
    body = json.dumps({"text": "What is 12 + 30?", **change})
    answer = await browser.post("/api/turns", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == (404 if code == "not_found" else 400), answer.text
    error = fault(answer)
    assert error["code"] == code
    if sentence:
        assert error["message"] == sentence
    assert (await browser.get("/api/conversations")).json()["items"] == []


BODIES: list[tuple[str, bytes]] = [
    ("nothing", b""),
    ("no JSON", b"{text"),
    ("a list", b"[]"),
    ("null", b"null"),
    ("a string", b'"text"'),
    ("no UTF-8", b'{"text": "\xff\xfe"}'),
    ("deep lists", b'{"text": ' + b"[" * 90_000 + b"]" * 90_000 + b"}"),
    ("deep objects", b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
    ("a number of 10,000 digits", b'{"text": "x", "seed": ' + b"9" * 10_000 + b"}"),
]


@pytest.mark.parametrize("body", [row[1] for row in BODIES], ids=[row[0] for row in BODIES])
@pytest.mark.parametrize(("method", "path"), [("POST", "/api/turns"), ("PATCH", "/api/preferences")])
async def test_a_body_that_is_no_object_is_refused(
    browser: httpx.AsyncClient, method: str, path: str, body: bytes
) -> None:
    answer = await browser.request(method, path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert fault(answer)["code"] == "invalid_parameter"


async def test_repeated_keys_and_other_media_types_do_no_harm(browser: httpx.AsyncClient) -> None:
    json_type = {"content-type": "application/json"}
    answer = await browser.post("/api/turns", content='{"text": "a", "text": "b"}', headers=json_type)
    assert answer.json()["user_message"]["content"] == "b"
    await settled(browser, answer.json()["generation"]["id"])
    form = await browser.post("/api/turns", data={"text": "a"})
    assert (form.status_code, fault(form)["code"]) == (400, "invalid_parameter")


async def test_a_body_above_the_limit_is_refused(browser: httpx.AsyncClient) -> None:
    async def in_pieces() -> AsyncIterator[bytes]:
        for _ in range(21):
            yield b" " * 100_000

    for content in (b" " * 2_000_001, in_pieces()):
        answer = await browser.post(
            "/api/turns", content=content, headers={"content-type": "application/json"}
        )
        assert (answer.status_code, fault(answer)["code"]) == (413, "body_too_large")
        assert answer.headers["x-content-type-options"] == "nosniff"


PATCHES: list[tuple[dict[str, Any], str]] = [
    ({"title": "  "}, "invalid_parameter"),
    ({"title": "x" * 201}, "invalid_parameter"),
    ({"title": "\ud800"}, "invalid_text"),
    ({"title": 5}, "invalid_parameter"),
    ({"pinned": 1}, "invalid_parameter"),
    ({"archived": "yes"}, "invalid_parameter"),
    ({"instructions": "x"}, "invalid_parameter"),
    ({"title": "Fine", "settings": {"instructions": "x" * 32_001}}, "invalid_parameter"),
    ({"title": "Fine", "settings": {"instructions": "\x00"}}, "invalid_text"),
    ({"pinned": True, "settings": {"model_identity": "\ud800"}}, "invalid_text"),
    ({"settings": {"model_identity": "x" * 501}}, "invalid_parameter"),
    ({"settings": {"effort": "extreme"}}, "invalid_effort"),
    ({"settings": {"temperature": 2.01}}, "invalid_parameter"),
    ({"settings": {"temperature": True}}, "invalid_parameter"),
    ({"settings": {"top_p": 0}}, "invalid_parameter"),
    ({"settings": {"max_tokens": 0}}, "invalid_parameter"),
    ({"settings": {"max_tokens": 1_000_001}}, "invalid_parameter"),
    ({"settings": {"seed": 2**63}}, "invalid_parameter"),
    ({"settings": {"seed": -1}}, "invalid_parameter"),
    ({"settings": {"show_reasoning": "no"}}, "invalid_parameter"),
    ({"settings": {"when_full": "drop_newest"}}, "invalid_parameter"),
    ({"settings": {"tools": []}}, "invalid_parameter"),
    ({"settings": [1]}, "invalid_parameter"),
    ({"leaf_id": "0"}, "invalid_parameter"),
]


@pytest.mark.parametrize(("body", "code"), PATCHES)
async def test_a_bad_change_of_a_conversation_changes_nothing(
    browser: httpx.AsyncClient, body: dict[str, Any], code: str
) -> None:
    turn = await ask(browser)
    await settled(browser, turn["generation"]["id"])
    address = f"/api/conversations/{turn['conversation']['id']}"
    before = (await browser.get(address)).json()
    answer = await browser.patch(
        address, content=json.dumps(body), headers={"content-type": "application/json"}
    )
    assert (answer.status_code, fault(answer)["code"]) == (400, code)
    assert (await browser.get(address)).json() == before


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"effort": "extreme"}, "invalid_effort"),
        ({"theme": "pink"}, "invalid_parameter"),
        ({"show_reasoning": 1}, "invalid_parameter"),
        ({"language": "fr"}, "invalid_parameter"),
        ({"theme": "dark", "settings": {"temperature": -1}}, "invalid_parameter"),
        ({"theme": "dark", "settings": {"instructions": "\ud800"}}, "invalid_text"),
    ],
)
async def test_a_bad_preference_changes_nothing(
    browser: httpx.AsyncClient, body: dict[str, Any], code: str
) -> None:
    before = (await browser.get("/api/preferences")).json()
    answer = await browser.patch(
        "/api/preferences", content=json.dumps(body), headers={"content-type": "application/json"}
    )
    assert (answer.status_code, fault(answer)["code"]) == (400, code)
    assert (await browser.get("/api/preferences")).json() == before


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"settings": {}}, "name"),
        ({"name": " \u200b", "settings": {}}, "name"),
        ({"name": "x" * 101, "settings": {}}, "name"),
        ({"name": "Mine"}, "settings"),
        ({"name": "Mine", "settings": {"temperature": 3}}, "temperature"),
        ({"name": "Mine", "settings": {"colour": "red"}}, "colour"),
    ],
)
async def test_a_bad_preset_is_refused(browser: httpx.AsyncClient, body: dict[str, Any], param: str) -> None:
    answer = await browser.post("/api/presets", json=body)
    assert (answer.status_code, fault(answer)["code"], fault(answer)["param"]) == (
        400,
        "invalid_parameter",
        param,
    )
    assert (await browser.get("/api/presets")).json() == {"items": []}


@pytest.mark.parametrize("query", ["after=-1", "after=x", f"after={2**63}", "after=1.5"])
async def test_a_bad_number_of_a_change_is_refused(browser: httpx.AsyncClient, query: str) -> None:
    answer = await browser.get(f"/api/changes?{query}")
    assert (answer.status_code, fault(answer)["param"]) == (400, "after")


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "cursor=%00", "cursor=-1", "cursor=1e3"]
)
async def test_a_bad_page_of_the_list_is_refused(browser: httpx.AsyncClient, query: str) -> None:
    answer = await browser.get(f"/api/conversations?{query}")
    assert (answer.status_code, fault(answer)["code"]) == (400, "invalid_parameter")


@pytest.mark.parametrize(
    "path",
    [
        "/api/conversations/absent",
        "/api/conversations/%00",
        "/api/conversations/%ED%A0%80",
        "/api/conversations/" + "x" * 5000,
        "/api/generations/absent",
        "/api/generations/absent/events",
        "/api/nothing",
        "/api",
        "/static/nothing.js",
        "/static/..%2f..%2fpyproject.toml",
    ],
)
async def test_what_does_not_exist_is_a_404_in_the_one_shape(browser: httpx.AsyncClient, path: str) -> None:
    answer = await browser.get(path)
    assert (answer.status_code, fault(answer)["code"]) == (404, "not_found")


async def test_a_wrong_method_is_a_405_in_the_one_shape(browser: httpx.AsyncClient) -> None:
    answer = await browser.put("/api/turns", json={})
    assert (answer.status_code, fault(answer)["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


async def test_an_error_of_our_own_is_a_500_that_tells_only_its_id(
    world: World,
    browser: httpx.AsyncClient,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(world.store, "get_preferences", broken)
    answer = await browser.get("/api/preferences")
    error = fault(answer)
    assert (answer.status_code, error["code"]) == (500, "internal_error")
    assert "secret" not in answer.text
    assert error["request_id"] in caplog.text
    assert answer.headers["x-content-type-options"] == "nosniff"

"""A17: bodies of very many values, which take much longer to parse than their bytes say, reach no parser."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from starlette import requests

from playground import body_limits
from tests.attacks.limits import UNLIMITED
from tests.attacks.routes import routes_of
from tests.playground.world import World, running
from tests.tried import Tell

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHANGING = frozenset({"POST", "PATCH", "PUT", "DELETE"})
UNPARSED = frozenset({"/api/import"})
"""Its file has bounds of its own: ``test_bombs``."""
LIGHT_BYTES = 10_000
MEMBERS = b",".join(b'"%d":0' % number for number in range(body_limits.MOST_VALUES + 1))
BODIES = {
    "lists": b'{"text": [' + b"[]," * 600_000 + b"[]]}",
    "nested lists": b'{"text": [' + (b"[" * 100 + b"]" * 100 + b",") * 9_000 + b"0]}",
    "objects": b'{"text": [' + b"{}," * 600_000 + b"{}]}",
    "members": b"{" + MEMBERS + b"}",
    "strings": b'{"text": [' + b'"",' * 600_000 + b'""]}',
    "lists in UTF-16": ('{"text": ["\u0122", ' + "[]," * 300_000 + "[]]}").encode("utf-16-le"),
    "numbers": b'{"text": [' + b"0," * 900_000 + b"0]}",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running(tmp_path_factory.mktemp("heavy"), **UNLIMITED) as world:
        yield world


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Further refusals come a second late, which is tested elsewhere."""
    monkeypatch.setattr("playground.limits.middleware.HOLD_SECONDS", 0)


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What reaches the parser of bodies."""
    seen: list[bytes] = []

    def loads(body: bytes) -> Any:
        seen.append(body)
        return json.loads(body)

    monkeypatch.setattr(requests, "json", SimpleNamespace(loads=loads))
    return seen


async def send(world: World, kinds: list[str]) -> tuple[int, set[int]]:
    """Each kind of body to each route that may change something: how many, and the statuses."""
    routes = [
        (method, re.sub(r"\{[^}]*\}", "x", path))
        for method, path in routes_of(world.app)
        if method in CHANGING and path.startswith(("/api/", "/v1/")) and path not in UNPARSED
    ]
    statuses = set()
    async with world.browser() as browser:
        await browser.get("/api/bootstrap")
        headers = {"content-type": "application/json"}
        for kind in kinds:
            for method, path in routes:
                answer = await browser.request(method, path, content=BODIES[kind], headers=headers)
                statuses.add(answer.status_code)
                if answer.status_code == 413:
                    error = answer.json()["error"]
                    assert error["code"] == "body_too_large"
                    assert error["message"] == "This request holds more than about 100,000 values."
    return len(routes), statuses


async def test_no_body_of_very_many_values_is_parsed(world: World, parsed: list[bytes], tell: Tell) -> None:
    routes, statuses = await send(world, list(BODIES))
    assert [body[:20] for body in parsed if len(body) > LIGHT_BYTES] == []
    # What takes no body, or nothing that exists, answers as it does to any other.
    assert 413 in statuses
    assert max(statuses) < 500
    tell(f"{len(BODIES)} bodies at {routes} routes: none parsed")


async def test_as_many_values_as_a_long_conversation_has_are_taken(world: World) -> None:
    messages = [{"role": "user", "content": [{"type": "text", "text": "a, [b], {c}"}]}] * 9_000
    body = {"model": "scripted", "messages": messages}
    async with world.browser() as browser:
        answer = await browser.post("/v1/chat/completions", json=body)
    assert answer.json()["error"]["code"] == "context_length_exceeded"


async def test_a_server_that_counts_bytes_alone_is_caught(
    world: World, parsed: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted hole."""
    monkeypatch.setattr(body_limits, "has_too_many_values", lambda body: False)
    _, statuses = await send(world, ["lists"])
    assert 413 not in statuses
    assert any(len(body) > LIGHT_BYTES for body in parsed)

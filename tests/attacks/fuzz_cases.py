"""Requests that nobody means: from the app's own OpenAPI description, and worse than that can describe."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import hypothesis.strategies as st
import requests
import schemathesis
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from schemathesis.schemas import BaseSchema
from starlette.routing import Mount

from tests.attacks.limits import UNLIMITED
from tests.playground.scripted import Script
from tests.playground.world import TIMEOUT, World, running

ERROR_FIELDS = {"code", "type", "message", "param", "request_id", "retry_after"}
Ids = dict[str, list[str]]


def schema_of(app: FastAPI, mount: str = "/api") -> BaseSchema:
    """The API below this address as the app's own routes describe it."""
    api = next(route for route in app.router.routes if isinstance(route, Mount) and route.path == mount)
    return schemathesis.openapi.from_dict(get_openapi(title="API", version="1", routes=api.routes or []))


@contextmanager
def world_in_a_thread(folder: Path, prepare: Any = None) -> Iterator[World]:
    """A world that runs beside a test that is no coroutine."""
    up: list[World] = []
    ready = threading.Event()
    over: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    chosen = {} if prepare is None else {"prepare": prepare}

    async def serve() -> None:
        end = asyncio.Event()
        async with running(folder, Script(), max_tokens_default=64, **chosen, **UNLIMITED) as world:
            over.append((asyncio.get_running_loop(), end))
            up.append(world)
            ready.set()
            await end.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    try:
        assert ready.wait(TIMEOUT)
        yield up[0]
    finally:
        for loop, end in over:
            loop.call_soon_threadsafe(end.set)
        thread.join(TIMEOUT)


def real_ids(url: str, session: requests.Session) -> Ids:
    """Things of the asker's own, for requests that get past the first check."""
    turn = session.post(f"{url}/api/turns", json={"text": "What is 12 + 30?"}, timeout=TIMEOUT).json()
    conversation = turn["conversation"]["id"]
    chat = session.post(f"{url}/api/turns", json={"text": "Hello", "temporary": True}, timeout=TIMEOUT).json()
    generations = [turn["generation"]["id"], chat["generation"]["id"]]
    for each in generations:
        session.get(f"{url}/api/generations/{each}/events", timeout=TIMEOUT).raise_for_status()
    preset = session.post(f"{url}/api/presets", json={"name": "p", "settings": {}}, timeout=TIMEOUT).json()
    wanted = {"conversation_id": conversation, "include_reasoning": True}
    share = session.post(f"{url}/api/shares", json=wanted, timeout=TIMEOUT).json()["share"]
    return {
        "conversation_id": [conversation, chat["conversation"]["id"]],
        "generation_id": generations,
        "preset_id": [preset["preset"]["id"]],
        "share_id": [share["id"]],
        "token": [share["path"].rpartition("/")[2]],
        "message_id": [turn["user_message"]["id"]],
    }


# --- worse than a description can be ---

NUMBERS = st.sampled_from(
    [0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 10**400, 1e308, -1e308, 1e-320, 0.1 + 0.2]
)
TEXTS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        [
            "",
            " ",
            "\x00",
            "\ud800",
            "a\udfffb",
            "\u202e",
            "😀" * 50,
            "a" * 40_000,
            "<|start|>",
            "\u2028",
            "%00",
            "../",
        ]
    ),
)


def words(text: str) -> st.SearchStrategy[str]:
    """One of these words."""
    return st.sampled_from(text.split())


NAMES = words("""
    text conversation_id parent_id edit_of regenerate continue_of mode temporary wait effort temperature top_p
    seed max_tokens settings client_id title pinned archived message_id generation_id name include_reasoning
    instructions model_identity show_reasoning when_full theme even_if_too_large scopes confirm role unknown
    messages input content tools tool_choice tool_calls function response_format schema stop stream n logprobs
""")
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=4)),
    max_leaves=6,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=6)


def nested(depth: int, kind: str) -> bytes:
    """So many lists or objects in each other."""
    if kind == "list":
        return b"[" * depth + b"]" * depth
    return b'{"settings":' * depth + b"1" + b"}" * depth


BODIES: st.SearchStrategy[bytes] = st.one_of(
    OBJECTS.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")),
    OBJECTS.map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")),
    OBJECTS.map(lambda value: json.dumps(value).encode()[:-1]),
    st.binary(max_size=60),
    st.builds(nested, st.sampled_from([5, 200, 5_000, 100_000]), st.sampled_from(["list", "object"])),
    st.sampled_from(
        [
            b"",
            b"null",
            b"[]",
            b'""',
            b"NaN",
            b'{"temperature": NaN}',
            b'{"seed": Infinity, "text": "x"}',
            b'{"seed": ' + b"9" * 5_000 + b"}",
            b'{"text": "\\ud800"}',
            b'{"text": "a", "text": "b"}',
            b"\xff\xfe{\x00}\x00",
            b'\xef\xbb\xbf{"text": "x"}',
            b'{"text": "x"} trailing',
        ]
    ),
)
HEADER_TEXT = st.text(
    st.characters(min_codepoint=33, max_codepoint=255, exclude_characters="\x7f"), max_size=40
)
HEADERS = st.dictionaries(
    words("""
        Accept Accept-Encoding Accept-Language Authorization Content-Type Cookie Forwarded If-None-Match
        Last-Event-ID Range Referer User-Agent X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Request-Id
    """),
    st.one_of(
        HEADER_TEXT,
        st.sampled_from(
            [
                "Bearer gop_" + "a" * 43,
                "Bearer \xe9",
                "application/json",
                "multipart/form-data; boundary=x",
                "text/plain; charset=utf-7",
                "bytes=0-0,1-1",
                "playground=" + "a" * 43,
                "playground=x; playground=y",
                "9" * 30,
                "gzip;q=nonsense",
            ]
        ),
    ),
    max_size=3,
)
QUERIES = st.lists(
    st.tuples(
        words("limit cursor archived after q kinds format reasoning conversation_id last_event_id next x"),
        st.one_of(TEXTS, NUMBERS.map(str)),
    ),
    max_size=3,
).map(lambda pairs: [(name, value[:500].encode("utf-8", "replace").decode("utf-8")) for name, value in pairs])


@dataclass(frozen=True, slots=True)
class Wild:
    """One request."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes


def wild_requests(routes: list[tuple[str, str]], ids: Ids) -> st.SearchStrategy[Wild]:
    """Any of the routes with anything in it; now and then with an id that exists."""

    @st.composite
    def one(draw: st.DrawFn) -> Wild:
        method, path = draw(st.sampled_from(routes))
        for name, known in ids.items():
            if "{" + name + "}" in path:
                value = draw(st.one_of(st.sampled_from(known), TEXTS))
                encoded = quote(value[:80].encode("utf-8", "replace"), safe="")
                path = path.replace("{" + name + "}", encoded or "x")
        method = draw(st.sampled_from([method, method, method, "POST", "PATCH", "DELETE", "PUT"]))
        body = draw(BODIES) if method != "GET" else b""
        return Wild(method, path.replace("{", "").replace("}", ""), draw(QUERIES), draw(HEADERS), body)

    return one()


def fault_of(status: int, kind: str, content: bytes, *, head: bool = False) -> str | None:
    """What is wrong with an answer; None for one as it must be."""
    if status >= 500:
        return f"status {status}"
    if status < 400 or head:
        return None
    if kind != "application/json":
        return f"an error as {kind}"
    error = json.loads(content).get("error", {})
    if not {"code", "type", "message"} <= set(error) <= ERROR_FIELDS:
        return f"an error of another shape: {sorted(error)}"
    if (
        not error["message"].endswith(".")
        or "Traceback" in error["message"]
        or "/site-packages" in str(error)
    ):
        return "an error that is no sentence"
    return None

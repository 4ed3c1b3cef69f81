"""Headers, origins, hosts and the page's address, with the real page mounted."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.types import Message, Receive, Scope, Send

from playground.body_limits import BodyLimits
from playground.security import HEADERS, OPEN_PATHS
from playground.ui import shell
from tests.playground.world import TIMEOUT, World, ask, running, settled

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One server for the whole module; every test comes with a browser of its own."""
    folder = tmp_path_factory.mktemp("security")
    async with running(folder) as world:
        shell.mount(world.app, blocked_paths=[str(folder)])
        yield world


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/c/0123456789abcdef", 200),
        ("GET", "/config", 404),
        ("GET", "/theme.css", 200),
        ("GET", "/healthz", 200),
        ("GET", "/api/bootstrap", 200),
        ("GET", "/static/favicon.svg", 200),
        ("GET", "/static/nothing", 404),
        ("GET", "/api/conversations/absent", 404),
        ("PUT", "/api/turns", 405),
        ("POST", "/api/turns", 400),
        ("OPTIONS", "/api/turns", 405),
        ("GET", "/gradio_api/nothing", 404),
        ("POST", "/", 405),
        ("DELETE", "/c/0123456789abcdef", 405),
        ("POST", "/theme.css", 405),
        ("POST", "/healthz", 405),
        ("HEAD", "/healthz", 200),
        ("GET", "/assets/nothing", 404),
        ("GET", "/assets/..%2f..%2findex.html", 403),
    ],
)
async def test_every_answer_has_the_security_headers(
    world: World, method: str, path: str, status: int
) -> None:
    async with world.browser() as browser:
        answer = await browser.request(method, path)
    assert answer.status_code == status
    for name, value in HEADERS.items():
        assert answer.headers.get_list(name) == [value]
    if status >= 400:
        assert list(answer.json()) == ["error"]
    assert "server" not in answer.headers
    assert not [name for name in answer.headers if name.startswith("access-control-")]


FOREIGN: list[dict[str, str]] = [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://["},
    {"origin": ""},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "nonsense"},
    {"sec-fetch-site": "cross-site", "origin": "http://localhost"},
    {"origin": "http://localhost:1"},
]


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/turns"),
        ("PATCH", "/api/preferences"),
        ("DELETE", "/api/conversations/x"),
        ("POST", "/gradio_api/queue/join"),
        ("POST", "/nowhere"),
    ],
)
async def test_a_foreign_page_can_change_nothing(
    world: World, method: str, path: str, headers: dict[str, str]
) -> None:
    async with world.browser() as browser:
        answer = await browser.request(method, path, headers=headers, json={"text": "Hi"})
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "forbidden_origin"
        assert (await browser.get("/api/conversations")).json()["items"] == []


async def test_the_pages_own_requests_and_programs_are_taken(world: World) -> None:
    async with world.browser() as browser:
        for headers in (
            {"origin": world.url},
            {"sec-fetch-site": "same-origin"},
            {"sec-fetch-site": "none"},
            {},
        ):
            answer = await browser.post("/api/turns", json={"text": "Hi"}, headers=headers)
            assert answer.status_code == 202
            await settled(browser, answer.json()["generation"]["id"])


async def test_behind_a_proxy_the_public_address_is_an_own_origin(tmp_path: Path) -> None:
    async with running(tmp_path, public_url="https://chat.example.org") as world, world.browser() as browser:
        for origin, status in (("https://chat.example.org", 202), ("https://other.example.org", 403)):
            answer = await browser.post("/api/turns", json={"text": "Hi"}, headers={"origin": origin})
            assert answer.status_code == status


@pytest.mark.parametrize(
    "path", ["/", "/config", "/api/bootstrap", "/static/favicon.svg", "/gradio_api/info"]
)
async def test_no_other_site_may_read_an_answer(tmp_path: Path, path: str) -> None:
    name = "playground.example.org"
    async with running(tmp_path, allowed_hosts=name) as world, world.browser() as browser:
        for host in (name, "127.0.0.1"):
            foreign = {"host": host, "origin": "https://evil.example"}
            plain = await browser.get(path, headers=foreign)
            asking = {**foreign, "access-control-request-method": "POST"}
            preflight = await browser.options(path, headers=asking)
            for answer in (plain, preflight):
                assert "access-control-allow-origin" not in answer.headers
                assert "access-control-allow-credentials" not in answer.headers
            assert plain.status_code != 400


async def test_only_the_named_hosts_are_served(tmp_path: Path) -> None:
    hosts = "chat.example.org, localhost"
    async with running(tmp_path, allowed_hosts=hosts) as world, world.browser() as browser:
        for host, status in (
            ("chat.example.org", 200),
            ("localhost:7860", 200),
            ("evil.example", 400),
            ("[", 400),
            ("chat.example.org.evil.example", 400),
        ):
            answer = await browser.get("/api/bootstrap", headers={"host": host})
            assert answer.status_code == status, host
            assert (await browser.get("/healthz", headers={"host": host})).status_code == 200
            if status == 400:
                message = answer.json()["error"]["message"]
                assert message.endswith("Its operator can allow it in ALLOWED_HOSTS.")
                assert ("evil.example" in message) == ("evil" in host)


async def test_a_conversations_address_serves_the_page_with_assets_that_are_found(world: World) -> None:
    async with world.browser() as browser:
        root = await browser.get("/")
        page = await browser.get("/c/0123456789abcdef")
        assert '<base href="./"' in root.text
        assert '<base href="/"' in page.text
        assert '<base href="./"' not in page.text
        assert "set-cookie" in root.headers
        assert page.headers["cache-control"] == "no-store"
        assert world.app.state.page_served.is_set()
        for odd in ("/c/", "/c/a/b", "/c/%2e%2e", "/c/" + "x" * 65):
            assert (await browser.get(odd)).status_code == 404, odd
        for secret in ("/docs", "/redoc", "/openapi.json"):
            assert (await browser.get(secret)).status_code == 404, secret


async def test_files_are_cached_by_version_and_compressed_but_streams_are_not(world: World) -> None:
    async with world.browser() as browser:
        plain = await browser.get("/static/favicon.svg")
        assert plain.headers["cache-control"] == "no-cache"
        again = await browser.get("/static/favicon.svg", headers={"if-none-match": plain.headers["etag"]})
        assert again.status_code == 304
        versioned = await browser.get("/static/favicon.svg?v=1")
        assert versioned.headers["cache-control"] == "public, max-age=31536000, immutable"
        script = await browser.get("/static/js/main.js", headers={"accept-encoding": "gzip"})
        assert script.headers["content-encoding"] == "gzip"
        turn = await ask(browser)
        stream = await browser.get(f"/api/generations/{turn['generation']['id']}/events")
        assert "content-encoding" not in stream.headers
        assert stream.headers["cache-control"] == "no-store"


async def test_what_the_page_does_not_need_of_gradio_is_closed(world: World) -> None:
    """Each of Gradio's own addresses, from its route table, but for the few that make the page."""
    [page] = [route.app for route in world.app.routes if isinstance(route, Mount) and route.path == ""]
    assert isinstance(page, FastAPI)
    paths: set[str] = set()
    pending: list[Any] = list(page.router.routes)
    while pending:
        route = pending.pop()
        pending.extend(getattr(getattr(route, "original_router", None), "routes", []))
        if isinstance(route, Route):
            prefix = "" if route.path in {"/", "/theme.css", "/favicon.ico"} else "/gradio_api"
            paths |= {prefix + route.path, route.path}
    assert len(paths) > 40, "the table was read"
    open_paths = {path for path in paths if OPEN_PATHS.match(re.sub(r"\{[^}]*\}", "x", path))}
    assert {re.sub(r"/\{.*", "/…", path) for path in open_paths} <= {
        "/",
        "/theme.css",
        "/favicon.ico",
        "/assets/…",
        "/static/…",
    }
    async with world.browser() as browser:
        for path in sorted(paths - open_paths):
            for method in ("GET", "POST"):
                answer = await browser.request(method, re.sub(r"\{[^}]*\}", "x", path))
                assert answer.status_code == 404, (method, path)
                assert answer.json()["error"]["code"] == "not_found"
        for file in (world.app.state.settings.database_path, Path("/etc/passwd")):
            assert (await browser.get(f"/gradio_api/file={file}")).status_code == 404


async def test_a_body_that_does_not_arrive_ends_the_request() -> None:
    async def reads_the_body(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(await Request(scope, receive).body())(scope, receive, send)

    async def half_a_body() -> Message:
        if first:
            return first.pop()
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    first: list[Message] = [{"type": "http.request", "body": b"half", "more_body": True}]
    sent: list[Message] = []
    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/", "headers": []}
    guarded = BodyLimits(reads_the_body, seconds=0.05)
    async with asyncio.timeout(TIMEOUT):
        with pytest.raises(ClientDisconnect):
            await guarded(scope, half_a_body, send)
    assert sent == []


async def test_half_a_request_over_the_wire_leaves_the_server_well(world: World) -> None:
    port = httpx.URL(world.url).port
    assert port is not None
    with socket.create_connection(("127.0.0.1", port)) as raw:
        raw.sendall(b"POST /api/turns HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
    async with asyncio.timeout(TIMEOUT), world.browser() as browser:
        assert (await browser.get("/healthz")).json()["status"] == "ok"

"""A2, A3: of Gradio only the files of the page answer; its queue, its streams and its cancel reach nobody."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from playground import security
from playground.ui import shell
from tests.attacks.limits import UNLIMITED
from tests.attacks.raw import raw
from tests.attacks.routes import routes_of
from tests.conftest import Scale
from tests.playground.scripted import Script
from tests.playground.world import World, ask, running
from tests.tried import Tell

pytestmark = pytest.mark.asyncio(loop_scope="module")

OWN = """
GET /healthz | HEAD /healthz | GET /metrics | GET /s/{token} | HEAD /s/{token} | GET /favicon.ico
GET /oauth/login | GET /login/callback | GET /oauth/callback | MOUNT /static
"""
"""Our own routes outside of ``/api`` and ``/v1``; those inside are classified in ``test_every_route``."""
REACHABLE = "GET / | HEAD / | GET /assets/{path:path} | GET /theme.css"
"""What the page needs of Gradio."""
SHADOWED = "GET /static/{path:path} | GET /favicon.ico"
"""Gradio's, but ours stand before them."""
CLOSED = """
GET /openapi.json | HEAD /openapi.json | POST /login/ | POST /login | GET /logout | GET /svelte/{path:path}
GET /gradio_api/deep_link | GET /config | GET /config/ | GET /robots.txt | GET /pwa_icon/{size}
GET /pwa_icon | GET /manifest.json | GET /monitoring | GET /monitoring/summary | GET /monitoring/{key}
GET /gradio_api/user/ | GET /gradio_api/user | GET /gradio_api/login_check/ | GET /gradio_api/login_check
GET /gradio_api/token/ | GET /gradio_api/token | GET /gradio_api/app_id/ | GET /gradio_api/app_id
GET /gradio_api/dev/reload | GET /gradio_api/runs/ | GET /gradio_api/runs | GET /gradio_api/info
GET /gradio_api/info/ | GET /gradio_api/openapi.json
GET /gradio_api/custom_component/{id}/{environment}/{type}/{file_name}
GET /gradio_api/proxy={url_path:path} | HEAD /gradio_api/proxy={url_path:path}
GET /gradio_api/file={path_or_url:path} | HEAD /gradio_api/file={path_or_url:path}
POST /gradio_api/stream/{event_id} | POST /gradio_api/stream/{event_id}/close
GET /gradio_api/stream/{session_hash}/{run}/{component_id}/playlist.m3u8
GET /gradio_api/stream/{session_hash}/{run}/{component_id}/{segment_id}.{ext}
GET /gradio_api/stream/{session_hash}/{run}/{component_id}/playlist-file | GET /gradio_api/file/{path:path}
POST /gradio_api/reset | POST /gradio_api/reset/ | GET /gradio_api/heartbeat/{session_hash}
POST /gradio_api/api/{api_name}/ | POST /gradio_api/api/{api_name} | POST /gradio_api/run/{api_name}/
POST /gradio_api/run/{api_name} | POST /gradio_api/call/v2/{api_name}/ | POST /gradio_api/call/v2/{api_name}
POST /gradio_api/call/{api_name}/ | POST /gradio_api/call/{api_name} | POST /gradio_api/queue/join
POST /gradio_api/cancel | GET /gradio_api/call/{api_name}/{event_id}
GET /gradio_api/call/v2/{api_name}/{event_id} | GET /gradio_api/queue/data
POST /gradio_api/component_server/ | POST /gradio_api/component_server | GET /gradio_api/queue/status
GET /gradio_api/upload_progress | POST /gradio_api/upload | GET /gradio_api/startup-events
GET /gradio_api/theme.css | POST /gradio_api/process_recording | POST /gradio_api/vibe-edit
POST /gradio_api/vibe-edit/ | POST /gradio_api/undo-vibe-edit | POST /gradio_api/undo-vibe-edit/
GET /gradio_api/vibe-code | GET /gradio_api/vibe-code/ | POST /gradio_api/vibe-code
POST /gradio_api/vibe-code/ | POST /gradio_api/vibe-starter-queries | POST /gradio_api/vibe-starter-queries/
"""
"""Gradio's other routes: nobody reaches them."""


def table(text: str) -> list[tuple[str, str]]:
    """Methods and paths of one of the lists above."""
    rows = [row.split(maxsplit=1) for row in re.split(r"[|\n]", text) if row.strip()]
    return [(method, path.strip()) for method, path in rows]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("surface")
    async with running(folder, **UNLIMITED) as world:
        shell.mount(world.app, blocked_paths=[str(folder)])
        yield world


@pytest_asyncio.fixture(loop_scope="module")
async def alice(world: World) -> AsyncIterator[tuple[httpx.AsyncClient, str]]:
    """Alice, and the id of a reply of hers that is being written."""
    world.engine.script = Script(hold=asyncio.Event(), hold_at=3)
    async with world.browser() as browser:
        turn = await ask(browser, "Alice's question")
        yield browser, turn["generation"]["id"]
        assert world.engine.script.hold is not None
        world.engine.script.hold.set()


async def test_every_route_of_the_mounted_application_is_classified(world: World) -> None:
    found = {route for route in routes_of(world.app) if not route[1].startswith(("/api/", "/v1/"))} - {
        ("MOUNT", "/api")
    }
    found = {route for route in found if route[1] != "/api"}
    known = {row for text in (OWN, REACHABLE, SHADOWED, CLOSED) for row in table(text)}
    assert found - known == set(), "new routes: are they open or closed?"
    assert known - found == set(), "these are gone"


def filled(path: str, value: str = "x") -> str:
    """A path with this in the place of its parameters."""
    return re.sub(r"\{[^}]*\}", value, path)


async def reachable(world: World, browser: httpx.AsyncClient, values: list[str]) -> set[str]:
    """The closed routes that answer anything but that there is nothing."""
    found: set[str] = set()
    for method, path in table(CLOSED):
        for value in values:
            for tried in {method, "GET", "POST"}:
                answer = await browser.request(tried, filled(path, value), params={"session_hash": value})
                nothing = answer.status_code == 404 and (
                    tried == "HEAD" or answer.json()["error"]["code"] == "not_found"
                )
                if not nothing:
                    found.add(f"{tried} {path}: {answer.status_code}")
    return found


async def test_nothing_of_gradio_that_is_closed_answers(
    world: World, alice: tuple[httpx.AsyncClient, str], tell: Tell
) -> None:
    owner, generation = alice
    async with world.browser() as stranger:
        for browser in (owner, stranger):
            assert await reachable(world, browser, ["x", generation]) == set()
    tell(f"{len(table(CLOSED))} routes of Gradio that are closed: none answers")


DETOURS = [
    "/gradio_api/info", "//gradio_api/info", "/./gradio_api/info", "/static/../gradio_api/info",
    "/api/../gradio_api/info", "/assets/..%2fgradio_api/info", "/gradio_api%2finfo", "/GRADIO_API/info",
    "/gradio_api/./info", "/gradio_api/info/", "/gradio_api/info?x=/static/", "/gradio_api/info;/static/",
    "/gradio_api/info%00/static/x", "/%67radio_api/info", "/gradio_api\\info", "http://x/gradio_api/info",
    "/static/%2e%2e/config", "/c/../config", "/config%20", "/config#/", "/.//config", "/s/../config",
    "/gradio_api/queue/data?session_hash=x", "/gradio_api/proxy=http://127.0.0.1:9/", "/proxy=http://127.0.0.1:9/",
    "/gradio_api/file=http://127.0.0.1:9/", "/file=http://127.0.0.1:9/", "/file=/etc/passwd",
    "/gradio_api/heartbeat/x", "/docs", "/redoc", "/openapi.json", "/mcp", "/gradio_api/mcp/sse",
]  # fmt: skip


async def test_there_is_no_way_around(world: World) -> None:
    for path in DETOURS:
        for method in ("GET", "POST"):
            status, _, body = await raw(world.url, path, method)
            assert status in {400, 403, 404, 405}, (method, path, status, body[:200])
            assert b"dependencies" not in body


async def test_no_stream_and_no_cancel_reaches_another_persons_reply(
    world: World, alice: tuple[httpx.AsyncClient, str], scale: Scale, tell: Tell
) -> None:
    """By its id, which is all that anybody could know of it, and by any session hash."""
    _, generation = alice
    async with world.browser() as bob:
        absent = await bob.get(f"/api/generations/{'0' * 32}/events")
        for number in range(scale(25, 1000)):
            calls: list[tuple[str, str, dict[str, Any]]] = [
                ("GET", f"/api/generations/{generation}/events", {"headers": {"last-event-id": str(number)}}),
                ("POST", f"/api/generations/{generation}/cancel", {}),
                ("GET", "/gradio_api/queue/data", {"params": {"session_hash": secrets.token_hex(5)}}),
                ("POST", "/gradio_api/cancel", {"json": {"event_id": generation, "session_hash": "x"}}),
                ("GET", f"/gradio_api/heartbeat/{generation}", {}),
            ]
            for method, path, fields in calls:
                answer = await bob.request(method, path, **fields)
                assert (answer.status_code, answer.content) == (404, absent.content), path
    run = world.app.state.turns.runs.find_open(lambda run: True)[0]
    assert run.cancel_requested is False
    tell(f"{5 * scale(25, 1000)} tries to read or end another person's reply: none")


async def test_an_open_shell_is_caught(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted hole: everything that Gradio mounts answers."""
    monkeypatch.setattr(security, "OPEN_PATHS", re.compile(r".*", re.DOTALL))
    async with world.browser() as stranger:
        config = await stranger.get("/config")
        info = await stranger.get("/gradio_api/info")
    assert config.status_code == info.status_code == 200

"""A1: every route, for all who could call it, with every kind of id: nobody reaches what is another's."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import pytest_asyncio

from playground.accounts.identity import PLAIN_NAME, Replaced
from storage.generations import GenerationQueries
from storage.records import GenerationRecord
from tests.attacks.access import ENDS_SOMETHING, ROUTES, For
from tests.attacks.routes import routes_of
from tests.attacks.world import Cast, make_app, signed_in, with_cookie, with_key
from tests.conftest import Scale
from tests.playground.scripted import Script
from tests.playground.world import ask, settled
from tests.tried import Tell

pytestmark = pytest.mark.asyncio(loop_scope="module")

CANARY = "canary"
"""Stands in every text of Alice's, and nowhere else."""
NOBODYS = "0" * 32
MALFORMED = [
    "x",
    "0" * 31,
    "0" * 33,
    "0" * 64,
    "%00",
    "é",
    "A" * 32,
    "t" + "0" * 32,
    "..%2f",
    "' OR 1=1 --",
    "*",
]
Ids = dict[str, str]
Call = dict[str, Any]


@dataclass
class Scene:
    """Alice (the cast's owner) has one of everything; ``token`` leads to a conversation of hers."""

    cast: Cast
    alices: Ids
    others: Ids
    token: str
    strangers: dict[str, httpx.AsyncClient] = field(default_factory=dict)
    throwaways: list[httpx.AsyncClient] = field(default_factory=list)

    def caller(self, name: str, route: tuple[str, str]) -> httpx.AsyncClient:
        """The client of this role; one that has just come where the call ends its session."""
        if route in ENDS_SOMETHING and name in {"guest", "other", "admin"}:
            self.throwaways.append(signed_in(self.cast.world, f"{name}-{len(self.throwaways)}"))
            return self.throwaways[-1]
        return self.strangers[name]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with make_app(tmp_path_factory.mktemp("routes")) as cast:
        alices = await things_of(cast.owner, f"{CANARY} of Alice")
        others = await things_of(cast.other, "Bob's")
        scene = Scene(cast, alices, others, alices.pop("token"))
        world = cast.world
        await cast.guest.get("/api/conversations")
        gone = signed_in(world, "owner")
        await gone.get("/api/conversations")
        copied = with_cookie(world, gone.cookies[PLAIN_NAME])
        assert (await gone.post("/api/account/sign-out")).status_code == 204
        world.app.state.accounts.replaced = Replaced()  # half a minute later
        scene.strangers = {
            "nobody": world.browser(),
            "guest": cast.guest,
            "other": cast.other,
            "admin": cast.admin,
            "other's key": with_key(world, await key(cast.other, ["conversations", "inference"])),
            "key without the scope": with_key(world, await key(cast.owner, ["inference"])),
            "revoked key": with_key(world, await revoked(cast.owner)),
            "revoked session": copied,
            "reader": world.browser(),
        }
        # Her running reply comes last: a conversation that answers cannot be shared.
        world.engine.script = Script(hold=asyncio.Event(), hold_at=3)
        await ask(cast.owner, f"{CANARY} is being answered")
        yield scene
        assert world.engine.script.hold is not None
        world.engine.script.hold.set()
        for client in [gone, *scene.strangers.values(), *scene.throwaways]:
            await client.aclose()


async def things_of(browser: httpx.AsyncClient, text: str) -> Ids:
    """One of everything that has an id."""
    turn = await ask(browser, text, settings={"instructions": text})
    await settled(browser, turn["generation"]["id"])
    conversation = turn["conversation"]["id"]
    await browser.patch("/api/preferences", json={"settings": {"instructions": text}})
    preset = await browser.post("/api/presets", json={"name": text, "settings": {"instructions": text}})
    link = {"conversation_id": conversation, "include_reasoning": True}
    share = (await browser.post("/api/shares", json=link)).json()["share"]
    made = await browser.post("/api/account/keys", json={"name": text, "scopes": ["inference"]})
    response = await browser.post("/v1/responses", json={"input": text})
    me = (await browser.get("/api/account")).json()
    return {
        "conversation_id": conversation,
        "generation_id": turn["generation"]["id"],
        "message_id": turn["user_message"]["id"],
        "preset_id": preset.json()["preset"]["id"],
        "response_id": response.json()["id"],
        "share_id": share["id"],
        "key_id": made.json()["key"]["id"],
        "session_id": me["sessions"][0]["id"],
        "user_id": me["account"]["id"],
        "token": share["path"].removeprefix("/s/"),
    }


async def key(browser: httpx.AsyncClient, scopes: list[str]) -> str:
    made = await browser.post("/api/account/keys", json={"name": "A key", "scopes": scopes})
    secret: str = made.json()["secret"]
    return secret


async def revoked(browser: httpx.AsyncClient) -> str:
    made = (await browser.post("/api/account/keys", json={"name": "old", "scopes": ["conversations"]})).json()
    await browser.delete(f"/api/account/keys/{made['key']['id']}")
    secret: str = made["secret"]
    return secret


def calls_of(route: tuple[str, str], ids: Ids, own: Ids) -> list[Call]:
    """Calls of a route with these ids; where one is a child, also below the caller's ``own`` parent."""
    method, path = route
    url = re.sub(r"\{(\w+)\}", lambda match: ids.get(match[1], "x"), path)
    conversation, generation, message = ids["conversation_id"], ids["generation_id"], ids["message_id"]
    bodies: list[Any] = [None]
    if path == "/api/turns":
        places: list[Call] = [
            {"text": "x"},
            {"text": "x", "wait": True},
            {"text": "x", "edit_of": message},
            {"text": "x", "parent_id": message},
            {"regenerate": message},
            {"continue_of": generation},
            {"continue_of": generation, "mode": "answer_now"},
        ]
        parents = [conversation, own["conversation_id"], None]
        bodies = [
            {"conversation_id": parent, **place}
            for parent in parents
            for place in places
            if parent == conversation or len(place) > 1 or "text" not in place
        ]
        bodies = [body for body in bodies if body["conversation_id"] == conversation or "wait" not in body]
    elif path.endswith("/select"):
        bodies = [{"message_id": message}, {"generation_id": generation}]
    elif route == ("POST", "/api/shares"):
        bodies = [{"conversation_id": conversation, "include_reasoning": True}]
    elif method == "PATCH" and "preset" in path:
        bodies = [{"name": "y"}, {"settings": {"seed": 1}}]
    elif method == "PATCH" and "conversation" in path:
        bodies = [{"title": "x"}, {"settings": {"seed": 1}}, {"pinned": True}, {"archived": True}]
    elif route == ("POST", "/v1/responses"):
        thing = {"type": "item_reference", "id": ids["response_id"].replace("resp_", "msg_") + "0001"}
        bodies = [
            {"input": "x", "previous_response_id": ids["response_id"]},
            {"input": [{"role": "user", "content": "x"}, thing]},
        ]
    elif path.endswith("/role"):
        bodies = [{"role": "admin"}]
    elif path in OTHER_BODIES:
        bodies = [OTHER_BODIES[path]] if method in {"POST", "PATCH", "DELETE"} else [None]
    calls: list[Call] = [{"url": url} if body is None else {"url": url, "json": body} for body in bodies]
    if path.endswith("/select"):
        below = path.replace("{conversation_id}", own["conversation_id"])
        calls += [{"url": below, "json": body} for body in bodies]
    if path == "/api/shares" and method == "GET":
        calls += [{"url": url, "params": {"conversation_id": conversation}}]
    if path == "/api/search":
        calls = [{"url": url, "params": {"q": CANARY, "kinds": "title,question,answer,reasoning,tool"}}]
    return calls


OTHER_BODIES: dict[str, Any] = {
    "/api/preferences": {"effort": "high"},
    "/api/presets": {"name": "x", "settings": {}},
    "/api/import": [{"role": "user", "content": "x"}],
    "/api/account": {"confirm": "delete"},
    "/api/account/keys": {"name": "x", "scopes": ["conversations"]},
    "/api/model": {"name": "nothing"},
}


def alices_rows(scene: Scene) -> list[Any]:
    """All that the database holds of Alice, but for when she and her keys were seen."""
    user = scene.alices["user_id"]
    queries = {
        "conversations": "id, title, settings, pinned_at, archived_at, deleted_at",
        "presets": "id, name, settings",
        "responses": "id, status, input_items, output_items",
        "shares": "id, token, title",
        "sessions": "id, token_hash",
        "api_keys": "id, name, key_hash, scopes",
        "accounts": "handle, role, banned_at",
        "preferences": "*",
    }
    with closing(sqlite3.connect(scene.cast.world.app.state.settings.database_path)) as database:
        columns = {
            table: {row[1] for row in database.execute(f"PRAGMA table_info({table})")} for table in queries
        }
        found: list[Any] = []
        for table, wanted in queries.items():
            owner = "owner_id" if "owner_id" in columns[table] else "user_id"
            names = [name for name in wanted.split(", ") if name in columns[table] or name == "*"]
            statement = f"SELECT {', '.join(names)} FROM {table} WHERE {owner} = ? ORDER BY 1"  # noqa: S608
            found.append((table, database.execute(statement, (user,)).fetchall()))
        statement = "SELECT id, role, content FROM messages WHERE conversation_id = ? ORDER BY 1"
        found.append(database.execute(statement, (scene.alices["conversation_id"],)).fetchall())
    return found


OF_SOMEBODY = {For.ID, For.RESPONSE, For.PERSON_ID, For.ADMIN}
"""Where an address names what is somebody's."""
CLOSED_TO = {
    ("revoked key", For.MODEL): 401,
    ("revoked key", For.ASKER): 401,
    ("revoked key", For.PERSON): 401,
    ("key without the scope", For.ASKER): 403,
}
"""What a key meets where no id is named."""


def is_refused(name: str, kind: For, answer: httpx.Response) -> bool:
    """Whether this is how a stranger's call of somebody's things must end."""
    status = answer.status_code
    if name == "revoked key":
        return status == 401
    if kind is For.ADMIN:
        return name == "admin" or status == 404
    if name == "key without the scope" or (name == "other's key" and kind in {For.PERSON, For.PERSON_ID}):
        return status == 403
    return status == 404


async def attack(scene: Scene, name: str, route: tuple[str, str]) -> list[str]:
    """Call a route as somebody with Alice's ids; what should not have happened."""
    method, kind = route[0], ROUTES[route]
    named, absent = scene.alices, dict.fromkeys(scene.alices, NOBODYS)
    faults: list[str] = []
    pairs = zip(calls_of(route, named, scene.others), calls_of(route, absent, scene.others), strict=True)
    for call, empty in pairs:
        client = scene.caller(name, route)
        answer = await client.request(method, **call)
        said = f"{name}: {method} {call}: {answer.status_code}"
        if CANARY in answer.text or CANARY in str(answer.headers):
            faults.append(f"{said} shows what is Alice's")
        if answer.status_code >= 500:
            faults.append(f"{said} fails")
        if kind in OF_SOMEBODY and not is_refused(name, kind, answer):
            faults.append(f"{said} is not refused")
        if kind in OF_SOMEBODY and (name != "admin" or kind is not For.ADMIN):
            nothing = await client.request(method, **empty)
            if (nothing.status_code, nothing.content) != (answer.status_code, answer.content):
                faults.append(f"{said} differs from an absent id: {nothing.status_code}")
        expected = CLOSED_TO.get((name, kind), answer.status_code)
        if answer.status_code != expected:
            faults.append(f"{said} opens something")
    return faults


def skipped(name: str, route: tuple[str, str]) -> bool:
    """What an admin may do to Alice, who must stay as she is; who cannot be made again for every call; and
    what Alice's own key for the model may do."""
    if name == "key without the scope" and route[1].startswith("/v1/responses"):
        return True
    return (name == "admin" and ROUTES[route] is For.ADMIN and route[0] != "GET") or (
        ROUTES[route] in {For.LINK, For.SIGN_IN}
    )


async def test_every_route_is_classified(scene: Scene) -> None:
    found = {route for route in routes_of(scene.cast.world.app) if route[0] != "MOUNT"}
    assert found - set(ROUTES) == set(), "new routes: for whom are they?"
    assert set(ROUTES) - found == set(), "these are gone"


async def test_nobody_reaches_what_is_anothers(scene: Scene, tell: Tell) -> None:
    before = alices_rows(scene)
    faults: list[str] = []
    for route in ROUTES:
        for name in scene.strangers:
            if not skipped(name, route):
                faults += await attack(scene, name, route)
    assert faults == []
    assert alices_rows(scene) == before, "nothing of Alice's was changed"
    tell(f"{len(ROUTES)} routes for {len(scene.strangers)} kinds of callers: nothing of another's")
    run = scene.cast.world.app.state.turns.runs.find_open(lambda run: True)[0]
    assert run.cancel_requested is False


async def test_a_link_opens_nothing_but_itself(scene: Scene) -> None:
    """Whoever has the token has no other id, and the token stands for no other."""
    ids = dict.fromkeys(scene.alices, scene.token)
    reader = scene.strangers["reader"]
    assert CANARY in (await reader.get(f"/api/shared/{scene.token}")).text
    for route, kind in ROUTES.items():
        if kind in OF_SOMEBODY:
            for call in calls_of(route, ids, scene.others):
                assert (await reader.request(route[0], **call)).status_code == 404, call


async def test_ids_that_are_none_are_refused(scene: Scene, scale: Scale) -> None:
    for route, kind in ROUTES.items():
        if kind not in OF_SOMEBODY | {For.LINK}:
            continue
        for text in MALFORMED[:: scale(5, 1)]:
            for call in calls_of(route, dict.fromkeys(scene.alices, text) | {"token": text}, scene.others):
                answer = await scene.cast.other.request(route[0], **call)
                assert answer.status_code in {400, 404, 405}, (route, call, answer.text)
                assert CANARY not in answer.text


async def test_the_same_calls_are_taken_from_their_owner(scene: Scene) -> None:
    """So a 404 above is about who asks: Bob does all of it to his own things, and ends as a stranger."""
    bob = scene.cast.other
    order = {"GET": 0, "PATCH": 1, "POST": 2, "DELETE": 3}
    kinds = {For.ID, For.RESPONSE, For.PERSON_ID, For.PERSON, For.ASKER}
    routes = [route for route, kind in ROUTES.items() if kind in kinds and route not in ENDS_SOMETHING]
    for route in sorted(
        routes, key=lambda route: (order[route[0]], "session" in route[1], "conv" in route[1])
    ):
        if route[1] in {"/api/turns", "/api/presets", "/api/conversations/{conversation_id}/restore"}:
            continue  # these he has done, or cannot do twice
        for call in calls_of(route, scene.others, scene.others):
            answer = await bob.request(route[0], **call)
            assert answer.status_code in {200, 201, 204}, (route, call, answer.text)
    assert (await bob.get("/api/account")).json()["account"] is None


async def test_a_store_that_forgets_to_ask_for_the_owner_is_caught(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted hole: one method of the store finds a reply whoever asks."""
    genuine = GenerationQueries.get_generation

    def careless(self: GenerationQueries, owner_id: str, generation_id: str) -> GenerationRecord:
        if generation_id == scene.alices["generation_id"]:
            owner_id = scene.alices["user_id"]
        return genuine(self, owner_id, generation_id)

    monkeypatch.setattr(GenerationQueries, "get_generation", careless)
    faults = [
        fault for route in ROUTES if "generation" in route[1] for fault in await attack(scene, "guest", route)
    ]
    assert any("is not refused" in fault for fault in faults)

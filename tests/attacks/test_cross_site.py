"""A6: no other site's page changes anything, whatever it sends or calls this server, and no answer leads to
another site.

Where a sign-in may lead is tested in ``test_oauth_flows``, real pages of other sites in
``test_cross_site_pages``.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from playground.hosts import HEALTH, HostNames
from playground.security import OriginCheck
from tests.attacks.access import ROUTES
from tests.attacks.raw import raw
from tests.attacks.test_every_route import OTHER_BODIES, Ids, calls_of, things_of
from tests.attacks.world import Cast, make_app, rows
from tests.conftest import Scale
from tests.tried import Tell

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNSAFE = sorted(route for route in ROUTES if route[0] not in {"GET", "HEAD"})
SITES = ["cross-site", "same-site", "nonsense", "", "Same-Origin", "same-origin, cross-site"]
ORIGINS = [
    "https://evil.example", "http://evil.example", "null", "", "http://[", "file://", "chrome-extension://abc",
    "http://localhost:1", "http://127.0.0.1", "http://127.0.0.1:1", "http://{own}.evil.example",
    "http://evil.example#{own}", "http://evil.example/{own}", "http://evil.example?{own}", "{own}",
    "http://{own}@evil.example", "http://evil.example@{own}", "http://{own},http://evil.example",
    "http://{own} http://evil.example", "//evil.example", "javascript:alert(1)", "http://\u2024{own}",
    "http://{own}.", "about:blank", "data:",
]  # fmt: skip
TYPES = [
    "application/json",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
]
TABLES = ("conversations", "messages", "generations", "presets", "shares", "sessions", "api_keys", "accounts")


def foreign(own: str) -> list[dict[str, str]]:
    """The headers by which a browser would tell that another site's page sends a request."""
    found = [{"sec-fetch-site": site} for site in SITES]
    found += [{"origin": origin.format(own=own)} for origin in ORIGINS]
    found += [{"sec-fetch-site": "cross-site", "origin": f"http://{own}"}]
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cast(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cast]:
    async with make_app(tmp_path_factory.mktemp("sites")) as cast:
        yield cast


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ids(cast: Cast) -> Ids:
    return await things_of(cast.owner, "Alice's")


def counts(cast: Cast) -> list[int]:
    return [rows(cast.world, table) for table in TABLES]


async def attempt(cast: Cast, ids: Ids, every: int) -> list[str]:
    """Send every changing call with Alice's cookies and each sign of another site; what was not refused."""
    own = cast.world.url.removeprefix("http://")
    signs = itertools.product(UNSAFE, foreign(own), TYPES)
    taken: list[str] = []
    for route, headers, kind in itertools.islice(signs, 0, None, every):
        call = calls_of(route, ids, ids)[0]
        encoded = {name: value.encode("utf-8") for name, value in headers.items()}
        answer = await cast.owner.request(
            route[0], **{**call, "headers": {**encoded, "content-type": kind.encode()}}
        )
        refused = answer.status_code == 403 and answer.json()["error"]["code"] == "forbidden_origin"
        if not refused:
            taken.append(f"{route} {headers} {kind}: {answer.status_code}")
    return taken


async def test_no_other_site_changes_anything(cast: Cast, ids: Ids, scale: Scale, tell: Tell) -> None:
    before = counts(cast)
    assert await attempt(cast, ids, scale(11, 1)) == []
    assert counts(cast) == before
    forms = len(UNSAFE) * len(foreign("")) * len(TYPES) // scale(11, 1)
    tell(f"{forms} changing requests of other sites' pages: all refused")


async def test_reading_changes_nothing(cast: Cast, ids: Ids) -> None:
    """So a picture or a link on another page changes nothing either, whatever method it pretends."""
    before = counts(cast)
    pretended = ["DELETE", "POST", "PATCH"]
    for route in ROUTES:
        if route[0] != "GET":
            continue
        for call in calls_of(route, ids, ids):
            for method in pretended:
                override = {
                    "x-http-method-override": method,
                    "x-http-method": method,
                    "x-method-override": method,
                }
                fields: dict[str, Any] = {**call, "headers": {**override, "sec-fetch-site": "cross-site"}}
                fields["params"] = {**call.get("params", {}), "_method": method}
                answer = await cast.owner.request("GET", **fields)
                assert answer.status_code < 500
    assert counts(cast) == before


PLACES = [
    "//evil.example", "//evil.example/", "//evil.example/%2e%2e", "/\\evil.example", "/%5cevil.example",
    "/%2f%2fevil.example",
    "/static//evil.example", "/static/..//evil.example", "/assets//evil.example/", "/api//evil.example/",
    "/c//evil.example/", "/c/x//evil.example", "/s//evil.example", "/login?next=//evil.example",
    "/logout?next=//evil.example", "/login/?_target_url=//evil.example", "/oauth/login?next=//evil.example",
    "/oauth/callback?state=x&code=y&next=//evil.example",
    "/login/callback?_target_url=https://evil.example", "/?next=//evil.example", "/?__theme=//evil.example",
    "/healthz/", "/metrics/", "/static", "/static/", "/api", "/api/", "/api/conversations/", "/theme.css/",
    "http://evil.example/", "https://evil.example/oauth/login", "/oauth/login?next=/&here=//evil.example",
    "/.//evil.example", "/%0d%0aLocation:%20//evil.example",
]  # fmt: skip


HOSTS = ["own", "evil.example", "evil.example:80@127.0.0.1", "[", "x y"]
OPEN = {(method, HEALTH) for method in ("GET", "HEAD")}
REBOUND = [
    "evil.example", "evil.example:{port}", "localhost.evil.example", "127.0.0.1.evil.example", "evil",
    "localhost@evil.example", "evil.example.", "", "[", "127.0.0.1, evil.example", "xn--lcalhost-54a",
]  # fmt: skip


async def test_no_answer_leads_to_another_site(tmp_path: Path, tell: Tell) -> None:
    """Also for a browser that was made to name another host, where every name is served."""
    async with make_app(tmp_path, allowed_hosts="*") as open_to_all:
        await no_way_out(open_to_all.world.url)
    tell(f"{len(PLACES) * len(HOSTS)} addresses that name another site: no redirect there")


async def no_way_out(url: str) -> None:
    assert len(PLACES) * len(HOSTS) >= 60
    for place in PLACES:
        for host in [url.removeprefix("http://") if host == "own" else host for host in HOSTS]:
            status, head, _ = await raw(url, place, headers={"Host": host})
            lines = [
                line for line in head.decode("latin-1").split("\r\n") if line.lower().startswith("location:")
            ]
            assert status < 500, (place, host)
            for line in lines:
                target = line.partition(":")[2].strip()
                own = target.startswith("/") and not target.startswith(("//", "/\\"))
                # A directory is named as the browser named the host; nobody can make a victim's browser lie.
                assert own or target.startswith(f"http://{host}/"), (place, host, target)


async def test_under_another_sites_name_nothing_answers(cast: Cast, ids: Ids, tell: Tell) -> None:
    """A page whose name was made to point here sends its own name, whatever else it says."""
    before = counts(cast)
    assert await answered_under(cast, ids, REBOUND) == []
    assert counts(cast) == before
    tell(f"{len(ROUTES.keys() - OPEN) + 1} routes under {len(REBOUND)} names of others: all refused")


async def answered_under(cast: Cast, ids: Ids, names: list[str]) -> list[str]:
    """What is not refused of all routes, with Alice's cookies, as a browser asks under these names."""
    answered: list[str] = []
    port = cast.world.url.rpartition(":")[2]
    for name in (each.format(port=port).encode() for each in names):
        for route in [("GET", "/"), *sorted(ROUTES.keys() - OPEN)]:
            headers = {b"host": name, b"origin": b"http://" + name, b"sec-fetch-site": b"same-origin"}
            answer = await cast.owner.request(
                route[0], **{**calls_of(route, ids, ids)[0], "headers": headers}
            )
            if answer.status_code != 400 or (route[0] != "HEAD" and b"invalid_host" not in answer.content):
                answered.append(f"{route} {name!r}: {answer.status_code}")
    return answered


async def test_without_the_check_another_sites_name_is_served(
    cast: Cast, ids: Ids, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted hole: every name is the server's own."""
    monkeypatch.setattr(HostNames, "serves", lambda self, netloc, name: True)
    mine = await cast.owner.get("/api/conversations", headers={"host": "evil.example"})
    assert mine.json()["items"]


async def test_without_the_check_another_site_changes_things(
    cast: Cast, ids: Ids, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted hole: every origin counts as the page's own."""
    monkeypatch.setattr(OriginCheck, "_is_own", lambda self, headers: True)
    before = counts(cast)
    headers = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    made = await cast.owner.post("/api/presets", json=OTHER_BODIES["/api/presets"], headers=headers)
    assert made.status_code == 201
    assert counts(cast) != before

"""An application with people in every role, for attacks: each is an HTTP client with its own cookies."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from playground.accounts.identity import PLAIN_NAME, SECURE_NAME, new_token, token_hash
from storage.account_records import AccountRole, Identity
from tests.attacks.limits import UNLIMITED
from tests.playground.scripted import Script
from tests.playground.world import TIMEOUT, World, running

PROVIDER = "http://127.0.0.1:9"
"""Where nobody answers: these people have signed in before."""
PEOPLE = (("admin", AccountRole.ADMIN), ("owner", AccountRole.MEMBER), ("other", AccountRole.MEMBER))
WITH_SIGN_IN: dict[str, Any] = {"oauth_client_id": "playground", "openid_provider_url": PROVIDER}


@dataclass
class Cast:
    """``guest`` has not signed in, ``owner`` and ``other`` are members, ``key`` uses a key of the owner's."""

    world: World
    guest: httpx.AsyncClient
    owner: httpx.AsyncClient
    other: httpx.AsyncClient
    admin: httpx.AsyncClient
    key: httpx.AsyncClient
    secret: str
    """The secret of that key."""

    @property
    def everybody(self) -> dict[str, httpx.AsyncClient]:
        """The clients by their role."""
        return {name: getattr(self, name) for name in ("guest", "owner", "other", "admin", "key")}


@asynccontextmanager
async def make_app(folder: Path, script: Script | None = None, **settings: Any) -> AsyncIterator[Cast]:
    """Serve with sign-in configured and without limits, unless ``settings`` say otherwise."""
    async with (
        running(folder, script, **{**WITH_SIGN_IN, **UNLIMITED, **settings}) as world,
        AsyncExitStack() as stack,
    ):
        admin, owner, other = [
            await stack.enter_async_context(signed_in(world, name, role=role)) for name, role in PEOPLE
        ]
        guest = await stack.enter_async_context(world.browser())
        body = {"name": "A key", "scopes": ["conversations", "inference"]}
        secret: str = (await owner.post("/api/account/keys", json=body)).json()["secret"]
        key = await stack.enter_async_context(with_key(world, secret))
        yield Cast(world, guest, owner, other, admin, key, secret)


def signed_in(world: World, name: str, role: AccountRole = AccountRole.MEMBER) -> httpx.AsyncClient:
    """A browser of somebody who has just signed in; the same name is the same account."""
    now, token = datetime.now(UTC), new_token()
    world.store.sign_in(
        Identity(PROVIDER, name, name, name.title(), f"{name}@example.org", name),
        token_hash=token_hash(token),
        client="Firefox on Linux",
        now=now,
        expires_at=now + timedelta(days=90),
        role=role,
    )
    return with_cookie(world, token)


def with_cookie(world: World, token: str) -> httpx.AsyncClient:
    """A browser that has this cookie."""
    client = httpx.AsyncClient(base_url=world.url, timeout=TIMEOUT)
    # As if the server had set it: one that it sets later takes its place.
    client.cookies.set(cookie_name(world), token, domain="127.0.0.1", path="/")
    return client


def cookie_name(world: World) -> str:
    """What this application calls its cookie."""
    settings = world.app.state.settings
    secure = settings.on_space or (settings.public_url or "").startswith("https://")
    return SECURE_NAME if secure else PLAIN_NAME


def with_key(world: World, secret: str) -> httpx.AsyncClient:
    """A program that has this API key."""
    return httpx.AsyncClient(
        base_url=world.url, timeout=TIMEOUT, headers={"Authorization": f"Bearer {secret}"}
    )


def rows(world: World, table: str) -> int:
    """How many rows a table has."""
    with closing(sqlite3.connect(world.app.state.settings.database_path)) as database:
        (count,) = database.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
    return int(count)

"""A20: a link is not guessed, leads nowhere once it is taken back, and shows no more than it did when made.

That later turns, other branches and withheld reasoning stay out is tested in
``tests/playground/exchange/test_sharing.py``.
"""

from __future__ import annotations

import json
import math
import secrets
import string
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from typing import Any

import httpx
import pytest
import pytest_asyncio

from storage.errors import NotFound
from storage.records import ShareRecord
from storage.shares import ShareQueries
from tests.attacks.limits import UNLIMITED
from tests.conftest import Scale
from tests.playground.world import World, ask, running, settled
from tests.tried import Tell

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALPHABET = string.ascii_letters + string.digits + "-_"
NOWHERE = "x" * 32


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running(tmp_path_factory.mktemp("links"), **UNLIMITED) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="module")
async def owner(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with world.browser() as browser:
        yield browser


async def conversation(browser: httpx.AsyncClient, text: str, **fields: Any) -> str:
    turn = await ask(browser, text, **fields)
    await settled(browser, turn["generation"]["id"])
    found: str = turn["conversation"]["id"]
    return found


async def link(browser: httpx.AsyncClient, conversation_id: str) -> tuple[str, str]:
    """Id and token of a new link."""
    body = {"conversation_id": conversation_id, "include_reasoning": False}
    share = (await browser.post("/api/shares", json=body)).json()["share"]
    return share["id"], share["path"].removeprefix("/s/")


async def test_tokens_are_192_random_bits(owner: httpx.AsyncClient, scale: Scale, tell: Tell) -> None:
    name = await conversation(owner, "Hi")
    made = []
    for _ in range(scale(100, 2000)):
        made.append(await link(owner, name))
        await owner.delete(f"/api/shares/{made[-1][0]}")  # there is room for so many and no more
    tokens = [token for _, token in made]
    assert {len(token) for token in tokens} == {32}
    assert len(set(tokens)) == len(tokens)
    assert all(set(token) <= set(ALPHABET) for token in tokens)
    assert not [1 for share_id, token in made if share_id in token or name in token]
    letters = Counter("".join(tokens))
    # Bits per character by how often each occurs; 6 at most, less by the smallness of the sample.
    total = letters.total()
    entropy = -sum(count / total * math.log2(count / total) for count in letters.values())
    assert entropy > 5.9
    for place in range(32):
        column = Counter(token[place] for token in tokens)
        assert max(column.values()) < len(tokens) / 4, "no place is fixed"
    tell(f"{len(tokens)} tokens of 192 bits: {entropy:.2f} of 6 bits at each place")


def neighbours(token: str) -> list[str]:
    """What somebody would try who has seen most of a token, or knows how it is looked up."""
    found = [token[:cut] for cut in range(1, len(token))] + [token[cut:] for cut in range(1, len(token))]
    found += [
        token.swapcase(), token.lower(), token.upper(), token[::-1], token + "a", token + "=", token + " ",
        "%", "%" * 8, "_" * 32, token[:31] + "%", token[:31] + "_", token[:31] + "*", token + "'--",
        token + "\x00", "' OR 1=1 --", "null", "None", "undefined", "0", "-1", "true", "[]", "{}", "*",
    ]  # fmt: skip
    found += [
        token[:place] + other + token[place + 1 :]
        for place in range(len(token))
        for other in ALPHABET
        if other != token[place]
    ]
    return found


def hits(world: World, guesses: Iterable[str]) -> list[str]:
    """The guesses that lead anywhere."""
    found: list[str] = []
    for guess in guesses:
        try:
            world.store.shared_snapshot(guess)
        except NotFound:
            continue
        found.append(guess)
    return found


async def test_guesses_lead_nowhere(world: World, owner: httpx.AsyncClient, scale: Scale, tell: Tell) -> None:
    name = await conversation(owner, "Hi")
    tokens = [(await link(owner, name))[1] for _ in range(20)]
    assert hits(world, tokens) == tokens
    near = [guess for guess in neighbours(tokens[0]) if guess not in tokens]
    count = scale(500, 1_000_000)
    assert hits(world, near[:: scale(8, 1)]) == []
    assert hits(world, (secrets.token_urlsafe(24) for _ in range(count))) == []
    tell(f"{len(near[:: scale(8, 1)])} neighbours of a token and {count} guesses: no hit")
    async with world.browser() as stranger:
        absent = await stranger.get(f"/api/shared/{NOWHERE}")
        for guess in near[:: scale(60, 1)]:
            if set(guess) <= set(ALPHABET):
                answer = await stranger.get(f"/api/shared/{guess}")
                assert (answer.status_code, answer.content) == (404, absent.content), guess


async def test_a_link_that_is_taken_back_is_gone_at_once(
    world: World, owner: httpx.AsyncClient, scale: Scale
) -> None:
    name = await conversation(owner, "Hi")
    async with world.browser() as reader:
        for _ in range(scale(5, 200)):
            share_id, token = await link(owner, name)
            addresses = [("GET", "/s/{}"), ("HEAD", "/s/{}"), ("GET", "/api/shared/{}")]
            addresses += [("POST", "/api/shared/{}/import")]
            for method, address in addresses:
                assert (await reader.request(method, address.format(token))).status_code in {200, 201}
            assert (await owner.delete(f"/api/shares/{share_id}")).status_code == 204
            for method, address in addresses:
                gone = await reader.request(method, address.format(token))
                never = await reader.request(method, address.format(NOWHERE))
                assert gone.status_code == 404
                assert gone.content == never.content


async def test_a_snapshot_holds_nothing_but_what_was_shown(world: World, owner: httpx.AsyncClient) -> None:
    await conversation(owner, "canary-of-another-chat")
    settings = {"instructions": "canary-instructions", "model_identity": "canary-identity", "seed": 424242}
    name = await conversation(owner, "What is 12 + 30?", settings=settings)
    await owner.patch("/api/preferences", json={"settings": {"instructions": "canary-preferences"}})
    _, token = await link(owner, name)
    await owner.patch(f"/api/conversations/{name}", json={"title": "canary-new-title"})
    await conversation(owner, "canary-later-question", conversation_id=name)
    seen = (await owner.get(f"/api/conversations/{name}")).text
    async with world.browser() as reader:
        shared = (await reader.get(f"/api/shared/{token}")).text
        page = (await reader.get(f"/s/{token}")).text
        copied = (await reader.post(f"/api/shared/{token}/import")).json()["conversation"]
        copy = (await reader.get(f"/api/conversations/{copied['id']}")).text
    for text in (shared, page, copy):
        assert "canary" not in text
        assert "424242" not in text
        assert name not in text
    identifiers = {each["id"] for each in json.loads(seen)["messages"]}
    assert not [each for each in identifiers if each in shared or each in copy]


async def test_a_lookup_that_is_not_exact_is_caught(
    world: World, owner: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted hole: tokens that are compared as some databases compare text, without their case."""
    _, token = await link(owner, await conversation(owner, "Hi"))
    genuine = ShareQueries.shared_snapshot

    def careless(self: ShareQueries, guess: str) -> tuple[ShareRecord, str]:
        return genuine(self, token if guess.lower() == token.lower() else guess)

    monkeypatch.setattr(ShareQueries, "shared_snapshot", careless)
    assert hits(world, [token[::-1], token.swapcase()])

"""The OpenAI APIs of the real application: on the scripted engine, and on the demonstration model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import openai
import pytest
import pytest_asyncio

from tests.e2e.served_app import ServedApp, app_running
from tests.playground.world import TIMEOUT, World, running

NO_KEY = "none"
"""What people write where a program insists on a key."""


def client_of(url: str, key: str = NO_KEY) -> openai.AsyncOpenAI:
    """The SDK, as its users make it, but without second tries."""
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=TIMEOUT)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A playground on the scripted engine; the tests of a module share it."""
    async with running(tmp_path_factory.mktemp("world"), requests_per_minute=0, replies_at_once=4) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="module")
async def client(world: World) -> AsyncIterator[openai.AsyncOpenAI]:
    """The SDK at the scripted engine."""
    async with client_of(world.url) as client:
        yield client


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedApp]:
    """The application as a process of its own, with the demonstration model ready."""
    with app_running(tmp_path_factory.mktemp("served")) as app:
        yield app


@pytest.fixture(scope="package")
def demo(served: ServedApp) -> Iterator[openai.OpenAI]:
    """The SDK at the demonstration model."""
    url = f"{served.url}/v1"
    with openai.OpenAI(base_url=url, api_key=NO_KEY, max_retries=0, timeout=TIMEOUT) as client:
        yield client

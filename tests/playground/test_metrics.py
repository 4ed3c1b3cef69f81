"""``/metrics``: what Prometheus reads, and who may."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from inference.metrics import MetricsBuilder
from tests.playground.figures import busy
from tests.playground.scripted import Script
from tests.playground.world import World, ask, running, settled

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(text: str) -> Samples:
    """Every sample by its name and labels, as Prometheus' own parser reads it."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def scrape(world: World, **headers: str | bytes) -> httpx.Response:
    async with world.browser() as scraper:
        given = [
            (name.replace("_", "-").encode(), value if isinstance(value, bytes) else value.encode())
            for name, value in headers.items()
        ]
        return await scraper.get("/metrics", headers=given)


async def test_a_busy_engine_is_read_by_prometheus(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        metrics = world.engine.metrics = busy()
        answer = await scrape(world)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert "set-cookie" not in answer.headers
    found = samples(answer.text)
    expected: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {
        ("playground_engine_up", ()): 1,
        ("playground_requests_waiting_limit", ()): 8,
        ("playground_cache_pages", (("state", "used"),)): 200,
        ("playground_cache_pages", (("state", "cached"),)): 300,
        ("playground_cache_pages", (("state", "free"),)): 500,
        ("playground_prompt_tokens_total", ()): 300,
        ("playground_prompt_tokens_cached_total", ()): 192,
        ("playground_generated_tokens_total", ()): 303,
        ("playground_requests_finished_total", (("reason", "stop"),)): 1,
        ("playground_requests_finished_total", (("reason", "cancelled"),)): 1,
        ("playground_preemptions_total", ()): 1,
        ("playground_engine_restarts_total", ()): 0,
        ("playground_engine_steps_total", ()): 100,
        ("playground_time_to_first_token_seconds_bucket", (("le", "0.02"),)): 0,
        ("playground_time_to_first_token_seconds_bucket", (("le", "0.05"),)): 3,
        ("playground_time_to_first_token_seconds_count", ()): 3,
        ("playground_inter_token_seconds_count", ()): 300,
        ("playground_inter_token_seconds_sum", ()): metrics.inter_token.total,
        ("playground_step_seconds_bucket", (("le", "+Inf"),)): 100,
        ("playground_memory_used_bytes", (("of", "gpu"),)): 15e9,
        ("playground_memory_total_bytes", (("of", "gpu"),)): 150e9,
    }
    assert {key: found.get(key) for key in expected} == expected
    model = next(key for key in found if key[0] == "playground_model_info")
    assert dict(model[1]) == {
        "name": "scripted",
        "revision": "r1",
        "device": "",
        "dtype": "",
        "quantization": "",
    }


async def test_the_buckets_of_a_histogram_grow_up_to_its_count(tmp_path: Path) -> None:
    builder = MetricsBuilder()
    for value in (0.001, 0.02, 0.3, 4.0, 500.0):
        builder.first_token(value)
    async with running(tmp_path) as world:
        world.engine.metrics = busy(builder)
        found = samples((await scrape(world)).text)
    buckets = [
        value for (name, _), value in found.items() if name == "playground_time_to_first_token_seconds_bucket"
    ]
    assert buckets == sorted(buckets)
    assert buckets[-1] == found["playground_time_to_first_token_seconds_count", ()] == 8


async def test_without_figures_of_the_engine_the_rest_is_there(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        world.engine.ready = False
        world.engine.alive = False
        found = samples((await scrape(world)).text)
    assert found["playground_engine_up", ()] == 0
    assert found["playground_memory_used_bytes", (("of", "process"),)] > 1_000_000
    names = {name for name, _ in found}
    assert not names & {"playground_cache_pages", "playground_step_seconds_count", "playground_model_info"}


async def test_tokens_are_counted_by_channel_over_all_replies(tmp_path: Path) -> None:
    words = [("analysis", "one two three"), ("commentary", "four five"), ("final", "six")]
    async with running(tmp_path, Script(words)) as world, world.browser() as browser:
        counts: dict[str, int] = {}
        for _ in range(2):
            turn = await ask(browser)
            for message in (await settled(browser, turn["generation"]["id"]))["messages"]:
                if message["channel"]:
                    counts[message["channel"]] = counts.get(message["channel"], 0) + message["token_count"]
        text = (await scrape(world)).text
    found = samples(text)
    assert set(counts) == {"analysis", "commentary", "final"}
    for channel, count in counts.items():
        assert found["playground_reply_tokens_total", (("channel", channel),)] == count > 0
    assert "six" not in text
    assert "What is" not in text


FORWARDED: Iterable[dict[str, str]] = (
    {"x_forwarded_for": "203.0.113.9"},
    {"x_forwarded_proto": "https"},
    {"forwarded": "for=203.0.113.9"},
    {"x_real_ip": "203.0.113.9"},
    {"via": "1.1 proxy"},
    {"host": "rebound.example.org"},
    {"host": "["},
)


@pytest.mark.parametrize("headers", FORWARDED)
async def test_what_comes_through_a_proxy_is_not_local(tmp_path: Path, headers: dict[str, str]) -> None:
    async with running(tmp_path, allowed_hosts="*") as world:
        answer = await scrape(world, **headers)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize("values", [{"behind_proxy": True}, {"public_url": "https://chat.example.org"}])
async def test_with_a_proxy_in_front_nobody_is_local(tmp_path: Path, values: dict[str, Any]) -> None:
    async with running(tmp_path, **values) as world:
        assert (await scrape(world)).status_code == 404


async def test_others_need_the_token(tmp_path: Path) -> None:
    async with running(tmp_path, behind_proxy=True, metrics_token="correct hörse") as world:
        right = await scrape(world, authorization="Bearer correct hörse".encode())
        assert right.status_code == 200
        assert "playground_engine_up" in right.text
        for wrong in ("", "Bearer", "Bearer wrong", "Basic correct hörse", "Bearer correct höRse"):
            answer = await scrape(world, authorization=wrong.encode())
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "unauthorized"
            assert answer.headers["www-authenticate"] == "Bearer"
            assert "correct" not in answer.text

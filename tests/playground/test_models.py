"""The list of models: what fits here, who may change the model, and the figures of the status panel."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest

from inference.demonstration import pack
from playground.settings import SettingsError, load_settings
from tests.playground.figures import CARD, H200, LAPTOP, busy
from tests.playground.world import World, running

SMALL, LARGE = "openai/gpt-oss-20b", "openai/gpt-oss-120b"


async def listed(world: World, **headers: str) -> dict[str, Any]:
    async with world.browser() as browser:
        answer = await browser.get("/api/models", headers=headers)
    assert answer.status_code == 200
    result: dict[str, Any] = answer.json()
    return result


async def choose(
    world: World, name: str, headers: dict[str, str] | None = None, **body: Any
) -> httpx.Response:
    async with world.browser() as browser:
        return await browser.post("/api/model", json={"name": name, **body}, headers=headers)


async def test_every_model_says_whether_it_fits(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        world.engine.machine = CARD
        models = {each["name"]: each for each in (await listed(world))["items"]}
    assert list(models) == ["demo", SMALL, LARGE]
    assert {name: each["fit"]["verdict"] for name, each in models.items()} == {
        "demo": "fits",
        SMALL: "fits",
        LARGE: "too_large",
    }
    assert models[LARGE]["fit"]["free_bytes"] == CARD.free_bytes
    assert models[LARGE]["fit"]["sentence"].startswith("Too large here: needs ")
    assert models[SMALL]["download_bytes"] == 13_761_300_984
    assert models["demo"]["demonstration"] is True


async def test_the_context_that_the_operator_set_is_what_must_fit(tmp_path: Path) -> None:
    tight = dataclasses.replace(CARD, free_bytes=16_000_000_000)
    for tokens, verdict in ((None, "tight"), (8192, "fits")):
        async with running(tmp_path, context_tokens=tokens) as world:
            world.engine.machine = tight
            [small] = [each for each in (await listed(world))["items"] if each["name"] == SMALL]
        assert small["fit"]["verdict"] == verdict


async def test_before_the_machine_is_known_nothing_is_claimed(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        items = (await listed(world))["items"]
        assert {each["fit"]["verdict"] for each in items} == {"unknown"}
        assert (await choose(world, LARGE)).status_code == 202


async def test_the_operators_own_model_is_offered_by_its_name_alone(tmp_path: Path) -> None:
    folder = tmp_path / "secret" / "tuned"
    shutil.copytree(pack.unpack(tmp_path / "packed"), folder)
    async with running(tmp_path, model=str(folder)) as world:
        world.engine.machine = LAPTOP
        models = await listed(world)
        assert "secret" not in str(models)
        own = models["items"][-1]
        assert (own["name"], own["fit"]["verdict"]) == ("tuned", "fits")
        assert own["fit"]["weights_bytes"] == 131_420_928
        assert (await choose(world, "tuned")).status_code == 202
        assert world.engine.loads == [str(folder)]


@pytest.mark.parametrize("model", ["auto", "demo", "20b", "no such model"])
async def test_a_setting_that_names_no_further_model_adds_none(tmp_path: Path, model: str) -> None:
    async with running(tmp_path, model=model) as world:
        assert [each["name"] for each in (await listed(world))["items"]] == ["demo", SMALL, LARGE]


async def test_what_is_too_large_is_loaded_only_on_a_second_word(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        world.engine.machine = CARD
        refused = await choose(world, LARGE)
        assert refused.status_code == 409
        error = refused.json()["error"]
        assert error["code"] == "does_not_fit"
        assert error["message"].startswith("Too large here: needs ")
        assert world.engine.loads == []
        taken = await choose(world, LARGE, even_if_too_large=True)
        assert (taken.status_code, taken.json()) == (202, {"name": LARGE})
        world.engine.machine = H200
        assert (await choose(world, SMALL)).status_code == 202
        assert world.engine.loads == [LARGE, SMALL]


@pytest.mark.parametrize(
    "body", [{}, {"name": 5}, {"name": ""}, {"name": "absent"}, {"name": "/etc"}, {"name": "someone/model"}]
)
async def test_only_what_is_listed_can_be_loaded(tmp_path: Path, body: dict[str, Any]) -> None:
    async with running(tmp_path, model_choice="everyone") as world, world.browser() as browser:
        answer = await browser.post("/api/model", json=body)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "name"
        assert world.engine.loads == []


async def test_a_dead_worker_takes_no_model(tmp_path: Path) -> None:
    async with running(tmp_path) as world:
        world.engine.alive = False
        assert (await choose(world, "demo")).json()["error"]["code"] == "engine_unavailable"


FAR = {"x-forwarded-for": "203.0.113.9"}


@pytest.mark.parametrize(
    ("choice", "near", "far"), [("local", 202, 403), ("everyone", 202, 202), ("nobody", 403, 403)]
)
async def test_who_may_change_the_model_is_a_setting(
    tmp_path: Path, choice: str, near: int, far: int
) -> None:
    async with running(tmp_path, model_choice=choice) as world:
        for headers, status in (({}, near), (FAR, far)):
            answer = await choose(world, "demo", headers)
            assert answer.status_code == status
            shown = await listed(world, **headers)
            assert shown["may_choose"] is (status == 202)
            assert bool(shown["why_not"]) is (status == 403)
            if status == 403:
                assert answer.json()["error"] == {
                    "code": "not_allowed",
                    "message": shown["why_not"],
                    "type": "permission_error",
                }


async def test_the_panel_gets_the_engines_figures(tmp_path: Path) -> None:
    async with running(tmp_path) as world, world.browser() as browser:
        early = (await browser.get("/api/status")).json()
        assert (early["pages"], early["prompts"], early["speed"], early["machine"]) == (None,) * 4
        assert early["memory"]["of"] == "process"
        assert 0 < early["memory"]["used"] < early["memory"]["total"]
        world.engine.metrics, world.engine.machine = busy(), H200
        status = (await browser.get("/api/status")).json()
    assert status["model"]["name"] == "scripted"
    assert status["machine"]["name"] == "NVIDIA H200"
    assert status["memory"] == {"of": "gpu", "used": 15_000_000_000, "total": 150_000_000_000}
    assert status["pages"] == {"total": 1000, "used": 200, "cached": 300, "free": 500}
    assert status["prompts"] == {"tokens": 300, "cached": 192}
    assert 0.02 < status["speed"]["first_token_seconds"] <= 0.05
    assert 333 <= status["speed"]["tokens_per_second"] <= 500
    assert (status["restarts"], status["preemptions"]) == (0, 1)


@pytest.mark.parametrize(
    ("name", "value"), [("CONTEXT_TOKENS", "0"), ("CONTEXT_TOKENS", "long"), ("MODEL_CHOICE", "friends")]
)
def test_settings_that_cannot_be_used_are_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{name}: "):
        load_settings()

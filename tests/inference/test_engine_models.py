"""Models behind the engine's border: loading another one, failing, and the demonstration model meanwhile."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import torch

from inference.engine import LocalEngine
from inference.errors import EngineUnavailable, ModelLoadError, RequestRefused
from inference.types import FinishReason, ModelStage, TokensFinished, TokensStarted
from inference.worker.network import LoadedModel
from tests.inference.checkpoints import change_config, generate, plain_checkpoint, write_checkpoint
from tests.inference.engines import PATIENCE, collect, config, failed, ready, request, run, running


@pytest.fixture(params=["thread", "process"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[LocalEngine]:
    async with running(plain_checkpoint(), max_running=4, queue_limit=30, isolation=request.param) as engine:
        yield engine


async def test_a_model_that_fails_says_why_and_another_can_be_loaded(tmp_path: Path) -> None:
    broken = write_checkpoint(tmp_path / "broken")
    change_config(broken, model_type="llama")
    engine = LocalEngine(config(broken))
    engine.start()
    assert await failed(engine) == "not_gpt_oss"
    target = engine.health().target
    assert target is not None
    assert target.name == "broken"
    assert str(tmp_path) not in target.note
    with pytest.raises(EngineUnavailable, match="No model could be loaded"):
        engine.submit(request("a"))
    await engine.load(str(plain_checkpoint()))
    await ready(engine)
    assert engine.health().target is None
    await run(engine, request("a"))
    await engine.close()


async def test_a_newer_model_takes_new_requests_while_old_ones_finish(
    engine: LocalEngine, tmp_path: Path
) -> None:
    other = write_checkpoint(tmp_path / "other", seed=5)
    old = engine.submit(request("old", max_tokens=1500))
    with pytest.raises(ModelLoadError):
        await engine.load("what ever")
    await engine.load(str(other))
    await ready(engine, "other")
    tokens, _end = await run(engine, request("new"))
    assert tokens == generate(other, (1, 2, 3), 20)
    assert tokens != generate(plain_checkpoint(), (1, 2, 3), 20)
    events = await collect(old)
    end = events[-1]
    assert isinstance(end, TokensFinished)
    assert (end.finish_reason, end.usage.completion) == (FinishReason.LENGTH, 1500)
    assert isinstance(events[0], TokensStarted)
    assert events[0].model == plain_checkpoint().name
    await run(engine, request("again"))
    with pytest.raises(EngineUnavailable):
        engine.submit(request("gone", model=plain_checkpoint().name))


def loaded_models() -> set[int]:
    """Every model in this process, by its address."""
    gc.collect()
    return {id(thing) for thing in gc.get_objects() if type(thing) is LoadedModel}


async def test_a_model_that_is_given_up_gives_its_memory_back(tmp_path: Path) -> None:
    before = loaded_models()
    async with running(plain_checkpoint()) as engine:
        await run(engine, request("a"))
        for seed in (1, 2):
            name = f"other{seed}"
            await engine.load(str(write_checkpoint(tmp_path / name, seed=seed)))
            await ready(engine, name)
            async with asyncio.timeout(PATIENCE):
                while True:
                    if len(loaded_models() - before) == 1:
                        break
                    await asyncio.sleep(0.05)


async def test_a_gpu_that_is_not_there_is_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    engine = LocalEngine(config(plain_checkpoint(), device="cuda", isolation="thread"))
    engine.start()
    assert await failed(engine) == "load_failed"
    target = engine.health().target
    assert target is not None
    assert "no CUDA GPU" in target.note
    await engine.close()


async def test_the_demonstration_model_answers_when_the_wanted_one_fails(tmp_path: Path) -> None:
    broken = write_checkpoint(tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"nothing")
    engine = LocalEngine(config(broken, fallback=True, demo_folder=plain_checkpoint()))
    engine.start()
    await ready(engine, "demo")
    health = engine.health()
    assert health.active is not None
    assert health.target is not None
    assert health.active.demonstration
    assert (health.target.stage, health.target.error_code) == (ModelStage.FAILED, "corrupt_model")
    await run(engine, request("a"))
    with pytest.raises(RequestRefused):
        engine.submit(request("b", model="broken"))
    await engine.close()


async def test_auto_means_the_demonstration_model_without_a_gpu() -> None:
    engine = LocalEngine(config("auto", demo_folder=plain_checkpoint()))
    engine.start()
    await ready(engine, "demo")
    assert engine.health().target is None
    await engine.close()

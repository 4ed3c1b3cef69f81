"""The model on this machine: the same engine, codec and stream of events as the server has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

from inference.errors import InferenceError
from inference.types import (
    GenerationRequest,
    ModelStage,
    ModelStatus,
    SamplingParams,
    ToolChoice,
)
from playground.cli.backend import BackendError, Prepared, Question, Tell
from playground.settings import Settings

if TYPE_CHECKING:
    from inference.engine import Engine
    from inference.harmony import HarmonyCodec
    from playground.generation import GenerationEvent

LOOK_SECONDS = 0.1
STAGES = {
    ModelStage.NONE: "Starting the engine",
    ModelStage.QUEUED: "Starting the engine",
    ModelStage.LOADING: "Loading",
    ModelStage.WARMING: "Warming up",
}


class LocalBackend:
    """Answers with an engine that is ready; it is closed with it."""

    def __init__(self, engine: Engine, codec: HarmonyCodec, default_max_tokens: int, tell: Tell) -> None:
        from playground.recorder import ChannelTokens

        self._engine = engine
        self._codec = codec
        self._default_max_tokens = default_max_tokens
        self._tell = tell
        self._tokens = ChannelTokens()

    @property
    def model(self) -> ModelStatus:
        """See ``Backend.model``."""
        active = self._engine.health().active
        return active or ModelStatus("", ModelStage.NONE)

    async def prepare(self, question: Question) -> Prepared:
        """See ``Backend.prepare``. A long prompt takes a while, so it is written on a thread."""
        return await asyncio.to_thread(self._prepare, question)

    async def reply(self, prepared: Prepared) -> AsyncGenerator[GenerationEvent]:
        """See ``Backend.reply``."""
        from playground.generation import generate
        from storage.records import new_id

        prompt = prepared.question.prompt
        request = GenerationRequest(
            new_id(),
            prepared.prompt_ids,
            prepared.sampling,
            user_key="terminal",
            constraint=self._codec.constraint(prompt, ToolChoice()),
        )
        parser = self._codec.parser([tool.name for tool in prompt.tools], prompt.python)
        async with aclosing(generate(self._engine, parser, request, self._tokens)) as events:
            async for event in events:
                yield event

    async def models(self) -> list[str]:
        """See ``Backend.models``."""
        from inference.catalog import DEMO, KNOWN

        return [DEMO, *KNOWN]

    async def change(self, name: str) -> None:
        """See ``Backend.change``."""
        from inference.catalog import resolve

        try:
            wanted = resolve(name).name
            if wanted == self.model.name:
                return
            await self._engine.load(name)
        except InferenceError as error:
            raise BackendError(str(error)) from None
        await until_ready(self._engine, self._tell, auto=False, wanted=wanted)

    async def close(self) -> None:
        """See ``Backend.close``."""
        await self._engine.close()

    def _prepare(self, question: Question) -> Prepared:
        ids = tuple(self._codec.render(question.prompt))
        context = self.model.context_length
        wanted = question.max_tokens or self._default_max_tokens
        room = wanted if context is None else max(1, context - len(ids))
        sampling = SamplingParams(
            temperature=question.temperature,
            top_p=question.top_p,
            max_tokens=min(wanted, room),
            seed=question.seed,
            stop_token_ids=self._codec.STOP_TOKEN_IDS,
        )
        self._engine.check(len(ids), sampling)
        return Prepared(question, sampling, ids)


async def start(settings: Settings, tell: Tell) -> LocalBackend:
    """Load the model of the settings; ``tell`` is given what is happening.

    Raises:
        BackendError: it cannot be loaded.
    """
    from inference.catalog import AUTO, resolve
    from inference.harmony import HarmonyCodec

    auto = settings.model.strip().lower() == AUTO
    try:
        if not auto:
            resolve(settings.model)
        codec = await asyncio.to_thread(HarmonyCodec.load)
    except InferenceError as error:
        raise BackendError(str(error)) from None
    engine = make_engine(settings, fallback=auto)
    try:
        await until_ready(engine, tell, auto=auto)
    except BaseException:
        await engine.close()
        raise
    return LocalBackend(engine, codec, settings.max_tokens_default, tell)


def make_engine(settings: Settings, *, fallback: bool) -> Engine:
    """A started engine, as the server has it. ``fallback``: the demonstration model may stand in."""
    from inference.engine import LocalEngine
    from playground.engines import engine_config

    engine = LocalEngine(engine_config(settings, fallback=fallback))
    engine.start()
    return engine


async def until_ready(engine: Engine, tell: Tell, *, auto: bool, wanted: str | None = None) -> None:
    """Wait until the wanted model answers. With ``auto`` the demonstration model will do if it fails.

    ``wanted`` is the model's name, where the engine may still speak of the one before.

    Raises:
        BackendError: the model failed, or the engine did.
    """
    while True:
        health = engine.health()
        target, active = health.target, health.active
        if not health.alive:
            raise BackendError("The engine has stopped. Its log says why.")
        if target is None or target.stage is ModelStage.READY:
            # What has become the active one is not awaited any more.
            if active is not None and wanted in (None, active.name):
                return
        elif target.stage is ModelStage.FAILED and wanted in (None, target.name):
            if not auto:
                raise BackendError(target.note or "The model could not be loaded.")
            if active is not None:
                tell(f"{target.note} The demonstration model answers.")
                return
        else:
            tell(_progress(target))
        await asyncio.sleep(LOOK_SECONDS)


def _progress(status: ModelStatus) -> str:
    """Where a model stands, for people."""
    from inference.catalog import gigabytes

    if status.stage is ModelStage.DOWNLOADING and status.bytes_total:
        left = "" if status.eta_seconds is None else f", {status.eta_seconds:.0f} s left"
        done = gigabytes(status.bytes_done or 0)
        return f"Downloading {status.name}: {done} of {gigabytes(status.bytes_total)}{left}"
    if status.stage is ModelStage.DOWNLOADING:
        return f"Downloading {status.name}"
    if status.stage is ModelStage.QUEUED:
        return status.note or STAGES[status.stage]
    return f"{STAGES.get(status.stage, 'Loading')} {status.name}"

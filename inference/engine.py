"""The engine's border: ids in, ids out. This side runs in the web's event loop and never imports torch."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from inference.errors import EngineUnavailable, InvalidRequest, PromptTooLong
from inference.streams import OpenRequests
from inference.supervisor import Supervisor
from inference.types import (
    EngineHealth,
    GenerationRequest,
    ModelStage,
    ModelStatus,
    SamplingParams,
    TokenEvent,
)
from inference.worker.messages import Cancel, EngineConfig, Limits

__all__ = ["Engine", "EngineConfig", "LocalEngine"]

MAX_SEED = 2**63 - 1
MAX_LOGPROBS = 20  # of the likeliest ids, as in OpenAI's APIs


class Engine(Protocol):
    """Anything that continues token ids: a worker of this process, another process, a remote server."""

    def submit(self, request: GenerationRequest) -> AsyncIterator[TokenEvent]:
        """Accept a request; its events end with exactly one ``TokensFinished``.

        Raises:
            RequestRefused: at once, and then nothing was started.
        """
        ...

    def check(self, prompt_tokens: int, sampling: SamplingParams) -> None:
        """Raise what ``submit`` would for a prompt of this length; the queue is not looked at."""
        ...

    async def cancel(self, request_id: str) -> bool:
        """End a request early; it still gets its last event. False when there is no such request."""
        ...

    async def load(self, model: str) -> None:
        """Begin to load another model (``none``: give up the one in use); ``health`` shows how far it is.

        Raises:
            ModelLoadError: the name means nothing.
        """
        ...

    def health(self) -> EngineHealth:
        """What the engine is doing now."""
        ...

    async def close(self) -> None:
        """End every request as cancelled and stop."""
        ...


class LocalEngine:
    """An engine whose worker runs on this machine, in a thread or a process. ``start`` it before use."""

    def __init__(self, config: EngineConfig) -> None:
        target = ModelStatus(name=_shown(config.model), stage=ModelStage.QUEUED)
        self._requests = OpenRequests(config.queue_limit, target)
        self._supervisor = Supervisor(config, self._requests)

    def start(self) -> None:
        """Start the worker; it imports torch and loads the configured model."""
        self._supervisor.start()

    def submit(self, request: GenerationRequest) -> AsyncIterator[TokenEvent]:
        """See ``Engine.submit``."""
        active = self._active(request.model)
        limits = self._limits(active)
        _check_ids(request, limits)
        _check_lengths(len(request.prompt_ids), request.sampling, limits)
        _check_sampling(request.sampling, limits)
        return self._requests.open(request, active)

    def check(self, prompt_tokens: int, sampling: SamplingParams) -> None:
        """See ``Engine.check``."""
        limits = self._limits(self._active(None))
        _check_lengths(prompt_tokens, sampling, limits)
        _check_sampling(sampling, limits)

    async def cancel(self, request_id: str) -> bool:
        """See ``Engine.cancel``."""
        known = self._requests.has(request_id)
        if known:
            self._requests.send(Cancel(request_id))
        return known

    async def load(self, model: str) -> None:
        """See ``Engine.load``."""
        self._supervisor.load(model)

    def health(self) -> EngineHealth:
        """See ``Engine.health``. While a worker is being restarted, the note of ``target`` says so."""
        return self._requests.health()

    async def close(self) -> None:
        """See ``Engine.close``. The wait has an end: a thread that is just loading a model may outlive it."""
        await asyncio.to_thread(self._supervisor.close)

    def _active(self, model: str | None) -> str:
        """The name of the model that would answer."""
        health, trouble = self._requests.health(), self._requests.trouble
        if not health.alive:
            raise EngineUnavailable(trouble.sentence if trouble is not None else "The app is being closed.")
        if health.active is not None:
            return health.active.name if model is None else model
        if closed := self._requests.closed:
            raise EngineUnavailable(closed)
        if health.target is not None and health.target.stage is ModelStage.FAILED:
            raise EngineUnavailable("No model could be loaded, so there is nothing to answer.")
        if trouble is not None:
            raise EngineUnavailable(trouble.sentence)
        raise EngineUnavailable("The model is still being loaded. Try again in a moment.")

    def _limits(self, model: str) -> Limits:
        limits = self._requests.limits(model)
        if limits is None:
            raise EngineUnavailable("This model is not loaded.")
        return limits


def _shown(name: str) -> str:
    """A name for people: of a folder its last part only."""
    return Path(name).name if name.startswith(("/", ".", "~")) else name


def _check_ids(request: GenerationRequest, limits: Limits) -> None:
    ids = request.prompt_ids
    if not request.request_id:
        raise InvalidRequest("A request needs an id.")
    if not ids:
        raise InvalidRequest("The prompt is empty.")
    # type() and not isinstance(): True is an int, too, and no token.
    if any(type(token) is not int for token in ids) or min(ids) < 0 or max(ids) >= limits.vocab_size:
        raise InvalidRequest("The prompt holds ids that are not in the model's vocabulary.")


def _check_lengths(prompt_tokens: int, sampling: SamplingParams, limits: Limits) -> None:
    if type(sampling.max_tokens) is not int or sampling.max_tokens < 1:
        raise InvalidRequest("max_tokens must be a whole number of at least 1.")
    if prompt_tokens >= limits.context_length:
        raise PromptTooLong.of(prompt_tokens, limits.context_length)
    if prompt_tokens + sampling.max_tokens > limits.context_length:
        raise PromptTooLong(
            f"The conversation has {prompt_tokens} tokens, and with a reply of up to {sampling.max_tokens} "
            f"it does not fit into the model's {limits.context_length}."
        )


def _check_sampling(sampling: SamplingParams, limits: Limits) -> None:
    if not _is_number(sampling.temperature) or not 0 <= sampling.temperature <= 2:
        raise InvalidRequest("The temperature must be a number from 0 to 2.")
    if not _is_number(sampling.top_p) or not 0 < sampling.top_p <= 1:
        raise InvalidRequest("top_p must be a number above 0 and at most 1.")
    seed = sampling.seed
    if seed is not None and (type(seed) is not int or not 0 <= seed <= MAX_SEED):
        raise InvalidRequest("The seed must be a whole number from 0 to 9223372036854775807.")
    if any(type(token) is not int or not 0 <= token < limits.vocab_size for token in sampling.stop_token_ids):
        raise InvalidRequest("A stop id is not in the model's vocabulary.")
    wanted = sampling.logprobs
    if wanted is not None and (type(wanted) is not int or not 0 <= wanted <= MAX_LOGPROBS):
        raise InvalidRequest(f"logprobs must be a whole number from 0 to {MAX_LOGPROBS}.")


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and isinstance(value, int | float) and math.isfinite(value)

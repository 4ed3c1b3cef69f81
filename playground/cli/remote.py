"""A running server, asked by OpenAI's Chat Completions: the playground's own, or any other."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any
from urllib.parse import urlsplit

import httpx2

from inference.types import FinishReason, ModelStage, ModelStatus, SamplingParams
from playground.cli.backend import BackendError, Prepared, Question
from playground.cli.remote_chunks import ChunkReader
from playground.cli.remote_messages import CallIds, body_of
from playground.generation import GenerationEvent, Outcome
from playground.settings_accounts import is_loopback_name
from storage.records import GenerationStatus

CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 600.0
"""A large model on a slow machine may read a long prompt for minutes before its first token."""
MOST_ERROR_CHARS = 500


class RemoteBackend:
    """Asks one server for one model. Make it by ``connect``."""

    def __init__(self, client: httpx2.AsyncClient, model: str) -> None:
        self._client = client
        self._model = model
        self._ids = CallIds()

    @property
    def model(self) -> ModelStatus:
        """See ``Backend.model``."""
        return ModelStatus(self._model, ModelStage.READY)

    async def prepare(self, question: Question) -> Prepared:
        """See ``Backend.prepare``; the server checks for itself."""
        sampling = SamplingParams(
            question.temperature, question.top_p, question.max_tokens or 1, question.seed
        )
        return Prepared(question, sampling)

    async def reply(self, prepared: Prepared) -> AsyncGenerator[GenerationEvent]:
        """See ``Backend.reply``."""
        body = body_of(self._model, prepared.question, self._ids)
        reader = ChunkReader(self._ids, prepared.sampling.seed)
        try:
            async with self._client.stream("POST", "chat/completions", json=body) as answer:
                if answer.status_code != httpx2.codes.OK:
                    await answer.aread()
                    yield _failed(_sentence_of(answer))
                    return
                async with aclosing(_chunks(answer)) as chunks:
                    async for chunk in chunks:
                        for event in reader.take(chunk):
                            yield event
        except (httpx2.HTTPError, ValueError) as error:
            for event in reader.close():
                yield event
            yield _failed(_why(error, self._client))
            return
        for event in reader.end():
            yield event

    async def models(self) -> list[str]:
        """See ``Backend.models``."""
        return await _models(self._client)

    async def change(self, name: str) -> None:
        """See ``Backend.change``. Only the name: the server says at the next question whether it has it."""
        self._model = name

    async def close(self) -> None:
        """See ``Backend.close``."""
        await self._client.aclose()


async def connect(url: str, api_key: str | None, model: str | None) -> RemoteBackend:
    """Reach the server; without a ``model`` the first one that it names.

    Raises:
        BackendError: nothing answers there, or it names no model.
    """
    base = base_of(url)
    client = httpx2.AsyncClient(
        base_url=base + "/",
        headers={} if api_key is None else {"Authorization": f"Bearer {api_key}"},
        timeout=httpx2.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS),
        # A proxy of the environment is for the world outside.
        trust_env=not is_loopback_name(urlsplit(base).hostname or ""),
    )
    try:
        if model is None:
            names = await _models(client)
            if not names:
                raise BackendError(f"{base} names no model. Give one with --model.")
            model = names[0]
    except BaseException:
        await client.aclose()
        raise
    return RemoteBackend(client, model)


def base_of(url: str) -> str:
    """Where the API begins: ``/v1`` is added to an address that does not end with a version.

    Raises:
        BackendError: this is no address.
    """
    text = url.strip()
    text = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(text)
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise BackendError(f"{url} is no address of a server. Give one such as http://localhost:7860.")
    text = text.rstrip("/")
    last = text.rpartition("/")[2]
    return text if last[:1] == "v" and last[1:2].isdigit() else f"{text}/v1"


async def _models(client: httpx2.AsyncClient) -> list[str]:
    """The names of ``GET /models``. Raises BackendError."""
    try:
        answer = await client.get("models")
        if answer.status_code != httpx2.codes.OK:
            raise BackendError(_sentence_of(answer))
        return [str(each["id"]) for each in answer.json()["data"]]
    except (httpx2.HTTPError, ValueError, TypeError, KeyError) as error:
        raise BackendError(_why(error, client)) from None


async def _chunks(answer: httpx2.Response) -> AsyncGenerator[dict[str, Any]]:
    """The JSON of every event. Raises ValueError where one is none."""
    async for data in _events(answer):
        if data == "[DONE]":
            return
        chunk = json.loads(data)
        if not isinstance(chunk, dict):
            raise ValueError("a chunk that is no object")
        yield chunk


async def _events(answer: httpx2.Response) -> AsyncIterator[str]:
    """The data of server-sent events, whose lines may be several."""
    lines: list[str] = []
    async for line in answer.aiter_lines():
        if line.startswith("data:"):
            lines.append(line[5:].removeprefix(" "))
        elif not line and lines:
            yield "\n".join(lines)
            lines = []
    if lines:
        yield "\n".join(lines)


def _sentence_of(answer: httpx2.Response) -> str:
    """What a refusal says, for people."""
    try:
        error = answer.json()["error"]
        said = error["message"] if isinstance(error, dict) else error
    except (ValueError, KeyError, TypeError):
        said = ""
    if answer.status_code == httpx2.codes.UNAUTHORIZED:
        hint = "Give a key with --api-key, or in OPENAI_API_KEY."
        return f"{said or 'The server wants a key.'} {hint}"
    if answer.status_code == httpx2.codes.NOT_FOUND and not said:
        return f"{answer.url} is not there: the server has no OpenAI-compatible API at this address."
    return str(said)[:MOST_ERROR_CHARS] or f"The server refused with status {answer.status_code}."


def _why(error: Exception, client: httpx2.AsyncClient) -> str:
    base = str(client.base_url).rstrip("/")
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        return f"Nothing answers at {base}. Is the server running, and is this its address?"
    if isinstance(error, httpx2.TimeoutException):
        return f"{base} did not answer in time."
    if isinstance(error, httpx2.HTTPError):
        return f"The connection to {base} broke. What had come is kept."
    return f"{base} sent what is not OpenAI's Chat Completions."


def _failed(sentence: str) -> Outcome:
    return Outcome(GenerationStatus.FAILED, FinishReason.ERROR, error=sentence, error_code="server_error")

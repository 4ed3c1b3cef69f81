"""Choose who answers, and put together what a reply says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

from inference.errors import InferenceError
from inference.types import Channel, FinishReason, Message, MessageFinished, Usage
from playground.cli.backend import Backend, Question, Tell
from playground.settings import Settings


@dataclass(frozen=True, slots=True)
class Target:
    """Where to ask: at ``url``, else the model of the settings on this machine."""

    model: str | None = None
    url: str | None = None
    api_key: str | None = None


@asynccontextmanager
async def answering(target: Target, settings: Settings, tell: Tell) -> AsyncIterator[Backend]:
    """Somebody who answers, until the block ends. ``settings`` hold the model's name, too.

    Raises:
        BackendError: nobody does.
    """
    backend: Backend
    if target.url is not None:
        from playground.cli import remote

        tell("Reaching the server")
        backend = await remote.connect(target.url, _key(target), target.model)
    else:
        from playground.cli import local

        backend = await local.start(settings, tell)
    try:
        yield backend
    finally:
        await backend.close()


def _key(target: Target) -> str | None:
    from playground.settings_client import ClientSettings

    if target.api_key is not None:
        return target.api_key
    key = ClientSettings().openai_api_key
    return None if key is None else key.get_secret_value()


@dataclass(slots=True)
class Collected:
    """A whole reply. ``error`` says why there is none, or why it is not whole."""

    messages: list[Message] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    usage: Usage = field(default_factory=Usage)
    error: str | None = None

    def text(self, channel: Channel) -> str:
        """What was written on one channel; several messages are parted by an empty line."""
        return joined(self.messages, channel)


async def collect(backend: Backend, question: Question) -> Collected:
    """Ask and wait for the end. Never raises for what the model, the engine or the server do."""
    from playground.generation import Outcome, Portion

    whole = Collected()
    try:
        prepared = await backend.prepare(question)
    except InferenceError as error:
        whole.error = str(error)
        return whole
    async with aclosing(backend.reply(prepared)) as events:
        async for event in events:
            if isinstance(event, Portion):
                whole.messages += [each.message for each in event.events if isinstance(each, MessageFinished)]
            elif isinstance(event, Outcome):
                whole.finish_reason, whole.usage, whole.error = event.finish_reason, event.usage, event.error
    return whole


def joined(messages: Iterable[Message], channel: Channel) -> str:
    """The texts of one channel, in order."""
    return "\n\n".join(each.content for each in messages if each.channel is channel)


async def names_at(target: Target) -> list[str]:
    """The models that a server names. Raises BackendError."""
    from playground.cli import remote

    backend = await remote.connect(target.url or "", _key(target), target.model or "")
    try:
        return await backend.models()
    finally:
        await backend.close()

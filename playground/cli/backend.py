"""Who answers the command line: a model on this machine, or a server by its address.

Both give the same stream of events as the page's turns and the OpenAI APIs get.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from inference.types import ModelStatus, Prompt, SamplingParams

if TYPE_CHECKING:
    from playground.generation import GenerationEvent

Tell = Callable[[str], None]


class BackendError(Exception):
    """Nobody can answer; ``str(error)`` is a sentence for the person at the terminal."""


@dataclass(frozen=True, slots=True)
class Question:
    """One prompt and how to continue it. ``max_tokens`` of ``None`` is as many as there is room for."""

    prompt: Prompt
    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A question as it will be asked. ``prompt_ids`` is empty where a server renders the prompt itself."""

    question: Question
    sampling: SamplingParams
    prompt_ids: tuple[int, ...] = ()


class Backend(Protocol):
    """Continues prompts. Belongs to one event loop."""

    @property
    def model(self) -> ModelStatus:
        """What answers; a server's model is known by its name alone."""
        ...

    async def prepare(self, question: Question) -> Prepared:
        """Check a question and write its prompt.

        Raises:
            InferenceError: the prompt cannot be written, or has no room in the model's context.
        """
        ...

    def reply(self, prepared: Prepared) -> AsyncGenerator[GenerationEvent]:
        """The reply as it comes; the last event is the ``Outcome``. A reader that leaves ends the reply."""
        ...

    async def models(self) -> list[str]:
        """The names that ``change`` takes. Raises BackendError."""
        ...

    async def change(self, name: str) -> None:
        """Let another model answer from now on. Raises BackendError; the one before may be gone then."""
        ...

    async def close(self) -> None:
        """End every reply and give up what is held."""
        ...

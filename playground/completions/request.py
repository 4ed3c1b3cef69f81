"""What a client of the OpenAI APIs asks for, whatever it came in as."""

from __future__ import annotations

from dataclasses import dataclass

from inference.types import Prompt, ToolChoice

AUTO = ToolChoice("auto")


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """One prompt and how to continue it.

    ``max_tokens`` of ``None`` is the server's own limit; the reply never gets more than the context holds.
    ``logprobs`` as in ``SamplingParams``. ``stop`` are strings that end the answer. ``count`` replies are
    made, each with a seed of its own: the given one and those after it. ``model`` of ``None`` is the active
    one. ``one_call``: a reply ends with its first call of a function.
    """

    prompt: Prompt
    model: str | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int | None = None
    seed: int | None = None
    logprobs: int | None = None
    stop: tuple[str, ...] = ()
    tool_choice: ToolChoice = AUTO
    count: int = 1
    one_call: bool = False

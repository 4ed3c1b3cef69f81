"""The vocabulary that every part of the playground shares: pure values, standard library only.

Two borders are described here. The *engine's border* carries token ids: a
``GenerationRequest`` goes in, ``TokenEvent`` values come out. The *turn's border*
carries text: harmony turns the token ids into ``StreamEvent`` values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from inference.figures import EngineMetrics, Histogram, MachineInfo

__all__ = ["EngineMetrics", "Histogram", "MachineInfo"]  # what is defined elsewhere


class Role(StrEnum):
    """Who wrote a message (harmony's roles, highest authority first)."""

    SYSTEM = "system"
    DEVELOPER = "developer"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class Channel(StrEnum):
    """Where an assistant message is meant to be read.

    ``analysis`` is the reasoning, ``commentary`` carries tool calls and preambles
    (a preamble has no recipient and is meant for the user), ``final`` is the answer.
    """

    ANALYSIS = "analysis"
    COMMENTARY = "commentary"
    FINAL = "final"


class ReasoningEffort(StrEnum):
    """How long the model is asked to reason before it answers."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class FinishReason(StrEnum):
    """Why a generation ended."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALL = "tool_call"
    CANCELLED = "cancelled"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Message:
    """One harmony message.

    ``recipient`` names the tool that an assistant message calls (``python``,
    ``functions.NAME``) or ``assistant`` on a tool's result. ``name`` is the author's name
    of a tool message (``functions.NAME``). ``content_type`` is ``None`` or ``"json"``.
    ``recovered`` marks a message that the model wrote malformed and the parser mended. ``written`` are the
    ids of the whole message as the model wrote it, ``<|start|>assistant`` and its end included, if they are
    known: a prompt then repeats them instead of writing the message anew.
    """

    role: Role
    content: str
    channel: Channel | None = None
    recipient: str | None = None
    name: str | None = None
    content_type: str | None = None
    recovered: bool = False
    written: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A function that the model may call; ``parameters`` is a JSON schema or ``None`` for no arguments.

    ``strict``: the arguments of every call match the schema.
    """

    name: str
    description: str
    parameters: Mapping[str, Any] | None = None
    strict: bool = False


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Which functions a reply calls: as it likes (``auto``), none, or at least one (``required``).

    With a ``name`` it is that one.
    """

    mode: Literal["auto", "none", "required"] = "auto"
    name: str | None = None


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    """The answer is JSON that matches ``schema``; ``None`` is any JSON object."""

    name: str
    description: str = ""
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """All that harmony needs to render one prompt, as it stands in the database.

    ``messages`` are user, assistant and tool messages, oldest first. ``instructions`` become
    harmony's developer message. ``current_date`` is ISO 8601 (``YYYY-MM-DD``).
    ``python`` declares the built-in python tool. ``response_format`` stands in the developer message, too.
    """

    messages: Sequence[Message]
    effort: ReasoningEffort = ReasoningEffort.MEDIUM
    instructions: str | None = None
    tools: Sequence[ToolSpec] = ()
    python: bool = False
    current_date: str | None = None
    model_identity: str | None = None
    response_format: ResponseFormat | None = None


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """The ids of a prompt, and what of the conversation is not in them.

    ``dropped_turns`` counts whole turns, the oldest ones; ``dropped_reasoning`` the messages of reasoning
    that the other turns lack.
    """

    ids: tuple[int, ...]
    dropped_reasoning: int = 0
    dropped_turns: int = 0


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How the next token is chosen.

    ``temperature`` 0 is greedy. ``top_p`` in (0, 1]. ``seed`` fixes the random numbers of this
    request alone. ``max_tokens`` counts every generated token, the stop token included. ``logprobs`` asks for
    log-probabilities: of the chosen tokens (0), or also of so many of the likeliest.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 4096
    seed: int | None = None
    stop_token_ids: tuple[int, ...] = ()
    logprobs: int | None = None


@dataclass(frozen=True, slots=True)
class MessageRule:
    """One kind of message that a constrained reply may hold.

    ``header`` are the ids from behind ``<|start|>assistant`` up to ``<|message|>``, that one included.
    ``grammar`` is an llguidance grammar, as its JSON text, which the content matches; ``None`` leaves the
    content free. ``end`` is the one id that may end the content; ``None``, which goes with no grammar, leaves
    that free, too. ``once``: only the first message of a reply may be of this kind.
    """

    header: tuple[int, ...]
    grammar: str | None = None
    end: int | None = None
    once: bool = False


@dataclass(frozen=True, slots=True)
class Constraint:
    """What a reply may look like: every message follows one of the rules.

    ``begun``: so many ids at the end of the prompt are the reply's beginning. One that follows no rule, made
    when there were others, is gone on with freely.
    """

    rules: tuple[MessageRule, ...]
    begun: int = 0


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """What goes into the engine: token ids and how to continue them.

    ``user_key`` is an opaque key for fairness between users. ``model`` is the name of a loaded
    model, or ``None`` for the active one.
    """

    request_id: str
    prompt_ids: tuple[int, ...]
    sampling: SamplingParams
    user_key: str = ""
    model: str | None = None
    constraint: Constraint | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one generation.

    ``reasoning``, ``commentary`` and ``final`` are the content tokens on harmony's channels (``analysis`` is
    the reasoning); the engine does not fill them in.

    ``completion`` counts every generated token, the stop token and the headers included.
    """

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    reasoning: int = 0
    commentary: int = 0
    final: int = 0


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds, measured in the worker by a monotonic clock.

    ``ttft`` runs from submission to the first token, ``queued`` is the part of it that was spent
    waiting, ``total`` runs from submission to the end. ``tokens_per_second`` is the decode speed
    after the first token (0 when fewer than two tokens were made).
    """

    queued: float = 0.0
    ttft: float = 0.0
    total: float = 0.0
    tokens_per_second: float = 0.0


# --- the engine's border: token events ------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TokensStarted:
    """The request left the queue and its prefill begins. ``model`` and ``revision`` are what answers.

    ``seed`` is the seed in use: the request's own, or the one that was drawn for it.
    """

    request_id: str
    model: str
    revision: str
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """Natural log-probability of one token, and ``(id, logprob)`` of the likeliest ones, likeliest first.

    They are of the model's own distribution, before temperature and top-p.
    """

    token_id: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class TokensGenerated:
    """One or more new token ids, in order. A stop token is included as the last id.

    ``logprobs`` has an entry for each id when the request asks for them, else none.
    """

    request_id: str
    token_ids: tuple[int, ...]
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class TokensFinished:
    """The last event of every accepted request, cancelled and failed ones included.

    ``finish_reason`` is stop, length, cancelled or error. ``error`` is a sentence for the user and
    ``error_code`` a stable word, both set only when ``finish_reason`` is error.
    """

    request_id: str
    finish_reason: FinishReason
    usage: Usage
    timings: Timings
    error: str | None = None
    error_code: str | None = None


TokenEvent = TokensStarted | TokensGenerated | TokensFinished


# --- the turn's border: text events ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MessageStarted:
    """Message number ``index`` (from 0) of this generation begins; its header is known."""

    index: int
    channel: Channel | None
    recipient: str | None = None
    content_type: str | None = None


@dataclass(frozen=True, slots=True)
class TextDelta:
    """Text to append to message ``index``."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class MessageFinished:
    """Message ``index`` is complete; ``message`` holds the whole of it and replaces the deltas.

    ``token_count`` is the number of content tokens. ``complete`` is False when the generation ended
    inside the message (length, cancel, error).
    """

    index: int
    message: Message
    token_count: int
    complete: bool = True


StreamEvent = MessageStarted | TextDelta | MessageFinished


# --- models -----------------------------------------------------------------------------------


class ModelStage(StrEnum):
    """Where a model stands on its way to answering."""

    NONE = "none"
    QUEUED = "queued"
    DOWNLOADING = "downloading"
    LOADING = "loading"
    WARMING = "warming"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One model's progress. Bytes and seconds are known only while downloading (else ``None``).

    ``note`` is one plain sentence for the user (why it failed, or that it runs dequantised).
    ``parameters`` counts weights, ``context_length`` is in tokens, ``device`` is ``cpu`` or ``cuda``.
    """

    name: str
    stage: ModelStage
    revision: str = ""
    detail: str = ""
    bytes_done: int | None = None
    bytes_total: int | None = None
    eta_seconds: float | None = None
    note: str = ""
    error_code: str | None = None
    device: str = ""
    dtype: str = ""
    quantization: str = ""
    parameters: int | None = None
    context_length: int | None = None
    demonstration: bool = False


@dataclass(frozen=True, slots=True)
class EngineHealth:
    """What the engine is doing now. ``active`` answers new requests; ``target`` is what was asked for.

    While a large model is on its way, ``active`` is the demonstration model and ``target`` the large one.
    ``alive`` is False once the worker died and cannot answer any more. ``metrics`` and ``machine`` are
    ``None`` while the worker has not measured them.
    """

    alive: bool
    active: ModelStatus | None
    target: ModelStatus | None
    running: int = 0
    waiting: int = 0
    queue_limit: int = 0
    metrics: EngineMetrics | None = None
    machine: MachineInfo | None = None

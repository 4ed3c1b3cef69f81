"""What a turn needs before it can begin: its place in the tree, the prompt, the sampling, all of it checked.

Everything here is read from the database, never from what a browser says that the conversation was.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field

from inference.engine import Engine
from inference.errors import EngineUnavailable
from inference.harmony import HarmonyCodec
from inference.types import (
    Message,
    ModelStatus,
    Prompt,
    ReasoningEffort,
    RenderedPrompt,
    Role,
    SamplingParams,
)
from playground.chat_settings import Effective, effective
from playground.continuation import take_up
from playground.errors import PlaygroundError
from playground.text import check_message, title_from
from storage.records import (
    ChatSettings,
    ConversationRecord,
    MessageRecord,
    Preferences,
    ReplyMode,
    TurnRecord,
    WhenFull,
)
from storage.store import Store

PART_FOR_THE_REPLY = 4
"""Old turns are left out until this part of the context is free, or as much as the reply may take."""


@dataclass(frozen=True, slots=True)
class TurnLimits:
    """Bounds of a turn: characters of a message, and tokens of a reply that names no limit of its own."""

    message_chars: int
    max_tokens: int


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """What a person asks for. No conversation: a new one. No parent: continue at the current leaf.

    Exactly one of: ``text`` (with ``edit_of``: another version of that question), ``regenerate`` (a question)
    and ``continue_of`` (a reply; no ``mode`` is to continue). ``settings`` overrule all others in this turn;
    ``conversation_settings`` are given to a new conversation. ``wait``: take the turn once the conversation
    has answered.
    """

    text: str | None = None
    conversation_id: str | None = None
    parent_id: str | None = None
    edit_of: str | None = None
    regenerate: str | None = None
    continue_of: str | None = None
    mode: ReplyMode | None = None
    temporary: bool = False
    wait: bool = False
    settings: ChatSettings = field(default_factory=ChatSettings)
    conversation_settings: ChatSettings | None = None
    client_id: str | None = None

    @property
    def how(self) -> ReplyMode | None:
        """How a reply is continued, where one is."""
        return None if self.continue_of is None else self.mode or ReplyMode.CONTINUE


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the tree a turn stands, and what the model reads there.

    ``leaf_id`` is set where the messages are those of the shown branch: it must not move meanwhile.
    """

    settings: ChatSettings
    messages: Sequence[Message] = ()
    leaf_id: str | None = None


@dataclass(frozen=True, slots=True)
class PreparedTurn:
    """A turn that the engine would take now; ``prompt.ids`` and ``primed_ids`` are what it is given."""

    request: TurnRequest
    leaf_id: str | None
    effort: ReasoningEffort
    sampling: SamplingParams
    model: ModelStatus
    prompt: RenderedPrompt
    primed_ids: tuple[int, ...] = ()
    reasoning_seconds: float = 0.0

    def begin(self, store: Store, owner_id: str) -> TurnRecord:
        """Commit it; see ``Store.begin_turn``. Blocks."""
        request = self.request
        text = request.text or ""
        return store.begin_turn(
            owner_id,
            conversation_id=request.conversation_id,
            parent_id=request.parent_id,
            expected_leaf_id=self.leaf_id,
            text=text,
            title=title_from(text),
            effort=self.effort,
            sampling=self.sampling,
            model=self.model.name,
            prompt_ids=self.prompt.ids,
            client_id=request.client_id,
            edit_of=request.edit_of,
            regenerate=request.regenerate,
            continues_id=request.continue_of,
            primed_ids=self.primed_ids,
            mode=request.how,
            dropped_reasoning=self.prompt.dropped_reasoning,
            dropped_turns=self.prompt.dropped_turns,
            context_length=self.model.context_length,
            conversation_settings=request.conversation_settings,
        )


def check_request(request: TurnRequest, limits: TurnLimits) -> None:
    """Refuse what contradicts itself, and a text that cannot be taken. Raises PlaygroundError."""
    ways = {
        "text": request.text,
        "regenerate": request.regenerate,
        "continue_of": request.continue_of,
    }
    given = [name for name, value in ways.items() if value is not None]
    if not given and request.edit_of is None:
        raise PlaygroundError("invalid_parameter", "text is missing.", param="text")
    known = request.conversation_id is not None
    rules = (
        (
            "edit_of",
            request.edit_of is not None and request.text is None,
            "An edited question needs its text.",
        ),
        (
            given[-1] if given else "text",
            len(given) > 1,
            "A turn is a text, a regenerated question or a continued reply, and only one of them.",
        ),
        (
            "parent_id",
            request.parent_id is not None and (request.text is None or request.edit_of is not None),
            "Only a new question can name the message that it follows.",
        ),
        (
            "mode",
            request.mode is not None and request.continue_of is None,
            "Only a reply that is continued has a mode.",
        ),
        ("temporary", request.temporary and known, "Only a new conversation can be made temporary."),
        (
            "settings",
            request.conversation_settings is not None and known,
            "Settings come with the first question; later they are changed in the conversation.",
        ),
    )
    for param, broken, sentence in rules:
        if broken:
            raise PlaygroundError("invalid_parameter", sentence, param=param)
    if request.text is not None:
        check_message(request.text, limits.message_chars)


class Preparation:
    """Prepares turns. Every method blocks for the database."""

    def __init__(self, engine: Engine, codec: HarmonyCodec, limits: TurnLimits) -> None:
        self._engine = engine
        self._codec = codec
        self._limits = limits

    def prepare(
        self, store: Store, owner_id: str, preferences: Preferences, request: TurnRequest
    ) -> PreparedTurn:
        """Read, render and check.

        Raises:
            PlaygroundError: a message that is named is no question, or a reply cannot be continued.
            RequestRefused: the engine would not take the prompt.
            NotFound: what is named is not there.
        """
        model = self._model()
        if request.continue_of is not None:
            return self._continued(store, owner_id, preferences, request, model)
        place = _place(store, owner_id, request)
        chosen = effective(request.settings, place.settings, preferences)
        prompt = self._render(place, chosen, model)
        sampling = self._sampling(chosen, model, len(prompt.ids))
        self._engine.check(len(prompt.ids), sampling)
        return PreparedTurn(request, place.leaf_id, chosen.effort, sampling, model, prompt)

    def _continued(
        self,
        store: Store,
        owner_id: str,
        preferences: Preferences,
        request: TurnRequest,
        model: ModelStatus,
    ) -> PreparedTurn:
        conversation = _conversation(store, owner_id, request)
        answer_now = request.how is ReplyMode.ANSWER_NOW
        old = take_up(store, self._codec, owner_id, conversation.id, request.continue_of or "", answer_now)
        chosen = effective(request.settings, conversation.settings, preferences)
        length = len(old.prompt.ids) + len(old.primed_ids)
        sampling = self._sampling(chosen, model, length)
        self._engine.check(length, sampling)
        return PreparedTurn(
            request,
            None,
            old.effort,  # it stands in the prompt, which stays as it is
            sampling,
            model,
            old.prompt,
            old.primed_ids,
            old.reasoning_seconds,
        )

    def _render(self, place: Place, chosen: Effective, model: ModelStatus) -> RenderedPrompt:
        prompt = Prompt(
            place.messages,
            chosen.effort,
            chosen.instructions,
            current_date=datetime.datetime.now(datetime.UTC).date().isoformat(),
            model_identity=chosen.model_identity,
        )
        limit: int | None = None
        if chosen.when_full is WhenFull.DROP_OLDEST and model.context_length is not None:
            wanted = chosen.max_tokens or self._limits.max_tokens
            limit = model.context_length - min(wanted, model.context_length // PART_FOR_THE_REPLY)
        return self._codec.render_within(prompt, limit)

    def _sampling(self, chosen: Effective, model: ModelStatus, prompt_tokens: int) -> SamplingParams:
        """The reply may take what was asked for, as far as the context holds it."""
        wanted = chosen.max_tokens or self._limits.max_tokens
        room = wanted if model.context_length is None else model.context_length - prompt_tokens
        return SamplingParams(
            temperature=chosen.temperature,
            top_p=chosen.top_p,
            max_tokens=max(1, min(wanted, room)),
            seed=chosen.seed,
            stop_token_ids=self._codec.STOP_TOKEN_IDS,
        )

    def _model(self) -> ModelStatus:
        """What answers now; without one the engine says in its own words why not."""
        health = self._engine.health()
        if health.active is None or not health.alive:
            self._engine.check(1, SamplingParams(max_tokens=1))
            raise EngineUnavailable("The model is not ready yet. Try again in a moment.")
        return health.active


def _place(store: Store, owner_id: str, request: TurnRequest) -> Place:
    """Where the question stands, and the messages down to it."""
    question = [] if request.text is None else [Message(Role.USER, request.text)]
    changes_old = request.edit_of is not None or request.regenerate is not None
    if request.conversation_id is None and not changes_old:
        return Place(request.conversation_settings or ChatSettings(), question)
    conversation = _conversation(store, owner_id, request)
    settings = conversation.settings
    if request.regenerate is not None:
        path = _path_to_question(store, owner_id, conversation.id, request.regenerate, "regenerate")
        return Place(settings, _messages(path))
    if request.edit_of is not None:
        path = _path_to_question(store, owner_id, conversation.id, request.edit_of, "edit_of")
        return Place(settings, [*_messages(path[:-1]), *question])
    if request.parent_id is not None:
        path = store.path(owner_id, conversation.id, leaf_id=request.parent_id)
        return Place(settings, [*_messages(path), *question])
    path = store.path(owner_id, conversation.id, leaf_id=conversation.leaf_id)
    return Place(settings, [*_messages(path), *question], conversation.leaf_id)


def _conversation(store: Store, owner_id: str, request: TurnRequest) -> ConversationRecord:
    return store.get_conversation(owner_id, request.conversation_id or "")


def _path_to_question(
    store: Store, owner_id: str, conversation_id: str, message_id: str, param: str
) -> list[MessageRecord]:
    path = store.path(owner_id, conversation_id, leaf_id=message_id)
    if path[-1].role is not Role.USER:
        raise PlaygroundError("invalid_parameter", f"{param} must name a question.", param=param)
    return path


def _messages(path: Sequence[MessageRecord]) -> list[Message]:
    return [record.message for record in path]

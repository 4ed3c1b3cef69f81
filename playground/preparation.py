"""What a turn needs before it can begin: its place in the tree, the prompt, the sampling, all of it checked.

Everything here is read from the database, never from what a browser says that the conversation was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from inference.engine import Engine
from inference.errors import EngineUnavailable
from inference.harmony import HarmonyCodec
from inference.types import (
    Constraint,
    FinishReason,
    Message,
    ModelStatus,
    Prompt,
    ReasoningEffort,
    RenderedPrompt,
    ResponseFormat,
    Role,
    SamplingParams,
    ToolChoice,
    ToolSpec,
)
from playground.chat_settings import Effective, effective, first_set
from playground.continuation import take_up
from playground.errors import PlaygroundError
from playground.functions import Entered, in_progress, waiting_calls
from playground.limits.line import PromptThreads
from playground.text import title_from
from playground.turn_request import TurnLimits, TurnRequest, no_call
from storage.errors import NotFound
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
class Place:
    """Where in the tree a turn stands, and what the model reads there.

    ``leaf_id`` is set where the messages are those of the shown branch: it must not move meanwhile.
    ``turn_settings`` are those of the turn so far; ``answers_id`` is the reply whose calls have ``results``.
    """

    settings: ChatSettings
    messages: Sequence[Message] = ()
    leaf_id: str | None = None
    turn_settings: ChatSettings = field(default_factory=ChatSettings)
    answers_id: str | None = None
    results: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True)
class PreparedTurn:
    """A turn that the engine would take now; ``prompt.ids`` and ``primed_ids`` are what it is given.

    ``functions`` are the names of all that are declared, ``answered`` those that the server answers.
    """

    request: TurnRequest
    leaf_id: str | None
    effort: ReasoningEffort
    sampling: SamplingParams
    model: ModelStatus
    prompt: RenderedPrompt
    primed_ids: tuple[int, ...] = ()
    reasoning_seconds: float = 0.0
    settings: ChatSettings = field(default_factory=ChatSettings)
    functions: tuple[str, ...] = ()
    answered: frozenset[str] = frozenset()
    response_format: ResponseFormat | None = None
    constraint: Constraint | None = None
    answers_id: str | None = None
    results: tuple[Message, ...] = ()

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
            answers_id=self.answers_id,
            results=self.results,
            turn_settings=self.settings,
        )


class Preparation:
    """Prepares turns. Every method blocks, for the database and for the encoder: see ``prompts``."""

    def __init__(
        self, engine: Engine, codec: HarmonyCodec, limits: TurnLimits, operator: Mapping[str, ToolSpec]
    ) -> None:
        self._engine = engine
        self._codec = codec
        self._limits = limits
        self._operator = operator
        self.prompts = PromptThreads()

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
        own = first_set(request.settings, place.turn_settings)
        chosen = effective(own, place.settings, preferences)
        wanted = self._prompt(place.messages, chosen)
        prompt = self._render(wanted, chosen, model)
        sampling = self._sampling(chosen, model, len(prompt.ids))
        self._engine.check(len(prompt.ids), sampling)
        prepared = PreparedTurn(
            request,
            place.leaf_id,
            chosen.effort,
            sampling,
            model,
            prompt,
            settings=own,
            constraint=self._codec.constraint(wanted, ToolChoice()),
            answers_id=place.answers_id,
            results=place.results,
        )
        return self._declaring(prepared, wanted, chosen)

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
        own = first_set(request.settings, old.declared)
        chosen = effective(own, conversation.settings, preferences)
        length = len(old.prompt.ids) + len(old.primed_ids)
        sampling = self._sampling(chosen, model, length)
        self._engine.check(length, sampling)
        declared = self._prompt((), chosen)
        constraint = self._codec.constraint(declared, ToolChoice())
        prepared = PreparedTurn(
            request,
            None,
            old.effort,  # it stands in the prompt, which stays as it is
            sampling,
            model,
            old.prompt,
            old.primed_ids,
            old.reasoning_seconds,
            settings=own,
            constraint=constraint and replace(constraint, begun=len(old.primed_ids)),
        )
        return self._declaring(prepared, declared, chosen)

    def _prompt(self, messages: Sequence[Message], chosen: Effective) -> Prompt:
        """What the model is to read. A function of the person's own hides the operator's of the same name."""
        tools = {spec.name: spec for spec in chosen.functions}
        for name in chosen.operator_functions:
            if name in self._operator:
                tools.setdefault(name, self._operator[name])
        return Prompt(
            messages,
            chosen.effort,
            chosen.instructions,
            tuple(tools.values()),
            current_date=self._limits.date_told(),
            model_identity=chosen.model_identity,
            response_format=chosen.response_format,
        )

    def _declaring(self, prepared: PreparedTurn, prompt: Prompt, chosen: Effective) -> PreparedTurn:
        """The same, with what of the prompt's functions the turn has to know."""
        names = tuple(spec.name for spec in prompt.tools)
        own = {spec.name for spec in chosen.functions}
        return replace(
            prepared,
            functions=names,
            answered=frozenset(names) - own,
            response_format=prompt.response_format,
        )

    def _render(self, prompt: Prompt, chosen: Effective, model: ModelStatus) -> RenderedPrompt:
        limit: int | None = None
        if chosen.when_full is WhenFull.DROP_OLDEST and model.context_length is not None:
            wanted = chosen.max_tokens or self._limits.max_tokens
            limit = model.context_length - min(wanted, model.context_length // PART_FOR_THE_REPLY)
        return self._codec.render_within(prompt, limit, model.context_length)

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
    if request.results:
        return _below_calls(store, owner_id, conversation, request.results)
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


def _below_calls(
    store: Store, owner_id: str, conversation: ConversationRecord, entered: Sequence[Entered]
) -> Place:
    """The place below a reply's calls, which get these results."""
    try:
        path = store.path(owner_id, conversation.id, leaf_id=entered[0].message_id)
    except NotFound:
        raise no_call("A result must name a call of this conversation.") from None
    if path[-1].generation_id is None:
        raise no_call("A result must name a call of this conversation.")
    reply = store.get_generation(owner_id, path[-1].generation_id)
    messages = store.generation_messages(owner_id, reply.id)
    calls = waiting_calls(messages) if reply.finish_reason is FinishReason.TOOL_CALL else []
    contents = {each.message_id: each.content for each in entered}
    if len(contents) < len(entered):
        raise no_call("A call has two results.")
    if not contents.keys() <= {call.message_id for call in calls}:
        raise no_call("A result must name a call that waits for one, of one reply alone.")
    if len(contents) < len(calls):
        raise no_call(f"This reply made {len(calls)} calls; all of them need their results.")
    results = tuple(call.result(contents[call.message_id]) for call in calls)
    path = store.path(owner_id, conversation.id, leaf_id=messages[-1].id)
    return Place(
        conversation.settings,
        [*in_progress(store, owner_id, path), *results],
        turn_settings=reply.turn_settings or ChatSettings(),
        answers_id=reply.id,
        results=results,
    )


def _messages(path: Sequence[MessageRecord]) -> list[Message]:
    return [record.message for record in path]

"""The playground's own files, read back without loss: what does not fit the format is refused whole."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NoReturn

from pydantic import ValidationError

from inference.errors import HarmonyFormatError
from inference.message_rules import checked_messages
from inference.types import Message, Role, SamplingParams, Timings, Usage
from playground.errors import PlaygroundError
from playground.exchange.document import (
    FORMAT,
    VERSION,
    ConversationItem,
    GenerationItem,
    MessageItem,
    PlaygroundFile,
    SettingsItem,
)
from playground.exchange.import_draft import Allowance, Imported
from playground.exchange.refused import ImportRefused, named
from storage.drafts import ConversationDraft, EmptyReply, GenerationDraft, MessageNode
from storage.records import ChatSettings

SOURCE = "gpt-oss Playground"


def is_own(head: Any) -> bool:
    """Whether what stands around a document's conversations says that it is one of ours."""
    return isinstance(head, dict) and head.get("format") == FORMAT


def check_head(head: dict[str, Any]) -> None:
    """Check what stands around the conversations.

    Raises:
        ImportRefused: a later version wrote it, or a field is missing, unknown or wrong.
    """
    version = head.get("version")
    if isinstance(version, int) and not isinstance(version, bool) and version > VERSION:
        raise ImportRefused("This file was written by a newer version of the playground.")
    try:
        PlaygroundFile.model_validate({**head, "conversations": []})
    except ValidationError as error:
        raise ImportRefused(f"This file does not keep to its format: {_fault(error)}.") from None


def from_own(value: dict[str, Any], allowance: Allowance, now: datetime) -> Imported:
    """One conversation.

    Raises:
        ImportRefused: it does not keep to the format, or its tree does not hold together.
    """
    title = value.get("title")
    label = named(title if isinstance(title, str) else "without a title")
    try:
        item = ConversationItem.model_validate(value)
    except ValidationError as error:
        raise ImportRefused(
            f"The conversation {label} does not keep to the format: {_fault(error)}."
        ) from None
    draft = _Tree(item, label, allowance).draft()
    return Imported(SOURCE, item.title, draft, len(item.messages), [])


def _fault(error: ValidationError) -> str:
    """The first of pydantic's faults: the place and the kind, never the value."""
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in fault["loc"])
    return f"{named(place)[1:-1]}: {str(fault['msg']).lower()}"


def _clean(texts: Iterable[str | None]) -> bool:
    """Whether all of these can be stored."""
    try:
        return not any("\x00" in text for text in texts if text and text.encode("utf-8"))
    except UnicodeEncodeError:
        return False


class _Tree:
    """Checks that the parts of one conversation fit together, and makes the draft."""

    def __init__(self, item: ConversationItem, label: str, allowance: Allowance) -> None:
        self.item = item
        self.label = label
        self.allowance = allowance
        self.generations: dict[str, GenerationDraft] = {}
        self.questions: dict[str, str] = {}
        self.ends: dict[str, str] = {}
        self.answers: dict[str, str] = {}

    def draft(self) -> ConversationDraft:
        """The conversation for the store."""
        item = self.item
        settings = self._settings(item.settings)
        if not _clean((item.title,)):
            self._refuse("holds a broken character.")
        for generation in item.generations:
            self._generation(generation)
        nodes = self._nodes()
        if item.shown is not None and item.shown not in {node.key for node in nodes}:
            self._refuse("shows a message that is not there.")
        empty = [
            EmptyReply(self.questions[key], generation)
            for key, generation in self.generations.items()
            if key not in self.ends
        ]
        return ConversationDraft(
            title=item.title,
            settings=settings,
            created_at=item.created_at,
            nodes=nodes,
            leaf_key=item.shown,
            updated_at=item.updated_at,
            title_by_hand=item.title_by_hand,
            pinned=item.pinned,
            archived=item.archived,
            empty_replies=tuple(empty),
        )

    def _generation(self, item: GenerationItem) -> None:
        if item.key in self.generations:
            self._refuse("has two replies with the same key.")
        if not _clean((item.model, item.revision, item.error, item.error_code)):
            self._refuse("holds a broken character.")
        if item.continues is not None and self.questions.get(item.continues) != item.question:
            self._refuse("has a reply that continues none of the replies before it.")
        if item.answers is not None and self.questions.get(item.answers) != item.question:
            self._refuse("has a reply that goes on from the calls of none of the replies before it.")
        if not _clean((item.schema_reason,)):
            self._refuse("holds a broken character.")
        self.questions[item.key] = item.question
        own = None if item.turn_settings is None else self._settings(item.turn_settings)
        self.generations[item.key] = _generation_draft(item, own)
        if item.answers is not None:
            self.answers[item.key] = item.answers

    def _nodes(self) -> tuple[MessageNode, ...]:
        roles: dict[str, Role] = {}
        nodes = []
        for item in self.item.messages:
            self.allowance.take()
            if item.key in roles:
                self._refuse("has two messages with the same key.")
            if item.parent is not None and item.parent not in roles:
                self._refuse("has a message that does not come after the one it hangs on.")
            self._check_place(item, roles)
            roles[item.key] = item.role
            message = self._message(item)
            generation = None if item.generation is None else self.generations[item.generation]
            nodes.append(
                MessageNode(
                    item.key, item.parent, message, item.created_at, generation, item.complete, item.tokens
                )
            )
        for question in self.questions.values():
            if roles.get(question) is not Role.USER:
                self._refuse("has a reply to a question that is not there.")
        return tuple(nodes)

    def _check_place(self, item: MessageItem, roles: dict[str, Role]) -> None:
        """A user's message stands outside of replies; the others are a chain below the question."""
        if item.role is Role.USER:
            if item.generation is not None:
                self._refuse("has a user's message inside of a reply.")
            return
        if item.generation is None or item.generation not in self.generations:
            self._refuse("has a message of a reply that is not there.")
        question = self.questions[item.generation]
        called = self.answers.get(item.generation)
        begin = question if called is None else self.ends.get(called, question)
        before = self.ends.get(item.generation, begin)
        if item.parent != before:
            self._refuse("has a reply whose messages are not a chain.")
        self.ends[item.generation] = item.key

    def _message(self, item: MessageItem) -> Message:
        if not _clean((item.content,)):
            self._refuse("holds a broken character.")
        message = Message(
            role=item.role,
            content=item.content,
            channel=item.channel,
            recipient=item.recipient,
            name=item.name,
            content_type=item.content_type,
            recovered=item.recovered,
        )
        try:
            checked_messages([message])
        except HarmonyFormatError as error:
            self._refuse(f"cannot be taken: {error}")
        return message

    def _settings(self, item: SettingsItem) -> ChatSettings:
        try:
            settings = _settings(item)
        except PlaygroundError as error:
            self._refuse(f"cannot be taken: {error.message}")
        if not _clean((settings.instructions, settings.model_identity)):
            self._refuse("holds a broken character.")
        return settings

    def _refuse(self, sentence: str) -> NoReturn:
        raise ImportRefused(f"The conversation {self.label} {sentence}") from None


def _settings(item: SettingsItem) -> ChatSettings:
    """Raises PlaygroundError for functions or a schema that cannot be kept."""
    return ChatSettings(
        instructions=item.instructions,
        model_identity=item.model_identity,
        effort=item.effort,
        temperature=None if item.temperature is None else float(item.temperature),
        top_p=None if item.top_p is None else float(item.top_p),
        max_tokens=item.max_tokens,
        seed=item.seed,
        show_reasoning=item.show_reasoning,
        when_full=item.when_full,
        **item.declared(),
    )


def _generation_draft(item: GenerationItem, turn_settings: ChatSettings | None) -> GenerationDraft:
    timings = item.timings
    return GenerationDraft(
        key=item.key,
        status=item.status,
        effort=item.effort,
        sampling=SamplingParams(float(item.temperature), float(item.top_p), item.max_tokens, item.seed),
        model=item.model,
        revision=item.revision,
        usage=Usage(**item.usage.model_dump()),
        timings=Timings(
            float(timings.queued), float(timings.ttft), float(timings.total), float(timings.tokens_per_second)
        ),
        reasoning_seconds=float(timings.reasoning_seconds),
        finish_reason=item.finish_reason,
        error=item.error,
        error_code=item.error_code,
        created_at=item.created_at,
        started_at=item.started_at,
        finished_at=item.finished_at,
        continues_key=item.continues,
        primed_tokens=item.primed_tokens,
        mode=item.mode,
        dropped_reasoning=item.dropped_reasoning,
        dropped_turns=item.dropped_turns,
        context_length=item.context_length,
        answers_key=item.answers,
        turn_settings=turn_settings,
        schema_valid=item.schema_valid,
        schema_reason=item.schema_reason,
    )

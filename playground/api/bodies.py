"""What the page may send. Unknown fields are refused; numbers must be numbers, finite and within bounds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
)

from inference.types import ReasoningEffort
from playground.errors import PlaygroundError
from playground.function_rules import (
    FunctionItem,
    ResponseSchemaItem,
    checked_format,
    checked_functions,
    checked_names,
)
from playground.functions import Entered
from playground.strict import Strict
from playground.text import check_line, check_unicode
from playground.turn_request import TurnRequest
from storage.records import ChatSettings, ReplyMode, Theme, WhenFull

TITLE_CHARS = 200
NAME_CHARS = 100
INSTRUCTIONS_CHARS = 32_000
IDENTITY_CHARS = 500
LARGEST_INTEGER = 2**63 - 1
MOST_RESULTS = 1_000
"""No reply is long enough for more calls."""


def _effort(value: object) -> object:
    if value is not None and value not in tuple(ReasoningEffort):
        raise PlaygroundError("invalid_effort", "Effort is one of low, medium and high.", param="effort")
    return value


Id = Annotated[StrictStr, Field(min_length=1, max_length=64)]
Effort = Annotated[ReasoningEffort, BeforeValidator(_effort)]
Number = StrictFloat | StrictInt
Temperature = Annotated[Number, Field(ge=0, le=2)]
TopP = Annotated[Number, Field(gt=0, le=1)]
Seed = Annotated[StrictInt, Field(ge=0, le=LARGEST_INTEGER)]
MaxTokens = Annotated[StrictInt, Field(ge=1, le=1_000_000)]
Title = Annotated[StrictStr, Field(max_length=TITLE_CHARS)]
Name = Annotated[StrictStr, Field(max_length=NAME_CHARS)]


class SettingsFields(Strict):
    """How replies are made, as bodies and files (``playground.exchange.document``) have it."""

    instructions: Annotated[StrictStr, Field(max_length=INSTRUCTIONS_CHARS)] | None = None
    model_identity: Annotated[StrictStr, Field(max_length=IDENTITY_CHARS)] | None = None
    effort: ReasoningEffort | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    max_tokens: MaxTokens | None = None
    seed: Seed | None = None
    show_reasoning: StrictBool | None = None
    when_full: WhenFull | None = None
    functions: Annotated[list[FunctionItem], Field(fail_fast=True)] | None = None
    operator_functions: Annotated[list[StrictStr], Field(fail_fast=True)] | None = None
    response_schema: ResponseSchemaItem | Literal["text"] | None = None

    def declared(self) -> dict[str, Any]:
        """What is given of functions and of the answer's schema, as ``ChatSettings`` holds it.

        Raises:
            PlaygroundError: something of it cannot be kept.
        """
        given: dict[str, Any] = {}
        if self.functions is not None:
            given["functions"] = checked_functions(self.functions)
        if self.operator_functions is not None:
            given["operator_functions"] = checked_names(self.operator_functions)
        if isinstance(self.response_schema, ResponseSchemaItem):
            given["response_schema"] = checked_format(self.response_schema)
        elif self.response_schema is not None:
            given["response_schema"] = self.response_schema
        return given


class SettingsBody(SettingsFields):
    """ChatSettings, or a change of them: what is left out stays as it is, null resets it."""

    effort: Effort | None = None

    def change(self) -> dict[str, Any]:
        """The given fields as ``ChatSettings`` holds them: blank texts are not set.

        Raises:
            PlaygroundError: a text holds a broken character, or functions or a schema cannot be kept.
        """
        given = {name: getattr(self, name) for name in self.model_fields_set} | self.declared()
        for name in ("temperature", "top_p"):
            if given.get(name) is not None:
                given[name] = float(given[name])
        for name in ("instructions", "model_identity"):
            if given.get(name) is not None:
                check_unicode(given[name], name, "text")
                given[name] = given[name] if given[name].strip() else None
        if given.get("model_identity") is not None:
            given["model_identity"] = " ".join(given["model_identity"].split())
        return given

    def settings(self) -> ChatSettings:
        """The whole, where what is left out is not set."""
        return ChatSettings(**self.change())


class ResultBody(Strict):
    """The result of one call."""

    message_id: Id
    content: StrictStr


class TurnBody(Strict):
    """``POST /api/turns``."""

    text: StrictStr | None = None
    conversation_id: Id | None = None
    parent_id: Id | None = None
    edit_of: Id | None = None
    regenerate: Id | None = None
    continue_of: Id | None = None
    mode: ReplyMode | None = None
    temporary: StrictBool = False
    wait: StrictBool = False
    effort: Effort | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    seed: Seed | None = None
    max_tokens: MaxTokens | None = None
    functions: Annotated[list[FunctionItem], Field(fail_fast=True)] | None = None
    operator_functions: Annotated[list[StrictStr], Field(fail_fast=True)] | None = None
    response_schema: ResponseSchemaItem | Literal["text"] | None = None
    results: (
        Annotated[list[ResultBody], Field(min_length=1, max_length=MOST_RESULTS, fail_fast=True)] | None
    ) = None
    settings: SettingsBody | None = None
    client_id: Annotated[StrictStr, Field(min_length=1, max_length=200)] | None = None

    def request(self) -> TurnRequest:
        """The same as the service takes it. Raises PlaygroundError for what cannot be kept."""
        declared = SettingsFields(
            functions=self.functions,
            operator_functions=self.operator_functions,
            response_schema=self.response_schema,
        ).declared()
        results = [Entered(each.message_id, each.content) for each in self.results or ()]
        return TurnRequest(
            text=self.text,
            conversation_id=self.conversation_id,
            parent_id=self.parent_id,
            edit_of=self.edit_of,
            regenerate=self.regenerate,
            continue_of=self.continue_of,
            mode=self.mode,
            temporary=self.temporary,
            wait=self.wait,
            settings=ChatSettings(
                effort=self.effort,
                temperature=None if self.temperature is None else float(self.temperature),
                top_p=None if self.top_p is None else float(self.top_p),
                max_tokens=self.max_tokens,
                seed=self.seed,
                **declared,
            ),
            results=tuple(results),
            conversation_settings=None if self.settings is None else self.settings.settings(),
            client_id=self.client_id,
        )


class ConversationBody(Strict):
    """``PATCH /api/conversations/{id}``; what is left out or null stays as it is."""

    title: Title | None = None
    pinned: StrictBool | None = None
    archived: StrictBool | None = None
    settings: SettingsBody | None = None

    def checked_title(self) -> str | None:
        """The title as one line. Raises PlaygroundError when nothing of it can be seen."""
        return None if self.title is None else check_line(self.title, "title", "title")


class SelectBody(Strict):
    """``POST /api/conversations/{id}/select``; exactly one of the two."""

    message_id: Id | None = None
    generation_id: Id | None = None


class PresetBody(Strict):
    """``POST /api/presets``."""

    name: Name
    settings: SettingsBody


class PresetChangeBody(Strict):
    """``PATCH /api/presets/{id}``; what is left out or null stays, ``settings`` is the new whole."""

    name: Name | None = None
    settings: SettingsBody | None = None


class ModelBody(Strict):
    """``POST /api/model``. ``even_if_too_large``: the asker knows that it may not fit, and wants it."""

    name: Annotated[StrictStr, Field(min_length=1, max_length=200)]
    even_if_too_large: StrictBool = False


class PreferencesBody(Strict):
    """``PATCH /api/preferences``; what is left out or null stays as it is."""

    effort: Effort | None = None
    show_reasoning: StrictBool | None = None
    theme: Theme | None = None
    settings: SettingsBody | None = None

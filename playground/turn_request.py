"""What a person asks for in one turn, and whether it makes sense by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from playground.errors import PlaygroundError
from playground.functions import Entered
from playground.text import check_message, check_unicode
from storage.records import ChatSettings, ReplyMode


@dataclass(frozen=True, slots=True)
class TurnLimits:
    """What holds for every turn: the characters of a message, the tokens of a reply that names no limit of
    its own, and the date that the model is told."""

    message_chars: int
    max_tokens: int
    date_told: Callable[[], str]


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """What a person asks for. No conversation: a new one. No parent: continue at the current leaf.

    Exactly one of: ``text`` (with ``edit_of``: another version of that question), ``regenerate`` (a
    question), ``continue_of`` (a reply; no ``mode`` is to continue) and ``results`` (of a reply's calls).
    ``settings`` overrule all others in this turn;
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
    results: tuple[Entered, ...] = ()
    temporary: bool = False
    wait: bool = False
    settings: ChatSettings = field(default_factory=ChatSettings)
    conversation_settings: ChatSettings | None = None
    client_id: str | None = None

    @property
    def how(self) -> ReplyMode | None:
        """How a reply is continued, where one is."""
        return None if self.continue_of is None else self.mode or ReplyMode.CONTINUE


def check_request(request: TurnRequest, limits: TurnLimits) -> None:
    """Refuse what contradicts itself, and a text that cannot be taken. Raises PlaygroundError."""
    ways = {
        "text": request.text,
        "regenerate": request.regenerate,
        "continue_of": request.continue_of,
        "results": request.results or None,
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
            "A turn is a text, a regenerated question, a continued reply or results, and only one of them.",
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
    if request.results and not known:
        raise no_call("Results need their conversation.")
    for each in request.results:
        if len(each.content) > limits.message_chars:
            sentence = (
                f"This result has {len(each.content):,} characters; at most {limits.message_chars:,} fit."
            )
            raise PlaygroundError("message_too_long", sentence, param="results")
        check_unicode(each.content, "results", "result")


def _check_result(text: str, limits: TurnLimits) -> None:
    if len(text) > limits.message_chars:
        raise PlaygroundError(
            "message_too_long",
            f"This result has {len(text):,} characters; at most {limits.message_chars:,} fit.",
            param="results",
        )
    check_unicode(text, "results", "result")


def no_call(sentence: str) -> PlaygroundError:
    """The answer to results that fit no calls."""
    return PlaygroundError("invalid_parameter", sentence, param="results")

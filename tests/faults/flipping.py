"""A database whose bytes are flipped, and what is read from it then."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from inference.types import Channel, Message, Role
from storage.errors import DatabaseCorrupt, DatabaseTooNew, NotFound, StorageError
from storage.records import MessageDraft, MessageRecord, SearchKind, new_id
from storage.store import Store
from tests.storage.helpers import begin, finish, identity

COOKIES = ("ada", "bob")
TALKS = 6
Told = tuple[object, ...]
"""What a person, a prompt or a file gets of a message."""


@dataclass(frozen=True)
class Truth:
    """What there is, as it was written: messages of each conversation by the way they are read."""

    owners: tuple[str, ...]
    paths: dict[str, list[Told]]
    exports: dict[str, list[Told]]
    shares: dict[str, str]


def told(message: MessageRecord) -> Told:
    """All of a message that counts."""
    fields = (message.id, message.role, message.channel, message.recipient, message.name, message.content)
    return (*fields, message.content_type, message.complete, message.recovered)


def fill(path: Path) -> Truth:
    """Two people, conversations with branches, long and short texts, tools, shares."""
    store = Store.open(path)
    owners = tuple(store.user_for_identity(identity(name)).id for name in COOKIES)
    paths, exports, shares = {}, {}, {}
    for number in range(TALKS):
        owner = owners[number % 2]
        turn = begin(store, owner, f"Question {number}: " + "why so? " * (number * 30))
        talk = turn.conversation.id
        for again in range(3):
            answer(store, owner, turn.generation.id, number, again)
            if again < 2:
                turn = begin(store, owner, f"And {again}?", conversation_id=talk)
        begin_again = begin(store, owner, conversation_id=talk, regenerate=turn.user_message.id)
        answer(store, owner, begin_again.generation.id, number, 9)
        paths[talk] = [told(each) for each in store.path(owner, talk)]
        exports[talk] = [told(each) for each in store.export_conversation(owner, talk).messages]
        text = repr(paths[talk])
        share = store.create_share(
            owner, talk, title="t", include_reasoning=True, snapshot=text, message_count=1
        )
        shares[share.token] = text
    store.close()
    return Truth(owners, paths, exports, shares)


def answer(store: Store, owner: str, generation: str, number: int, again: int) -> None:
    """A reply of a thought, a tool's result and an answer."""
    word = f"{number}.{again} "
    messages = [
        Message(Role.ASSISTANT, "thinking of " + word * 40, Channel.ANALYSIS),
        Message(Role.TOOL, '{"result": ' + word + "}", recipient="assistant", name="functions.look"),
        Message(Role.ASSISTANT, "The answer is " + word * (10 + 200 * (number % 3)), Channel.FINAL),
    ]
    drafts = [
        MessageDraft(new_id(), index, message, 3, complete=True) for index, message in enumerate(messages)
    ]
    finish(store, owner, generation, messages=drafts, output_ids=range(300))


@dataclass
class Outcome:
    """What came of one damage."""

    refused: bool = False
    noticed: int = 0
    right: int = 0
    wrong: int = 0


def read_all(path: Path, truth: Truth) -> Outcome:
    """Open a damaged database and read every message in every way."""
    outcome = Outcome()
    try:
        store = Store.open(path)
    except (DatabaseCorrupt, DatabaseTooNew):
        return Outcome(refused=True)
    try:
        for answer_is_right in answers(store, truth):
            try:
                right = answer_is_right()
            except NotFound:
                outcome.wrong += 1  # "there is nothing here" is an answer too
            except StorageError:
                outcome.noticed += 1
            else:
                outcome.right += right
                outcome.wrong += not right
    finally:
        store.close()
    return outcome


def answers(store: Store, truth: Truth) -> Iterator[Callable[[], bool]]:
    """Every reading, each of which tells whether it is right."""
    for place, (name, owner) in enumerate(zip(COOKIES, truth.owners, strict=True)):
        mine = list(truth.paths)[place :: len(COOKIES)]
        yield partial(owner_is_right, store, name, owner, mine)
        for talk in mine:
            for read in (path_is_right, export_is_right, replies_are_right):
                yield partial(read, store, truth, owner, talk)
        yield partial(snippets_are_right, store, truth, owner)
    for token, text in truth.shares.items():
        yield partial(share_is_right, store, token, text)


def owner_is_right(store: Store, name: str, owner: str, talks: list[str]) -> bool:
    """Who has the cookie, and what is his."""
    found = store.user_for_identity(identity(name)).id
    return found == owner and sorted(store.conversation_ids(owner)) == sorted(talks)


def share_is_right(store: Store, token: str, text: str) -> bool:
    """What everybody with the link reads."""
    return store.shared_snapshot(token)[1] == text


def path_is_right(store: Store, truth: Truth, owner: str, talk: str) -> bool:
    """The branch that is shown."""
    return [told(each) for each in store.path(owner, talk)] == truth.paths[talk]


def export_is_right(store: Store, truth: Truth, owner: str, talk: str) -> bool:
    """All branches."""
    return [told(each) for each in store.export_conversation(owner, talk).messages] == truth.exports[talk]


def replies_are_right(store: Store, truth: Truth, owner: str, talk: str) -> bool:
    """Each reply by itself."""
    known = {each[0]: each for each in truth.exports[talk]}
    generations = store.conversation_generations(owner, talk)
    messages = [
        told(message) for each in generations for message in store.generation_messages(owner, each.id)
    ]
    return len(messages) == 12 and all(known.get(message[0]) == message for message in messages)


def snippets_are_right(store: Store, truth: Truth, owner: str) -> bool:
    """What a search quotes is what is there."""
    contents = {message[0]: str(message[5]) for messages in truth.exports.values() for message in messages}
    hits, _ = store.search(owner, "answer", frozenset(SearchKind) - {SearchKind.TITLE}, limit=50)
    return all(
        "".join(text for text, _ in hit.snippet).strip("…") in contents[str(hit.message_id)] for hit in hits
    )


def copy_of(original: Path, folder: Path) -> Path:
    """A fresh copy of a database with whatever is beside it."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(original.parent, folder)
    return folder / original.name


def flip(path: Path, chance: random.Random, bits: int = 1) -> int:
    """Flip bits of one byte somewhere in the file; returns where."""
    data = bytearray(path.read_bytes())
    place = chance.randrange(len(data))
    for bit in chance.sample(range(8), bits):
        data[place] ^= 1 << bit
    path.write_bytes(data)
    return place

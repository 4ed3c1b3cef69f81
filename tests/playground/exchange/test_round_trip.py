"""Export, import and export again: the same file. Whatever comes is taken or refused, never half-stored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.types import FinishReason, ReasoningEffort
from playground.exchange.document import VERSION, PlaygroundFile, schema
from playground.exchange.export_json import file_pieces
from playground.exchange.refused import ImportRefused
from storage.records import ReplyMode, WhenFull
from storage.store import Store
from tests.playground.exchange.files import NOW, OWN, PLAIN_CHATGPT, drafts, read, zipped

ROOT = Path(__file__).parents[3]
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
MANY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30)
TITLE = TEXT.filter(bool)
COUNT = st.integers(0, 2**31 - 1)
SECONDS = st.floats(0, 1e6)
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "instructions": TEXT,
        "model_identity": TEXT,
        "effort": st.sampled_from([str(each) for each in ReasoningEffort]),
        "temperature": st.floats(0, 2),
        "top_p": st.floats(0.01, 1),
        "max_tokens": st.integers(1, 1_000_000),
        "seed": st.integers(0, 2**63 - 1),
        "show_reasoning": st.booleans(),
        "when_full": st.sampled_from([str(each) for each in WhenFull]),
    },
)
USAGE = st.fixed_dictionaries(
    dict.fromkeys(("prompt", "cached", "completion", "reasoning", "commentary", "final"), COUNT)
)
TIMINGS = st.fixed_dictionaries(
    dict.fromkeys(("queued", "ttft", "total", "tokens_per_second", "reasoning_seconds"), SECONDS)
)
GENERATION = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["finished", "cancelled", "failed", "interrupted"]),
        "effort": st.sampled_from([str(each) for each in ReasoningEffort]),
        "temperature": st.floats(0, 2),
        "top_p": st.floats(0.01, 1),
        "max_tokens": st.integers(1, 1_000_000),
        "model": TEXT,
        "revision": TEXT,
        "usage": USAGE,
        "timings": TIMINGS,
        "primed_tokens": COUNT,
        "dropped_reasoning": COUNT,
        "dropped_turns": COUNT,
    },
    optional={
        "seed": st.integers(0, 2**63 - 1),
        "finish_reason": st.sampled_from([str(each) for each in FinishReason]),
        "error": TEXT,
        "error_code": TEXT,
        "mode": st.sampled_from([str(each) for each in ReplyMode]),
        "context_length": COUNT,
    },
)
PART = st.one_of(
    st.fixed_dictionaries(
        {"role": st.just("assistant"), "channel": st.sampled_from(["analysis", "commentary", "final"])}
    ),
    st.just({"role": "assistant", "channel": "analysis", "recipient": "python"}),
    st.just(
        {"role": "assistant", "channel": "commentary", "recipient": "functions.add", "content_type": "json"}
    ),
    st.just({"role": "tool", "name": "functions.add"}),
    st.just({"role": "tool", "name": "python", "channel": "analysis", "recipient": "assistant"}),
)


def at(number: int) -> str:
    return (BEGIN + timedelta(milliseconds=number)).isoformat()


@st.composite
def conversations(draw: st.DrawFn) -> dict[str, Any]:
    """A conversation with branches, replies of several messages, and replies without any."""
    messages: list[dict[str, Any]] = []
    generations: list[dict[str, Any]] = []
    asked: list[str] = []

    def add(parent: str | None, **fields: Any) -> str:
        key = f"m{len(messages) + 1}"
        rest = {"content": draw(TEXT), "complete": draw(st.booleans()), "recovered": draw(st.booleans())}
        place = {} if parent is None else {"parent": parent}
        message = {
            "key": key,
            **place,
            **fields,
            **rest,
            "tokens": draw(COUNT),
            "created_at": at(len(messages)),
        }
        messages.append(message)
        return key

    for _ in range(draw(st.integers(1, 4))):
        parent = draw(st.none() | st.sampled_from([each["key"] for each in messages])) if messages else None
        question = add(parent, role="user")
        asked.append(question)
        for _ in range(draw(st.integers(0, 2))):
            name = f"g{len(generations) + 1}"
            last = question
            parts: list[dict[str, Any]] = draw(st.lists(PART, max_size=3))
            for part in parts:
                last = add(last, generation=name, **part)
            earlier: list[str] = [each["key"] for each in generations if each["question"] == question]
            continues: str | None = draw(st.none() | st.sampled_from(earlier)) if earlier else None
            extra = {} if continues is None else {"continues": continues}
            when = at(100 + len(generations))
            times = {"created_at": when, "started_at": when, "finished_at": when}
            generations.append({"key": name, "question": question, **draw(GENERATION), **extra, **times})
    return {
        "title": draw(TITLE),
        "title_by_hand": draw(st.booleans()),
        "pinned": draw(st.booleans()),
        "archived": draw(st.booleans()),
        "created_at": at(0),
        "updated_at": at(1000),
        "settings": draw(SETTINGS),
        "shown": messages[-1]["key"],
        "messages": messages,
        "generations": generations,
    }


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A database for all examples; every example is somebody else's."""
    opened = Store.open(tmp_path_factory.mktemp("round-trip") / "playground.sqlite3")
    yield opened
    opened.close()


def somebody(store: Store, numbers: list[int] = [0]) -> str:  # noqa: B006 - it counts the calls
    numbers[0] += 1
    return store.user_for_identity(f"{numbers[0]:064x}").id


def exported(store: Store, owner: str) -> PlaygroundFile:
    """The owner's whole file, as its models."""
    ids = store.conversation_ids(owner)
    trees = [store.export_conversation(owner, each) for each in ids]
    text = "".join(file_pieces(trees, reasoning=True, exported_at=NOW))
    return PlaygroundFile.model_validate_json(text)


@settings(MANY, max_examples=40)
@given(chats=st.lists(conversations(), min_size=1, max_size=2))
def test_what_is_exported_comes_back_the_same(store: Store, chats: list[dict[str, Any]]) -> None:
    file = {
        "format": "gpt-oss-playground",
        "version": VERSION,
        "exported_at": NOW.isoformat(),
        "conversations": chats,
    }
    wanted = PlaygroundFile.model_validate(file)
    one, two = somebody(store), somebody(store)
    store.insert_conversations(one, drafts(file))
    first = exported(store, one)
    assert sorted(map(str, first.conversations)) == sorted(map(str, wanted.conversations))
    store.insert_conversations(two, drafts(first.model_dump_json(exclude_none=True).encode()))
    assert sorted(map(str, exported(store, two).conversations)) == sorted(map(str, first.conversations))


def test_without_reasoning_no_word_of_it_is_in_the_file(store: Store) -> None:
    owner = somebody(store)
    store.insert_conversations(owner, drafts(OWN))
    [conversation_id] = store.conversation_ids(owner)
    tree = store.export_conversation(owner, conversation_id)
    text = "".join(file_pieces([tree], reasoning=False, exported_at=NOW))
    assert "Two." not in text
    [chat] = PlaygroundFile.model_validate_json(text).conversations
    assert [(each.key, each.parent, each.content) for each in chat.messages] == [
        ("m1", None, "1 + 1?"),
        ("m2", "m1", "2"),
    ]
    usage = chat.generations[0].usage
    assert (usage.reasoning, usage.completion, usage.final, chat.generations[0].seed) == (0, 0, 1, None)
    store.insert_conversations(somebody(store), drafts(text.encode()))


def test_a_text_that_is_too_long_for_an_import_is_exported_all_the_same(store: Store) -> None:
    owner = somebody(store)
    store.insert_conversations(owner, drafts(OWN))
    [conversation_id] = store.conversation_ids(owner)
    tree = store.export_conversation(owner, conversation_id)
    endless = replace(tree.messages[-1], content="again " * 200_000)
    tree = replace(tree, messages=(*tree.messages[:-1], endless))
    text = "".join(file_pieces([tree], reasoning=True, exported_at=NOW))
    assert json.loads(text)["conversations"][0]["messages"][-1]["content"] == endless.content


def test_the_documented_schema_is_the_one_that_is_checked() -> None:
    documented = json.loads((ROOT / "docs/formats.schema.json").read_text("utf-8"))
    assert documented == schema()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(
        ["mapping", "messages", "conversations", "role", "content", "parts", "parent", "children", "id",
         "from", "value", "author", "message", "title", "format", "version", "tool_calls", "name", "key"]
    ), inner, max_size=5),
    max_leaves=25,
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A good file with a few values exchanged for others, anywhere in it."""
    file = json.loads(json.dumps(draw(st.sampled_from([OWN, [PLAIN_CHATGPT]]))))
    for _ in range(draw(st.integers(1, 3))):
        places: list[tuple[Any, Any]] = []
        pending = [file]
        while pending:
            inner = pending.pop()
            keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
            places += [(inner, key) for key in keys]
            pending += [inner[key] for key in keys if isinstance(inner[key], dict | list)]
        where, key = draw(st.sampled_from(places))
        where[key] = draw(
            JSON | st.sampled_from(["m1", "m2", "g1", "a", "q", "root", "user", "tool", "system"])
        )
    return file


def taken_or_refused(data: bytes, store: Store) -> None:
    """Either the store takes all that the file gave, or the file was refused with a sentence."""
    try:
        imported = read(data)
    except ImportRefused:
        return
    found = [each.draft for each in imported if each.draft is not None]
    owner = somebody(store)
    store.insert_conversations(owner, found)
    assert len(store.conversation_ids(owner)) == len(found) > 0
    assert exported(store, owner)


@MANY
@given(value=JSON)
def test_any_json_is_taken_or_refused(store: Store, value: Any) -> None:
    taken_or_refused(json.dumps(value).encode(), store)


@MANY
@given(file=mutated())
def test_a_good_file_with_wrong_values_is_taken_or_refused(store: Store, file: Any) -> None:
    taken_or_refused(json.dumps(file).encode(), store)


@MANY
@given(data=st.data())
def test_a_good_file_with_broken_bytes_is_taken_or_refused(store: Store, data: st.DataObject) -> None:
    good = json.dumps(data.draw(st.sampled_from([OWN, [PLAIN_CHATGPT]]))).encode()
    whole = bytearray(data.draw(st.sampled_from([good, zipped({"conversations.json": good})])))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    taken_or_refused(bytes(whole), store)

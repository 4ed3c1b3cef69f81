"""Searching: what is found, what is not, how it is told, and what no query can break."""

from __future__ import annotations

import _sqlite3
import ctypes
import tracemalloc
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.types import Channel, Message, Role
from storage.errors import InvalidValue
from storage.records import MessageDraft, SearchHit, SearchKind, TurnRecord, new_id
from storage.search import WINDOW, pieces
from storage.search_words import match_expression
from storage.store import Store
from tests.storage.helpers import begin, draft, finish

ALL = frozenset(SearchKind)


def reply(*messages: Message) -> list[MessageDraft]:
    return [MessageDraft(new_id(), index, message, 1, True) for index, message in enumerate(messages)]


def ask(store: Store, owner: str, question: str, answer: str = "", title: str = "untitled") -> TurnRecord:
    turn = begin(store, owner, question, title=title)
    finish(store, owner, turn.generation.id, messages=[draft(0, answer, Channel.FINAL)])
    return turn


def find(store: Store, owner: str, query: str, *kinds: SearchKind) -> list[SearchHit]:
    return store.search(owner, query, frozenset(kinds) or ALL, 100)[0]


def test_every_kind_is_found_and_named_and_can_be_left_out(store: Store, owner: str) -> None:
    turn = begin(store, owner, "walrus question", title="walrus title")
    messages = reply(
        Message(Role.ASSISTANT, "walrus thought", Channel.ANALYSIS),
        Message(Role.ASSISTANT, "walrus call", Channel.COMMENTARY, recipient="functions.f"),
        Message(Role.TOOL, "walrus result", Channel.COMMENTARY, recipient="assistant"),
        Message(Role.ASSISTANT, "walrus preamble", Channel.COMMENTARY),
        Message(Role.ASSISTANT, "walrus answer", Channel.FINAL),
    )
    finish(store, owner, turn.generation.id, messages=messages)
    ids = [message.id for message in messages]
    expected: dict[SearchKind, Sequence[str | None]] = {
        SearchKind.TITLE: [None],
        SearchKind.QUESTION: [turn.user_message.id],
        SearchKind.REASONING: ids[:1],
        SearchKind.TOOL: ids[1:3],
        SearchKind.ANSWER: ids[3:],
    }
    for kind, wanted in expected.items():
        hits = find(store, owner, "walrus", kind)
        assert {hit.message_id for hit in hits} == set(wanted)
        assert {hit.kind for hit in hits} == {kind}
        owned = kind in (SearchKind.TITLE, SearchKind.QUESTION)
        assert {hit.generation_id for hit in hits} == {None if owned else turn.generation.id}
        assert all(hit.conversation == store.get_conversation(owner, turn.conversation.id) for hit in hits)
    assert len(find(store, owner, "walrus")) == 7
    assert store.search(owner, "walrus", frozenset()) == ([], None)


def test_a_reply_is_found_once_it_is_over_and_a_title_as_it_is_now(store: Store, owner: str) -> None:
    turn = begin(store, owner, "question", title="before")
    store.save_progress(owner, turn.generation.id, [draft(0, "growing", Channel.FINAL)], [])
    assert find(store, owner, "growing") == []
    assert len(find(store, owner, "question")) == 1
    finish(store, owner, turn.generation.id)
    assert len(find(store, owner, "growing")) == 1
    store.update_conversation(owner, turn.conversation.id, title="after")
    assert find(store, owner, "before") == []
    assert [hit.kind for hit in find(store, owner, "after")] == [SearchKind.TITLE]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("quick fox", True),
        ("fox quick", True),
        ("quick bear", False),
        ("QUICK", True),
        ("qui", True),
        ("qui fox", False),  # only the last word may go on
        ('"quick brown"', True),
        ('"brown quick"', False),
        ('"quick bro"', False),
        ("cafe", True),
        ("café", True),
        ("CAFÉ", True),
        ("don't", True),
        ("NOT fox", False),
        ("fox OR bear", False),
        ("fox NEAR quick", False),
        ("text:fox", False),
        ("f*x", False),
        ("^quick", True),
        ("fox-quick", False),
        ("brown-fox", True),
        ("日本語", True),
        ("日", True),
        ("7", True),
        ("f", False),  # one plain letter is a word of its own
        ("", False),
        ("???", False),
    ],
)
def test_words_phrases_and_operators(store: Store, owner: str, query: str, found: bool) -> None:
    ask(store, owner, "The quick brown fox at the café: don't! 日本語 7")
    assert bool(find(store, owner, query)) is found


HOSTILE = [
    '"',
    '""',
    '"""',
    '"a',
    "*",
    "a*",
    "^",
    "NEAR(a b)",
    "a AND",
    "OR",
    "{text}: a",
    "-a",
    "+",
    "a\0b",
    "\0",
    "\ud800",
    "(" * 300,
    "a " * 5000,
    "x" * 100_000,
    "'; DROP TABLE messages; --",
    "\U0001f600",
    "\ue0f1a\ue0f2",
    "\U0001e900",  # a letter of a script that is younger than the tokenizer
]


@pytest.mark.parametrize("query", HOSTILE)
def test_no_query_breaks_it(store: Store, owner: str, query: str) -> None:
    ask(store, owner, "a b x")
    assert isinstance(store.search(owner, query, ALL), tuple)
    assert isinstance(store.search(owner, f"a {query}", ALL), tuple)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=st.text(max_size=40) | st.text(alphabet='"*^-+():{}ab \0\n', max_size=40))
def test_no_text_at_all_breaks_it(store: Store, owner: str, query: str) -> None:
    store.search(owner, query, ALL)


def test_a_snippet_marks_what_was_found(store: Store, owner: str) -> None:
    ask(store, owner, "before " * 50 + "a walrus swims" + " after" * 50)
    (hit,) = find(store, owner, "walr")
    assert ("walrus", True) in hit.snippet
    text = "".join(piece for piece, _ in hit.snippet)
    assert text.startswith("…")
    assert text.endswith("…")
    assert "a walrus swims after" in text
    assert len(text) < 250
    assert pieces("\ue0f2a\ue0f1\ue0f1b") == (("a", False), ("b", True))


def test_the_best_comes_first(store: Store, owner: str) -> None:
    passing = ask(store, owner, "a walrus among " + "many other words " * 30)
    about = ask(store, owner, "walrus walrus")
    for number in range(20):
        ask(store, owner, f"something else {number}")
    newer = ask(store, owner, "walrus walrus")
    titled = ask(store, owner, "untold", title="walrus walrus")
    ids = [hit.conversation.id for hit in find(store, owner, "walrus")]
    assert ids == [each.conversation.id for each in (titled, newer, about, passing)]


def test_what_others_write_changes_no_order(store: Store, owner: str, stranger: str) -> None:
    later = [ask(store, owner, text) for text in ("walrus seal seal", "walrus walrus seal")]
    ids = [each.conversation.id for each in reversed(later)]
    assert [hit.conversation.id for hit in find(store, owner, "walrus seal")] == ids
    for number in range(50):
        ask(store, stranger, f"walrus {number}")
    assert [hit.conversation.id for hit in find(store, owner, "walrus seal")] == ids


def test_long_texts_are_found_without_being_read(store: Store, owner: str) -> None:
    long = ask(store, owner, "walrus " * 2000)
    middle = ask(store, owner, "walrus " + "and other words " * 20)
    ids = [hit.conversation.id for hit in find(store, owner, "walrus")]
    assert ids == [middle.conversation.id, long.conversation.id]


def test_a_text_with_a_nul_is_no_damage(store: Store, owner: str) -> None:
    ask(store, owner, "before walrus", "a hidden\0 seal after")
    assert len(find(store, owner, "hidden")) == len(find(store, owner, "seal")) == 1


@pytest.mark.parametrize(
    ("query", "goes_on"),
    [("ab", True), ("a", False), ("x-a", False), ("x-ab", True), ("(a", False), ("é", False), ("猫", True),
     ("7", False), ("éa.", True), ("a_b", False)],
)  # fmt: skip
def test_no_single_letter_stands_for_all_words_that_begin_with_it(query: str, goes_on: bool) -> None:
    assert str(match_expression(query)).endswith("*") is goes_on


@pytest.fixture
def sqlite() -> ctypes.CDLL:
    """SQLite as Python's own module has it, shared or built in."""
    library = ctypes.CDLL(_sqlite3.__file__)
    library.sqlite3_memory_used.restype = ctypes.c_int64
    library.sqlite3_memory_highwater.restype = ctypes.c_int64
    return library


def test_few_long_words_are_no_short_text(store: Store, owner: str) -> None:
    turn = begin(store, owner, "hello")
    drafts = [draft(index, "walrus 😀" + "." * 100_000, Channel.FINAL) for index in range(30)]
    finish(store, owner, turn.generation.id, messages=drafts)
    find(store, owner, "walrus")
    tracemalloc.start()
    page, cursor = store.search(owner, "walrus", ALL, 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(page), cursor is not None) == (1, True)
    assert peak < 3_000_000, "thirty such texts are 12 MB"


def test_a_search_takes_no_more_memory_for_what_others_wrote(
    store: Store, owner: str, stranger: str, sqlite: ctypes.CDLL
) -> None:
    def peak(search: Callable[[], object]) -> int:
        search()  # what stays is there from here on
        sqlite.sqlite3_memory_highwater(1)
        before: int = sqlite.sqlite3_memory_used()
        search()
        after: int = sqlite.sqlite3_memory_highwater(0)
        return after - before

    ask(store, owner, "a walrus")
    alone = peak(lambda: find(store, owner, "walr"))
    turn = begin(store, stranger, "walrus")
    drafts = [draft(index, "walrus " * 100, Channel.FINAL) for index in range(1000)]
    finish(store, stranger, turn.generation.id, messages=drafts)
    assert len(find(store, owner, "walr")) == 1
    assert peak(lambda: find(store, owner, "walr")) < alone + 40_000

    def gathering() -> None:
        """The same without an index of beginnings."""
        find(store, owner, "walruswal")

    finish(
        store,
        stranger,
        begin(store, stranger, "more").generation.id,
        messages=[draft(index, "walruswalrus " * 100, Channel.FINAL) for index in range(1000)],
    )
    assert peak(gathering) > alone + 80_000, "or this test could not fail"


def test_pages_tell_everything_once_though_more_is_written(store: Store, owner: str) -> None:
    ids = {ask(store, owner, f"walrus number {number}").conversation.id for number in range(25)}
    page, cursor = store.search(owner, "walrus", ALL, 10)
    seen = [hit.conversation.id for hit in page]
    ask(store, owner, "one walrus more")
    while cursor is not None:
        page, cursor = store.search(owner, "walrus", ALL, 10, cursor)
        seen += [hit.conversation.id for hit in page]
    assert len(seen) == 25
    assert set(seen) == ids


def test_more_than_a_window_is_found_to_the_last(store: Store, owner: str) -> None:
    turn = begin(store, owner, "walrus")
    drafts = [draft(index, f"walrus {index}", Channel.FINAL) for index in range(WINDOW + 20)]
    finish(store, owner, turn.generation.id, messages=drafts)
    gone = ask(store, owner, "walrus")
    store.delete_conversation(owner, gone.conversation.id)
    cursor, seen = None, []
    while True:
        page, cursor = store.search(owner, "walrus", frozenset([SearchKind.ANSWER]), 200, cursor)
        seen += [hit.message_id for hit in page]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == WINDOW + 20


@pytest.mark.parametrize(
    "cursor", ["", "1", "1.2.3", "-1.0.0.0", "1.2.3.4.5", "a.b.c.d", "1.2.3." + "9" * 30]
)
def test_a_cursor_that_is_none_of_ours_is_refused(store: Store, owner: str, cursor: str) -> None:
    with pytest.raises(InvalidValue):
        store.search(owner, "walrus", ALL, 20, cursor)


@pytest.mark.parametrize("cursor", ["0.9999999999999.0.0", "0.0.9999999999999.0", "0.0.0.549755813888"])
def test_a_cursor_that_reaches_into_the_keys_of_other_owners_is_refused(
    store: Store, owner: str, stranger: str, cursor: str
) -> None:
    ask(store, owner, "my walrus")
    turn = begin(store, stranger, "their walrus", title="their walrus")
    finish(store, stranger, turn.generation.id, messages=[draft(0, "their walrus", Channel.ANALYSIS)])
    with pytest.raises(InvalidValue):
        store.search(owner, "walrus", ALL, 20, cursor)


def test_a_cursor_of_another_owner_shows_only_ones_own(store: Store, owner: str, stranger: str) -> None:
    for number in range(4):
        ask(store, owner, f"walrus {number}")
    ask(store, stranger, "walrus of somebody else")
    _, cursor = store.search(owner, "walrus", ALL, 2)
    hits, _ = store.search(stranger, "walrus", ALL, 2, cursor)
    assert all(hit.conversation.title == "untitled" and "else" in str(hit.snippet) for hit in hits)


def test_what_is_archived_is_found_and_what_is_purged_leaves_the_index(store: Store, owner: str) -> None:
    turn = ask(store, owner, "walrus", "walrus", title="walrus")
    store.update_conversation(owner, turn.conversation.id, archived=True)
    assert len(find(store, owner, "walrus")) == 3
    open_turn = begin(store, owner, conversation_id=turn.conversation.id)
    store.save_progress(owner, open_turn.generation.id, [draft(0, "never indexed")], [])
    store.delete_conversation(owner, turn.conversation.id)
    store.purge_deleted(datetime.now(UTC))
    assert find(store, owner, "walrus") == []
    with store._database.read() as session:
        for table in ("search_titles", "search_messages", "search_thoughts"):
            count = session.connection().exec_driver_sql(f"SELECT count(*) FROM {table}").scalar()  # noqa: S608
            assert count == 0
    store._database.write(
        lambda session: session.connection().exec_driver_sql(
            "INSERT INTO search_messages (search_messages) VALUES ('integrity-check')"
        )
    )

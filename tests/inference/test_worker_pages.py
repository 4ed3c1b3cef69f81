"""The page pools and the prefix cache: who holds what, what is found again, and what goes first."""

from __future__ import annotations

from collections import Counter

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from inference.worker.pages import PAGE, KvPages, LedgerError, PagePool, pages_for
from inference.worker.sequence import Sequence
from tests.inference.paper_device import sequence_of

WINDOW = 20


def run(pages: KvPages, tokens: list[int], *, user: str = "ada") -> Sequence:
    """A sequence whose tokens are all computed and known."""
    sequence = sequence_of(tokens, user=user)
    assert pages.admit(sequence)
    compute(pages, sequence)
    return sequence


def compute(pages: KvPages, sequence: Sequence) -> None:
    assert pages.extend(sequence, sequence.length)
    sequence.computed = sequence.length
    pages.confirm(sequence, sequence.length)


def numbers(count: int, start: int = 0) -> list[int]:
    return list(range(start, start + count))


# --- one pool ------------------------------------------------------------------------------------


def test_a_pool_gives_every_page_but_the_scratch_page() -> None:
    pool = PagePool(5)
    assert sorted(pool.take(4)) == [1, 2, 3, 4]
    assert (pool.used, pool.free, pool.cached) == (4, 0, 0)
    with pytest.raises(LedgerError, match="more pages"):
        pool.take(1)


def test_what_nobody_holds_cannot_be_given_back() -> None:
    pool = PagePool(5)
    (page,) = pool.take(1)
    pool.give(page)
    for wrong in (page, 0, 5, -1):
        with pytest.raises(LedgerError, match="nobody holds"):
            pool.give(wrong)
        with pytest.raises(LedgerError, match="in use"):
            pool.label(wrong, b"a")


def test_a_page_with_a_key_outlives_its_holders_until_it_is_needed() -> None:
    pool = PagePool(3)
    (page,) = pool.take(1)
    pool.label(page, b"a")
    pool.share(page)
    pool.give(page)
    assert (pool.used, pool.cached) == (1, 0)
    pool.give(page)
    assert (pool.used, pool.free, pool.cached) == (0, 2, 1)
    assert pool.find(b"a") == page
    pool.take(2)
    assert pool.find(b"a") == 0
    assert pool.cached == 0


def test_blank_pages_go_first_and_then_the_least_recently_used() -> None:
    pool = PagePool(5)
    for page, key in zip(pool.take(3), (b"a", b"b", b"c"), strict=True):
        pool.label(page, key)
        pool.give(page)
    pool.share(pool.find(b"a"))
    pool.give(pool.find(b"a"))
    gone = []
    for _ in range(4):
        pool.take(1)
        gone.append("".join(key.decode() for key in (b"a", b"b", b"c") if not pool.find(key)))
    assert gone == ["", "b", "bc", "abc"]


def test_of_two_pages_with_one_content_the_first_keeps_the_key() -> None:
    pool = PagePool(5)
    first, second, third = pool.take(3)
    pool.label(first, b"a")
    pool.label(second, b"a")
    pool.label(third, b"b")
    assert pool.find(b"a") == first
    pool.give(first)
    pool.give(third)
    pool.label(second, b"a")  # used again, through its double: it goes after "b"
    pool.give(second)
    assert pool.cached == 2
    pool.take(3)
    assert (pool.find(b"a"), pool.find(b"b")) == (first, 0)


def test_unknown_or_changed_content_is_refused() -> None:
    pool = PagePool(5)
    first, second = pool.take(2)
    pool.label(first, b"a")
    with pytest.raises(LedgerError, match="can be found"):
        pool.label(first, b"b")
    with pytest.raises(LedgerError, match="cannot be shared"):
        pool.share(second)


def test_the_ledger_notices_each_kind_of_mistake() -> None:
    pool = PagePool(6)
    page, other = pool.take(2)
    pool.label(other, b"a")
    pool.check(Counter([page, other]))
    for wrong in (Counter([page]), Counter([page, page, other]), Counter([page, other, 3]), Counter([0])):
        with pytest.raises(LedgerError, match="reference counts"):
            pool.check(wrong)
    pool._keys[page] = b"b"
    with pytest.raises(LedgerError, match="do not match"):
        pool.check(Counter([page, other]))
    del pool._keys[page]
    lost = pool._blank.pop()
    with pytest.raises(LedgerError, match="lost"):
        pool.check(Counter([page, other]))
    pool._blank.append(lost)
    pool._blank.append(page)
    with pytest.raises(LedgerError, match="two places"):
        pool.check(Counter([page, other]))


# --- sequences -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("full", "window"), [(40, WINDOW), (40, None), (0, WINDOW)])
def test_the_next_turn_takes_exactly_the_common_pages(full: int, window: int | None) -> None:
    pages = KvPages(full, 40, window)
    first = run(pages, numbers(100))
    pages.release(first)
    pages.check([])
    same = sequence_of([*numbers(100), 5, 6, 7])
    inside = sequence_of([*numbers(70), *numbers(50, 500)])
    other = sequence_of([9, *numbers(100)])
    assert pages.match(same) == 96
    assert pages.match(inside) == 64
    assert pages.match(other) == 0
    assert pages.admit(same)
    assert (same.cached, same.computed, same.confirmed) == (96, 96, 96)
    pages.check([same])


def test_the_last_token_is_always_computed() -> None:
    pages = KvPages(40, 40, WINDOW)
    run(pages, numbers(64))
    assert pages.match(sequence_of(numbers(64))) == 48
    assert pages.match(sequence_of(numbers(65))) == 64
    assert pages.match(sequence_of([0])) == 0


def test_without_reuse_every_prompt_is_read_from_its_first_token() -> None:
    pages = KvPages(40, 40, WINDOW, reuse=False)
    pages.release(run(pages, numbers(100)))
    again = run(pages, numbers(100))
    assert again.cached == 0
    pages.check([again])


def test_only_the_pages_of_the_window_are_held() -> None:
    pages = KvPages(40, 40, WINDOW)
    sequence = run(pages, numbers(100))
    assert all(sequence.full_pages)
    # The next token has position 100 and sees 81 .. 100: pages 5 and 6.
    assert [bool(page) for page in sequence.sliding_pages] == [False] * 5 + [True] * 2
    assert (pages.full.used, pages.sliding.used, pages.sliding.cached) == (7, 2, 5)
    later = run(pages, [*numbers(100), 1])
    assert [bool(page) for page in later.sliding_pages] == [False] * 5 + [True] * 2
    assert later.full_pages[:6] == sequence.full_pages[:6]
    assert later.full_pages[6] != sequence.full_pages[6]
    pages.check([sequence, later])


def test_what_a_pass_in_flight_may_see_is_kept() -> None:
    pages = KvPages(40, 40, WINDOW)
    sequence = sequence_of(numbers(200))
    assert pages.admit(sequence)
    assert pages.extend(sequence, 200)
    sequence.computed = 200
    pages.confirm(sequence, 50)
    assert [bool(page) for page in sequence.sliding_pages] == [False] + [True] * 12
    assert pages.match(sequence_of(numbers(200))) == 48


def test_a_lost_sliding_page_makes_the_match_shorter() -> None:
    """At 100 tokens sliding pages 5 and 4 are needed, at 80 tokens 4 and 3, and so on."""
    pages = KvPages(40, 40, WINDOW)
    sequence = run(pages, numbers(100))
    keys = list(sequence.page_keys)
    pages.release(sequence)
    again = sequence_of(numbers(100))
    for lost, expected in ((5, 80), (4, 64), (2, 32), (0, 0)):
        pool = pages.sliding
        page = pool.find(keys[lost])
        pool._idle.move_to_end(page, last=False)
        pool.take(len(pool._blank) + 1)
        assert pool.find(keys[lost]) == 0
        assert pages.match(again) == expected
        assert pages.full.cached == 6


def test_a_system_prefix_is_shared_by_two_users() -> None:
    pages = KvPages(40, 40, WINDOW)
    system = numbers(40)
    ada = run(pages, [*system, *numbers(30, 100)])
    bob = run(pages, [*system, *numbers(30, 200)], user="bob")
    assert bob.cached == 32
    assert ada.full_pages[:2] == bob.full_pages[:2]
    assert not set(ada.full_pages[2:]) & set(bob.full_pages[2:])
    pages.check([ada, bob])
    pages.release(ada)
    pages.check([bob])
    assert pages.match(sequence_of([*system, 1])) == 32


def test_the_tail_of_a_conversation_goes_before_its_beginning() -> None:
    pages = KvPages(11, 40, WINDOW)
    old, new = numbers(80), numbers(80, 1000)
    for tokens in (old, new):
        pages.release(run(pages, tokens))
    found = []
    for _ in range(10):
        pages.full.take(1)
        found.append([sum(bool(pages.full.find(key)) for key in keys_of(tokens)) for tokens in (old, new)])
    assert found == [[4, 5], [3, 5], [2, 5], [1, 5], [0, 5], [0, 4], [0, 3], [0, 2], [0, 1], [0, 0]]
    assert not any(pages.full.find(key) for key in keys_of(new))


def keys_of(tokens: list[int]) -> list[bytes]:
    sequence = sequence_of([*tokens, 0])
    KvPages(2, 0, None).match(sequence)
    return sequence.page_keys


def test_a_chain_stays_whole_when_the_double_of_a_page_is_gone() -> None:
    """Two that read the same at once: the one without keys gets them when the other's pages are gone."""
    pages = KvPages(12, 40, WINDOW)
    first, second = sequence_of(numbers(50)), sequence_of(numbers(50))
    for sequence in (first, second):
        assert pages.admit(sequence)
        assert pages.extend(sequence, 50)
        sequence.computed = 50
    for sequence in (first, second):
        pages.confirm(sequence, 50)
    pages.release(first)
    filler = pages.full.take(pages.full.free)
    assert pages.match(sequence_of(numbers(50))) == 0
    pages.release(second)
    assert pages.match(sequence_of(numbers(50))) == 48
    for page in filler:
        pages.full.give(page)
    pages.check([])


def test_extend_takes_all_or_nothing() -> None:
    pages = KvPages(4, 7, WINDOW)
    sequence = sequence_of(numbers(100))
    assert pages.room(sequence) == 48
    assert not pages.extend(sequence, 49)
    assert (pages.full.used, pages.sliding.used) == (0, 0)
    assert pages.extend(sequence, 48)
    assert pages.extend(sequence, 10)
    assert (pages.full.used, pages.sliding.used) == (3, 3)
    assert pages.fits(48)
    assert not pages.fits(49)


def test_admission_leaves_room_for_others() -> None:
    pages = KvPages(11, 11, WINDOW)
    pages.release(run(pages, numbers(64)))
    sequence = sequence_of(numbers(100))  # 4 pages are there, 3 more are needed, and 3 are left
    assert not pages.admit(sequence, spare=4)
    assert not pages.admit(sequence, spare=1, promised=3)
    assert not pages.admit(sequence_of(numbers(150, 3)), chunk=150, spare=1)
    assert (sequence.computed, pages.full.used, pages.sliding.used) == (0, 0, 0)
    assert pages.admit(sequence, spare=1, promised=2)
    with pytest.raises(LedgerError, match="twice"):
        pages.admit(sequence)


def test_only_the_first_admission_counts_as_cached() -> None:
    pages = KvPages(40, 40, WINDOW)
    sequence = run(pages, numbers(100))
    pages.release(sequence)
    sequence.preemptions = 1
    assert pages.admit(sequence)
    assert (sequence.cached, sequence.computed) == (0, 96)


def test_nothing_unconfirmed_is_ever_found() -> None:
    pages = KvPages(40, 40, WINDOW)
    sequence = sequence_of(numbers(100))
    assert pages.admit(sequence)
    assert pages.extend(sequence, 90)
    sequence.computed = 90
    pages.confirm(sequence, 40)
    pages.rollback(sequence)
    assert (sequence.computed, len(sequence.full_pages), len(sequence.sliding_pages)) == (40, 3, 3)
    pages.check([sequence])
    assert pages.match(sequence_of(numbers(100))) == 32
    with pytest.raises(LedgerError, match="not computed"):
        pages.confirm(sequence, 41)
    pages.release(sequence)
    assert pages.match(sequence_of(numbers(100))) == 32
    assert (sequence.computed, sequence.confirmed) == (0, 0)


def test_ids_that_are_still_on_the_device_have_no_keys() -> None:
    pages = KvPages(40, 40, WINDOW)
    sequence = run(pages, numbers(31))
    sequence.pending = 2
    assert pages.extend(sequence, 33)
    sequence.computed = 33
    with pytest.raises(LedgerError, match="not computed"):
        pages.confirm(sequence, 32)
    assert pages.match(sequence) == 16
    assert len(sequence.page_keys) == 1


def test_pools_that_hold_no_single_sequence_are_refused() -> None:
    with pytest.raises(ValueError, match="whole window"):
        KvPages(10, pages_for(WINDOW - 1) + 1, WINDOW)
    with pytest.raises(ValueError, match="full layers"):
        KvPages(1, 10, WINDOW)
    with pytest.raises(ValueError, match="one kind"):
        KvPages(0, 10, None)


@settings(max_examples=200, deadline=None)
@given(
    window=st.integers(1, 70),
    length=st.integers(1, 150),
    present=st.sets(st.integers(0, 9)),
    full=st.sets(st.integers(0, 9)),
)
def test_the_match_is_the_longest_that_is_allowed(
    window: int, length: int, present: set[int], full: set[int]
) -> None:
    """Against the definition, for every set of pages that are there."""
    pages = KvPages(20, 20, window)
    sequence = sequence_of(numbers(length))
    keys = keys_of(numbers(160))
    for pool, there in ((pages.full, full), (pages.sliding, present)):
        for index in there:
            (page,) = pool.take(1)
            pool.label(page, keys[index])

    def allowed(count: int) -> bool:
        seen = {position // PAGE for position in range(max(count * PAGE - window + 1, 0), count * PAGE)}
        return set(range(count)) <= full and seen <= present and count * PAGE <= length - 1

    assert pages.match(sequence) == max(count for count in range(11) if allowed(count)) * PAGE

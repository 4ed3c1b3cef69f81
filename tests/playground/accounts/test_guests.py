"""Who becomes a guest, and that one visitor does not become two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from playground.accounts.identity import Replaced, Tokens, Visit, token_hash
from playground.accounts.service import Accounts
from playground.errors import PlaygroundError
from storage.store import Store
from tests.playground.world import settings_for


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[Accounts]:
    settings = settings_for(tmp_path)
    store = Store.open(settings.database_path)
    yield Accounts(settings, store)
    store.close()


def visit(token: str | None) -> Visit:
    return Visit(token, (), secure=False)


def loaded(accounts: Accounts) -> str:
    """The token that a page gave to a new visitor."""
    page = visit(None)
    accounts.welcome(page)
    assert page.give is not None
    return page.give


def test_a_visitor_stays_the_one_whom_the_page_welcomed(accounts: Accounts) -> None:
    token = loaded(accounts)
    asking = visit(token)
    actor = accounts.find(asking)
    assert asking.give is None
    assert accounts.find(visit(token)) == actor
    again = visit(token)
    accounts.welcome(again)
    assert again.give == token


def test_two_first_requests_of_one_page_are_one_guest(accounts: Accounts) -> None:
    """The second is answered while the first waits to be let in."""
    token = loaded(accounts)
    first, second = visit(token), visit(token)
    found = []
    actor = accounts.find(first, lambda: found.append(accounts.find(second)))
    assert (first.give, second.give) == (None, None)
    assert [actor] == found


def test_a_token_that_was_not_made_here_is_replaced(accounts: Accounts) -> None:
    asking = visit("x" * 43)
    accounts.find(asking)
    assert asking.give not in (None, asking.token)


def test_what_arrives_after_its_token_was_replaced_makes_nobody_a_guest(accounts: Accounts) -> None:
    times = [0.0]
    accounts.replaced = Replaced(clock=lambda: times[-1])
    token = loaded(accounts)
    before = accounts.find(visit(token))
    accounts.replaced.note(token)
    assert accounts.find(visit(token)) == before, "it is to be, but is not yet"
    accounts.store.delete_user(before.user_id if before else "")
    accounts.forget(token)
    for seconds in (0.0, 29.0):
        times.append(seconds)
        late = visit(token)
        with pytest.raises(PlaygroundError, match="has just changed") as refused:
            accounts.find(late)
        assert (refused.value.status, late.give) == (409, None)
    page = visit(token)
    accounts.welcome(page)
    assert page.give is None
    times.append(30.0)
    later = visit(token)
    accounts.find(later)
    assert later.give not in (None, token)


def test_a_page_that_was_loading_does_not_bring_the_token_before_back(accounts: Accounts) -> None:
    token = loaded(accounts)
    accounts.find(visit(token))
    page = visit(token)
    accounts.welcome(page)
    assert page.give == token
    assert not accounts.is_outdated(page)
    accounts.replaced.note(token)
    assert accounts.is_outdated(page)


def test_while_a_sign_in_is_being_saved_its_guest_is_not_made_again(accounts: Accounts) -> None:
    token = loaded(accounts)
    actor = accounts.find(visit(token))
    assert actor is not None
    accounts.replaced.note(token)
    accounts.store.delete_user(actor.user_id)  # saved, and not yet forgotten here
    with pytest.raises(PlaygroundError, match="has just changed"):
        accounts.find(visit(token))
    assert not accounts.store.has_guest(token_hash(token))


def test_a_visitor_whose_sign_in_fails_stays_the_one_he_was(accounts: Accounts) -> None:
    token = loaded(accounts)
    accounts.replaced.note(token)
    asking = visit(token)
    accounts.find(asking)
    assert asking.give is None


def test_of_somebody_who_has_asked_one_thing_is_remembered(accounts: Accounts) -> None:
    tokens = [loaded(accounts) for _ in range(5)]
    assert all(token in accounts.issued for token in tokens)
    for token in tokens:
        accounts.find(visit(token))
    assert not any(token in accounts.issued for token in tokens)
    assert all(token in accounts.guests for token in tokens)


def test_a_guest_who_is_remembered_no_more_is_found_in_the_database(accounts: Accounts) -> None:
    accounts.guests = Tokens(2)
    tokens = [loaded(accounts) for _ in range(4)]
    actors = [accounts.find(visit(token)) for token in tokens]
    assert tokens[0] not in accounts.guests
    again = [visit(token) for token in tokens]
    assert [accounts.find(each) for each in again] == actors
    assert [each.give for each in again] == [None] * 4

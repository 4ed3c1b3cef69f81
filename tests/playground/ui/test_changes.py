"""What happens elsewhere shows here: two devices, two tabs of one browser, a lost connection."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.playground.scripted import Script
from tests.playground.ui.conftest import NewPage
from tests.playground.ui.served import Served
from tests.playground.ui.shelf import Person, conversation
from tests.playground.ui.test_conversation import ask

pytestmark = pytest.mark.browser

WORDS = " ".join(f"word{number}" for number in range(60))


@pytest.fixture
def person(served: Served) -> Person:
    return Person.of(served)


def items(page: Page) -> Locator:
    return page.get_by_test_id("conversation-item")


def second_tab(page: Page) -> Page:
    """Another tab of the same browser; its clock stands still, so nothing happens because time passes.

    The page is one of a profile that is used once: clocks belong to profiles.
    """
    tab = page.context.new_page()
    tab.clock.install()
    tab.goto(page.url)
    tab.wait_for_selector("html[data-pg-ready]")
    expect(tab.get_by_test_id("list-message")).to_be_visible()
    tab.clock.pause_at(datetime.now(UTC) + timedelta(hours=1))
    return tab


def test_two_devices_see_the_same_list_and_the_same_stream(
    served: Served, person: Person, new_page: NewPage
) -> None:
    here, there = new_page(**person.browser()), new_page(**person.browser())
    expect(here.get_by_test_id("list-message")).to_be_visible()
    script = served.held(20, ("final", WORDS))
    ask(there, "Asked elsewhere")
    expect(items(here)).to_have_count(1)
    expect(here.get_by_test_id("running-dot")).to_be_visible()
    items(here).click()
    expect(here.get_by_test_id("answer")).to_contain_text("word3")
    expect(here.get_by_test_id("stop")).to_be_visible()
    served.let_go(script)
    for page in (here, there):
        expect(page.get_by_test_id("answer")).to_have_text(WORDS)
        expect(page.get_by_test_id("reply-footer")).to_be_visible()
    expect(here.get_by_test_id("running-dot")).to_be_hidden()

    # Both look at it now: what one asks, the other sees being answered.
    script = served.held(20, ("final", f"second {WORDS}"))
    ask(there, "And again?")
    expect(here.get_by_test_id("user-message")).to_contain_text(["Asked elsewhere", "And again?"])
    expect(here.get_by_test_id("answer").nth(1)).to_contain_text("second word0")
    served.let_go(script)
    expect(here.get_by_test_id("answer").nth(1)).to_have_text(f"second {WORDS}")
    expect(here.get_by_test_id("user-message")).to_have_count(2)


def test_names_pins_and_deletes_of_another_device_show(person: Person, new_page: NewPage) -> None:
    person.keep(
        conversation("One", question="Who?"),
        conversation("Two", ago=timedelta(hours=30)),
        conversation("Three", ago=timedelta(hours=60)),
    )
    here, there = new_page(**person.browser()), new_page(**person.browser())
    items(here).filter(has_text="One").click()
    expect(here.get_by_test_id("title")).to_have_text("One")
    items(there).filter(has_text="One").focus()
    there.keyboard.press("F2")
    there.get_by_test_id("rename-input").fill("Uno")
    there.keyboard.press("Enter")
    expect(items(here)).to_have_text(["Uno", "Two", "Three"])
    expect(here.get_by_test_id("title")).to_have_text("Uno")
    items(there).filter(has_text="Two").focus()
    there.keyboard.press("Delete")
    expect(items(here)).to_have_text(["Uno", "Three"])
    there.keyboard.press("Control+z")
    expect(items(here)).to_have_text(["Uno", "Two", "Three"])
    items(there).filter(has_text="Uno").focus()
    there.keyboard.press("Delete")
    expect(items(here)).to_have_text(["Two", "Three"])
    expect(here.get_by_test_id("page-error")).to_contain_text("deleted")


def test_tabs_of_one_browser_tell_each_other(served: Served, person: Person, new_page: NewPage) -> None:
    served.play(Script([("final", "Here it is.")]))
    page = new_page(**person.browser(), once=True)
    tab = second_tab(page)
    ask(page, "Only told by the other tab")
    expect(page.get_by_test_id("reply-footer")).to_be_visible()
    expect(items(tab)).to_have_count(1)
    expect(tab.get_by_test_id("running-dot")).to_be_hidden()
    items(page).focus()
    page.keyboard.press("Delete")
    expect(items(tab)).to_have_count(0)


def test_a_focused_row_and_a_name_being_typed_survive_what_others_do(
    served: Served, person: Person, new_page: NewPage
) -> None:
    served.play(Script([("final", "Yes.")]))
    person.keep(conversation("One", question="Who?"), conversation("Two", ago=timedelta(minutes=5)))
    here, there = new_page(**person.browser()), new_page(**person.browser())
    items(here).filter(has_text="One").focus()
    here.keyboard.press("F2")
    here.get_by_test_id("rename-input").fill("Half a na")
    ask(there, "Something new")
    expect(items(here).filter(has_text="Something new")).to_be_visible()
    expect(here.get_by_test_id("rename-input")).to_be_focused()
    here.keyboard.type("me")
    here.keyboard.press("Enter")
    expect(items(here).filter(has_text="Half a name")).to_be_focused()
    expect(items(there).filter(has_text="Half a name")).to_be_visible()


def test_offline_is_said_keeps_the_text_and_what_was_missed_comes_by_itself(
    person: Person, new_page: NewPage
) -> None:
    page = new_page(**person.browser())
    expect(page.get_by_test_id("list-message")).to_be_visible()
    page.context.set_offline(True)
    expect(page.get_by_test_id("composer-hint")).to_contain_text("You are offline.")
    box = page.get_by_test_id("composer-input")
    box.fill("Written on the train")
    expect(page.get_by_test_id("send")).to_be_disabled()
    person.keep(conversation("Made meanwhile"))
    page.context.set_offline(False)
    expect(items(page)).to_have_text(["Made meanwhile"])
    expect(page.get_by_test_id("composer-hint")).to_be_empty()
    expect(box).to_have_value("Written on the train")
    box.press("Enter")
    expect(page.get_by_test_id("reply-footer")).to_have_count(1)


def test_a_list_and_a_conversation_that_could_not_be_read_come_back(
    person: Person, new_page: NewPage
) -> None:
    [kept] = person.keep(conversation("Kept", question="Are you there?"))
    away = True

    def answer(route: Route) -> None:
        if away:
            route.abort()
        else:
            route.continue_()

    page = new_page(**person.browser())
    page.route("**/api/c**", answer)
    page.reload()
    expect(page.get_by_test_id("list-message")).to_contain_text("cannot be reached")
    page.evaluate("id => history.pushState(null, '', `/c/${id}`)", kept.id)
    page.evaluate("dispatchEvent(new PopStateEvent('popstate'))")
    expect(page.get_by_test_id("page-error")).to_contain_text("cannot be reached")
    away = False
    expect(items(page)).to_have_text(["Kept"])
    expect(page.get_by_test_id("user-message")).to_contain_text("Are you there?")


def test_a_server_that_is_away_is_asked_less_and_less(person: Person, new_page: NewPage) -> None:
    page = second_tab(new_page(**person.browser(), once=True))
    asked: list[str] = []

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=429, body="{}")

    page.route("**/api/changes*", refuse)
    for _ in range(12):  # two minutes, in which it would have been asked each time
        page.clock.run_for(10_000)
        page.wait_for_timeout(50)
    assert 3 <= len(asked) <= 7
    before = len(asked)
    with page.expect_response("**/api/changes*"):
        page.evaluate("dispatchEvent(new Event('focus'))")
    assert len(asked) == before + 1


def test_a_page_that_missed_too_much_reads_the_list_again(person: Person, new_page: NewPage) -> None:
    page = new_page(**person.browser())
    expect(page.get_by_test_id("list-message")).to_be_visible()
    page.context.set_offline(True)
    person.keep(*[conversation(f"Number {n}", ago=timedelta(minutes=n)) for n in range(450)])
    page.context.set_offline(False)
    expect(items(page).first).to_have_text("Number 0")
    page.get_by_test_id("search-open").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("End")
    focused = page.evaluate("document.activeElement.textContent")
    assert int(focused.removeprefix("Number ")) >= 30

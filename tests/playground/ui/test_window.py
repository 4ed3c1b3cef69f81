"""A thousand messages: only what is seen stands in the document, and nothing jumps while it is read."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.playground.scripted import Script
from tests.playground.ui.long import long_conversation, owner_of
from tests.playground.ui.served import Served
from tests.playground.ui.test_conversation import WORDS, ask

pytestmark = pytest.mark.browser

TURNS = 340
"""Three messages each."""
MOST_TURNS = 12
MOST_NODES = 1500
SCROLLER = "document.getElementById('pg-scroller')"
DRAWN = "document.querySelectorAll('.pg-turn').length"
NODES = "document.querySelectorAll('#pg-messages *').length"
WALK = """async ([by, steps]) => {
  // What is in the middle of the view must move by just as much as was scrolled.
  const scroller = document.getElementById("pg-scroller");
  const { left, top, width, height } = scroller.getBoundingClientRect();
  let worst = 0;
  for (let step = 0; step < steps; step += 1) {
    const node = document.elementFromPoint(left + width / 2, top + height / 2);
    const before = node.getBoundingClientRect().top;
    const from = scroller.scrollTop;
    scroller.scrollTop = from + by;
    await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
    await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
    if (!node.isConnected) return 10_000;
    if (from > 600) worst = Math.max(worst, Math.abs(node.getBoundingClientRect().top - before + by));
  }
  return worst;
}"""


def open_long(served: Served, page: Page, turns: int = TURNS) -> str:
    conversation = served.store.insert_conversation(owner_of(page, served.store), long_conversation(turns))
    page.goto(f"{served.url}/c/{conversation.id}")
    expect(page.get_by_test_id("answer").last).to_contain_text(f"Answer {turns - 1}.")
    expect(page.locator(".pg-prose p").last).to_be_attached()
    return conversation.id


def bounded(page: Page) -> None:
    assert 0 < page.evaluate(DRAWN) <= MOST_TURNS
    assert page.evaluate(NODES) <= MOST_NODES


def test_a_long_conversation_opens_at_its_end_and_draws_little(served: Served, page: Page) -> None:
    open_long(served, page)
    expect(page.get_by_test_id("reply-footer").last).to_be_in_viewport()
    bounded(page)
    page.evaluate(f"{SCROLLER}.scrollTop = 0")
    expect(page.get_by_test_id("user-message").first).to_contain_text("Question 0:")
    expect(page.get_by_test_id("user-message").first).to_be_in_viewport()
    bounded(page)
    page.evaluate(f"{SCROLLER}.scrollTop = {SCROLLER}.scrollHeight / 2")
    expect(page.get_by_test_id("user-message").first).not_to_contain_text("Question 0:")
    bounded(page)
    page.get_by_test_id("jump-to-latest").click()
    expect(page.get_by_test_id("reply-footer").last).to_be_in_viewport()
    expect(page.get_by_test_id("answer").last).to_contain_text(f"Answer {TURNS - 1}.")
    expect(page.get_by_test_id("jump-to-latest")).to_be_hidden()
    bounded(page)


def test_nothing_jumps_while_one_scrolls_through_what_was_never_drawn(served: Served, page: Page) -> None:
    open_long(served, page, 60)
    page.evaluate("import('/static/js/math.js').then(({ loadMaths }) => loadMaths())")
    page.evaluate("document.fonts.ready.then(() => true)")
    assert page.evaluate(WALK, [-180, 60]) <= 2
    assert page.evaluate(WALK, [150, 60]) <= 2


def test_what_is_focused_selected_or_written_stays(served: Served, page: Page) -> None:
    served.engine.context_length = 60_000
    open_long(served, page, 80)
    page.get_by_test_id("edit").last.click()
    page.get_by_test_id("edit-input").fill("half written")
    page.evaluate(f"{SCROLLER}.scrollTop = 0")
    expect(page.get_by_test_id("user-message").first).to_contain_text("Question 0:")
    expect(page.get_by_test_id("edit-input")).to_have_value("half written")
    page.get_by_test_id("edit-input").press("Escape")

    first = page.get_by_test_id("user-message").first
    first.evaluate("node => getSelection().selectAllChildren(node)")
    page.get_by_test_id("jump-to-latest").click()
    expect(page.get_by_test_id("answer").last).to_contain_text("Answer 79.")
    expect(first).to_contain_text("Question 0:")
    assert "Question 0:" in page.evaluate("getSelection().toString()")
    page.evaluate("getSelection().removeAllRanges()")
    page.mouse.move(700, 300)
    page.mouse.wheel(0, -200)
    expect(first).not_to_contain_text("Question 0:")

    script = served.held(70, ("final", " ".join(WORDS)))
    ask(page, "Go on")
    expect(page.get_by_test_id("answer").last).to_contain_text("word3")
    page.evaluate(f"{SCROLLER}.scrollTop = 0")
    expect(page.get_by_test_id("user-message").first).to_contain_text("Question 0:")
    expect(page.get_by_test_id("answer").last).to_contain_text("word3")
    served.let_go(script)
    page.get_by_test_id("jump-to-latest").click()
    expect(page.get_by_test_id("answer").last).to_have_text(" ".join(WORDS))
    bounded(page)


def test_reasoning_that_was_left_out_is_fetched_when_it_is_opened(served: Served, page: Page) -> None:
    open_long(served, page, 60)
    page.evaluate(f"{SCROLLER}.scrollTop = 0")
    toggle = page.get_by_test_id("reasoning-toggle").first
    expect(page.get_by_test_id("user-message").first).to_contain_text("Question 0:")
    asked: list[str] = []
    page.on(
        "request", lambda request: asked.append(request.url) if "/api/generations/" in request.url else None
    )
    toggle.click()
    expect(page.get_by_test_id("reasoning-body").first).to_contain_text("I look at it step by step.")
    toggle.click()
    toggle.click()
    expect(page.get_by_test_id("reasoning-body").first).to_contain_text("I look at it step by step.")
    assert len(asked) == 1
    # What was opened is still open after a way there and back.
    page.get_by_test_id("jump-to-latest").click()
    expect(page.get_by_test_id("answer").last).to_contain_text("Answer 59.")
    expect(page.get_by_test_id("reasoning-body").first).to_be_hidden()
    page.evaluate(f"{SCROLLER}.scrollTop = 0")
    expect(page.get_by_test_id("user-message").first).to_contain_text("Question 0:")
    expect(page.get_by_test_id("reasoning-body").first).to_contain_text("I look at it step by step.")


def test_a_long_reasoning_is_whole(served: Served, page: Page) -> None:
    sentence = "It is so because of what was said above, and so it must be. "
    thought = "\n\n".join([sentence * 3] * 20 + [sentence * 100])
    served.engine.context_length = 60_000
    served.play(Script([("analysis", thought), ("final", "So.")], portion=200))
    ask(page)
    expect(page.get_by_test_id("answer")).to_have_text("So.")
    page.get_by_test_id("reasoning-toggle").click()
    body = page.get_by_test_id("reasoning-body")
    expect(body.locator("p").first).to_have_text((sentence * 3).strip())
    written: str = body.evaluate("node => node.textContent")
    assert written == thought.replace("\n\n", "")
    assert body.locator("p").count() > 21
    expect(body.locator(".pg-goes-on").first).to_be_attached()


def test_a_hit_of_the_search_is_shown_in_the_middle_of_a_long_conversation(
    served: Served, page: Page
) -> None:
    open_long(served, page, 120)
    page.keyboard.press("Control+k")
    page.get_by_test_id("search-input").fill('"Question 40:"')
    page.get_by_test_id("search-result").filter(has_text="Question 40").click()
    hit = page.get_by_test_id("user-message").filter(has_text="Question 40:")
    expect(hit).to_be_in_viewport()
    bounded(page)

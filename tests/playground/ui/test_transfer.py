"""Export and import in a real browser: the file that comes, the report of what was taken, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import FilePayload, Page, expect

from tests.playground.scripted import Script
from tests.playground.ui.served import Served
from tests.playground.ui.test_conversation import ask

pytestmark = pytest.mark.browser

THOUGHT = "Tens and ones."


@pytest.fixture
def owner(served: Served, page: Page) -> Page:
    served.play(Script([("analysis", THOUGHT), ("final", "It is 42.")]))
    ask(page)
    expect(page.get_by_test_id("reply-footer")).to_be_visible()
    return page


def export(page: Page, name: str, reasoning: bool = True) -> tuple[str, str]:
    """The name and text of the file of the open conversation."""
    page.get_by_test_id("conversation-menu").press("Enter")
    page.get_by_test_id("export").click()
    page.get_by_test_id(f"export-{name}").check()
    page.get_by_test_id("export-reasoning").set_checked(reasoning)
    with page.expect_download() as download:
        page.get_by_test_id("export-download").click()
    expect(page.get_by_test_id("export-dialog")).to_have_count(0)
    return download.value.suggested_filename, Path(download.value.path()).read_text(encoding="utf-8")


def data_tab(page: Page) -> None:
    page.keyboard.press("Control+Shift+E")
    page.get_by_test_id("tab-data").click()


def file(value: object, name: str = "chat.json") -> FilePayload:
    return {"name": name, "mimeType": "application/json", "buffer": json.dumps(value).encode()}


def test_a_conversation_is_exported_in_each_format_and_all_at_once(owner: Page) -> None:
    for name, ending in (("markdown", ".md"), ("json", ".json"), ("html", ".html")):
        filename, text = export(owner, name)
        assert filename.endswith(ending)
        assert "It is 42." in text
        assert THOUGHT in text
        assert THOUGHT not in export(owner, name, reasoning=False)[1]
    data_tab(owner)
    with owner.expect_download() as download:
        owner.get_by_test_id("export-download").click()
    assert "It is 42." in Path(download.value.path()).read_text(encoding="utf-8")


def test_an_export_is_imported_again_and_opened(owner: Page) -> None:
    _, text = export(owner, "json")
    address = owner.url
    data_tab(owner)
    owner.get_by_test_id("import-file").set_input_files(file(json.loads(text)))
    expect(owner.get_by_test_id("import-report")).to_have_count(1)
    expect(owner.get_by_test_id("import-result")).to_contain_text("One conversation was imported.")
    expect(owner.get_by_test_id("conversation-item")).to_have_count(2)
    owner.get_by_test_id("import-open").click()
    expect(owner.get_by_test_id("settings-dialog")).to_have_count(0)
    expect(owner.get_by_test_id("answer")).to_have_text("It is 42.")
    assert owner.url != address
    owner.get_by_test_id("reasoning-toggle").click()
    expect(owner.get_by_test_id("reasoning-body")).to_have_text(THOUGHT)


def test_a_file_that_is_refused_says_why_and_another_programs_file_is_reported(page: Page) -> None:
    data_tab(page)
    page.get_by_test_id("import-file").set_input_files(
        {"name": "x.json", "mimeType": "application/json", "buffer": b"{not json"}
    )
    expect(page.get_by_test_id("import-problem")).to_contain_text("Nothing was imported.")
    expect(page.get_by_test_id("import-choose")).to_be_enabled()
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("conversation-item")).to_have_count(0)

    data_tab(page)
    messages = [
        {"role": "user", "content": "Hello <b>"},
        {"role": "assistant", "content": "Good day."},
    ]
    drop = """(node, text) => {
        const data = new DataTransfer();
        data.items.add(new File([text], "sharegpt.json", { type: "application/json" }));
        for (const name of ["dragover", "drop"])
            node.dispatchEvent(new DragEvent(name, { bubbles: true, cancelable: true, dataTransfer: data }));
    }"""
    page.get_by_test_id("import-drop").evaluate(drop, json.dumps(messages))
    expect(page.get_by_test_id("import-report")).to_contain_text("2 messages taken")
    expect(page.get_by_test_id("user-message")).to_have_text("Hello <b>")

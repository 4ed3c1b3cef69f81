"""Markdown and HTML files: what stands where, and that no text swallows what follows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from markdown_it import MarkdownIt

from playground.exchange.export_html import POLICY, html
from playground.exchange.export_markdown import closed, fenced, markdown
from playground.exchange.transcript import Transcript, transcript
from storage.store import Store
from tests.playground.exchange.files import OWN, drafts


@pytest.fixture
def store() -> Iterator[Store]:
    opened = Store.open_in_memory()
    yield opened
    opened.close()


def shown(store: Store, content: Any, *, reasoning: bool = True) -> Transcript:
    """The only conversation of a file, as it is shown."""
    owner = store.user_for_identity("a" * 64).id
    [record] = store.insert_conversations(owner, drafts(content))
    path = store.path(owner, record.id)
    generations = store.conversation_generations(owner, record.id)
    return transcript(record, path, generations, reasoning=reasoning)


def chat(*pairs: tuple[str, str], **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": text} for role, text in pairs], **fields}


def test_markdown_has_title_date_effort_model_and_folded_reasoning(store: Store) -> None:
    assert markdown(shown(store, OWN)) == (
        "# Sums\n\n*2026-01-01*\n\n## Question\n\n1 + 1?\n\n## Reply\n\n*demo · high effort*\n\n"
        "<details>\n<summary>Reasoning</summary>\n\nTwo.\n\n</details>\n\n2\n"
    )


def test_markdown_without_reasoning_has_no_trace_of_it(store: Store) -> None:
    text = markdown(shown(store, OWN, reasoning=False))
    assert "<details>" not in text
    assert text.endswith("*demo · high effort*\n\n2\n")


def test_instructions_and_tools_are_exported(store: Store) -> None:
    calls = [{"id": "c", "function": {"name": "add", "arguments": '{"a": 1}'}}]
    file = chat(("system", "Be brief."), ("user", "1 + 1?"))
    file["messages"] += [
        {"role": "assistant", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c", "content": "```\n2"},
        {"role": "assistant", "content": "2"},
    ]
    transcript_ = shown(store, file)
    text = markdown(transcript_)
    assert "## Instructions\n\nBe brief." in text
    assert '<summary>Call of functions.add</summary>\n\n```json\n{"a": 1}\n```' in text
    assert "<summary>Result of functions.add</summary>\n\n````\n```\n2\n````" in text
    page = html(transcript_)
    assert "<summary>Instructions</summary><pre>Be brief.</pre>" in page
    assert "<summary>Call of functions.add</summary><pre>{&quot;a&quot;: 1}</pre>" in page


def test_a_title_cannot_leave_its_heading(store: Store) -> None:
    transcript_ = shown(store, chat(("user", "Hi"), title="a\n# b <script> & c"))
    assert markdown(transcript_).startswith("# a # b &lt;script&gt; &amp; c\n\n*")
    assert "<title>a # b &lt;script&gt; &amp; c</title>" in html(transcript_)


@pytest.mark.parametrize(
    "open_text",
    [
        "```python\nprint(1)",
        "~~~\nx",
        "````\n```\nx",
        "a\n\n   ```\nx",
        "```\nx\n```\n\n```\ny",
        "~~~ a`b\nx",
    ],
)
def test_a_block_of_code_that_was_cut_does_not_swallow_the_next_answer(store: Store, open_text: str) -> None:
    text = markdown(shown(store, chat(("user", "Q"), ("assistant", open_text), ("user", "NEXT"))))
    tokens = MarkdownIt("commonmark").parse(text)
    headings = [tokens[at + 1].content for at, token in enumerate(tokens) if token.type == "heading_open"]
    assert headings[1:] == ["Question", "Reply", "Question"]


@pytest.mark.parametrize("whole", ["```\nx\n```", "`x`", "``` a`b\nx", "x", "", "    ```\nx"])
def test_text_that_is_whole_stays_as_it_is(whole: str) -> None:
    assert closed(whole) == whole


def test_reasoning_cannot_end_its_own_fold(store: Store) -> None:
    thought = {"role": "assistant", "content": "A", "reasoning": "x </details> <SUMMARY> y"}
    text = markdown(shown(store, {"messages": [{"role": "user", "content": "Q"}, thought]}))
    assert text.count("</details>") == 1
    assert "x &lt;/details> &lt;SUMMARY> y" in text


@pytest.mark.parametrize("text", ["x", "```", "a\n`````\nb", "`"])
def test_anything_can_stand_in_a_block_of_code(text: str) -> None:
    [token] = MarkdownIt("commonmark").parse(fenced(text, "json"))
    assert (token.type, token.content) == ("fence", text + "\n")


def test_the_html_file_draws_markdown_and_closes_reasoning(store: Store) -> None:
    answer = "# Big\n\n| a | b |\n|:-:|--:|\n| 1 | **2** |\n\n![cat](https://far.example/cat.png) [x](https://a.example)"
    thought = {"role": "assistant", "content": answer, "reasoning": "*hm*"}
    page = html(shown(store, {"messages": [{"role": "user", "content": "<b>Q</b>"}, thought]}))
    assert f'content="{POLICY}"' in page
    assert "<details><summary>Reasoning</summary><p><em>hm</em></p>" in page
    assert "<h3>Big</h3>" in page
    assert '<td class="right"><strong>2</strong></td>' in page
    assert '<a href="https://far.example/cat.png" rel="noopener noreferrer nofollow">Image: cat</a>' in page
    assert '<a href="https://a.example" rel="noopener noreferrer nofollow">x</a>' in page
    assert "<p>&lt;b&gt;Q&lt;/b&gt;</p>" in page
    for word in ("<script", "<img", " style=", "<details open", 'http-equiv="refresh'):
        assert word not in page


def test_a_reply_that_was_stopped_says_so(store: Store) -> None:
    file = {**OWN, "conversations": [{**OWN["conversations"][0]}]}
    generation = {**file["conversations"][0]["generations"][0], "status": "cancelled"}
    file["conversations"][0]["generations"] = [generation]
    transcript_ = shown(store, file)
    assert markdown(transcript_).endswith("2\n\n*Stopped before the end.*\n")
    assert "Stopped before the end." in html(transcript_)


def test_a_question_whose_reply_has_no_message_is_exported_with_its_end(store: Store) -> None:
    conversation = OWN["conversations"][0]
    generation = {**conversation["generations"][0], "status": "failed"}
    alone = {
        **conversation,
        "messages": conversation["messages"][:1],
        "generations": [generation],
        "shown": "m1",
    }
    text = markdown(shown(store, {**OWN, "conversations": [alone]}))
    assert text.endswith("## Reply\n\n*demo · high effort*\n\n*Failed before the end.*\n")

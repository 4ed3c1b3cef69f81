"""What is taken of each format, and what the report says of the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inference.types import Channel, ReasoningEffort, Role
from tests.playground.exchange.files import (
    NOW,
    OWN,
    PLAIN_CHATGPT,
    chatgpt,
    drafts,
    node,
    read,
    shown,
    texts,
    zipped,
)

QUESTION = {"role": "user", "content": "What is 1 + 1?"}


def one(content: Any) -> list[tuple[str, str]]:
    [draft] = drafts(content)
    return texts(draft)


def test_chatgpt_keeps_reasoning_answer_model_and_times() -> None:
    [draft] = drafts([PLAIN_CHATGPT])
    assert texts(draft) == [("user", "What is 1 + 1?"), ("analysis", "One and one."), ("final", "It is 2.")]
    assert draft.title == "Sums"
    assert draft.title_by_hand
    assert draft.created_at.timestamp() == 1_700_000_000.5
    assert draft.nodes[0].created_at.timestamp() == 1_700_000_000.25
    assert [node.generation.model for node in draft.nodes if node.generation] == ["gpt-5", "gpt-5"]


def test_chatgpt_keeps_every_branch_and_shows_the_current_one() -> None:
    tree = chatgpt(
        node("root", None, ["q1", "q2"]),
        node("q2", "root", ["b1", "b2"], "user", "Edited"),
        node("b1", "q2", [], "assistant", "First"),
        node("q1", "root", ["a1"], "user", "Original"),
        node("a1", "q1", ["q3"], "assistant", "Answer"),
        node("q3", "a1", [], "user", "And then?"),
        node("b2", "q2", [], "assistant", "Second"),
    )
    [draft] = drafts([tree])
    assert texts(draft) == [("user", "Edited"), ("final", "Second")]
    assert [(each.message.content, each.parent_key) for each in draft.nodes] == [
        ("Original", None),
        ("Answer", "m1"),
        ("And then?", "m2"),
        ("Edited", None),
        ("First", "m4"),
        ("Second", "m4"),
    ]
    keys = [each.generation.key if each.generation else None for each in draft.nodes]
    assert keys == [None, "g1", None, None, "g2", "g3"]


def test_a_reply_that_parts_in_its_middle_becomes_two_whole_ones() -> None:
    tree = chatgpt(
        node("q", None, ["t"], "user", "Q"),
        node(
            "t",
            "q",
            ["a", "u", "b"],
            "assistant",
            {"content_type": "thoughts", "thoughts": [{"content": "T"}]},
        ),
        node("a", "t", [], "assistant", "A"),
        node("u", "t", [], "user", "Wait"),
        node("b", "t", [], "assistant", "B"),
    )
    [draft] = drafts([tree])
    chains: dict[str, list[str]] = {}
    for each in draft.nodes:
        if each.generation is not None:
            chains.setdefault(each.generation.key, []).append(each.message.content)
    assert list(chains.values()) == [["T", "A"], ["T"], ["T", "B"]]
    assert texts(draft) == [("user", "Q"), ("analysis", "T"), ("final", "B")]


def test_chatgpt_hidden_messages_pictures_and_tools_are_told_of() -> None:
    picture = {
        "content_type": "multimodal_text",
        "parts": [{"content_type": "image_asset_pointer", "asset_pointer": "file://x"}, "What is this?"],
    }
    tree = chatgpt(
        node("root", None, ["h"]),
        node("h", "root", ["q"], "user", "hidden", metadata={"is_visually_hidden_from_conversation": True}),
        node("q", "h", ["c"], "user", picture),
        node("c", "q", ["o"], "assistant", {"content_type": "code", "text": "print(1)"}, recipient="python"),
        node("o", "c", ["w"], "tool", {"content_type": "execution_output", "text": "1"}, name="python"),
        node("w", "o", ["r"], "assistant", "search('x')", recipient="browser"),
        node("r", "w", ["k"], "tool", {"content_type": "tether_quote", "text": "x"}, name="browser"),
        node("k", "r", ["a"], "assistant", {"content_type": "reasoning_recap", "content": "Thought for 5 s"}),
        node("a", "k", [], "assistant", "One."),
    )
    [imported] = read([tree])
    assert imported.draft is not None
    assert texts(imported.draft) == [
        ("user", "[image]\n\nWhat is this?"),
        ("commentary", "print(1)"),
        ("commentary", "1"),
        ("final", "One."),
    ]
    assert [message.recipient for message in shown(imported.draft)] == [None, "python", "assistant", None]
    assert imported.taken == 4
    assert imported.left_out == [
        "A hidden message was left out.",
        "An image was left out.",
        "2 messages of tools that this playground does not have were left out.",
        "A note of the other program was left out.",
    ]


def test_a_conversation_of_hidden_messages_only_is_reported_and_not_stored() -> None:
    empty = chatgpt(node("root", None, ["h"]), node("h", "root", [], "system", "x", weight=0))
    imported = read([PLAIN_CHATGPT, empty])
    assert [each.taken for each in imported] == [3, 0]
    assert imported[1].draft is None
    assert "It holds no question, so it was not taken." in imported[1].left_out


def test_sharegpt_in_a_list_alone_and_as_lines() -> None:
    talk = {
        "id": "x",
        "conversations": [
            {"from": "system", "value": "Be brief."},
            {"from": "human", "value": "What is 1 + 1?"},
            {"from": "gpt", "value": "<think>\nOne and one.\n</think>\n\nIt is 2."},
        ],
    }
    expected = [("user", "What is 1 + 1?"), ("analysis", "One and one."), ("final", "It is 2.")]
    assert one(talk) == expected
    assert one([talk]) == expected
    lines = b"\n".join(json.dumps(talk).encode() for _ in range(3))
    assert [texts(draft) for draft in drafts(lines)] == [expected] * 3
    [draft] = drafts(talk)
    assert draft.settings.instructions == "Be brief."
    assert (draft.title, draft.title_by_hand) == ("What is 1 + 1?", False)


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content", "thinking"])
def test_reasoning_fields_become_analysis(field: str) -> None:
    messages = [QUESTION, {"role": "assistant", "content": "2", field: "One and one."}]
    expected = [("user", "What is 1 + 1?"), ("analysis", "One and one."), ("final", "2")]
    assert one({"messages": messages}) == expected
    assert one([{"messages": messages}]) == expected
    assert one(messages) == expected


def test_a_block_of_thinking_that_never_ends_is_reasoning_that_was_cut() -> None:
    [draft] = drafts({"messages": [QUESTION, {"role": "assistant", "content": "<think>\nOne and"}]})
    assert texts(draft)[1:] == [("analysis", "One and")]
    assert not draft.nodes[-1].complete
    assert one([QUESTION, {"role": "assistant", "content": "I <think> so</think>"}])[1:] == [
        ("final", "I <think> so</think>")
    ]


def test_tool_calls_and_their_results_are_kept_where_they_are_well_formed() -> None:
    messages = [
        QUESTION,
        {
            "role": "assistant",
            "content": "Let me add.",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}},
                {"id": "c2", "type": "function", "function": {"name": "a b", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "2"},
        {"role": "tool", "tool_call_id": "c2", "content": "3"},
        {"role": "assistant", "content": [{"type": "text", "text": "It is"}, {"type": "text", "text": "2."}]},
    ]
    [imported] = read({"messages": messages})
    assert imported.draft is not None
    kept = shown(imported.draft)[1:]
    assert [(each.role, each.channel, each.recipient, each.name) for each in kept] == [
        (Role.ASSISTANT, Channel.COMMENTARY, None, None),
        (Role.ASSISTANT, Channel.COMMENTARY, "functions.add", None),
        (Role.TOOL, Channel.COMMENTARY, "assistant", "functions.add"),
        (Role.ASSISTANT, Channel.FINAL, None, None),
    ]
    assert kept[-1].content == "It is\n\n2."
    assert imported.left_out == ["2 messages of tools that this playground does not have were left out."]


def test_instructions_count_before_the_first_question_only() -> None:
    messages = [
        {"role": "system", "content": "One."},
        {"role": "developer", "content": "Two."},
        QUESTION,
        {"role": "system", "content": "Three."},
        {"role": "assistant", "content": "2"},
    ]
    [imported] = read({"messages": messages, "title": "  A\n title "})
    assert imported.draft is not None
    assert imported.draft.settings.instructions == "One.\n\nTwo."
    assert imported.draft.title == "A title"
    assert imported.left_out == ["An instruction in the middle of the conversation was left out."]


def test_long_titles_are_shortened_and_long_instructions_left_out_with_a_word() -> None:
    [imported] = read(
        {"title": "T" * 300, "messages": [{"role": "system", "content": "x" * 32_001}, QUESTION]}
    )
    assert imported.draft is not None
    assert len(imported.draft.title) == 200
    assert imported.draft.settings.instructions is None
    assert imported.left_out == [
        "Instructions of more than 32,000 characters were left out.",
        "The title had more than 200 characters and was shortened.",
    ]


def test_replies_before_any_question_and_empty_messages_are_left_out() -> None:
    messages = [{"role": "assistant", "content": "Hello!"}, {"role": "user", "content": " "}, QUESTION]
    [imported] = read({"messages": messages})
    assert imported.left_out == [
        "A reply without a question before it was left out.",
        "An empty message was left out.",
    ]


def test_own_files_bring_settings_sampling_usage_and_times_back() -> None:
    [draft] = drafts(OWN)
    assert texts(draft) == [("user", "1 + 1?"), ("analysis", "Two."), ("final", "2")]
    generation = draft.nodes[1].generation
    assert generation is not None
    assert generation.effort is ReasoningEffort.HIGH
    assert (generation.sampling.temperature, generation.sampling.seed, generation.sampling.max_tokens) == (
        0.5,
        7,
        100,
    )
    assert (generation.usage.prompt, generation.usage.reasoning, generation.timings.total) == (10, 3, 1.5)
    assert draft.updated_at is not None
    assert draft.updated_at < NOW


def test_conversations_are_found_in_a_zip_whatever_else_is_in_it() -> None:
    files = {
        "chat.html": b"<html>",
        "../../etc/passwd": b"root",
        "export/conversations.json": json.dumps([PLAIN_CHATGPT]).encode(),
        "user.json": b"{}",
    }
    assert len(drafts(zipped(files))) == 1
    parts = {f"conversations-00{n}.json": json.dumps([PLAIN_CHATGPT]).encode() for n in range(3)}
    assert len(drafts(zipped(parts))) == 3
    assert len(drafts(zipped({"playground.json": json.dumps(OWN).encode()}))) == 1


def test_characters_that_cannot_be_stored_are_replaced_and_reported() -> None:
    [imported] = read({"messages": [{"role": "user", "content": "a\x00b"}]})
    assert imported.draft is not None
    assert imported.draft.nodes[0].message.content == "a\ufffdb"
    assert imported.left_out == ["Characters that cannot be stored were replaced by �."]

"""``infer``: the runners' contract, wherever the input comes from and the output goes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from playground.cli import infer
from tests.playground.cli.scripted_cli import Terminal
from tests.playground.scripted import Script

ANSWERED = {
    "response": "The answer is 42.",
    "analysis": "12 + 30 = 42.",
    "commentary": "",
    "reasoning_level": "medium",
}
REQUEST = {"messages": [{"role": "user", "content": "What is 12 + 30?"}]}


def test_a_question_is_asked_with_the_contracts_defaults(terminal: Terminal) -> None:
    result = terminal.run("infer", "What is", "12 + 30?")
    assert (result.exit_code, json.loads(result.stdout)) == (0, ANSWERED)
    (request,) = terminal.engines[0].requests
    assert (request.sampling.max_tokens, request.sampling.temperature) == (256, 0.7)
    assert "Reasoning: medium" in terminal.prompt()
    assert "<|start|>user<|message|>What is 12 + 30?<|end|>" in terminal.prompt()
    assert terminal.engines[0].closed
    assert not (terminal.data_dir / "playground.sqlite3").exists()


def test_a_file_a_pipe_and_a_list_of_messages_ask_the_same(terminal: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    file.write_text(json.dumps(REQUEST, indent=2))
    prompts = set()
    for words, stdin in (
        (["--input", str(file)], None),
        (["--input", "-"], json.dumps(REQUEST)),
        ([], "\ufeff" + json.dumps(REQUEST)),
        ([], json.dumps(REQUEST["messages"])),
        ([], "What is 12 + 30?\n"),
    ):
        result = terminal.run("infer", *words, stdin=stdin)
        assert json.loads(result.stdout) == ANSWERED, result.stderr
        prompts.add(terminal.prompt())
    assert len(prompts) == 1


def test_all_that_a_request_says_counts_and_the_command_line_wins(terminal: Terminal) -> None:
    request = {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": [{"type": "text", "text": "Answer in capitals."}]},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "HELLO."},
            {"role": "user", "content": "Again"},
        ],
        "max_tokens": 99,
        "temperature": 0,
        "reasoning_level": "high",
        "seed": 5,
        "top_k": 40,
    }
    result = terminal.run("infer", stdin=json.dumps(request))
    assert json.loads(result.stdout)["reasoning_level"] == "high"
    assert "Not used: top_k." in result.stderr
    sampling = terminal.engines[-1].requests[0].sampling
    assert (sampling.max_tokens, sampling.temperature, sampling.seed) == (99, 0, 5)
    assert "# Instructions\n\nBe brief.\n\nAnswer in capitals.<|end|>" in terminal.prompt()
    assert "<|start|>assistant<|channel|>final<|message|>HELLO.<|end|>" in terminal.prompt()
    said = [
        "--effort",
        "low",
        "--max-tokens",
        "7",
        "--temperature",
        "1.5",
        "--seed",
        "6",
        "--system",
        "Sing.",
    ]
    result = terminal.run("infer", *said, stdin=json.dumps(request))
    sampling = terminal.engines[-1].requests[0].sampling
    assert (sampling.max_tokens, sampling.temperature, sampling.seed) == (7, 1.5, 6)
    assert "Reasoning: low" in terminal.prompt()
    assert "Sing.\n\nBe brief." in terminal.prompt()
    assert "cut at 7 tokens" in result.stderr
    assert json.loads(result.stdout)["reasoning_level"] == "low"


def test_lines_give_lines_and_a_failure_keeps_its_place(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(infer, "AT_ONCE", 1)  # the scripts go to the lines in their order
    terminal.scripts = [Script(), Script(fail_at=2), Script([("commentary", "First."), ("final", "Then.")])]
    out = tmp_path / "replies.jsonl"
    lines = "\n".join(json.dumps({**REQUEST, "reasoning_level": each}) for each in ("low", "medium", "high"))
    result = terminal.run("infer", "-o", str(out), stdin=lines + "\n\n")
    assert (result.exit_code, result.stdout) == (1, "")
    first, second, third = (json.loads(line) for line in out.read_text().splitlines())
    assert first == {**ANSWERED, "reasoning_level": "low"}
    assert second == {"error": "The model stopped in the middle."}
    assert (third["commentary"], third["response"], third["reasoning_level"]) == ("First.", "Then.", "high")
    assert "Line 2: The model stopped in the middle." in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["replies.jsonl"]


def test_a_failure_leaves_stdout_empty(terminal: Terminal) -> None:
    terminal.scripts = [Script(fail_at=0)]
    result = terminal.run("infer", "Hi")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "The model stopped in the middle." in result.stderr


@pytest.mark.parametrize(
    ("stdin", "sentence"),
    [
        ("", "The input is empty."),
        ('{"messages": [', "not JSON"),
        ('{"messages": NaN}', "NaN is no number"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": 1}\n{"messages": }', "Line 2 of the input is not JSON"),
        ('{"a": 1}\n{"b": 1}\n{bad', "Line 3 of the input is not JSON"),
        ('{"messages": []}', "messages must be a list"),
        ('{"messages": [{"role": "tool", "content": "x"}]}', 'has the role "tool"'),
        ('{"messages": [{"role": "user", "content": 5}]}', "Message 1 needs a content"),
        ('{"messages": [{"role": "system", "content": "x"}]}', "no message of the user"),
        ('{"messages": [{"role": "user", "content": "x"}], "max_tokens": 0}', "max_tokens must be"),
        ('{"messages": [{"role": "user", "content": "x"}], "max_tokens": true}', "max_tokens must be"),
        ('{"messages": [{"role": "user", "content": "x"}], "temperature": "hot"}', "temperature must be"),
        (
            '{"messages": [{"role": "user", "content": "x"}], "reasoning_level": "huge"}',
            "low, medium or high",
        ),
        (b"\xff\xfe\x00", "not text in UTF-8"),
    ],
)
def test_an_input_that_cannot_be_asked_is_status_2(terminal: Terminal, stdin: Any, sentence: str) -> None:
    result = terminal.run("infer", stdin=stdin)
    assert (result.exit_code, result.stdout) == (2, "")
    assert sentence in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert terminal.engines == []


def test_places_that_cannot_be_used_are_status_2(terminal: Terminal, tmp_path: Path) -> None:
    for words in (
        ["--input", str(tmp_path / "none.json")],
        ["Hi", "--input", "x.json"],
        ["Hi", "--outfile", str(tmp_path / "none" / "reply.json")],
        ["Hi", "--outfile", str(tmp_path)],
        ["Hi", "--effort", "huge"],
        ["Hi", "--max-tokens", "0"],
    ):
        result = terminal.run("infer", *words)
        assert (result.exit_code, result.stdout) == (2, ""), words
        assert result.stderr != ""
    assert terminal.engines == []


def test_a_model_that_is_none_is_status_1(tmp_path: Path) -> None:
    result = Terminal(tmp_path).run("infer", "Hi", "--model", "no such model")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "There is no model of this name." in result.stderr

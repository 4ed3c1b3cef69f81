"""``chat`` on the scripted engine: what is asked, shown and stored."""

from __future__ import annotations

import json
import signal
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from inference.types import Channel, Role
from playground.cli.chat_lines import Lines
from playground.cli.chat_screen import Screen, visible
from playground.cli.chat_session import OWNER
from playground.cli.chat_tools import ToolsError, demonstration, read_tools
from playground.exchange.import_file import read_file
from storage.records import GenerationStatus
from storage.store import Store
from tests.playground.cli.scripted_cli import Terminal
from tests.playground.scripted import Script

CALL = Script([("analysis", "Look it up."), ("commentary to=functions.get_rain", '{"city": "Oslo"}')])
TOOLS = [{"type": "function", "function": {"name": "get_rain", "description": "Rain.", "parameters": {}}}]


def test_a_sitting_is_shown_and_stored_as_a_conversation(terminal: Terminal) -> None:
    lines = ["What is 12 + 30?", "/reasoning", "/effort high", "/system Be brief.", "And now?", "/history"]
    result = terminal.run("chat", stdin="\n".join(lines))
    assert result.exit_code == 0
    first, _, rest = result.stdout.partition("\n")
    assert first == "The answer is 42."
    assert rest.index("12 + 30 = 42.") < rest.index("Reasoning effort: high.")
    assert rest.count("12 + 30 = 42.") == 2, "the last reply's, and the next one's as it came"
    assert "Reasoning: medium" in terminal.prompt(0)
    assert "Reasoning: high" in terminal.prompt(1)
    assert "Be brief." in terminal.prompt(1)
    assert "12 + 30 = 42." not in terminal.prompt(1), "old reasoning is not read again"
    store = Store.open(terminal.data_dir / "playground.sqlite3")
    owner = store.user_for_identity(OWNER).id
    ((conversation,), _) = store.list_conversations(owner)
    path = store.path(owner, conversation.id)
    assert [(each.role, each.channel) for each in path] == 2 * [
        (Role.USER, None),
        (Role.ASSISTANT, Channel.ANALYSIS),
        (Role.ASSISTANT, Channel.FINAL),
    ]
    assert conversation.settings.instructions == "Be brief."
    assert f"{conversation.id[:8]}  " in rest
    generations = store.conversation_generations(owner, conversation.id)
    assert {each.status for each in generations} == {GenerationStatus.FINISHED}
    tokens = store.generation_tokens(owner, generations[0].id)
    assert tokens.prompt_ids == terminal.engines[0].requests[0].prompt_ids
    assert list(tokens.output_ids) == terminal.engines[0].token_ids(Script())
    store.close()


def test_a_stored_conversation_is_taken_up_by_its_id(terminal: Terminal) -> None:
    terminal.run("chat", stdin="My name is Ann.\n/save\n")
    result = terminal.run("chat", "--continue", "last", stdin="Who am I?\n")
    assert "My name is Ann (stored as " in result.stdout
    assert "My name is Ann.<|end|>" in terminal.prompt()
    result = terminal.run("chat", stdin="/load zzz\n/load last\nAgain\n/new\nAlone\n")
    assert "There is no one such conversation." in result.stdout
    assert "Who am I?" in terminal.prompt(0)
    assert "Who am I?" not in terminal.prompt(1)
    result = terminal.run("chat", "--continue", "zzz", stdin="")
    assert (result.exit_code, "no one such conversation" in result.stderr) == (1, True)


def test_a_question_is_answered_again_as_another_version(terminal: Terminal) -> None:
    result = terminal.run("chat", stdin="/regenerate\nOne\nTwo\n/regenerate\n")
    assert "There is no question to answer again." in result.stdout
    assert result.stdout.count("The answer is 42.") == 3
    assert terminal.engines[0].requests[1].prompt_ids == terminal.engines[0].requests[2].prompt_ids
    store = Store.open(terminal.data_dir / "playground.sqlite3")
    owner = store.user_for_identity(OWNER).id
    ((conversation,), _) = store.list_conversations(owner)
    questions = [each for each in store.path(owner, conversation.id) if each.role is Role.USER]
    assert [len(each.replies) for each in questions] == [1, 2]
    store.close()


def test_ctrl_c_in_the_first_moment_stops_the_reply(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where Python drops a KeyboardInterrupt, as in a destructor that happens to run."""
    begin = Screen.begin
    pressed = iter([True])

    def pressing(screen: Screen) -> None:
        begin(screen)
        with suppress(KeyboardInterrupt):
            if next(pressed, False):
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Screen, "begin", pressing)
    result = terminal.run("chat", stdin="One\nTwo\n")
    stopped, _, answered = result.stdout.partition("Stopped.\n")
    assert (stopped, answered) == ("", "The answer is 42.\n")
    store = Store.open(terminal.data_dir / "playground.sqlite3")
    owner = store.user_for_identity(OWNER).id
    ((conversation,), _) = store.list_conversations(owner)
    generations = store.conversation_generations(owner, conversation.id)
    assert [each.status for each in generations] == [GenerationStatus.CANCELLED, GenerationStatus.FINISHED]
    store.close()


@pytest.mark.parametrize("typed", [True, False])
def test_ctrl_c_twice_in_a_row_ends_only_a_chat_at_which_nobody_sits(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, typed: bool
) -> None:
    """The second one comes while the first one is answered."""
    say, read = Screen.say, Lines.read
    times = iter([True, True])

    def reading(lines: Lines, prompt: str = "> ") -> str | None:
        if next(times, False):
            raise KeyboardInterrupt
        return read(lines, prompt)

    def saying(screen: Screen, sentence: str, style: str = "") -> None:
        if "Ctrl-D or" in sentence and next(times, False):
            raise KeyboardInterrupt
        say(screen, sentence, style)

    monkeypatch.setattr(Lines, "read", reading)
    monkeypatch.setattr(Lines, "typed", property(lambda _: typed))
    monkeypatch.setattr(Screen, "say", saying)
    result = terminal.run("chat", stdin="One\n")
    assert result.exit_code == (0 if typed else 130)
    assert ("The answer is 42." in result.stdout) == typed


def test_the_person_answers_a_call_and_the_model_goes_on(terminal: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "tools.json"
    file.write_text(json.dumps(TOOLS))
    terminal.scripts = [CALL, Script([("analysis", "3 mm."), ("final", "It rains.")])]
    result = terminal.run("chat", "--tools", str(file), stdin='Rain in Oslo?\n{"mm": 3}\n')
    assert '→ functions.get_rain({"city": "Oslo"})' in result.stdout
    assert result.stdout.splitlines()[-1] == "It rains."
    assert "type get_rain = " in terminal.prompt(0)
    first, second = (request.prompt_ids for request in terminal.engines[0].requests)
    written = terminal.engines[0].token_ids(CALL)
    assert list(second[: len(first) + len(written)]) == [*first, *written], "as the model wrote it"
    assert (
        '<|start|>functions.get_rain to=assistant<|channel|>commentary<|message|>{"mm": 3}'
        in terminal.prompt()
    )
    store = Store.open(terminal.data_dir / "playground.sqlite3")
    owner = store.user_for_identity(OWNER).id
    ((conversation,), _) = store.list_conversations(owner)
    assert [each.role.value for each in store.path(owner, conversation.id)] == [
        "user", "assistant", "assistant", "tool", "assistant", "assistant"
    ]  # fmt: skip
    (generation,) = store.conversation_generations(owner, conversation.id)
    tokens = store.generation_tokens(owner, generation.id)
    assert tokens.prompt_ids == first
    assert tokens.prompt_ids + tokens.output_ids[: len(second) - len(first)] == second
    store.close()


def test_what_fails_is_said_and_the_chat_goes_on(terminal: Terminal) -> None:
    terminal.scripts = [Script(fail_at=3), Script()]
    lines = "One\nTwo\n/unknown\n/effort huge\n" + "x" * 40_000 + "\n/exit\nNever\n"
    result = terminal.run("chat", stdin=lines)
    assert result.exit_code == 0
    assert "The model stopped in the middle." in result.stdout
    assert "The answer is 42." in result.stdout
    assert "There is no command /unknown." in result.stdout
    assert "The effort is low, medium or high." in result.stdout
    assert "40,000 characters" in result.stdout
    assert len(terminal.engines[0].requests) == 2


def test_without_history_nothing_is_written(terminal: Terminal) -> None:
    result = terminal.run("chat", "--no-history", stdin="Hi\n/save\n")
    assert "Nothing is stored here." in result.stdout
    assert not terminal.data_dir.exists()


def test_a_database_in_use_names_the_ways_out(terminal: Terminal) -> None:
    store = Store.open(terminal.data_dir / "playground.sqlite3")
    try:
        result = terminal.run("chat", stdin="Hi\n")
        assert result.exit_code == 1
        assert "chat --url http://localhost:" in result.stderr
        assert "--no-history" in result.stderr
        assert terminal.run("chat", "--no-history", stdin="Hi\n").exit_code == 0
    finally:
        store.close()


def test_a_saved_file_is_what_the_page_imports(terminal: Terminal, tmp_path: Path) -> None:
    document, text = tmp_path / "talk.json", tmp_path / "talk.md"
    result = terminal.run("chat", stdin=f"Hi\n/save {document}\n/save {document}\n/save {text}\n")
    assert "is there already" in result.stdout
    assert "The answer is 42." in text.read_text()
    with document.open("rb") as file:
        (found,) = read_file(file, datetime.now(UTC))
    assert found.draft is not None
    assert [node.message.content for node in found.draft.nodes] == [
        "Hi",
        "12 + 30 = 42.",
        "The answer is 42.",
    ]


def test_the_models_command_tells_and_changes(terminal: Terminal) -> None:
    result = terminal.run("chat", stdin="/model\n/model scripted-not\n")
    assert "openai/gpt-oss-20b" in result.stdout
    assert "There is no model of this name." in result.stdout
    assert result.stdout.count("Model: scripted") == 2


@pytest.mark.parametrize(
    ("typed", "messages"),
    [
        ("one\ntwo\n", ["one", "two"]),
        ("one\\\ntwo\nthree", ["one\ntwo", "three"]),
        ('"""\none\n\\two\n"""\nthree\n', ["one\n\\two", "three"]),
        ('"""one"""\n', ["one"]),
        ('"""one\ntwo', ["one\ntwo"]),
        ("one\\\n", ["one"]),
    ],
)
def test_lines_become_messages(typed: str, messages: list[str], tmp_path: Path) -> None:
    file = tmp_path / "typed"
    file.write_text(typed)
    with file.open() as source:
        lines = Lines(source)
        assert list(iter(lines.read, None)) == messages


def test_a_reply_cannot_steer_the_terminal() -> None:
    assert visible("a\x1b[2Jb\x07\u202ec\td\n") == "a\ufffd[2Jb\ufffd\ufffdc\td\n"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "is not JSON"),
        ("[]", "must hold a list"),
        ("[5]", "Function 1 needs a name"),
        ('[{"name": "a b"}]', "letters, digits"),
        ('[{"name": "a"}, {"name": "a"}]', "same name"),
        ('[{"name": "a", "parameters": 3}]', "needs a text as description"),
    ],
)
def test_functions_that_cannot_be_declared_are_status_2(
    terminal: Terminal, tmp_path: Path, content: str, sentence: str
) -> None:
    file = tmp_path / "tools.json"
    file.write_text(content)
    with pytest.raises(ToolsError, match=sentence):
        read_tools(str(file))
    assert terminal.run("chat", "--tools", str(file), stdin="Hi").exit_code == 2


def test_the_demonstrations_functions_answer_by_themselves(terminal: Terminal) -> None:
    own = demonstration().own
    assert json.loads(own["get_total"]({"expression": "12 * (3 + -4) / 2"})) == {"total": -6.0}
    terminal.scripts = [
        Script([("commentary to=functions.get_total", '{"expression": "2**9"}')]),
        Script([("commentary to=functions.get_time", '{"city": "Oslo"}')]),
        Script(),
    ]
    result = terminal.run("chat", "--tools", "demo", stdin="Total?\n")
    assert '← {"error": "Only numbers' in result.stdout
    assert '← {"time": "' in result.stdout
    assert result.stdout.splitlines()[-1] == "The answer is 42."

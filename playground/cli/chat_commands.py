"""The commands of a terminal chat: lines that begin with a slash."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

from inference.types import ReasoningEffort
from playground.cli.backend import BackendError
from playground.cli.chat_screen import Screen
from playground.cli.chat_session import Session, Turn
from playground.text import title_from

SHOWN = 20
ID_CHARS = 8
T = TypeVar("T")


class Chat(Protocol):
    """What the commands use of a sitting. ``over``: it ends behind this command."""

    session: Session
    screen: Screen
    stored: bool
    over: bool

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Let the event loop do this to its end."""
        ...

    def reply(self, beginning: Coroutine[Any, Any, Turn | None]) -> bool:
        """Show one reply; False when there was nothing to answer."""
        ...

    def change_model(self, name: str) -> None:
        """Let another model answer. Raises BackendError."""
        ...

    def opened(self) -> None:
        """Show the conversation that was opened."""
        ...


@dataclass(frozen=True, slots=True)
class SlashCommand:
    """What runs with the rest of the line, and one sentence about it."""

    run: Callable[[Chat, str], None]
    usage: str
    help: str


def run_command(chat: Chat, line: str) -> None:
    """Carry out a line that begins with a slash."""
    name, _, rest = line[1:].partition(" ")
    name = "exit" if name == "quit" else name
    command = COMMANDS.get(name)
    if command is None:
        chat.screen.say(f"There is no command /{name}. /help lists them.", "red")
        return
    command.run(chat, rest.strip())


def _help(chat: Chat, _rest: str) -> None:
    for command in COMMANDS.values():
        chat.screen.say(f"{command.usage:22} {command.help}")
    chat.screen.say('A line that ends with \\ goes on; """ begins and ends a block of lines.')
    chat.screen.say("Ctrl-C stops a reply, Ctrl-D ends the chat.")


def _new(chat: Chat, _rest: str) -> None:
    chat.session.conversation = None
    chat.screen.say("A new conversation.")


def _effort(chat: Chat, rest: str) -> None:
    if rest:
        try:
            chat.session.manner.effort = ReasoningEffort(rest.lower())
        except ValueError:
            chat.screen.say("The effort is low, medium or high.", "red")
            return
    chat.screen.say(f"Reasoning effort: {chat.session.manner.effort}.")


def _reasoning(chat: Chat, _rest: str) -> None:
    chat.screen.show_reasoning = not chat.screen.show_reasoning
    if not chat.screen.show_reasoning:
        chat.screen.say("Reasoning is hidden.")
        return
    chat.screen.say("Reasoning is shown. That of the last reply:")
    chat.screen.reasoning_of(chat.session.last_reply())


def _system(chat: Chat, rest: str) -> None:
    if rest:
        chat.session.instruct(None if rest == "-" else rest)
    chat.screen.say(f"Instructions: {chat.session.manner.instructions or 'none'}")


def _regenerate(chat: Chat, _rest: str) -> None:
    if not chat.reply(chat.session.regenerate()):
        chat.screen.say("There is no question to answer again.", "red")


def _save(chat: Chat, rest: str) -> None:
    from playground.exchange.export_json import file_pieces
    from playground.exchange.export_markdown import markdown
    from playground.exchange.transcript import transcript

    session = chat.session
    if session.conversation is None:
        chat.screen.say("There is nothing to save yet.", "red")
        return
    owner, record = session.owner_id, session.conversation
    if not rest:
        _told_where(chat, record.id)
        return
    path = Path(rest).expanduser()
    if path.exists():
        chat.screen.say(f"{path} is there already. Name another file.", "red")
        return
    if path.suffix == ".md":
        generations = session.store.conversation_generations(owner, record.id)
        text = markdown(transcript(record, session.store.path(owner, record.id), generations, reasoning=True))
    else:
        tree = session.store.export_conversation(owner, record.id)
        text = "".join(file_pieces([tree], reasoning=True, exported_at=datetime.now(UTC)))
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        chat.screen.say(f"{path} cannot be written: {error.strerror}.", "red")
        return
    how = "" if path.suffix == ".md" else " The page takes it under Settings, Import."
    chat.screen.say(f"Saved as {path}.{how}")


def _told_where(chat: Chat, conversation_id: str) -> None:
    if chat.stored:
        chat.screen.say(f"Stored as {conversation_id[:ID_CHARS]}; python app.py chat --continue takes it up.")
    else:
        chat.screen.say("Nothing is stored here. /save FILE.json or /save FILE.md writes it.")


def _load(chat: Chat, rest: str) -> None:
    if not rest or chat.session.open(rest) is None:
        chat.screen.say("There is no one such conversation. /history lists them with their ids.", "red")
        return
    chat.opened()


def _model(chat: Chat, rest: str) -> None:
    backend = chat.session.backend
    try:
        if rest:
            chat.change_model(rest)
        else:
            chat.screen.say(f"Others: {', '.join(chat.run(backend.models()))}")
    except BackendError as error:
        chat.screen.say(str(error), "red")
    chat.screen.say(f"Model: {backend.model.name or 'none'}")


def _history(chat: Chat, _rest: str) -> None:
    records, _ = chat.session.store.list_conversations(chat.session.owner_id, SHOWN)
    if not records:
        chat.screen.say("No conversation is stored here.")
    for record in records:
        day = record.updated_at.astimezone().strftime("%Y-%m-%d %H:%M")
        chat.screen.say(f"{record.id[:ID_CHARS]}  {day}  {title_from(record.title)}")


def _exit(chat: Chat, _rest: str) -> None:
    chat.over = True


COMMANDS: dict[str, SlashCommand] = {
    "help": SlashCommand(_help, "/help", "this list"),
    "new": SlashCommand(_new, "/new", "begin another conversation"),
    "effort": SlashCommand(_effort, "/effort LEVEL", "low, medium or high, from the next reply on"),
    "reasoning": SlashCommand(_reasoning, "/reasoning", "show or hide reasoning, the last reply's too"),
    "system": SlashCommand(_system, "/system TEXT", "instructions for the model; - takes them away"),
    "regenerate": SlashCommand(_regenerate, "/regenerate", "answer the last question again"),
    "save": SlashCommand(_save, "/save FILE", "write the conversation as .json (for the page) or .md"),
    "load": SlashCommand(_load, "/load ID", "go on with a stored conversation"),
    "model": SlashCommand(_model, "/model NAME", "change the model; alone: which there are"),
    "history": SlashCommand(_history, "/history", "the stored conversations and their ids"),
    "exit": SlashCommand(_exit, "/exit", "end the chat, as Ctrl-D does"),
}

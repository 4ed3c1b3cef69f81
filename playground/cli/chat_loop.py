"""The loop of a terminal chat: read, ask, show, answer calls, again."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from inference.errors import InferenceError
from inference.types import Message
from playground.cli.backend import BackendError
from playground.cli.chat_commands import run_command
from playground.cli.chat_lines import Lines
from playground.cli.chat_screen import Screen
from playground.cli.chat_session import Session, Turn
from playground.cli.chat_tools import Tools, result_of
from playground.cli.progress import telling
from playground.errors import PlaygroundError
from playground.text import check_message
from storage.errors import StorageError

MOST_ROUNDS = 20
"""Rounds of one reply that may call functions."""
T = TypeVar("T")


class Chat:
    """One sitting. ``stored``: the conversations outlast it."""

    def __init__(
        self,
        runner: asyncio.Runner,
        session: Session,
        screen: Screen,
        lines: Lines,
        tools: Tools,
        *,
        stored: bool,
        message_chars: int,
    ) -> None:
        self._runner = runner
        self.session = session
        self.screen = screen
        self._lines = lines
        self._tools = tools
        self.stored = stored
        self._message_chars = message_chars
        self.over = False

    def loop(self) -> None:
        """Until the input ends, or the person wants it to.

        Who sits at a terminal does not end it by a Ctrl-C, whenever it comes. Elsewhere KeyboardInterrupt
        is raised, unless it stops a reply.
        """
        if self._lines.typed:
            self.screen.say(f"{self.session.backend.model.name} · /help · Ctrl-D ends")
        interrupted = False
        while not self.over:
            try:
                if interrupted:
                    self.screen.say("\nCtrl-D or /exit ends the chat.")
                    interrupted = False
                self._step()
            except KeyboardInterrupt:
                if not self._lines.typed:
                    raise
                interrupted = True

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Let the event loop do this to its end."""
        return self._runner.run(work)

    def reply(self, beginning: Coroutine[Any, Any, Turn | None]) -> bool:
        """Show one reply, with all rounds of its calls. False when there was nothing to answer."""
        try:
            turn = self.run(beginning)
        except InferenceError as error:
            self.screen.say(f"{error} /new begins another conversation.", "red")
            return True
        except KeyboardInterrupt:
            self.screen.say("Stopped.")
            return True
        if turn is None:
            return False
        try:
            self._rounds(turn)
        except (InferenceError, PlaygroundError) as error:
            self.screen.say(str(error), "red")
        except KeyboardInterrupt:
            pass  # at a call's result: the reply ends there
        finally:
            self.screen.stop()
            turn.end()
        self.screen.end(turn.outcome, self._notes(turn))
        return True

    def change_model(self, name: str) -> None:
        """Load another model, or name another one of the server's. Raises BackendError."""
        try:
            with telling() as tell:
                tell(f"Loading {name}")
                self.run(self.session.backend.change(name))
        except KeyboardInterrupt:
            raise BackendError("Stopped waiting; the engine may still load it.") from None

    def opened(self) -> None:
        """Show the conversation that was opened: its title and its last question with the answer."""
        record = self.session.conversation
        if record is not None:
            self.screen.say(f"{record.title} (stored as {record.id[:8]})")
            for message in self.session.last_reply():
                if message.channel == "final":
                    self.screen.say(message.content, "")

    def _step(self) -> None:
        text = self._lines.read()
        if text is None:
            self.over = True
            return
        try:
            self._take(text)
        except (StorageError, BackendError) as error:
            self.screen.say(str(error), "red")

    def _take(self, text: str) -> None:
        if text.startswith("/") and "\n" not in text:
            run_command(self, text)
            return
        if not text.strip():
            return
        try:
            check_message(text, self._message_chars)
        except PlaygroundError as error:
            self.screen.say(error.message, "red")
            return
        self.reply(self.session.ask(text))

    def _rounds(self, turn: Turn) -> None:
        for _ in range(MOST_ROUNDS):
            calls = self.run(self._round(turn))
            self.screen.stop()
            if not calls:
                return
            results = [result_of(call, self._result(call)) for call in calls]
            self.run(turn.go_on(results))
        self.screen.say(f"The model has called functions {MOST_ROUNDS} times; this reply ends here.", "red")

    async def _round(self, turn: Turn) -> list[Message]:
        # "Thinking…" is shown in here: where the runner listens, a Ctrl-C cannot be lost any more.
        self.screen.begin()
        return await turn.round(self.screen.event)

    def _result(self, call: Message) -> str:
        """What the program itself answers, else what the person types. Raises KeyboardInterrupt."""
        self.screen.call(call)
        own = self._tools.answer(call)
        if own is None:
            typed = self._lines.read("result: ")
            if typed is None:
                self.over = True
                raise KeyboardInterrupt
            return typed
        self.screen.say(f"← {own}", "cyan")
        return own

    def _notes(self, turn: Turn) -> list[str]:
        usage, speed = turn.generation.usage, turn.generation.timings.tokens_per_second
        notes = [f"{turn.generation.effort} effort"]
        if usage.completion:
            notes.append(f"{usage.completion:,} tokens")
        if speed:
            notes.append(f"{speed:.0f} tokens/s")
        return notes

"""What a terminal chat shows: the answer as it comes, the reasoning only where it is wanted."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Sequence

from rich.console import Console
from rich.status import Status
from rich.text import Text

from inference.types import (
    Channel,
    FinishReason,
    Message,
    MessageFinished,
    MessageStarted,
    StreamEvent,
    TextDelta,
)
from playground.generation import GenerationEvent, Outcome, Portion
from storage.records import GenerationStatus

QUIET, ANSWER, CALL, WRONG = "dim", "", "cyan", "red"


def visible(text: str) -> str:
    """Text without what would steer the terminal: a reply must not move the cursor or change its title."""
    return "".join(
        each
        if each in "\n\t" or unicodedata.category(each) not in {"Cc", "Cf"} or each in "\u200d\u200c"
        else "\ufffd"
        for each in text
    )


class _Clock:
    """A line that counts the seconds by itself."""

    def __init__(self, word: str) -> None:
        self._word = word
        self._began = time.monotonic()

    def __rich__(self) -> Text:
        return Text(f"{self._word} {time.monotonic() - self._began:.0f} s", QUIET)


class Screen:
    """Shows one reply after another. ``show_reasoning`` may change between them."""

    def __init__(self, console: Console, *, show_reasoning: bool = False) -> None:
        self._console = console
        self.show_reasoning = show_reasoning
        self._status: Status | None = None
        self._channels: dict[int, Channel | None] = {}
        self._recipients: dict[int, str] = {}
        self._thought_since: float | None = None
        self._at_line_start = True

    def say(self, sentence: str, style: str = QUIET) -> None:
        """One line of the program itself."""
        self._end_line()
        self._console.print(Text(visible(sentence), style), soft_wrap=True)

    def begin(self) -> None:
        """A round of the model begins."""
        self._channels.clear()
        self._recipients.clear()
        self._wait("Thinking…")

    def event(self, event: GenerationEvent) -> None:
        """Show what is new."""
        if isinstance(event, Portion):
            for each in event.events:
                self._show(each)

    def end(self, outcome: Outcome, notes: Sequence[str]) -> None:
        """The reply is over: why, where that is not plain, and what it took."""
        self._rest()
        self._thought()
        self._end_line()
        if outcome.error:
            self.say(outcome.error, WRONG)
        if outcome.status is GenerationStatus.CANCELLED:
            self.say("Stopped.")
        elif outcome.finish_reason is FinishReason.LENGTH:
            self.say("The reply was cut at its limit. --max-tokens gives it more room.", WRONG)
        if notes and self._console.is_terminal:
            self.say(" · ".join(notes))

    def stop(self) -> None:
        """Take the waiting line away, whatever happened."""
        self._rest()
        self._end_line()

    def reasoning_of(self, messages: Sequence[Message]) -> None:
        """Show the reasoning of a reply that is there already."""
        thoughts = [each.content for each in messages if each.channel is Channel.ANALYSIS and each.content]
        if not thoughts:
            self.say("There is no reasoning to show.")
        for thought in thoughts:
            self.say(thought, "dim italic")

    def call(self, message: Message) -> None:
        """A call that waits for its result."""
        self._rest()
        self.say(f"→ {message.recipient}({message.content})", CALL)

    def _show(self, event: StreamEvent) -> None:
        match event:
            case MessageStarted():
                self._channels[event.index] = None if event.recipient else event.channel
                if event.recipient is None and event.channel is Channel.ANALYSIS:
                    self._thought_since = self._thought_since or time.monotonic()
                    if self.show_reasoning:
                        self._rest()
            case TextDelta():
                self._write(self._channels.get(event.index), event.text)
            case MessageFinished():
                if self._channels.get(event.index) is Channel.ANALYSIS and self.show_reasoning:
                    self._end_line()

    def _write(self, channel: Channel | None, text: str) -> None:
        if channel is None or (channel is Channel.ANALYSIS and not self.show_reasoning):
            return
        style = ANSWER
        if channel is Channel.ANALYSIS:
            style = "dim italic"
        else:
            self._rest()
            self._thought()
        text = visible(text)
        if text:
            self._console.print(Text(text, style), end="", soft_wrap=True)
            self._at_line_start = text.endswith("\n")

    def _thought(self) -> None:
        """The line that stands in the place of the reasoning."""
        since, self._thought_since = self._thought_since, None
        if since is None or not self._console.is_terminal:
            return
        hint = "" if self.show_reasoning else " (/reasoning shows it)"
        self.say(f"Thought for {time.monotonic() - since:.0f} s{hint}")

    def _wait(self, word: str) -> None:
        if self._console.is_terminal and self._status is None:
            self._status = self._console.status(_Clock(word))
            self._status.start()

    def _rest(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _end_line(self) -> None:
        if not self._at_line_start:
            self._console.print()
            self._at_line_start = True

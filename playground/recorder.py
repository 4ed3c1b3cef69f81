"""The reply as it grows: stream events become the run's log and the rows to save.

One ``Recorder`` follows one generation and measures how long the model reasoned.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Mapping

from inference.types import (
    Channel,
    Message,
    MessageFinished,
    MessageStarted,
    Role,
    StreamEvent,
    TextDelta,
)
from playground.runs import Run
from storage.records import MessageDraft, new_id


class ChannelTokens(Counter[str]):
    """Content tokens of all replies since the start, by channel."""

    def add(self, written: Mapping[Channel, int]) -> None:
        """Take what one reply has written since it was counted last."""
        for channel, tokens in written.items():
            self[channel.value] += tokens


@dataclasses.dataclass(slots=True)
class _Growing:
    """One message while it is written; ``parts`` are its deltas."""

    draft: MessageDraft
    parts: list[str]
    began: float


class Recorder:
    """Applies stream events in order. ``clock`` is monotonic seconds.

    ``reasoning_seconds`` grows from what an earlier reply took, if this one goes on with it.
    """

    def __init__(
        self, run: Run, reasoning_seconds: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._run = run
        self._clock = clock
        self._messages: list[_Growing] = []
        self.reasoning_seconds = reasoning_seconds

    def apply(self, event: StreamEvent) -> None:
        """Take one event of the parser."""
        match event:
            case MessageStarted():
                self._start(event)
            case TextDelta():
                self._messages[event.index].parts.append(event.text)
                self._run.append_text(event.index, event.text)
            case MessageFinished():
                self._finish(event)

    def resume(self) -> None:
        """The model begins to write: what is open already was open before."""
        if self._messages:
            self._messages[-1].began = self._clock()

    def drafts(self) -> list[MessageDraft]:
        """Every message of the reply as it stands now, oldest first."""
        for growing in self._messages:
            if not growing.draft.complete and len(growing.parts) > 0:
                text = "".join(growing.parts)
                growing.parts[:] = [text]
                message = dataclasses.replace(growing.draft.message, content=text)
                growing.draft = dataclasses.replace(growing.draft, message=message)
        return [growing.draft for growing in self._messages]

    def _start(self, event: MessageStarted) -> None:
        message = Message(
            role=Role.ASSISTANT,
            content="",
            channel=event.channel,
            recipient=event.recipient,
            content_type=event.content_type,
        )
        draft = MessageDraft(id=new_id(), index=event.index, message=message)
        self._messages.append(_Growing(draft, [], self._clock()))
        self._run.publish(
            "message", {"i": event.index, "channel": event.channel, "recipient": event.recipient}
        )

    def _finish(self, event: MessageFinished) -> None:
        growing = self._messages[event.index]
        shown = "".join(growing.parts)
        growing.parts.clear()
        growing.draft = MessageDraft(
            id=growing.draft.id,
            index=event.index,
            message=event.message,
            token_count=event.token_count,
            complete=event.complete,
        )
        if event.message.channel is Channel.ANALYSIS:
            self.reasoning_seconds += self._clock() - growing.began
        self._run.publish(
            "message_end",
            {
                "i": event.index,
                "id": growing.draft.id,
                "tokens": event.token_count,
                "recovered": event.message.recovered,
                "complete": event.complete,
                "content": None if event.message.content == shown else event.message.content,
            },
        )

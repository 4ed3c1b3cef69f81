"""Workers without a model, and without torch: what remains is when they live and die."""

from __future__ import annotations

import ctypes
import queue
import signal
from collections.abc import Callable

from inference.types import (
    FinishReason,
    ModelStage,
    ModelStatus,
    Timings,
    TokenEvent,
    TokensFinished,
    TokensStarted,
    Usage,
)
from inference.worker.messages import Board, Close, Command, EngineConfig, Limits, Pulse, Submit


class Counter:
    """Answers each prompt at once with its length as ``usage.prompt``."""

    def __init__(
        self,
        config: EngineConfig,
        commands: queue.SimpleQueue[Command],
        board: Board,
        emit: Callable[[TokenEvent], None],
        pulse: Pulse,
    ) -> None:
        self.commands, self.board, self.emit, self.pulse = commands, board, emit, pulse

    def run(self) -> None:
        self.board.set_active(ModelStatus("counter", ModelStage.READY), Limits(320, 10**6), 4)
        while not isinstance(command := self.next(), Close):
            if isinstance(command, Submit):
                request = command.request
                self.emit(TokensStarted(request.request_id, "counter", ""))
                usage = Usage(prompt=len(request.prompt_ids))
                self.emit(TokensFinished(request.request_id, FinishReason.LENGTH, usage, Timings()))

    def next(self) -> Command:
        self.pulse.rest()
        command = self.commands.get()
        self.pulse.beat()
        return command


class Stillborn(Counter):
    """Dies before it can do anything."""

    def run(self) -> None:
        raise RuntimeError("born dead")


class Deaf(Counter):
    """Never closes, and does not end when it is asked to."""

    def run(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            super().run()


class Frozen(Counter):
    """Holds the interpreter for ever, so that no other thread of its process can run."""

    def run(self) -> None:
        self.board.set_active(ModelStatus("frozen", ModelStage.READY), Limits(320, 100), 4)
        ctypes.PyDLL(None).sleep(3600)

"""The worker's loop: it owns the loaded models and takes turns for all of their requests."""

from __future__ import annotations

import gc
import queue
import time

import torch

from inference.types import FinishReason, Timings, TokensFinished, Usage
from inference.worker.core import Emit, EngineCore
from inference.worker.loader import Loader, ModelReady
from inference.worker.messages import Board, Cancel, Close, EngineConfig, Load, Pulse, Submit

Command = Submit | Cancel | Load | Close | ModelReady


class Worker:
    """Takes commands from ``commands``, shows its state on ``board``, gives every event to ``emit``.

    ``pulse`` learns when a step begins and when there is nothing to do.
    """

    def __init__(
        self,
        config: EngineConfig,
        commands: queue.SimpleQueue[Command],
        board: Board,
        emit: Emit,
        pulse: Pulse,
    ) -> None:
        self._commands = commands
        self._board = board
        self._emit = emit
        self._pulse = pulse
        self._config = config
        self._active: EngineCore | None = None
        self._leaving: list[EngineCore] = []
        self._loader = Loader(config, board, commands.put)

    def run(self) -> None:
        """Work until ``Close`` comes. An exception that leaves here means that the worker is dead."""
        if self._config.threads is not None:
            torch.set_num_threads(self._config.threads)
        self._loader.start()
        self._loader.want(self._config.model)
        try:
            while self._obey():
                self._turn()
                self._pulse.beat()
                self._retire()
        finally:
            self._loader.close()
        for core in self._cores():
            core.cancel_all()

    def _cores(self) -> list[EngineCore]:
        """The one that takes new requests first, then those that only finish what they have."""
        return self._leaving if self._active is None else [self._active, *self._leaving]

    def _turn(self) -> None:
        for core in self._cores():
            core.step()
        self._board.set_running(sum(core.running for core in self._cores()))

    def _obey(self) -> bool:
        """Carry out all commands that have come, and wait for one when there is nothing else to do."""
        while True:
            busy = any(core.busy for core in self._cores())
            if not busy:
                self._board.set_running(0)
                self._pulse.rest()
            try:
                command = self._commands.get(block=not busy)
            except queue.Empty:
                return True
            self._pulse.beat()
            match command:
                case Submit():
                    self._submit(command)
                case Cancel(request_id):
                    any(core.cancel(request_id) for core in self._cores())
                case Load(model):
                    self._loader.want(model)
                case ModelReady():
                    self._activate(command)
                case Close():
                    return False
                case _:
                    raise TypeError("the worker was sent something that is no command")
            self._retire()

    def _submit(self, command: Submit) -> None:
        for core in self._cores():
            if core.model.status.name == command.model:
                core.submit(command.request, command.submitted)
                return
        # The model was given up between the border's check and now.
        waited = time.monotonic() - command.submitted
        self._emit(
            TokensFinished(
                command.request.request_id,
                FinishReason.ERROR,
                Usage(prompt=len(command.request.prompt_ids)),
                Timings(queued=waited, total=waited),
                "The model was changed just now. Try again.",
                "engine_unavailable",
            )
        )

    def _activate(self, ready: ModelReady) -> None:
        """New requests go to this model; requests of the one before finish where they are."""
        model = ready.model
        if self._active is not None:
            self._leaving.append(self._active)
        self._active = EngineCore(model, self._emit)
        self._board.set_active(model.status, model.limits, model.max_running)
        if not ready.meanwhile:
            self._board.set_target(None)

    def _retire(self) -> None:
        """Give up models that neither answer new requests nor have any left, and their memory."""
        if all(core.busy for core in self._leaving):
            return
        self._drop_idle()
        # Only here, where no variable holds a model that is gone, can its memory really be given back.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _drop_idle(self) -> None:
        idle = [core for core in self._leaving if not core.busy]
        self._leaving = [core for core in self._leaving if core.busy]
        kept = {core.model.status.name for core in self._cores()}
        for core in idle:
            if core.model.status.name not in kept:
                self._board.forget(core.model.status.name)

"""The worker thread's loop: it owns the loaded models and takes turns for all of their requests."""

from __future__ import annotations

import gc
import queue
import time

import torch

from inference.types import FinishReason, Timings, TokensFinished, Usage
from inference.worker.loader import Loader, ModelReady
from inference.worker.messages import Board, Cancel, Close, EngineConfig, Load, Submit
from inference.worker.scheduler import Emit, Scheduler

Command = Submit | Cancel | Load | Close | ModelReady


class Worker:
    """Takes commands from ``commands``, shows its state on ``board``, gives every event to ``emit``."""

    def __init__(
        self, config: EngineConfig, commands: queue.SimpleQueue[Command], board: Board, emit: Emit
    ) -> None:
        self._commands = commands
        self._board = board
        self._emit = emit
        self._config = config
        self._active: Scheduler | None = None
        self._leaving: list[Scheduler] = []
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
                self._retire()
        finally:
            self._loader.close()
        for scheduler in self._schedulers():
            scheduler.cancel_all()

    def _schedulers(self) -> list[Scheduler]:
        """The one that takes new requests first, then those that only finish what they have."""
        return self._leaving if self._active is None else [self._active, *self._leaving]

    def _turn(self) -> None:
        for scheduler in self._schedulers():
            scheduler.turn()
        self._board.set_running(sum(scheduler.running for scheduler in self._schedulers()))

    def _obey(self) -> bool:
        """Carry out all commands that have come, and wait for one when there is nothing else to do."""
        while True:
            busy = any(scheduler.busy for scheduler in self._schedulers())
            try:
                command = self._commands.get(block=not busy)
            except queue.Empty:
                return True
            match command:
                case Submit():
                    self._submit(command)
                case Cancel(request_id):
                    any(scheduler.cancel(request_id) for scheduler in self._schedulers())
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
        for scheduler in self._schedulers():
            if scheduler.model.status.name == command.model:
                scheduler.submit(command.request, command.submitted)
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
        self._active = Scheduler(model, self._emit)
        self._board.set_active(model.status, model.limits, model.max_running)
        if not ready.meanwhile:
            self._board.set_target(None)

    def _retire(self) -> None:
        """Give up models that neither answer new requests nor have any left, and their memory."""
        if all(scheduler.busy for scheduler in self._leaving):
            return
        self._drop_idle()
        # Only here, where no variable holds a model that is gone, can its memory really be given back.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _drop_idle(self) -> None:
        idle = [scheduler for scheduler in self._leaving if not scheduler.busy]
        self._leaving = [scheduler for scheduler in self._leaving if scheduler.busy]
        kept = {scheduler.model.status.name for scheduler in self._schedulers()}
        for scheduler in idle:
            if scheduler.model.status.name not in kept:
                self._board.forget(scheduler.model.status.name)

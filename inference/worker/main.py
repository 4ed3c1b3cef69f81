"""The worker's loop: it owns the loaded models and takes turns for all of their requests."""

from __future__ import annotations

import queue
import time

import torch

from inference.metrics import MetricsBuilder
from inference.types import FinishReason, Timings, TokensFinished, Usage
from inference.worker.core import Emit, EngineCore
from inference.worker.device import give_memory_back
from inference.worker.loader import Loader, MakeRoom, ModelReady
from inference.worker.messages import Board, Cancel, Close, EngineConfig, Load, Pulse, Submit

Command = Submit | Cancel | Load | Close | ModelReady | MakeRoom

MEASURE_EVERY = 0.25
"""Seconds between two looks at the figures while requests run; nobody reads them more often."""

GRACE = 30.0
"""Seconds that replies may still take when their model has to go."""


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
        self._metrics = MetricsBuilder()
        self._measured = 0.0
        self._changed = False
        self._active: EngineCore | None = None
        self._leaving: list[EngineCore] = []
        self._room: MakeRoom | None = None
        self._patience = 0.0
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
        self._changed = True
        self._board.set_running(sum(core.running for core in self._cores()))
        if time.monotonic() - self._measured >= MEASURE_EVERY:
            self._measure()

    def _obey(self) -> bool:
        """Carry out all commands that have come, and wait for one when there is nothing else to do."""
        while True:
            busy = any(core.busy for core in self._cores())
            if not busy:
                self._rest()
            try:
                command = self._commands.get(block=not busy)
            except queue.Empty:
                return True
            self._pulse.beat()
            match command:
                case Submit():
                    self._submit(command)
                case Cancel(request_id):
                    self._changed |= any(core.cancel(request_id) for core in self._cores())
                case Load(model):
                    self._loader.want(model)
                case ModelReady():
                    self._activate(command)
                case MakeRoom():
                    self._clear(command)
                case Close():
                    return False
                case _:
                    raise TypeError("the worker was sent something that is no command")
            self._retire()

    def _submit(self, command: Submit) -> None:
        takers = self._cores() if self._room is None else []
        for core in takers:
            if core.model.status.name == command.model:
                core.submit(command.request, command.submitted)
                self._changed = True
                return
        # The model was given up between the border's check and now.
        waited = time.monotonic() - command.submitted
        self._emit(
            TokensFinished(
                command.request.request_id,
                FinishReason.ERROR,
                Usage(prompt=len(command.request.prompt_ids)),
                Timings(queued=waited, total=waited),
                self._room.why if self._room is not None else "The model was changed just now. Try again.",
                "engine_unavailable",
            )
        )

    # --- models come and go ----------------------------------------------------------------------

    def _activate(self, ready: ModelReady) -> None:
        """New requests go to this model; requests of the one before finish where they are."""
        model = ready.model
        if self._active is not None:
            self._leaving.append(self._active)
        self._active = EngineCore(model, self._emit, self._metrics)
        self._board.set_active(model.status, model.limits, model.max_running)
        if not ready.meanwhile:
            self._board.set_target(None)
        self._changed = True

    def _clear(self, command: MakeRoom) -> None:
        """No model takes new requests, and all shall go."""
        if self._active is not None:
            self._leaving.append(self._active)
            self._active = None
        self._room, self._patience = command, time.monotonic() + GRACE
        self._board.close(command.why)

    def _retire(self) -> None:
        """Give up models that neither answer new requests nor have any left, and their memory."""
        if self._room is not None and time.monotonic() >= self._patience:
            self._end_leaving()
        if any(not core.busy for core in self._leaving):
            self._drop_idle()
            # Only here, where no variable holds a model that is gone, can its memory really be given back.
            give_memory_back(nothing_loaded=not self._cores())
            self._changed = True
        if self._room is not None and not self._leaving:
            self._room.done()
            self._room = None

    def _end_leaving(self) -> None:
        for core in self._leaving:
            core.give_up()

    def _drop_idle(self) -> None:
        idle = [core for core in self._leaving if not core.busy]
        self._leaving = [core for core in self._leaving if core.busy]
        kept = {core.model.status.name for core in self._cores()}
        for core in idle:
            if core.model.status.name not in kept:
                self._board.forget(core.model.status.name)

    # --- figures ---------------------------------------------------------------------------------

    def _rest(self) -> None:
        """There is nothing to do: tell so, and how things stand, once."""
        if self._changed:
            self._measure()
        self._pulse.rest()

    def _measure(self) -> None:
        """Show the figures as they are now."""
        cores, machine = self._cores(), self._loader.machine
        pools = [pool for core in cores for pool in (core.model.pages.full, core.model.pages.sliding)]
        used, total = machine.gpu_memory() if machine is not None else (0, 0)
        metrics = self._metrics.build(
            running=sum(core.running for core in cores),
            waiting=sum(core.waiting for core in cores),
            pages_total=sum(pool.capacity for pool in pools),
            pages_used=sum(pool.used for pool in pools),
            pages_cached=sum(pool.cached for pool in pools),
            memory_used=used,
            memory_total=total,
        )
        loaded = sum(core.model.held_bytes for core in cores)
        self._board.set_measured(metrics, machine.info(loaded) if machine is not None else None)
        self._measured, self._changed = time.monotonic(), False

"""The two ways to run a worker: in a thread of this process, or in a process of its own.

A ``Life`` is one worker from its start to its end. The supervisor's thread owns it: it starts the worker,
waits on it and stops it; commands may be sent from any thread. This side never imports torch.
"""

from __future__ import annotations

import logging
import queue
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Protocol

from inference.types import TokenEvent
from inference.worker.messages import Board, Close, Command, EngineConfig, Events, Isolation, Pulse, Report

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

logger = logging.getLogger(__name__)

Hear = Callable[["Life", Report], None]

# How long a worker process may take to end after each means: its last words, SIGTERM, SIGKILL.
END_TIMEOUT = 4.0


class Life(Protocol):
    """One worker from its start to its end."""

    final: bool
    """Whether the worker broke something that a new one of the same kind would need."""

    def start(self) -> None:
        """Start the worker; it loads the configured model."""
        ...

    def send(self, command: Command) -> None:
        """Give the worker a command. Never waits, and does nothing when the worker is gone."""
        ...

    def wait(self, seconds: float) -> bool:
        """Wait for the worker's end, at most about this long; True when it is gone."""
        ...

    def since(self) -> float | None:
        """When the step began that the worker is at (``time.monotonic()``); ``None`` between steps."""
        ...

    def stop(self) -> None:
        """Get rid of the worker, by force if it can be done, and of everything that belongs to it."""
        ...


def new_life(config: EngineConfig, hear: Hear) -> Life:
    """A worker as the configuration wants it, not yet started."""
    process = uses_process(config.isolation, config.device)
    return ProcessLife(config, hear) if process else ThreadLife(config, hear)


def uses_process(isolation: Isolation, device: str | None, dev: Path = Path("/dev")) -> bool:
    """Whether the worker gets its own process. ``dev`` is where the system shows its devices.

    This is decided without asking CUDA, which would need torch here. Only a CUDA GPU is a reason for a
    process: its errors can poison a process, and its steps are short enough to suffer from the web's Python.
    """
    if isolation != "auto":
        return isolation == "process"
    if device is not None:
        return device.startswith("cuda")
    return any(dev.glob("nvidia[0-9]*")) or (dev / "dxg").exists()


class _Bundling(Pulse):
    """A pulse that has the events of the last step passed on between two steps."""

    def __init__(self, tell: Callable[[], None]) -> None:
        super().__init__()
        self._tell = tell

    def beat(self) -> None:
        """See ``Pulse.beat``."""
        super().beat()
        self._tell()

    def rest(self) -> None:
        """See ``Pulse.rest``."""
        super().rest()
        self._tell()


class ThreadLife:
    """A worker in a thread. It cannot be killed: one that hangs is left alone, and nobody listens to it."""

    def __init__(self, config: EngineConfig, hear: Hear) -> None:
        self.final = False
        self._config = config
        self._hear = hear
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._events: list[TokenEvent] = []
        self._pulse = _Bundling(self._tell)
        self._thread = threading.Thread(target=self._work, name="inference-worker", daemon=True)

    def start(self) -> None:
        """See ``Life.start``."""
        self._thread.start()

    def send(self, command: Command) -> None:
        """See ``Life.send``."""
        self._commands.put(command)

    def wait(self, seconds: float) -> bool:
        """See ``Life.wait``."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def since(self) -> float | None:
        """See ``Life.since``."""
        return self._pulse.since

    def stop(self) -> None:
        """See ``Life.stop``. The worker finds that it is not wanted when its step is over, if ever."""
        self._commands.put(Close())

    def _tell(self) -> None:
        """Pass on the events of a step together: each call wakes readers, which slow the next step down."""
        if self._events:
            events = tuple(self._events)
            self._events.clear()
            self._hear(self, Events(events))

    def _work(self) -> None:
        """The worker's thread: torch comes in here and nowhere earlier."""
        board = Board(self._config.queue_limit, lambda state: self._hear(self, state))
        try:
            make = resolve_name(self._config.worker)
            worker = make(
                self._config,
                self._commands,
                board,
                self._events.append,
                self._pulse,
            )
            worker.run()
        except BaseException as error:
            logger.exception("The inference worker died.")
            # By its name: the module that defines it belongs to the side that has torch.
            self.final = type(error).__name__ == "DeviceLost"
        finally:
            self._tell()


class ProcessLife:
    """A worker in a process of its own, which ends when this one does."""

    def __init__(self, config: EngineConfig, hear: Hear) -> None:
        import multiprocessing

        from inference.worker import process

        self.final = False
        self._hear = hear
        self._gone = False
        # Spawned, never forked: a fork copies locks that other threads hold, and CUDA does not survive it.
        context = multiprocessing.get_context("spawn")
        self._ours, self._theirs = context.Pipe()
        self._beat = context.RawValue("d", 0.0)
        self._process = context.Process(
            target=process.serve,
            args=(config, self._theirs, self._beat, process.log_levels()),
            name="inference-worker",
            daemon=True,
        )
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._sender = threading.Thread(
            target=_send_all, args=(self._outgoing, self._ours), name="inference-sender", daemon=True
        )

    def start(self) -> None:
        """See ``Life.start``."""
        self._sender.start()
        # Ctrl-C reaches the whole group of processes. The new one is born deaf to it, and stays so.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            self._theirs.close()

    def send(self, command: Command) -> None:
        """See ``Life.send``. The pipe may be full, so another thread writes into it."""
        from multiprocessing.reduction import ForkingPickler

        self._outgoing.put(bytes(ForkingPickler.dumps(command)))

    def wait(self, seconds: float) -> bool:
        """See ``Life.wait``. Meanwhile this thread hands on what the worker says."""
        from multiprocessing.connection import wait

        deadline = time.monotonic() + seconds
        while not self._gone:
            left = deadline - time.monotonic()
            ready = wait([self._ours, self._process.sentinel], max(0.0, left))
            if self._ours in ready:
                self._gone = not self._receive()
            elif ready:
                self._gone = True
            if left <= 0:
                break
        if self._gone:
            self._process.join(END_TIMEOUT)
            if self._process.exitcode:
                logger.error("The inference worker's process ended with status %s.", self._process.exitcode)
        return self._gone

    def since(self) -> float | None:
        """See ``Life.since``. Monotonic clocks of one machine's processes agree."""
        return self._beat.value or None

    def stop(self) -> None:
        """See ``Life.stop``."""
        for end in (self._process.terminate, self._process.kill):
            if self._process.pid is not None and self._process.exitcode is None:
                end()
                self._process.join(END_TIMEOUT)
        self._outgoing.put(None)
        if self._process.pid is not None and self._process.exitcode is None:
            logger.error("The worker process %s cannot be ended.", self._process.pid)
            return  # the system holds it, in a driver say; it may also hold up what is left
        self._sender.join()
        self._ours.close()
        self._process.close()

    def _receive(self) -> bool:
        """Take one message; False when there will be no more."""
        try:
            message: Any = self._ours.recv()
        except (EOFError, OSError):
            return False
        except Exception:
            logger.exception("The worker process sent something that cannot be read.")
            return False
        if not isinstance(message, logging.LogRecord):
            self._hear(self, message)
        elif (log := logging.getLogger(message.name)).isEnabledFor(message.levelno):
            log.handle(message)
        return True


def _send_all(outgoing: queue.SimpleQueue[bytes | None], connection: Connection[Any, Any]) -> None:
    while (message := outgoing.get()) is not None:
        try:
            connection.send_bytes(message)
        except OSError:
            return  # the worker is gone, and whoever reads from it will notice

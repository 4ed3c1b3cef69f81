"""The worker in a process of its own: its first function, its pipe to the web side, and when it ends.

This module is imported on both sides of the border; torch comes in when the worker is made.
"""

from __future__ import annotations

import ctypes
import logging
import logging.handlers
import os
import queue
import signal
import sys
import threading
from collections.abc import Mapping
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pkgutil import resolve_name
from typing import Any

from inference.types import TokenEvent
from inference.worker.messages import Board, Command, EngineConfig, Events, Pulse, Report

logger = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1  # from linux/prctl.h


def log_levels() -> dict[str, int]:
    """The levels of this process's loggers that matter to a worker, for ``serve``."""
    return {name: logging.getLogger(name).level for name in ("", "inference")}


def serve(
    config: EngineConfig,
    connection: Connection[Any, Any],
    beat: ctypes.c_double,
    levels: Mapping[str, int],
) -> None:
    """Work until ``Close`` comes, and leave with status 0; with 1 after anything else.

    Commands come through ``connection``; reports and log records go the other way. ``beat`` is shared
    memory: the begin of the present step, or 0.
    """
    _end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which knows what to do first
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    outbox = Outbox(connection)
    _log_to(outbox, levels)
    commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, commands), name="commands", daemon=True).start()
    board = Board(config.queue_limit, outbox.send)
    status = 1
    try:
        worker = resolve_name(config.worker)(config, commands, board, outbox.emit, SharedPulse(outbox, beat))
        worker.run()
        status = 0
    except BaseException:
        logger.exception("The inference worker died.")
    finally:
        outbox.flush()
        # At once: threads that still load a model and a broken GPU driver would hold up an orderly exit.
        os._exit(status)


class Outbox:
    """The worker's way to the web side. The events of one step travel in one message."""

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._events: list[TokenEvent] = []

    def emit(self, event: TokenEvent) -> None:
        """Keep an event until the next ``flush``; called by the worker's main thread, as ``flush`` is."""
        self._events.append(event)

    def flush(self) -> None:
        """Send what is kept."""
        if self._events:
            events, self._events = tuple(self._events), []
            self.send(Events(events))

    def send(self, message: Report | logging.LogRecord) -> None:
        """Send at once, from any thread. Without a reader this process has no purpose, and ends."""
        try:
            with self._lock:
                self._connection.send(message)
        except OSError:
            os._exit(1)


class SharedPulse(Pulse):
    """A pulse that the parent process can feel; between two steps the events of the last one are sent."""

    def __init__(self, outbox: Outbox, beat: ctypes.c_double) -> None:
        super().__init__()
        self._outbox = outbox
        self._beat = beat

    def beat(self) -> None:
        """See ``Pulse.beat``."""
        super().beat()
        self._beat.value = self._since
        self._outbox.flush()

    def rest(self) -> None:
        """See ``Pulse.rest``."""
        super().rest()
        self._beat.value = 0.0
        self._outbox.flush()


class _LogSender(logging.handlers.QueueHandler):
    """Sends records, made fit for travel, to the parent, where logging is set up."""

    def __init__(self, outbox: Outbox) -> None:
        super().__init__(queue.SimpleQueue())
        self._outbox = outbox

    def enqueue(self, record: logging.LogRecord) -> None:
        """See ``QueueHandler.enqueue``."""
        self._outbox.send(record)


def _log_to(outbox: Outbox, levels: Mapping[str, int]) -> None:
    logging.getLogger().addHandler(_LogSender(outbox))
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def _listen(connection: Connection[Any, Any], commands: queue.SimpleQueue[Command]) -> None:
    """Take commands until the parent is gone; then nobody waits for anything that is done here."""
    try:
        while True:
            commands.put(connection.recv())
    except (EOFError, OSError):
        os._exit(1)


def _end_with_parent() -> None:
    """Have the system kill this process when the parent's thread that started it ends, however that ends.

    The closed pipe says so, too, but not to a thread that cannot run because a step hangs.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        parent = parent_process()
        if parent is None or parent.pid != os.getppid():
            os._exit(1)  # it had ended before

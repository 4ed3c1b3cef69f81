"""Connections that cost something and give nothing: counted, and closed when their time is over.

uvicorn waits for ever for the rest of a request, and for a reader who has stopped reading. Here every
connection has a deadline in each of its states, and one sweep looks after all of them:

- no request, or half of one's headers: ``header_seconds``; after a first answer, ``idle_seconds``
- a request's body: the business of ``playground.body_limits``; once the answer is out, what is left of
  it is thrown away for ``linger_seconds``
- an answer that the reader does not take: ``write_seconds`` without any progress
- an answer that is taken too slowly: when more than ``UNSENT_BYTES`` wait, most of them must go within
  ``write_seconds``. That is some 3 kB in a second, and less than 5 kB in any case.

The system holds at most ``UNSENT_BYTES`` that were not sent for each connection, and the server as much again
and one message. ``most`` bounds all connections. When they are used up, the one that has waited longest for
its own request makes room: whoever has asked for something is never closed for a newcomer.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import h11
from starlette.responses import Response
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from playground.errors import PlaygroundError, invalid_request
from playground.limits.addresses import network_of

UNSENT_BYTES = 64 * 1024
RESERVED_DESCRIPTORS = 256
"""Open files that are not connections: the database, the model, the standard library's own."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How many connections, in all and of one address (0: any), and how long each may take for what.

    ``idle_seconds`` lie between an answer and the next request.
    """

    most: int = 4000
    of_address: int = 200
    header_seconds: float = 10.0
    idle_seconds: float = 15.0
    write_seconds: float = 25.0
    linger_seconds: float = 5.0

    @property
    def sweep_seconds(self) -> float:
        """Seconds between two looks at all connections."""
        return min(1.0, min(self.header_seconds, self.write_seconds, self.linger_seconds) / 2)


class Guard:
    """Knows every open connection of one server. Belongs to one event loop; ``clock`` is monotonic."""

    def __init__(self, limits: ConnectionLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self.clock = clock
        self._open: dict[GuardedProtocol, None] = {}  # the oldest first
        self._of_address: Counter[str] = Counter()
        self.refused = 0
        self.ended = 0

    @property
    def count(self) -> int:
        """How many connections are open."""
        return len(self._open)

    def unwritten(self) -> list[int]:
        """Bytes that wait for each reader who does not keep up."""
        sizes = (connection.transport.get_write_buffer_size() for connection in self._open)
        return [size for size in sizes if size]

    def protocol(self) -> type[asyncio.Protocol]:
        """What uvicorn makes its connections with."""
        return cast(type[asyncio.Protocol], functools.partial(GuardedProtocol, self))

    def enter(self, connection: GuardedProtocol) -> bool:
        """Count a new connection; False when there is no place for it."""
        most = self.limits.of_address
        if most and self._of_address[connection.address] >= most:
            self.refused += 1
            return False
        if len(self._open) >= self.limits.most and not self._make_room():
            self.refused += 1
            return False
        self._open[connection] = None
        self._of_address[connection.address] += 1
        return True

    def leave(self, connection: GuardedProtocol) -> None:
        """A connection is gone."""
        if connection in self._open:
            del self._open[connection]
            self._of_address[connection.address] -= 1
            if not self._of_address[connection.address]:
                del self._of_address[connection.address]

    async def sweep_regularly(self) -> None:
        """End what is over, until this task is cancelled."""
        while True:
            await asyncio.sleep(self.limits.sweep_seconds)
            self.sweep()

    def sweep(self) -> None:
        """End every connection whose time is over."""
        now = self.clock()
        for connection in list(self._open):
            if connection.overdue(now, self.limits):
                self._end(connection)

    def end_all(self) -> None:
        """End every connection at once."""
        for connection in list(self._open):
            self._end(connection)

    def _make_room(self) -> bool:
        for connection in self._open:
            if connection.waits_for_a_request:
                self._end(connection)
                return True
        return False

    def _end(self, connection: GuardedProtocol) -> None:
        self.ended += 1
        self.leave(connection)
        connection.drop()


class GuardedProtocol(H11Protocol):
    """One connection, with what the guard must know about it."""

    def __init__(
        self,
        guard: Guard,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.address = "unknown"
        self._guard = guard
        self._admitted = False
        self._since = guard.clock()  # when it began to wait for a request, or for the rest of one
        self._lingers_since: float | None = None
        self._unwritten = 0
        self._stalled_since: float | None = None
        self._paused_since: float | None = None

    @property
    def waits_for_a_request(self) -> bool:
        """Whether nothing has been asked that is not answered."""
        return self.conn.their_state is h11.IDLE and self.conn.our_state is h11.IDLE

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See ``asyncio.Protocol``. One too many gets an answer and is closed."""
        peer = transport.get_extra_info("peername")
        self.address = network_of(str(peer[0])) if isinstance(peer, tuple) and peer else "unknown"
        self.transport = transport
        self._admitted = self._guard.enter(self)
        if not self._admitted:
            transport.write(_refusal())
            transport.close()
            return
        _bound_buffers(transport)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """See ``asyncio.Protocol``."""
        if self._admitted:
            self._guard.leave(self)
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``. More of the same half of a request does not give it more time."""
        if not self._admitted:
            return
        if not self.waits_for_a_request or self.timeout_keep_alive_task is not None:
            self._since = self._guard.clock()
        super().data_received(data)
        if self.conn.their_state is not h11.SEND_BODY:
            self._lingers_since = None

    def on_response_complete(self) -> None:
        """See ``H11Protocol``. The rest of a body that nobody reads must not keep the connection open."""
        self._since = self._guard.clock()
        if self.conn.their_state is h11.SEND_BODY:
            self._lingers_since = self._since
        super().on_response_complete()

    def pause_writing(self) -> None:
        """See ``asyncio.Protocol``: from now on much waits for the reader."""
        self._paused_since = self._guard.clock()
        if self._admitted:
            super().pause_writing()

    def resume_writing(self) -> None:
        """See ``asyncio.Protocol``."""
        self._stalled_since = self._paused_since = None
        if self._admitted:
            super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """See ``H11Protocol``: what is no HTTP gets an error of the one shape, too."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(_whole(invalid_request().response(), b"400 Bad Request"))
        self.transport.close()

    def overdue(self, now: float, limits: ConnectionLimits) -> bool:
        """Whether this connection's time is over."""
        if self._stalls(now, limits.write_seconds):
            return True
        if self._paused_since is not None and now - self._paused_since > limits.write_seconds:
            return True
        if self._lingers_since is not None:
            return now - self._lingers_since > limits.linger_seconds
        if not self.waits_for_a_request:
            return False
        idle = self.timeout_keep_alive_task is not None
        return now - self._since > (limits.idle_seconds if idle else limits.header_seconds)

    def drop(self) -> None:
        """End this at once: nothing that the system still holds for the other side is kept for it."""
        connection = self.transport.get_extra_info("socket")
        if connection is not None and not self.transport.is_closing():
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _stalls(self, now: float, seconds: float) -> bool:
        """Whether nothing of what is to be written has gone for so long."""
        unwritten = self.transport.get_write_buffer_size()
        if not unwritten or unwritten < self._unwritten or self._stalled_since is None:
            self._stalled_since = now if unwritten else None
        self._unwritten = unwritten
        return self._stalled_since is not None and now - self._stalled_since > seconds


def descriptors_for(connections: int) -> int:
    """Let this process open so many connections beside its files, as far as the system allows; how many."""
    if sys.platform == "win32":
        return connections
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + RESERVED_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return connections
    return max(1, min(connections, soft - RESERVED_DESCRIPTORS))


def _bound_buffers(transport: asyncio.Transport) -> None:
    """Little is kept for a reader who does not read, and a peer that has vanished is noticed."""
    transport.set_write_buffer_limits(high=UNSENT_BYTES)
    connection = transport.get_extra_info("socket")
    if connection is None or connection.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000)


@functools.cache
def _refusal() -> bytes:
    """The whole answer to a connection that is one too many."""
    error = PlaygroundError(
        "too_many_connections",
        "Too many connections are open. Try again in a few seconds.",
        status=503,
        retry_after=5,
    )
    return _whole(error.response(), b"503 Service Unavailable")


def _whole(answer: Response, status: bytes) -> bytes:
    """An answer as it goes over the wire; the connection ends behind it."""
    lines = [b"HTTP/1.1 " + status, b"connection: close", b"x-content-type-options: nosniff"]
    lines += [name + b": " + value for name, value in answer.raw_headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + bytes(answer.body)

"""The web server around the application: the port, the moment it answers, and an orderly end."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from playground.connections import ConnectionLimits, Guard, descriptors_for
from playground.settings import Settings

PROXY_KEEP_ALIVE_SECONDS = 75.0
"""A proxy keeps idle connections for a minute; one that we close meanwhile costs somebody a request."""
GRACE_SECONDS = 1
SWITCH_SECONDS = 0.0005
"""The model's thread, the event loop and the storage's take turns in one interpreter; with Python's 5 ms each
return of a small torch operation could wait that long. See docs/performance.md for what it is worth."""


class PortUnavailable(Exception):
    """Nothing can listen there; ``str(error)`` is a sentence for the person who started the server."""


def listen(settings: Settings) -> socket.socket:
    """Take the port before any slow work; connections are accepted once the server runs.

    Raises:
        PortUnavailable: the port is in use, not allowed, or the address is not one of this machine's.
    """
    host, port = settings.host, settings.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # With the protocol named, asyncio turns off the delay of small packets, and streams flow evenly.
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(1)  # a second process that only binds would not notice this one
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise PortUnavailable(_reason(error, host, port)) from None
    return listener


def _reason(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} is already in use. Stop the program that uses it, or choose another with --port."
    if error.errno == errno.EACCES:
        return f"Port {port} needs rights that this user does not have. Choose one above 1023 with --port."
    return f"{host} is not an address of this machine. Choose another with --host."


def page_address(settings: Settings) -> str:
    """The address that a person types to see the page."""
    if settings.public_url is not None:
        return settings.public_url
    host = "localhost" if settings.host in {"127.0.0.1", "0.0.0.0", "::", "::1"} else settings.host  # noqa: S104
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


class Configuration(uvicorn.Config):
    """How the server runs, with the guard of its connections."""

    def __init__(self, app: FastAPI, guard: Guard, **options: Any) -> None:
        self.guard = guard
        keep_alive = round(guard.limits.idle_seconds)
        super().__init__(app, http=guard.protocol(), timeout_keep_alive=keep_alive, **options)


async def _nothing() -> None:
    pass


class Server(uvicorn.Server):
    """uvicorn, with something to do once it answers, and an end in three steps.

    Asked to end, it first answers on while ``on_drain`` lasts; then comes ``on_stop``, then the connections
    end. A second signal ends ``on_drain`` and cuts the connections; a third ends the process as it is.
    """

    def __init__(
        self,
        config: Configuration,
        on_ready: Callable[[], Awaitable[None]],
        on_stop: Callable[[], Awaitable[None]],
        on_drain: Callable[[], Awaitable[None]] = _nothing,
    ) -> None:
        super().__init__(config)
        self._guard = config.guard
        self._on_ready = on_ready
        self._on_stop = on_stop
        self._on_drain = on_drain
        self._hurry = asyncio.Event()
        self._signals = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sweeping: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to answer, then say so."""
        sys.setswitchinterval(SWITCH_SECONDS)
        self._loop = asyncio.get_running_loop()
        self._sweeping = asyncio.create_task(self._guard.sweep_regularly())
        await super().startup(sockets=sockets)
        if self.started:
            await self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams first: a stream that goes on would hold up the end."""
        await self._drain()
        await self._on_stop()
        if self._hurry.is_set():
            self._guard.end_all()
        await super().shutdown(sockets=sockets)
        self._guard.end_all()
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.wait({self._sweeping})

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """See ``uvicorn.Server``; runs between any two instructions of the event loop's thread."""
        self._captured_signals.append(sig)
        self._signals += 1
        self.should_exit = True
        if self._signals == 2 and self._loop is not None:
            self._loop.call_soon_threadsafe(self._hurry.set)
        elif self._signals > 2:
            os._exit(1)

    async def _drain(self) -> None:
        draining = asyncio.ensure_future(self._on_drain())
        hurrying = asyncio.create_task(self._hurry.wait())
        await asyncio.wait({draining, hurrying}, return_when=asyncio.FIRST_COMPLETED)
        for task in (draining, hurrying):
            task.cancel()
        await asyncio.wait({draining, hurrying})


def configure(app: FastAPI, settings: Settings, limits: ConnectionLimits | None = None) -> Configuration:
    """How the server runs: a quiet log, bounded connections, proxy headers only where they are trusted.

    ``limits`` are those of the connections, where they are not the settings' own.
    """
    return Configuration(
        app,
        Guard(limits or connection_limits(settings)),
        log_level="warning" if settings.log_level == "info" else settings.log_level,
        access_log=False,  # it would hold addresses, and the tokens that stand in links
        proxy_headers=settings.trusts_proxy,
        forwarded_allow_ips="*" if settings.trusts_proxy else None,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


def connection_limits(settings: Settings) -> ConnectionLimits:
    """What the settings and this machine allow."""
    most = descriptors_for(settings.max_connections)
    if settings.trusts_proxy:
        return ConnectionLimits(most, of_address=0, idle_seconds=PROXY_KEEP_ALIVE_SECONDS)
    return ConnectionLimits(most, settings.address_connections)

"""The web server around the application: the port, the moment it answers, and an orderly end."""

from __future__ import annotations

import errno
import socket
from collections.abc import Awaitable, Callable

import uvicorn
from fastapi import FastAPI

from playground.settings import Settings

KEEP_ALIVE_SECONDS = 75
GRACE_SECONDS = 5
MAX_CONNECTIONS = 2000


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


class Server(uvicorn.Server):
    """uvicorn, with something to do once it answers and something before it waits for connections to end."""

    def __init__(
        self,
        config: uvicorn.Config,
        on_ready: Callable[[], Awaitable[None]],
        on_stop: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._on_stop = on_stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to answer, then say so."""
        await super().startup(sockets=sockets)
        if self.started:
            await self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams first: a stream that goes on would hold up the end."""
        await self._on_stop()
        await super().shutdown(sockets=sockets)


def configure(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """How the server runs: a quiet log, bounded connections, proxy headers only where they are trusted."""
    return uvicorn.Config(
        app,
        log_level="warning" if settings.log_level == "info" else settings.log_level,
        access_log=settings.log_level == "debug",
        proxy_headers=settings.trusts_proxy,
        forwarded_allow_ips="*" if settings.trusts_proxy else None,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )

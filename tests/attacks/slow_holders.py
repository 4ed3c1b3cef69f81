"""Sockets that hold a place and give nothing, from as many addresses of this machine as are wanted."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from dataclasses import dataclass

SILENT, HALF_HEADER, HALF_BODY, STALLED = "nothing", "half a header", "half a body", "a reader who stops"
KINDS = (SILENT, HALF_HEADER, HALF_BODY, STALLED)
PER_ADDRESS = 100
SMALL_BUFFER = 4096


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader who stops has asked for: a path and the cookie that opens it."""

    path: str
    cookie: str


def request_of(kind: str, reading: Reading) -> bytes:
    """What a holder of this kind sends."""
    if kind == SILENT:
        return b""
    if kind == HALF_HEADER:
        return b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
    if kind == HALF_BODY:
        begin = b"POST /api/turns HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        return begin + b'Content-Length: 999\r\n\r\n{"te'
    head = f"GET {reading.path} HTTP/1.1\r\nHost: localhost\r\nCookie: {reading.cookie}\r\n\r\n"
    return head.encode("ascii")


async def hold(port: int, kind: str, number: int, reading: Reading) -> socket.socket:
    """Open one such socket; ``number`` decides which address it comes from."""
    loop = asyncio.get_running_loop()
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    holder.setblocking(False)
    if kind == STALLED:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
    holder.bind((f"127.0.1.{1 + number // PER_ADDRESS}", 0))
    await loop.sock_connect(holder, ("127.0.0.1", port))
    await loop.sock_sendall(holder, request_of(kind, reading))
    return holder


async def hold_many(
    port: int, count: int, reading: Reading, kinds: Iterable[str] = KINDS
) -> dict[str, list[socket.socket]]:
    """``count`` sockets, as many of each kind."""
    named = list(kinds)
    held: dict[str, list[socket.socket]] = {kind: [] for kind in named}
    for number in range(count):
        kind = named[number % len(named)]
        held[kind].append(await hold(port, kind, number, reading))
    return held


def is_open(holder: socket.socket) -> bool:
    """Whether the server still has this connection, without reading what it sent."""
    try:
        return holder.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def system_says_closed(holder: socket.socket) -> bool:
    """The same for one that has unread data: the system knows whether the other side has gone."""
    # The first byte of struct tcp_info is the state; 1 is an established connection.
    return holder.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != 1

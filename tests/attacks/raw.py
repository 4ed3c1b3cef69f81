"""Requests exactly as they are written: no client tidies the address up or adds a header."""

from __future__ import annotations

import asyncio
import re

import httpx

from tests.playground.world import TIMEOUT


async def raw(
    url: str, path: str, method: str = "GET", headers: dict[str, str] | None = None, body: bytes = b""
) -> tuple[int, bytes, bytes]:
    """Status, head and body of the answer to ``METHOD path``; only what would end the line is escaped."""
    where = httpx.URL(url)
    line = re.sub(r"[\x00-\x20\x7f]", lambda found: f"%{ord(found[0]):02x}", path)
    sent = {"Host": where.netloc.decode(), "Connection": "close", **(headers or {})}
    if body:
        sent["Content-Length"] = str(len(body))
    lines = [f"{method} {line} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
    async with asyncio.timeout(TIMEOUT):
        reader, writer = await asyncio.open_connection(where.host, where.port)
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    head, _, content = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head, content

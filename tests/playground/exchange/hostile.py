"""Files that are made to exhaust memory or time, and what reading one of them costs.

``python -m tests.playground.exchange.hostile`` prints megabytes, seconds and the outcome of each as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from playground.exchange.refused import ImportRefused
from tests.playground.exchange.files import chatgpt, node, read, zipped


def within(values: bytes) -> bytes:
    """One conversation whose messages are these values."""
    return b'[{"messages": [' + values + b"]}]"


def chain() -> bytes:
    """A reply of 3,000 messages with a question below each of them."""
    nodes = [node("a0", None, ["a1"], "user", "x")]
    for n in range(1, 3000):
        following = [f"a{n + 1}"] if n < 2999 else []
        nodes.append(node(f"a{n}", f"a{n - 1}", [f"u{n}", *following], "assistant", "x"))
        nodes.append(node(f"u{n}", f"a{n}", [], "user", "x"))
    return json.dumps([chatgpt(*nodes)]).encode()


FILES: dict[str, Callable[[], bytes]] = {
    "lists": lambda: within(b"[]," * 1_000_000 + b"[]"),
    "objects": lambda: within(b"{}," * 1_000_000 + b"{}"),
    "objects of one field": lambda: within(b'{"a":1},' * 280_000 + b"{}"),
    "numbers": lambda: within(b"300," * 1_000_000 + b"1"),
    "texts": lambda: within(b'"ab",' * 450_000 + b"1"),
    "keys": lambda: b'{"messages": [], ' + b",".join(b'"%d":1' % n for n in range(400_000)) + b"}",
    "objects at the top": lambda: b"[" + b"{}," * 1_300_000 + b"{}]",
    "lines": lambda: b"{}\n" * 1_300_000,
    "brackets": lambda: b"[" * 4_000_000,
    "quotes": lambda: b"[" + b'"' * 4_000_001,
    "backslashes": lambda: b'["' + b"\\" * 4_000_000,
    "wide characters": lambda: json.dumps(
        {"messages": [{"role": "🙂" * 900_000}]}, ensure_ascii=False
    ).encode(),
    "messages": lambda: json.dumps({"messages": [{"role": "user", "content": "x"}] * 100_001}).encode(),
    "a chain": chain,
    "a bomb": lambda: zipped({"conversations.json": b"[" * 190_000_000}),
    "a table of contents": lambda: zipped({f"{n}.txt": b"" for n in range(30_000)}),
}


def peak() -> float:
    """The most memory that this process has had since the mark, in megabytes."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1000


def cost(name: str) -> tuple[float, float, str]:
    """Make a file, forget what that took, and read it."""
    data = FILES[name]()
    Path("/proc/self/clear_refs").write_text("5", "ascii")
    before, start = peak(), time.process_time()
    try:
        read(data)
        outcome = "taken"
    except ImportRefused as error:
        outcome = error.message
    return peak() - before, time.process_time() - start, outcome


if __name__ == "__main__":
    sys.stdout.write(json.dumps({name: cost(name) for name in FILES}))

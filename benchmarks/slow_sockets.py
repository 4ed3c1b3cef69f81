"""An honest user beside thousands of held sockets: time to the first token, idle and attacked, in one run.

    python -m benchmarks.slow_sockets [--holders 2000] [--asks 60] [--rounds 3]

Starts the real app on the demonstration model, and holders from other addresses of this machine: silent ones
and ones with half a header or half a body, each opened again as soon as the server closes it. The user asks
short questions, in turn without and beside them. Prints p50 and p95.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import statistics
import tempfile
import threading
import time

import httpx

from benchmarks.fairness import ask
from benchmarks.web import app_command, first_byte, free_port, process
from tests.attacks.slow_holders import HALF_BODY, HALF_HEADER, SILENT, Reading, hold, system_says_closed

KINDS = (SILENT, HALF_HEADER, HALF_BODY)
NOTHING = Reading("/healthz", "")
LOOK_SECONDS = 0.5


class Attack:
    """Holders in a thread of their own, until the block ends."""

    def __init__(self, port: int, count: int) -> None:
        self._port, self._count = port, count
        self._full, self._over = threading.Event(), threading.Event()
        self.reopened = 0

    def __enter__(self) -> Attack:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._hold()))
        self._thread.start()
        self._full.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(60)

    async def _hold(self) -> None:
        held = [await self._one(number) for number in range(self._count)]
        self._full.set()
        while not self._over.is_set():
            for number, holder in enumerate(held):
                if system_says_closed(holder):
                    holder.close()
                    held[number] = await self._one(number)
                    self.reopened += 1
            await asyncio.sleep(LOOK_SECONDS)
        for holder in held:
            holder.close()

    async def _one(self, number: int) -> socket.socket:
        return await hold(self._port, KINDS[number % len(KINDS)], number, NOTHING)


def measure(client: httpx.Client, asks: int) -> list[float]:
    """Seconds to the first token, so often."""
    return [ask(client, "What is 12 + 30?", "low")[0] for _ in range(asks)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--holders", type=int, default=2000)
    parser.add_argument("--asks", type=int, default=60, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as data, process(app_command(port, data)):
        first_byte(url + "/", time.perf_counter())
        with httpx.Client(base_url=url, timeout=300, trust_env=False) as client:
            while client.get("/api/model").json()["active"] is None:
                time.sleep(0.1)
            measure(client, 5)
            idle, attacked, reopened = [], [], 0
            for _ in range(options.rounds):
                idle += measure(client, options.asks)
                with Attack(port, options.holders) as attack:
                    attacked += measure(client, options.asks)
                reopened += attack.reopened
    print(f"{options.holders} holders, {reopened} opened again\n")
    print("| first token, seconds | p50 | p95 |\n|---|---|---|")
    rows = {"idle": idle, "attacked": attacked}
    found = {name: statistics.quantiles(values, n=20) for name, values in rows.items()}
    for name, parts in found.items():
        print(f"| {name} | {parts[9]:.3f} | {parts[18]:.3f} |")
    ratios = [found["attacked"][part] / found["idle"][part] for part in (9, 18)]
    print("| ratio | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |")


if __name__ == "__main__":
    main()

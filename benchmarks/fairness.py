"""One user with 500 requests against five others: how long these wait, alone and together, in one run.

    python -m benchmarks.fairness [--rounds 5] [--replies-at-once 4] [--flood 500]

Starts the real app on the demonstration model. In each round five people ask the same sort at high effort at
once, first alone, then while a sixth one sends 500 questions as fast as they are answered. Prints medians and
the worst of the waits for the first token and for the end, and their ratios.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx

from benchmarks.web import ROOT, app_command, first_byte, free_port

HONEST = 5
QUESTION = "Sort 84, 7, 91, 33, 58, 12, 66"
PATIENCE = 300.0
FLOOD_THREADS = 16


@dataclass
class Flood:
    """What the sixth one does."""

    url: str
    count: int
    over: threading.Event = field(default_factory=threading.Event)
    answers: Counter[int] = field(default_factory=Counter)

    def __enter__(self) -> Flood:
        self.client = httpx.Client(base_url=self.url, timeout=PATIENCE, trust_env=False)
        self.client.get("/api/bootstrap").raise_for_status()
        self.threads = [threading.Thread(target=self._ask) for _ in range(FLOOD_THREADS)]
        for thread in self.threads:
            thread.start()
        while sum(self.answers.values()) < FLOOD_THREADS:
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join(PATIENCE)
        self.client.close()

    def _ask(self) -> None:
        body = {"text": QUESTION, "effort": "high", "temperature": 0}
        while not self.over.is_set() and sum(self.answers.values()) < self.count:
            self.answers[self.client.post("/api/turns", json=body).status_code] += 1


def ask(client: httpx.Client, text: str = QUESTION, effort: str = "high") -> tuple[float, float]:
    """Seconds until the first token and until the end of one reply."""
    since = time.perf_counter()
    body = {"text": text, "effort": effort, "temperature": 0}
    turn = client.post("/api/turns", json=body).raise_for_status().json()
    first = 0.0
    with client.stream("GET", f"/api/generations/{turn['generation']['id']}/events") as stream:
        for line in stream.iter_lines():
            if line == "event: message" and not first:
                first = time.perf_counter() - since
            elif line == "event: finish":
                break
    return first or time.perf_counter() - since, time.perf_counter() - since


def together(clients: list[httpx.Client]) -> list[tuple[float, float]]:
    """All of them at once."""
    with ThreadPoolExecutor(len(clients)) as pool:
        return list(pool.map(ask, clients))


def measure(url: str, rounds: int, flood: int) -> None:
    """Alternate, and print the table."""
    clients = [httpx.Client(base_url=url, timeout=PATIENCE, trust_env=False) for _ in range(HONEST)]
    for client in clients:
        client.get("/api/bootstrap").raise_for_status()
    while clients[0].get("/api/model").json()["active"] is None:
        time.sleep(0.1)
    together(clients)
    waits: dict[str, list[tuple[float, float]]] = {"alone": [], "beside the flood": []}
    answers: Counter[int] = Counter()
    for _ in range(rounds):
        waits["alone"] += together(clients)
        with Flood(url, flood) as sixth:
            waits["beside the flood"] += together(clients)
        answers += sixth.answers
        while clients[0].get("/api/model").json()["running"]:
            time.sleep(0.1)
    print(f"The flood was answered: {dict(sorted(answers.items()))}\n")
    print("| seconds | first token, median | worst | end, median | worst |\n|---|---|---|---|---|")
    rows = {name: _row(found) for name, found in waits.items()}
    for name, row in rows.items():
        print(f"| {name} | " + " | ".join(f"{value:.2f}" for value in row) + " |")
    ratios = [many / one for one, many in zip(*rows.values(), strict=True)]
    print("| ratio | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |")


def _row(waits: list[tuple[float, float]]) -> list[float]:
    firsts, ends = zip(*waits, strict=True)
    return [statistics.median(firsts), max(firsts), statistics.median(ends), max(ends)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--replies-at-once", type=int, default=4)
    parser.add_argument("--flood", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as data:
        port = free_port()
        environment = {**os.environ, "REPLIES_AT_ONCE": str(options.replies_at_once)}
        command = app_command(port, data)
        app = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
        try:
            url = f"http://127.0.0.1:{port}"
            first_byte(url + "/", time.perf_counter())
            measure(url, options.rounds, options.flood)
        finally:
            app.terminate()
            app.wait(60)


if __name__ == "__main__":
    main()

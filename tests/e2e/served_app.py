"""The real application as a process of its own (``python app.py serve``), and people who ask it by HTTP."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
PATIENCE = 120.0
"""Seconds for what happens once: torch is imported and the model is written out on a slow machine."""
PAUSE = 0.1
LONG_QUESTION = "Sort 42, 7, 93, 15, 68, 21, 88"


class ServedApp:
    """One process of the application; it can be ended and started again at the same address."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._data = folder / "data"
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until its model answers."""
        command = ["app.py", "serve", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--data-dir", str(self._data), "--model", "demo"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=log, stderr=log)
        self._until_ready()

    def stop(self) -> None:
        """Ask it to end, as Ctrl-C does, and see that it ends in order."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        assert self._process.wait(PATIENCE) == 0, self.log()

    def kill(self) -> None:
        """End it without warning, as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)

    def log(self) -> str:
        """What it has written to its terminal."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    @contextlib.contextmanager
    def person(self) -> Iterator[httpx.Client]:
        """Somebody with an identity of their own who uses the API."""
        headers = {"Origin": self.url}
        with httpx.Client(base_url=self.url, headers=headers, timeout=PATIENCE, trust_env=False) as client:
            client.get("/api/bootstrap").raise_for_status()
            yield client

    def _until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            assert self._process.poll() is None, self.log()
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"{self.url}/healthz", trust_env=False).raise_for_status()
                active = httpx.get(f"{self.url}/api/model", trust_env=False).json()["active"]
                if active is not None and active["stage"] == "ready":
                    return
            time.sleep(PAUSE)
        raise AssertionError(f"The application was not ready in time.\n{self.log()}")


def ask_by_http(person: httpx.Client, text: str) -> dict[str, Any]:
    """Start a turn of a new conversation and return what the server acknowledged."""
    body = {"text": text, "effort": "high", "temperature": 0, "client_id": f"{time.monotonic_ns()}"}
    turn: dict[str, Any] = person.post("/api/turns", json=body).raise_for_status().json()
    return turn


@contextlib.contextmanager
def app_running(folder: Path) -> Iterator[ServedApp]:
    """The application with its data in ``folder``, until the block ends; then it ends in order."""
    app = ServedApp(folder)
    try:
        app.start()
        yield app
        app.stop()
    finally:
        app.kill()


@contextlib.contextmanager
def company(app: ServedApp, people: int = 2) -> Iterator[None]:
    """Others who ask one long question after the other, so that every reply takes its time.

    The demonstration model alone is done in two seconds, which may be less than a page takes to load.
    """
    over = threading.Event()
    threads = [threading.Thread(target=_keep_asking, args=(app, over)) for _ in range(people)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(PATIENCE)


def _keep_asking(app: ServedApp, over: threading.Event) -> None:
    # The test may end the application under their hands.
    with contextlib.suppress(httpx.TransportError), app.person() as person:
        while not over.is_set():
            generation = ask_by_http(person, LONG_QUESTION)["generation"]["id"]
            with person.stream("GET", f"/api/generations/{generation}/events") as events:
                for line in events.iter_lines():
                    if over.is_set() and not line:
                        person.post(f"/api/generations/{generation}/cancel", json={})
                        break

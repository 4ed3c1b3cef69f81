"""The playground as a browser and a reader meet it: start, page, stream, memory.

    python -m benchmarks.web [--rounds 3]

Starts the real app on the demonstration model with a fresh data folder, then measures, in this order:
process start to the first byte of the page and to a page that can be used (in Chromium, if there is one),
the same for a bare ``gr.Blocks`` page in the same run, when the model is ready, and for one long reply at
high effort the bytes a streamed token and the server's memory. Prints a Markdown table of medians.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import socket
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parents[1]
QUESTION = "Sort 84, 7, 91, 33, 58, 12, 66"
BARE = (
    "import gradio as gr, sys\n"
    "with gr.Blocks(analytics_enabled=False) as demo: gr.Textbox(elem_id='bare')\n"
    "demo.launch(server_port=int(sys.argv[1]), quiet=True)\n"
)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
]


def free_port() -> int:
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def process(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A server process that is stopped at the end."""
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield running
    finally:
        running.terminate()
        running.wait(30)


def first_byte(url: str, since: float) -> float:
    """Seconds from ``since`` until the page's first byte."""
    while time.perf_counter() - since < 120:
        try:
            if httpx.get(url).status_code == 200:
                return time.perf_counter() - since
        except httpx.TransportError:
            time.sleep(0.02)
    raise TimeoutError(f"{url} does not answer")


def usable(browser: Browser, url: str, selector: str, since: float) -> float:
    """Seconds from ``since`` until the page shows what a person needs."""
    page = browser.new_page()
    page.goto(url, wait_until="commit")
    page.wait_for_selector(selector, timeout=60_000)
    seconds = time.perf_counter() - since
    page.close()
    return seconds


def start(browser: Browser | None, command: list[str], url: str, selector: str) -> dict[str, float]:
    """Start times of one server, from its process's start."""
    since = time.perf_counter()
    with process(command):
        figures = {"first byte": first_byte(url, since)}
        if browser:
            figures["usable page"] = usable(browser, url, selector, since)
            again = time.perf_counter()
            figures["page again"] = usable(browser, url, selector, again)
    return figures


def reply(url: str, server: psutil.Process) -> dict[str, float]:
    """One reply through the HTTP API: bytes and tokens of its stream, speed, and the server's memory."""
    since = time.perf_counter()
    with httpx.Client(base_url=url, timeout=120) as client:
        while client.get("/api/model").json()["active"] is None:
            time.sleep(0.05)
        figures = {"model ready after the first byte": time.perf_counter() - since}
        turn = client.post(
            "/api/turns",
            json={"text": QUESTION, "effort": "high", "temperature": 0},
            headers={"Sec-Fetch-Site": "same-origin"},
        ).json()
        received, finish = 0, {}
        with client.stream("GET", f"/api/generations/{turn['generation']['id']}/events") as stream:
            event = ""
            for line in stream.iter_lines():
                received += len(line.encode()) + 1
                if line.startswith("event: "):
                    event = line.removeprefix("event: ")
                elif line.startswith("data: ") and event == "finish":
                    finish = json.loads(line.removeprefix("data: "))
                    break
        usage, timings = finish["usage"], finish["timings"]
        figures["bytes a token"] = received / usage["completion"]
        figures["tokens"] = usage["completion"]
        figures["tokens/s"] = timings["tokens_per_second"]
        figures["TTFT ms"] = timings["ttft"] * 1000
        figures["memory MB"] = server.memory_info().rss / 1e6
    return figures


def app_command(port: int, data: str) -> list[str]:
    return [sys.executable, "app.py", "serve", "--port", str(port), "--model", "demo", "--data-dir", data]


def rounds(count: int, browser: Browser | None) -> dict[str, list[dict[str, float]]]:
    """The measurements, alternating between what is compared."""
    made: dict[str, list[dict[str, float]]] = {"playground": [], "bare Gradio page": [], "reply": []}
    for _ in range(count):
        with tempfile.TemporaryDirectory() as data:
            port = free_port()
            url = f"http://127.0.0.1:{port}/"
            made["playground"].append(start(browser, app_command(port, data), url, "html[data-pg-ready]"))
            port = free_port()
            bare = [sys.executable, "-c", BARE, str(port)]
            made["bare Gradio page"].append(
                start(browser, bare, f"http://127.0.0.1:{port}/", "#bare textarea")
            )
            port = free_port()
            with process(app_command(port, data)) as running:
                url = f"http://127.0.0.1:{port}"
                first_byte(url, time.perf_counter())
                made["reply"].append(reply(url, psutil.Process(running.pid)))
    return made


def table(made: dict[str, list[dict[str, float]]]) -> str:
    def median(rows: list[dict[str, float]], key: str) -> float:
        return statistics.median(row[key] for row in rows)

    lines = ["| from process start, seconds | playground | bare Gradio page | ratio |", "|---|---|---|---|"]
    for key in made["playground"][0]:
        ours, bare = median(made["playground"], key), median(made["bare Gradio page"], key)
        lines.append(f"| {key} | {ours:.2f} | {bare:.2f} | {ours / bare:.2f} |")
    lines += ["", "| one reply at high effort, over HTTP | |", "|---|---|"]
    lines += [f"| {key} | {median(made['reply'], key):.4g} |" for key in made["reply"][0]]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        print(table(rounds(options.rounds, None)))
        return
    with sync_playwright() as playwright:
        browser: Any = playwright.chromium.launch(executable_path=path, args=FLAGS)
        print(table(rounds(options.rounds, browser)))
        browser.close()


if __name__ == "__main__":
    main()

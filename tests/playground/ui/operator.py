"""An HTTP endpoint of the operator's that answers calls of its functions as, and when, a test says."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TIMEOUT = 60.0


class Operator:
    """What the endpoint says, what it was asked, and whether it answers already."""

    def __init__(self) -> None:
        self.answer = "42"
        self.asked: list[dict[str, Any]] = []
        self.may_answer = threading.Event()
        self.may_answer.set()

    def start_afresh(self) -> None:
        """As it was at first; nobody waits any more."""
        self.answer = "42"
        self.asked.clear()
        self.may_answer.set()

    def handler(self) -> type[BaseHTTPRequestHandler]:
        """What ``http.server`` makes for each request."""
        operator = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                operator.asked.append(json.loads(body))
                operator.may_answer.wait(TIMEOUT)
                data = operator.answer.encode()
                with contextlib.suppress(OSError):  # whoever asked may be gone
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler


@contextmanager
def operating(folder: Path) -> Iterator[tuple[Operator, Path]]:
    """An endpoint until the block ends, and the file that declares its function ``get_stock``."""
    operator = Operator()
    server = ThreadingHTTPServer(("127.0.0.1", 0), operator.handler())
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="operator")
    thread.start()
    file = folder / "functions.json"
    entry = {
        "name": "get_stock",
        "description": "How many of a thing are in stock.",
        "parameters": {"type": "object", "properties": {"thing": {"type": "string"}}, "required": ["thing"]},
        "url": f"http://127.0.0.1:{server.server_port}/stock",
        "headers": {"Authorization": "Bearer operators-secret"},
        "timeout_seconds": TIMEOUT,
    }
    file.write_text(json.dumps([entry]), encoding="utf-8")
    try:
        yield operator, file
    finally:
        operator.may_answer.set()
        server.shutdown()
        server.server_close()
        thread.join(TIMEOUT)

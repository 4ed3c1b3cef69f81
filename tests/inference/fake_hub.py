"""A model hub on loopback: what the hub's client asks for, and every way to be answered badly."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """``files`` of one repository. The next transfer of ``cut_file`` breaks after ``cut_after`` bytes."""

    repo: str
    files: dict[str, bytes]
    status: int = 200
    error: str = ""
    gated_files: bool = False
    cut_file: str = ""
    cut_after: int | None = None
    endpoint: str = ""
    requests: list[tuple[str, str, str]] = field(default_factory=list)

    def fetched(self) -> set[str]:
        """The files whose contents were asked for."""
        return {
            path.rsplit("/", 1)[-1]
            for method, path, _range in self.requests
            if method == "GET" and "/resolve/" in path
        }


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Run the hub on a free port until the block ends; ``hub.endpoint`` is its address."""

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path, self.headers.get("Range", "")))
        if self.hub.status != 200:
            self._refuse(self.hub.status, self.hub.error)
        elif path == f"/api/models/{self.hub.repo}":
            self._send(json.dumps(self._info()).encode(), {"Content-Type": "application/json"}, body=body)
        elif path.startswith(f"/{self.hub.repo}/resolve/"):
            self._file(path.split("/resolve/", 1)[1].split("/", 1)[1], body=body)
        else:
            self._refuse(404, "RepoNotFound")

    def _info(self) -> dict[str, object]:
        siblings = [
            {"rfilename": name, "size": len(content), "blobId": hashlib.sha256(content).hexdigest()}
            for name, content in self.hub.files.items()
        ]
        return {
            "id": self.hub.repo,
            "sha": COMMIT,
            "siblings": siblings,
            "private": False,
            "tags": [],
            "downloads": 0,
        }

    def _file(self, name: str, *, body: bool) -> None:
        if self.hub.gated_files:
            self._refuse(401, "GatedRepo")
            return
        content = self.hub.files.get(name)
        if content is None:
            self._refuse(404, "EntryNotFound")
            return
        headers = {
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Repo-Commit": COMMIT,
            "Accept-Ranges": "bytes",
        }
        start = 0
        if wanted := self.headers.get("Range"):
            start = int(wanted.removeprefix("bytes=").split("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        cut = None
        if body and name == self.hub.cut_file:
            cut, self.hub.cut_after = self.hub.cut_after, None
        self._send(content[start:], headers, body=body, cut=cut, status=206 if start else 200)

    def _send(
        self,
        content: bytes,
        headers: dict[str, str],
        *,
        body: bool,
        cut: int | None = None,
        status: int = 200,
    ) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if not body:
            return
        self.wfile.write(content if cut is None else content[:cut])
        if cut is not None:
            self.close_connection = True

    def _refuse(self, status: int, code: str) -> None:
        text = json.dumps({"error": code}).encode()
        self._send(
            text, {"X-Error-Code": code, "X-Error-Message": code}, body=self.command == "GET", status=status
        )

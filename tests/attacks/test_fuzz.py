"""A17: requests that nobody means, by the ten thousand. None of them is an error of the server."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import hypothesis.strategies as st
import pytest
import requests
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, seed, settings
from pydantic import BaseModel
from schemathesis import Case
from starlette.routing import Mount

from tests.attacks.fuzz_cases import (
    Ids,
    Wild,
    fault_of,
    real_ids,
    schema_of,
    wild_requests,
    world_in_a_thread,
)
from tests.attacks.routes import routes_of
from tests.conftest import Part, Scale
from tests.playground.world import TIMEOUT, World
from tests.tried import Tell

SEED = 20_261_121
BATCH = 5


@dataclass
class Fuzzed:
    """A world that is asked nonsense, and what it answered."""

    world: World
    session: requests.Session
    ids: Ids
    statuses: Counter[int] = field(default_factory=Counter)

    def note(self, status: int, kind: str, content: bytes, said: object) -> None:
        self.statuses[status] += 1
        fault = fault_of(status, kind, content)
        assert fault is None, f"{fault}: {said!r:.600}"


@contextmanager
def fuzzed(folder: Path, prepare: Callable[[FastAPI], None] | None = None) -> Iterator[Fuzzed]:
    with world_in_a_thread(folder, prepare) as world, requests.Session() as session:
        session.trust_env = False
        session.headers["Sec-Fetch-Site"] = "same-origin"
        yield Fuzzed(world, session, real_ids(world.url, session))


Test = TypeVar("Test", bound=Callable[..., None])


def many(examples: int, first_seed: int) -> Callable[[Test], Test]:
    """That many examples, the same ones in every run, and no search for smaller ones."""

    def decorate(test: Test) -> Test:
        chosen = settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        return seed(first_seed)(chosen(test))

    return decorate


def as_described(on: Fuzzed, count: int, first_seed: int, mount: str = "/api") -> None:
    """Requests that the app's description allows below this address, and some that it does not."""
    known = {name: st.sampled_from(values) for name, values in on.ids.items()}

    @many(count, first_seed)
    @given(case=schema_of(on.world.app, mount).as_strategy(), data=st.data())
    def ask(case: Case[Any], data: st.DataObject) -> None:
        for name in case.path_parameters or {}:
            if name in known and data.draw(st.booleans()):
                case.path_parameters[name] = data.draw(known[name])
        answer = case.call(base_url=on.world.url + mount, session=on.session, timeout=TIMEOUT)
        on.note(
            answer.status_code, _kind(answer.headers), answer.content, (case.method, case.path, case.body)
        )

    ask()


def as_nobody_would(on: Fuzzed, count: int, first_seed: int) -> None:
    """Bodies, headers and queries that no description has."""
    routes = [
        (method, path) for method, path in routes_of(on.world.app) if path.startswith(("/api/", "/v1/"))
    ]

    @many(count // BATCH, first_seed)
    @given(batch=st.lists(wild_requests(routes, on.ids), min_size=BATCH, max_size=BATCH))
    def ask(batch: list[Wild]) -> None:
        for wild in batch:
            headers = {name: value.encode("latin-1") for name, value in wild.headers.items()}
            if wild.body and "Content-Type" not in headers:
                headers["Content-Type"] = b"application/json"
            answer = on.session.request(
                wild.method,
                on.world.url + wild.path,
                params=wild.query,
                headers=headers,
                data=wild.body,
                timeout=TIMEOUT,
                allow_redirects=False,
            )
            on.note(answer.status_code, _kind(answer.headers), answer.content, wild)

    ask()


def over_the_wire(on: Fuzzed, count: int, first_seed: int) -> None:
    """Bytes that are hardly HTTP."""
    port = urlsplit(on.world.url).port
    lines = st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from(
                [
                    b"GET /api/model HTTP/1.1",
                    b"POST /api/turns HTTP/1.1",
                    b"GET /%zz HTTP/1.1",
                    b"GET /api/\xff HTTP/1.1",
                    b"GET http://elsewhere/ HTTP/1.1",
                    b"OPTIONS * HTTP/1.1",
                    b"Host: x",
                    b"Host: localhost",
                    b"Host: [::1",
                    b"Content-Length: 5",
                    b"Content-Length: -5",
                    b"Content-Length: " + b"9" * 30,
                    b"Transfer-Encoding: chunked",
                    b"Connection: upgrade",
                    b"Upgrade: websocket",
                    b"Cookie: playground=\xff",
                    b"X: " + b"y" * 70_000,
                    b"",
                ]
            ),
        ),
        max_size=6,
    )

    @many(count, first_seed)
    @given(lines=lines)
    def ask(lines: list[bytes]) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as raw:
            answer = _answer_to(raw, b"\r\n".join([*lines, b"Connection: close", b"", b""]))
        if answer:
            head, _, content = answer.partition(b"\r\n\r\n")
            kind = b"".join(
                line.partition(b":")[2].strip()
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-type:")
            )
            on.note(int(head.split()[1]), kind.decode().partition(";")[0], content, lines)

    ask()


def _answer_to(raw: socket.socket, sent: bytes) -> bytes:
    """All that comes back until the server has ended the connection."""
    received = b""
    try:
        raw.sendall(sent)
        raw.shutdown(socket.SHUT_WR)
        while chunk := raw.recv(65_536):
            received += chunk
    except OSError:  # closed before all was sent
        pass
    return received


def _kind(headers: Any) -> str:
    """The type of an answer; schemathesis lists a header's values."""
    value = headers.get("content-type", "")
    return str(value[0] if isinstance(value, list) else value).partition(";")[0]


def test_no_request_is_an_error_of_the_server(tmp_path: Path, scale: Scale, tell: Tell, some: Part) -> None:
    with fuzzed(tmp_path) as on:
        as_described(on, some.share(scale(150, 15_000)), some.seed(SEED))
        as_described(on, some.share(scale(100, 8_000)), some.seed(SEED), "/v1")
        as_nobody_would(on, some.share(scale(400, 33_000)), some.seed(SEED))
        over_the_wire(on, some.share(scale(50, 2_000)), some.seed(SEED))
        assert on.session.get(on.world.url + "/healthz", timeout=TIMEOUT).json()["status"] == "ok"
        tell(f"{on.statuses.total()} requests by their answers: {dict(sorted(on.statuses.items()))}")
        assert on.statuses.total() >= some.share(scale(550, 48_000))
        assert {200, 400, 404} <= set(on.statuses)


class Planted(BaseModel):
    """A body that the planted route takes."""

    text: str = ""
    seed: int = 0


def plant(app: FastAPI) -> None:
    """A route that stumbles over some numbers."""

    async def stumbles(body: Planted) -> dict[str, float]:
        return {"result": 1 / (body.seed % 7)}

    api = next(each for each in app.router.routes if isinstance(each, Mount) and each.path == "/api")
    api.app.add_api_route("/planted", stumbles, methods=["POST"])  # type: ignore[attr-defined]


def test_a_route_that_stumbles_is_found(tmp_path: Path) -> None:
    with fuzzed(tmp_path, plant) as on, pytest.raises(AssertionError, match="status 500"):
        as_described(on, 600, SEED)

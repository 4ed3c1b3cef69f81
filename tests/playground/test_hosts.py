"""Under which names a server answers, by its settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from playground.hosts import HostNames
from playground.settings import Settings, SettingsError, load_settings

ALWAYS = ["localhost", "localhost:7860", "LOCALHOST:1", "chat.localhost", "127.0.0.1:7860", "[::1]:7860"]
NUMBERS = ["192.168.1.20", "203.0.113.7:80", "[2001:db8::1]:7860", "127.0.0.1"]
NEVER = ["evil.example", "evil.example:7860", "localhost.evil.example", "127.0.0.1.evil.example", "", ":7860"]
SPACE: dict[str, Any] = {"system": "spaces", "space_id": "ada/chat", "host": "0.0.0.0"}  # noqa: S104

CASES: list[tuple[dict[str, Any], list[str], list[str]]] = [
    ({}, [], ["box", "box.local", "chat.example.org"]),
    ({"host": "::1"}, [], ["box"]),
    ({"host": "0.0.0.0"}, ["box", "box:7860", "other", "box.local"], ["box.example.org", "other.local"]),  # noqa: S104
    ({"host": "gpu.example.org"}, ["gpu.example.org:7860", "box"], ["example.org", "a.gpu.example.org"]),
    ({"public_url": "https://chat.example.org"}, ["chat.example.org", "chat.example.org."], ["example.org"]),
    ({"public_url": "https://chat.example.org:8443"}, ["chat.example.org:8443"], ["chat.example.org"]),
    ({"behind_proxy": True}, ["inner:7860"], ["inner.example.org"]),
    ({"allowed_hosts": "a.example, b.example:81"}, ["A.example:5", "b.example:81"], ["b.example"]),
    ({"allowed_hosts": ".example.org"}, ["example.org", "a.b.example.org:1"], ["badexample.org", "org"]),
    ({"allowed_hosts": "a.example", "host": "0.0.0.0"}, ["a.example"], ["box", "box.local"]),  # noqa: S104
    ({"allowed_hosts": "a.example", "public_url": "https://b.example"}, ["a.example", "b.example"], ["box"]),
    (SPACE, ["ada-chat.hf.space", "inner:7860"], ["chat.example.org", "hf.space.evil.example"]),
    ({**SPACE, "space_host": "ada-chat.hf.space,chat.example.org"}, ["chat.example.org"], ["example.org"]),
]  # fmt: skip


def settings(**values: Any) -> Settings:
    return Settings(data_dir=Path("nowhere"), **values)


def serves(names: HostNames, host: str) -> bool:
    parts = urlsplit("//" + host.lower())
    return names.serves(parts.netloc, parts.hostname or "")


@pytest.mark.parametrize(("values", "served", "refused"), CASES, ids=lambda value: str(value)[:40])
def test_a_server_answers_under_its_own_names(
    values: dict[str, Any], served: list[str], refused: list[str]
) -> None:
    names = HostNames.of(settings(**values), machine=lambda: "Box")
    found = {host: serves(names, host) for host in [*ALWAYS, *NUMBERS, *NEVER, *served, *refused]}
    assert {host for host, yes in found.items() if yes} == {*ALWAYS, *NUMBERS, *served}


def test_a_star_serves_every_name() -> None:
    names = HostNames.of(settings(allowed_hosts="*"))
    assert all(serves(names, host) for host in [*ALWAYS, *NUMBERS, *NEVER])


@pytest.mark.parametrize("value", ["https://chat.example.org", "*.example.org", "a.example;b.example", "a/b"])
def test_what_is_no_host_name_is_told_at_the_start(value: str) -> None:
    with pytest.raises(SettingsError, match=r"is no host name; write chat\.example\.org"):
        load_settings(allowed_hosts=value)

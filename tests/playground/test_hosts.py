"""Under which names a server answers, by its settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from playground.hosts import HostNames
from playground.settings import Settings, SettingsError, load_settings

ALWAYS = [
    *("localhost", "localhost:7860", "LOCALHOST:1", "chat.localhost", "host.docker.internal:7860"),
    *("127.0.0.1:7860", "[::1]:7860", "192.168.1.20", "203.0.113.7:80", "[2001:db8::1]:7860"),
]
NEVER = [
    *("evil.example", "evil.example:7860", "localhost.evil.example", "127.0.0.1.evil.example", "", ":7860"),
    *("evil.local.example", "internal.evil.example", "evil-local.example", "localhost.evil", "127.0.0.1.5"),
]
EVERYWHERE: dict[str, Any] = {"host": "0.0.0.0"}  # noqa: S104
SPACE = {"system": "spaces", "space_id": "ada/chat", **EVERYWHERE}
NEAR = ["box", "box:7860", "box.local", "other.local", "gpu.internal", "gpu.home.arpa", "a.svc.cluster.local"]
CHAT = "chat.example.org"

CASES: list[tuple[dict[str, Any], list[str], list[str]]] = [
    ({}, [], [*NEAR, CHAT]),
    ({"host": "::1"}, [], NEAR),
    (EVERYWHERE, NEAR, ["box.example.org"]),
    ({"host": "GPU.example.org"}, ["gpu.example.org:7860", *NEAR], ["example.org", "a.gpu.example.org"]),
    (
        {"public_url": f"https://{CHAT}"},
        [CHAT, f"{CHAT}.", f"{CHAT}:443", *NEAR],
        ["example.org", f"a.{CHAT}"],
    ),
    ({"public_url": f"https://{CHAT}.:8443"}, [f"{CHAT}:8443", CHAT], ["example.org:8443"]),
    ({"public_url": "https://Müller.example"}, ["xn--mller-kva.example"], ["muller.example"]),
    ({"public_url": "https://straße.example"}, ["xn--strae-oqa.example"], ["strasse.example"]),
    ({"allowed_hosts": "пример.example:8443"}, ["xn--e1afmkfd.example:8443"], ["xn--e1afmkfd.example"]),
    ({"behind_proxy": True}, ["inner:7860", *NEAR], ["inner.example.org"]),
    ({"allowed_hosts": "a.example, b.example:81"}, ["A.example:5", "b.example:81"], ["b.example", *NEAR]),
    ({"allowed_hosts": ".example.org"}, ["example.org", "a.b.example.org:1"], ["badexample.org", "org"]),
    ({"allowed_hosts": ".müller.example"}, ["a.xn--mller-kva.example"], ["a.muller.example"]),
    ({"allowed_hosts": "a.example", **EVERYWHERE}, ["a.example"], NEAR),
    ({"allowed_hosts": "a.example", "public_url": "https://b.example"}, ["a.example", "b.example"], NEAR),
    (SPACE, ["ada-chat.hf.space", "inner:7860"], [CHAT, "hf.space.evil.example"]),
    ({**SPACE, "space_host": f"ada-chat.hf.space,{CHAT}"}, [CHAT], ["example.org"]),
]


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
    found = {host: serves(names, host) for host in [*ALWAYS, *NEVER, *served, *refused]}
    assert {host for host, yes in found.items() if yes} == {*ALWAYS, *served}


def test_a_star_serves_every_name() -> None:
    names = HostNames.of(settings(allowed_hosts="*"))
    assert all(serves(names, host) for host in [*ALWAYS, *NEVER])


@pytest.mark.parametrize("value", ["https://chat.example.org", "*.example.org", "a.example;b.example", "a/b"])
def test_what_is_no_host_name_is_told_at_the_start(value: str) -> None:
    with pytest.raises(SettingsError, match=r"is no host name; write chat\.example\.org"):
        load_settings(allowed_hosts=value)

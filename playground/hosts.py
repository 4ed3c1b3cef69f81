"""Under which names this server answers.

A page of another site can have its own name point to this machine after it was loaded (DNS rebinding); its
scripts could then ask here as if they were from here. An address in numbers cannot be pointed elsewhere.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

import idna

from playground.settings import Settings
from playground.settings_accounts import is_loopback_name

ANY = "*"
SPACES = ".hf.space"
OF_CONTAINERS = "host.docker.internal"
"""What a container calls the machine that it runs on."""
PRIVATE = (".local", ".internal", ".home.arpa")
"""Endings that nobody on the internet can have (RFC 6762, RFC 8375, ICANN's resolution of 2024-07-29)."""
HEALTH = "/healthz"
"""Answers under any name, for what watches a server calls it as it likes; it tells of nobody."""


class HostNames:
    """The names that are served, each with any port unless it has one itself.

    Addresses in numbers, ``localhost`` and ``host.docker.internal`` always are.
    """

    def __init__(self, named: Iterable[str], *, short: bool = False) -> None:
        """
        Args:
            named: names, also with a port; ``.example.org`` is this and all that end so, ``*`` all names.
            short: whether names of private networks are served, too: those without a dot, and ``PRIVATE``.
        """
        self._named = frozenset(map(spelled, named)) | {OF_CONTAINERS}
        self._endings = tuple(name for name in self._named if name.startswith("."))
        self._short = short

    @classmethod
    def of(cls, settings: Settings, machine: Callable[[], str] = socket.gethostname) -> HostNames:
        """Those of ``ALLOWED_HOSTS``, else what this server can be called where it listens."""
        names = set(settings.own_hosts)
        if settings.public_url is not None:  # some proxies pass the name on without its port
            names.add(urlsplit(settings.public_url).hostname or "")
        if settings.allowed_hosts:
            return cls(names.union(settings.allowed_hosts))
        if settings.on_space:
            names.add(SPACES)
        listens = not is_loopback_name(settings.host)
        if listens:
            names |= {settings.host, machine()}
        # A proxy may ask under the name that its own configuration has for this server.
        return cls(names, short=listens or settings.trusts_proxy or settings.public_url is not None)

    def serves(self, netloc: str, name: str) -> bool:
        """Whether a request for this host is answered.

        Args:
            netloc: the ``Host`` header in lower case, with its port.
            name: the same without port and brackets; empty where the header is none.
        """
        if ANY in self._named:
            return True
        name = name.removesuffix(".")
        if not name or {netloc, name} & self._named or f".{name}".endswith(self._endings):
            return bool(name)
        if self._short and ("." not in name or name.endswith(PRIVATE)):
            return True
        return name == "localhost" or name.endswith(".localhost") or _is_number(name)


def spelled(name: str) -> str:
    """The name, perhaps with a port, as browsers write it.

    It is in lower case, other scripts are in Punycode (UTS 46), and no dot is at its end.
    """
    host, colon, port = name.lower().partition(":")
    host = host.removesuffix(".")
    if not host.isascii():
        dot = "." if host.startswith(".") else ""
        with contextlib.suppress(idna.IDNAError):  # then nobody can ask for it
            host = dot + idna.encode(host.removeprefix("."), uts46=True).decode("ascii")
    return f"{host}{colon}{port}"


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True

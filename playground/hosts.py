"""Under which names this server answers.

A page of another site can have its own name point to this machine after it was loaded (DNS rebinding); its
scripts could then ask here as if they were from here. An address in numbers cannot be pointed elsewhere.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable

from playground.settings import Settings
from playground.settings_accounts import is_loopback_name

ANY = "*"
SPACES = ".hf.space"


class HostNames:
    """The names that are served, each with any port unless it has one itself.

    Addresses in numbers and ``localhost`` always are.
    """

    def __init__(self, named: Iterable[str], *, short: bool = False) -> None:
        """
        Args:
            named: names, also with a port; ``.example.org`` is this and all that end so, ``*`` all names.
            short: whether names without a dot are served, too; no stranger owns one.
        """
        self._named = frozenset(named)
        self._endings = tuple(name for name in self._named if name.startswith("."))
        self._short = short

    @classmethod
    def of(cls, settings: Settings, machine: Callable[[], str] = socket.gethostname) -> HostNames:
        """Those of ``ALLOWED_HOSTS``, else what this server can be called where it listens."""
        names = set(settings.own_hosts)
        if settings.allowed_hosts:
            return cls(names.union(settings.allowed_hosts))
        if settings.on_space:
            names.add(SPACES)
        listens = not is_loopback_name(settings.host)
        if listens:
            own = machine().lower()
            names |= {settings.host.lower(), own, f"{own}.local"}
        # A proxy may ask under the name that its own configuration has for this server.
        return cls(names, short=listens or settings.trusts_proxy)

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
        if "." not in name and self._short:
            return True
        return name == "localhost" or name.endswith(".localhost") or _is_number(name)


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True

"""Which address a request comes from, as far as that can be known. It is never stored and never logged."""

from __future__ import annotations

import ipaddress
from contextvars import ContextVar

from starlette.datastructures import Headers
from starlette.types import Scope

IPV6_PREFIX = 64
"""Bits that belong to one customer: inside of a /64 anybody may take any number of addresses."""

asking_address: ContextVar[str] = ContextVar("asking_address", default="unknown")
"""Of the request that is being answered."""


def network_of(host: str) -> str:
    """The address itself for IPv4, its /64 for IPv6; whatever is no address is one and the same network."""
    host = host.strip().strip('"')
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False).network_address)
        address = address.ipv4_mapped
    return str(address)


def address_of(scope: Scope, *, hops: int) -> str:
    """The network that a request comes from.

    ``hops`` is the number of proxies in front that can be trusted (0: none, the connection counts). Each adds
    to the end of X-Forwarded-For who asked it; what stands before that, the asker may have written.
    """
    client = scope.get("client")
    connected = network_of(client[0]) if client else "unknown"
    if not hops:
        return connected
    lines = Headers(scope=scope).getlist("x-forwarded-for")
    named = [part for line in lines for part in line.split(",") if part.strip()]
    return network_of(named[-min(hops, len(named))]) if named else connected

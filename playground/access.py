"""Who may do more than talk to the model: people on the machine itself, and admins who have signed in.

Without sign-in the connection is what counts. Behind a proxy every connection comes from the proxy, so there
nobody is local. A plain proxy on the same machine looks like a person on it, and cannot be told from one; so
where people can sign in, a privilege takes an admin who has.
"""

from __future__ import annotations

import ipaddress
import secrets
from urllib.parse import urlsplit

from fastapi import Request

from playground.errors import PlaygroundError, not_found
from playground.settings import Settings

_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")


def is_local(request: Request, settings: Settings) -> bool:
    """Whether this request comes from the machine itself, and through no proxy.

    The host that it asks for must be local, too: another site's name may be made to point here.
    """
    if settings.trusts_proxy or settings.public_url is not None:
        return False
    if any(name in request.headers for name in _FORWARDED):
        return False
    client = request.client.host if request.client is not None else ""
    try:
        asked = urlsplit("//" + request.headers.get("host", "")).hostname or ""
    except ValueError:
        return False
    return _is_loopback(client) and (asked == "localhost" or _is_loopback(asked))


def _is_trusted_by_place(request: Request, settings: Settings) -> bool:
    """Whether being on the machine itself is enough: where nobody can say who he is."""
    return not settings.sign_in_available and is_local(request, settings)


def check_metrics_reader(request: Request, settings: Settings, *, is_admin: bool) -> None:
    """Let admins read the figures, or where nobody can sign in the machine itself; others need the token.

    Raises:
        PlaygroundError: 404 where no token is set, else 401.
    """
    if is_admin or _is_trusted_by_place(request, settings):
        return
    if settings.metrics_token is None:
        raise not_found()
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    wanted = settings.metrics_token.get_secret_value()
    same = secrets.compare_digest(given.strip().encode("latin-1"), wanted.encode())
    if kind.lower() != "bearer" or not same:
        raise PlaygroundError("unauthorized", "This address needs the token for metrics.", status=401)


def may_choose_model(request: Request, settings: Settings, *, is_admin: bool) -> bool:
    """Whether the asker may change the model for everybody."""
    if settings.model_choice == "local":
        return is_admin or _is_trusted_by_place(request, settings)
    return settings.model_choice == "everyone"


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)  # how a socket for both families names IPv4 clients
    return (mapped or address).is_loopback

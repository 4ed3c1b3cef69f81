"""Where a sign-in may lead: back to this app, and never to an address that somebody else wrote."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from fastapi import Request

from playground.settings import Settings

PAGE = re.compile(r"/((c|s)/[A-Za-z0-9_-]{1,64})?\Z")
HOST = re.compile(r"([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?\Z")
LOGIN_PATH = "/oauth/login"
CALLBACK_PATH = "/oauth/callback"
SPACE_CALLBACK_PATH = "/login/callback"
"""The one that Hugging Face registers for a Space."""


def safe_next(value: str | None) -> str:
    """The page to show after the sign-in: one of this app's own, else its first.

    A list of what is allowed, for browsers read `//host`, `/\\host` and addresses with control characters in
    them as another site's.
    """
    return value if value is not None and PAGE.match(value) else "/"


def origin_of(request: Request, settings: Settings) -> str | None:
    """The scheme and host under which the provider knows this app; None where the request names no host.

    That it is one of this server's names has been checked before (``playground.hosts``).
    """
    if settings.public_url is not None:
        return settings.public_url
    if settings.on_space and settings.space_host:
        return "https://" + settings.space_host.split(",")[0].strip().lower()
    host = request.headers.get("host", "")
    return f"{request.url.scheme}://{host}" if HOST.match(host) else None


def is_elsewhere(request: Request, origin: str) -> bool:
    """Whether the browser asked under another name than the provider will send it back to.

    Its cookies would not come along.
    """
    return request.headers.get("host", "").lower() != urlsplit(origin).netloc.lower()


def callback_path(settings: Settings) -> str:
    """The path of the exact redirect address."""
    return SPACE_CALLBACK_PATH if settings.on_space else CALLBACK_PATH

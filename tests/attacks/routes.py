"""Every route of the mounted application, Gradio's included, as its own tables have them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fastapi import FastAPI
from starlette.routing import BaseRoute, Mount


def routes_of(app: FastAPI) -> list[tuple[str, str]]:
    """Method and path of each route, in the order in which they are asked; mounted files as ``MOUNT``."""
    return list(_walk(app.router.routes, ""))


def _walk(routes: Iterable[BaseRoute], prefix: str) -> Iterator[tuple[str, str]]:
    for route in routes:
        included = getattr(route, "original_router", None)  # how FastAPI holds an included router
        if included is not None:
            yield from _walk(included.routes, prefix)
            continue
        path = prefix + getattr(route, "path", "?")
        if isinstance(route, Mount) and route.routes:
            yield from _walk(route.routes, path)
        elif isinstance(route, Mount):
            yield "MOUNT", path
        else:
            for method in sorted(getattr(route, "methods", None) or {type(route).__name__}):
                yield method, path

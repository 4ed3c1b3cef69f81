"""The OpenAI APIs, an application of their own below ``/v1``: other errors, and their own description."""

from __future__ import annotations

from fastapi import FastAPI

from playground.api.openai import chat, errors, models, responses
from playground.errors import CatchAll
from playground.version import VERSION


def create_api(main: FastAPI) -> FastAPI:
    """The application to be mounted at ``/v1``; it has the parts of the main one (``app.state``)."""
    api = FastAPI(
        title="gpt-oss Playground",
        version=VERSION,
        summary="OpenAI's Chat Completions and Responses APIs, answered by gpt-oss.",
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    api.state = main.state
    errors.install(api)
    # FastAPI's own last net answers in plain text.
    api.add_middleware(CatchAll)
    api.include_router(models.router)
    api.include_router(chat.router)
    api.include_router(responses.router)
    return api

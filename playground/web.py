"""The web application: middleware, routes, static files and the page, put together in one place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import APIRouter, Depends, FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from inference.engine import Engine
from inference.harmony import HarmonyCodec
from playground import errors, share_page
from playground.accounts.actor import may_enter
from playground.accounts.identity import IdentityMiddleware
from playground.accounts.notices import warn_at_start
from playground.accounts.service import Accounts
from playground.api import (
    account,
    admin,
    conversations,
    functions,
    generations,
    metrics,
    models,
    page,
    presets,
    search,
    shares,
    sign_in,
    transfer,
    turns,
)
from playground.api.openai.application import create_api
from playground.api.openai.models import ollama
from playground.backups import Backups
from playground.body_limits import BodyLimits
from playground.completions.service import CompletionService
from playground.hosts import HostNames, spelled
from playground.housekeeping import tidy_regularly
from playground.large_answers import LargeAnswers
from playground.limits.middleware import AddressLimits
from playground.limits.rates import Rates
from playground.limits.storing import Storing
from playground.limits.uploads import Uploads
from playground.operator_functions import OperatorFunctions
from playground.responses.service import ResponseService
from playground.runs import RunRegistry
from playground.security import (
    HostCheck,
    OriginCheck,
    PageRewrite,
    SecurityHeaders,
    Surface,
)
from playground.settings import Settings
from playground.temporary import Stores
from playground.turn_request import TurnLimits
from playground.turns import TurnService
from storage.store import Store

if TYPE_CHECKING:
    from playground.accounts.sign_in import SignIn

STATIC_FOLDER = Path(__file__).resolve().parent.parent / "static"
YEAR = 365 * 24 * 3600


class PageFiles(StaticFiles):
    """The page's own files; a browser keeps those with a version in their address, and asks for the rest."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file with its caching rule; StaticFiles answers If-None-Match itself."""
        response = await super().get_response(path, scope)
        versioned = b"v=" in scope.get("query_string", b"") or path.endswith(".woff2")
        response.headers["cache-control"] = f"public, max-age={YEAR}, immutable" if versioned else "no-cache"
        return response


def create_app(settings: Settings, store: Store, engine: Engine, codec: HarmonyCodec) -> FastAPI:
    """The application without its page: API, static files, and all that guards them.

    ``app.state.page_served`` is an event, set when the first page was sent. The lifespan ends every run and
    closes the engine and the store.
    """
    limits = TurnLimits(settings.max_message_chars, settings.max_tokens_default, settings.date_told)
    stores = Stores(store)
    operator = OperatorFunctions(settings.operator_functions, settings.max_message_chars)
    service = TurnService(stores, engine, codec, RunRegistry(), limits, operator)
    completions = CompletionService(
        store,
        engine,
        codec,
        service.places,
        service.tokens,
        limits,
        service.preparation.prompts,
    )
    page_served = asyncio.Event()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(warn_at_start, settings, store)
        backups.start()
        tidying = asyncio.create_task(tidy_regularly(stores, service, accounts))
        try:
            yield
        finally:
            tidying.cancel()
            await asyncio.wait({tidying})
            await completions.close()
            await service.close()
            service.preparation.prompts.close()
            await engine.close()
            await asyncio.to_thread(backups.close)
            await asyncio.to_thread(stores.close)

    app = FastAPI(
        title="gpt-oss Playground", openapi_url=None, docs_url=None, redoc_url=None, lifespan=lifespan
    )
    app.state.settings = settings
    app.state.store = store
    app.state.stores = stores
    app.state.codec = codec
    app.state.engine = engine
    app.state.turns = service
    app.state.completions = completions
    app.state.responses = ResponseService(store, engine, codec, completions, service.runs)
    app.state.backups = backups = Backups.configured(settings)
    app.state.accounts = accounts = Accounts(settings, store)
    app.state.sign_in = _sign_in(accounts, stores, service)
    app.state.page_served = page_served
    app.state.rates = rates = Rates(settings)
    app.state.storing = Storing(settings, store)
    app.state.uploads = Uploads()
    errors.install(app)
    _add_routes(app)
    _add_middleware(app, settings, rates, page_served)
    return app


def _add_routes(app: FastAPI) -> None:
    """All addresses but the page's own."""
    app.include_router(page.health_router)
    app.include_router(metrics.router)
    app.include_router(share_page.router)
    app.include_router(sign_in.router)
    app.add_api_route("/favicon.ico", _favicon, methods=["GET"])
    # Mounted, and not included: an unknown path or method must end here, not in the page's own application.
    api = APIRouter(redirect_slashes=False)
    api.include_router(models.router, dependencies=[Depends(may_enter)])
    api.include_router(ollama, dependencies=[Depends(may_enter)])
    pages = (page, account, admin, conversations, turns, generations, functions, presets, search, shares)
    for module in (*pages, transfer):
        api.include_router(module.router)
    app.mount("/api", api)
    app.mount("/v1", create_api(app))
    # Gradio's page asks for a few files of its own under /static.
    files = PageFiles(directory=STATIC_FOLDER, packages=[("gradio", "templates/frontend/static")])
    app.mount("/static", files, name="static")


def _sign_in(accounts: Accounts, stores: Stores, turns: TurnService) -> SignIn | None:
    """The sign-ins, where there are any: what they need is not imported elsewhere."""
    if not accounts.settings.sign_in_available:
        return None
    from playground.accounts.sign_in import SignIn

    return SignIn(accounts, stores, turns.runs)


async def _favicon() -> FileResponse:
    """What browsers ask for by themselves."""
    return FileResponse(STATIC_FOLDER / "favicon.svg", media_type="image/svg+xml")


def _add_middleware(app: FastAPI, settings: Settings, rates: Rates, page_served: asyncio.Event) -> None:
    """From the inside out: the last one added meets a request first."""
    always_secure = settings.on_space or (settings.public_url or "").startswith("https://")
    app.add_middleware(errors.CatchAll)
    app.add_middleware(PageRewrite, on_page=page_served.set)
    app.add_middleware(Surface)
    app.add_middleware(
        IdentityMiddleware,
        doorman=app.state.accounts,
        always_secure=always_secure,
        embedded=settings.on_space,
    )
    app.add_middleware(LargeAnswers)
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=6)
    # No other site may read an answer. With this here, Gradio does not add its own, permissive headers.
    app.add_middleware(CORSMiddleware, allow_origins=())
    app.add_middleware(BodyLimits)
    app.add_middleware(OriginCheck, own_hosts=set(map(spelled, settings.own_hosts)))
    app.add_middleware(AddressLimits, rates=rates, hops=settings.proxy_hops if settings.trusts_proxy else 0)
    app.add_middleware(HostCheck, names=HostNames.of(settings))
    app.add_middleware(SecurityHeaders)

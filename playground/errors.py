"""One table from exceptions to HTTP answers, and the single JSON shape of an error.

Every package raises only its own errors. ``describe`` finds the status, the stable code and the
sentence for one of them; what is not in the table becomes a 500 that names nothing but a request id.
"""

from __future__ import annotations

import errno
import logging
import secrets

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inference import errors as engine
from storage import errors as storage

log = logging.getLogger(__name__)

ErrorBody = dict[str, dict[str, str | int]]

NAME_CHARS = 60
HEADERS = {
    401: {"WWW-Authenticate": "Bearer"},
    429: {"Retry-After": "5"},
    503: {"Retry-After": "5"},
}
"""What an answer of this status carries beside its body."""
KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
"""What OpenAI calls the errors of these statuses."""
DEEP = frozenset({"functions", "operator_functions", "response_schema", "results"})
"""Fields that hold lists and objects: a mistake is told with its place in them."""
RESTART_SECONDS = 10
INTERNAL_SENTENCE = "Something went wrong on the server. Please try again."


class PlaygroundError(Exception):
    """An answer other than success: a status, a stable code, a sentence and the parameter it is about.

    ``retry_after`` are seconds, where it is known when the same request may succeed.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int = 400,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.param = param
        self.retry_after = retry_after

    def body(self) -> ErrorBody:
        """The JSON shape."""
        body = error_body(self.code, self.message, self.param, self.status)
        if self.retry_after is not None:
            body["error"]["retry_after"] = self.retry_after
        return body

    def response(self) -> JSONResponse:
        """This error as an answer."""
        headers = dict(HEADERS.get(self.status, {}))
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        return JSONResponse(self.body(), self.status, headers)


class BodyRefused(HTTPException):
    """``known``, raised while FastAPI reads a body: it lets no other kind of error through."""

    def __init__(self, known: PlaygroundError) -> None:
        super().__init__(known.status)
        self.known = known


def kind_of(status: int) -> str:
    """OpenAI's word for the kind of error that an answer of this status is: its ``type``."""
    return KINDS.get(status, "server_error" if status >= 500 else "invalid_request_error")


def error_body(code: str, message: str, param: str | None = None, status: int = 500) -> ErrorBody:
    """The single JSON shape of an error, which is OpenAI's with more in it."""
    error: dict[str, str | int] = {"code": code, "type": kind_of(status), "message": message}
    if param is not None:
        error["param"] = param
    return {"error": error}


def not_found() -> PlaygroundError:
    """The one answer for an id that is unknown or somebody else's."""
    return PlaygroundError("not_found", "There is nothing here.", status=404)


def body_too_large(megabytes: int = 2) -> PlaygroundError:
    """The answer to a request that sends too much."""
    return PlaygroundError("body_too_large", f"This request is larger than {megabytes} MB.", status=413)


def method_not_allowed() -> PlaygroundError:
    """The answer to a method that an address does not take."""
    return PlaygroundError("method_not_allowed", "This address does not take that method.", status=405)


def invalid_request(status: int = 400) -> PlaygroundError:
    """The answer to what makes no sense."""
    return PlaygroundError("invalid_request", "This request cannot be understood.", status=status)


def not_an_object() -> PlaygroundError:
    """The answer to a body that cannot be read as the JSON object that every endpoint takes."""
    return PlaygroundError("invalid_parameter", "The request's body is not a JSON object.")


def restarting() -> PlaygroundError:
    """The answer to what would begin while the server ends."""
    sentence = "The playground is being restarted. Try again in a moment."
    return PlaygroundError("restarting", sentence, status=503, retry_after=RESTART_SECONDS)


def describe(error: Exception) -> PlaygroundError | None:
    """What to answer for an error of the playground, the engine or the store; ``None`` for any other."""
    match error:
        case PlaygroundError():
            return error
        case BodyRefused():
            return error.known
        case storage.NotFound():
            return not_found()
        case storage.Conflict():
            return PlaygroundError(error.code, str(error), status=409)
        case storage.StorageFull():
            return PlaygroundError(error.code, str(error), status=507)
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):  # a file of ours beside the database
            return describe(storage.StorageFull())
        case storage.InvalidText() | storage.InvalidValue():
            return PlaygroundError(error.code, str(error))
        case storage.StorageError():
            return PlaygroundError(error.code, str(error), status=503)
        case engine.QueueFull():
            return PlaygroundError(error.code, str(error), status=429)
        case engine.PromptTooLong():
            return PlaygroundError(error.code, str(error), param="text")
        case engine.EngineUnavailable() | engine.ModelLoadError():
            return PlaygroundError("engine_unavailable", str(error), status=503)
        case engine.InferenceError():
            return PlaygroundError("invalid_parameter", str(error))
    return None


def install(app: FastAPI) -> None:
    """Make ``app`` answer every error in the single shape."""
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(BodyRefused, _on_known)
    app.add_exception_handler(PlaygroundError, _on_known)
    app.add_exception_handler(engine.InferenceError, _on_known)
    app.add_exception_handler(storage.StorageError, _on_known)


async def _on_known(request: Request, error: Exception) -> JSONResponse:
    known = describe(error)
    return known.response() if known is not None else _internal(error)


async def _on_http(request: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    known = {
        404: not_found(),
        405: method_not_allowed(),
        400: not_an_object(),
    }.get(status)
    if known is None:
        known = invalid_request(status)
    response = known.response()
    response.headers.update(headers)
    return response


async def _on_validation(request: Request, error: Exception) -> JSONResponse:
    faults = error.errors() if isinstance(error, RequestValidationError) else []
    return validation_error(faults).response()


def validation_error(faults: object) -> PlaygroundError:
    """The first of pydantic's faults as one sentence. The rejected value itself is never repeated."""
    fault = faults[0] if isinstance(faults, list) and faults else {}
    kind = str(fault.get("type", ""))
    location = fault.get("loc", ())
    if kind == "json_invalid" or not isinstance(location, tuple) or len(location) < 2:
        return not_an_object()
    # All bodies are flat but for their settings and a few lists: what follows else names a kind of number.
    inner = location[1] == "settings" and len(location) > 2
    name = str(location[2] if inner else location[1])
    name = name if len(name) <= NAME_CHARS else name[:NAME_CHARS] + "…"
    what = name + (_place(location[3 if inner else 2 :]) if name in DEEP else "")
    if kind == "string_unicode":
        return PlaygroundError("invalid_text", f"{name} holds a broken character.", param=name)
    sentence = {
        "missing": f"{what} is missing.",
        "extra_forbidden": f"{what} is not a parameter here.",
    }.get(kind)
    if sentence is None:
        sentence = f"{what} is not valid: {str(fault.get('msg', 'wrong value')).lower()}."
    return PlaygroundError("invalid_parameter", sentence, param=name)


def _place(parts: tuple[object, ...]) -> str:
    """Where in a list or an object: ``[0].name``."""
    # Of a choice pydantic names the model that was tried, before the place in it; fields are written small.
    real = [part for part in parts if isinstance(part, int) or not str(part)[:1].isupper()]
    named = "".join(f"[{part}]" if isinstance(part, int) else f".{str(part)[:NAME_CHARS]}" for part in real)
    return named[:NAME_CHARS]


class CatchAll:
    """The last net, as ASGI: an exception that nobody expected becomes a 500 with a request id.

    It stands inside the other middleware, so that even this answer carries the security headers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watched_send)
        except Exception as error:
            if scope["type"] != "http" or started:
                raise
            known = describe(error)
            answer = _internal(error) if known is None else known.response()
            await answer(scope, receive, send)


def _internal(error: Exception) -> JSONResponse:
    request_id = secrets.token_hex(8)
    log.error("request %s failed: %s", request_id, type(error).__name__, exc_info=error)
    body = error_body("internal_error", INTERNAL_SENTENCE)
    body["error"]["request_id"] = request_id
    return JSONResponse(body, 500)

"""Errors as OpenAI's APIs answer them: ``{"error": {"message", "type", "param", "code"}}``.

The sentences and codes are those of ``playground.errors``; clients decide by the status, the type and the
code which exception they raise and whether they try again.
"""

from __future__ import annotations

import logging
import re
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from inference.errors import InferenceError, PromptTooLong
from playground import errors
from playground.errors import PlaygroundError
from playground.generation import Outcome
from storage.errors import StorageError

Json = dict[str, Any]

log = logging.getLogger(__name__)

NAME_CHARS = 80
_TRIED = re.compile(r"(constrained-)?(str|int|float|bool|dict|list)(\[.*\])?$")
CODES = {"not_found": None, "invalid_parameter": "invalid_value"}
"""What OpenAI calls some of our codes; all others are passed on."""
STATUSES = {
    "queue_full": 429,
    "invalid_parameter": 400,
    "invalid_request": 400,
    "context_length_exceeded": 400,
    "engine_unavailable": 503,
    "restarting": 503,
}
"""What a reply's failure would have been as an answer; every other one is a 500."""


def invalid(message: str, param: str | None, code: str = "invalid_value") -> PlaygroundError:
    """The answer to a parameter that cannot be taken."""
    return PlaygroundError(code, message, param=param)


def unsupported(param: str, why: str) -> PlaygroundError:
    """The answer to a parameter that would have an effect elsewhere, and has none here."""
    return PlaygroundError("unsupported_parameter", f"{param} is not supported here: {why}", param=param)


def body_of(error: PlaygroundError) -> Json:
    """The JSON of an answer that is an error."""
    body: Json = {
        "message": error.message,
        "type": errors.kind_of(error.status),
        "param": error.param,
        "code": CODES.get(error.code, error.code),
    }
    if error.retry_after is not None:
        body["retry_after"] = error.retry_after
    return {"error": body}


def response_of(error: PlaygroundError) -> JSONResponse:
    """The answer that is an error, ``Retry-After`` included."""
    response = error.response()
    return JSONResponse(
        body_of(error),
        error.status,
        {name: value for name, value in response.headers.items() if not name.startswith("content-")},
    )


def failure_of(outcome: Outcome) -> PlaygroundError:
    """Why a reply failed on its way, as the error that it would have been before its beginning."""
    code = outcome.error_code or "internal_error"
    return PlaygroundError(code, outcome.error or errors.INTERNAL_SENTENCE, status=STATUSES.get(code, 500))


def install(api: FastAPI) -> None:
    """Make ``api`` answer every error in this shape."""
    api.add_exception_handler(RequestValidationError, _on_validation)
    api.add_exception_handler(HTTPException, _on_http)
    api.add_exception_handler(errors.BodyRefused, _on_known)
    api.add_exception_handler(PlaygroundError, _on_known)
    api.add_exception_handler(InferenceError, _on_known)
    api.add_exception_handler(StorageError, _on_known)


async def _on_known(_: Request, error: Exception) -> JSONResponse:
    return response_of(known(error))


def known(error: Exception) -> PlaygroundError:
    """The error as a client of these APIs is told it; raises what nobody expected."""
    if isinstance(error, PromptTooLong):
        return PlaygroundError(error.code, str(error))
    found = errors.describe(error)
    if found is None:
        raise error
    return found


async def _on_http(_: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else 500
    known = {
        404: PlaygroundError("unknown_url", "There is nothing at this address.", status=404),
        405: errors.method_not_allowed(),
        400: errors.not_an_object(),
    }.get(status)
    response = response_of(known or errors.invalid_request(status))
    if isinstance(error, HTTPException):
        response.headers.update(dict(error.headers or {}))
    return response


async def _on_validation(_: Request, error: Exception) -> JSONResponse:
    faults = error.errors() if isinstance(error, RequestValidationError) else []
    return response_of(validation_error(faults))


def validation_error(faults: Any) -> PlaygroundError:
    """The first of pydantic's faults as one sentence. The rejected value itself is never repeated."""
    fault = faults[0] if faults else {}
    kind, location = str(fault.get("type", "")), tuple(fault.get("loc", ()))
    if isinstance(fault.get("input"), bytes):
        sentence = "The body is not read: send JSON with the header Content-Type: application/json."
        return PlaygroundError("invalid_request", sentence)
    if kind == "json_invalid" or len(location) < 2:
        return errors.not_an_object()
    # Where a field may be of several kinds, pydantic names the one that was tried behind the field.
    name = path_of(tuple(part for part in location[1:] if not _TRIED.match(str(part))))
    if kind == "string_unicode":
        return PlaygroundError("invalid_text", f"{name} holds a broken character.", param=name)
    if kind == "missing":
        return PlaygroundError("missing_required_parameter", f"{name} is missing.", param=name)
    wrong = re.sub(r"\s+", " ", str(fault.get("msg", "wrong value"))).rstrip(".").lower()
    wrong = re.sub(r" after validation, not \d+$", "", wrong.removeprefix("value error, "))
    return invalid(f"{name} is not valid: {wrong}.", name)


def path_of(location: tuple[object, ...]) -> str:
    """A place in a body: ``messages[0].content``."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    path = path.encode("utf-8", "replace").decode()
    return path if len(path) <= NAME_CHARS else path[:NAME_CHARS] + "…"

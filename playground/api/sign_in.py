"""The two addresses of a sign-in: the way to the provider, and the way back.

Both are read by browsers alone, so they answer with a redirect whatever happens; the page says what went
wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse

from playground.accounts.actor import VisitDep
from playground.accounts.addresses import (
    LOGIN_PATH,
    callback_path,
    is_elsewhere,
    origin_of,
    safe_next,
)
from playground.accounts.identity import new_token, read_cookie
from playground.accounts.pending import Returned, SignInFailed
from playground.accounts.text import client_name
from playground.api.dependencies import SettingsDep
from playground.errors import not_found

if TYPE_CHECKING:  # it brings along what only installations with sign-in need
    from playground.accounts.sign_in import SignIn

router = APIRouter()

COOKIE = "playground-sign-in"
SECURE_COOKIE = f"__Secure-{COOKIE}"
COOKIE_SECONDS = 600
REFUSED_COOKIE = "playground-refused"
SECURE_REFUSED_COOKIE = f"__Host-{REFUSED_COOKIE}"
REFUSED_SECONDS = 60
REFUSED_CHARS = 60


@router.get(LOGIN_PATH)
async def sign_in(request: Request, visit: VisitDep, settings: SettingsDep) -> RedirectResponse:
    """Send the browser to the provider, with a cookie that only the way back sees."""
    flow = _flow(request)
    wanted = safe_next(request.query_params.get("next"))
    another = request.query_params.get("account") == "another"
    origin = origin_of(request, settings)
    if origin is None:
        return _failed("failed")
    if is_elsewhere(request, origin) and "here" not in request.query_params:
        # Once: a proxy may ask under a name of its own.
        query = {"next": wanted, "here": "1"} | ({"account": "another"} if another else {})
        return _to(f"{origin}{LOGIN_PATH}?{urlencode(query)}")
    path = callback_path(settings)
    name = SECURE_COOKIE if visit.secure else COOKIE
    browser = read_cookie(request.headers, name) or new_token()
    try:
        address = await flow.begin(
            visit, browser=browser, next_path=wanted, redirect_uri=origin + path, another=another
        )
    except SignInFailed as failure:
        return _failed(failure.code)
    answer = _to(address)
    folder = path.rpartition("/")[0]
    attributes = f"Path={folder}; Max-Age={COOKIE_SECONDS}; HttpOnly; SameSite=Lax"
    answer.headers.append(
        "set-cookie", f"{name}={browser}; {attributes}" + ("; Secure" if visit.secure else "")
    )
    return answer


@router.get("/oauth/callback")
@router.get("/login/callback")
async def come_back(request: Request, visit: VisitDep) -> RedirectResponse:
    """Begin a session, or say on the first page why there is none."""
    flow = _flow(request)
    given = {name: request.query_params.getlist(name) for name in ("state", "code", "error", "iss")}
    if any(len(values) > 1 for values in given.values()):
        return _failed("failed")
    state, code, error, issuer = (values[0] if values else None for values in given.values())
    browser = read_cookie(request.headers, SECURE_COOKIE if visit.secure else COOKIE)
    try:
        next_path = await flow.finish(
            Returned(state, code, error, issuer),
            visit,
            browser=browser,
            client=client_name(request.headers.get("user-agent", "")),
        )
    except SignInFailed as failure:
        return _failed(failure.code, failure.name, secure=visit.secure)
    return _to(next_path)


def _flow(request: Request) -> SignIn:
    """The sign-ins; without them these addresses do not exist."""
    flow = cast("SignIn | None", request.app.state.sign_in)
    if flow is None:
        raise not_found()
    return flow


def _failed(code: str, name: str = "", *, secure: bool = False) -> RedirectResponse:
    """Back to the page. Whom it is about stands in a cookie, for anybody could write an address."""
    answer = _to("/?" + urlencode({"sign_in_error": code}))
    if name:
        cookie = (
            f"{SECURE_REFUSED_COOKIE if secure else REFUSED_COOKIE}={quote(name[:REFUSED_CHARS], safe='')}"
        )
        attributes = f"Path=/; Max-Age={REFUSED_SECONDS}; SameSite=Lax" + ("; Secure" if secure else "")
        answer.headers.append("set-cookie", f"{cookie}; {attributes}")
    return answer


def _to(address: str) -> RedirectResponse:
    return RedirectResponse(address, status_code=303, headers={"cache-control": "no-store"})

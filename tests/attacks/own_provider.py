"""An OpenID provider that answers rightly until a test twists one thing of it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, urlencode

import uvicorn
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.playground.world import TIMEOUT

CLIENT_ID, CLIENT_SECRET = "playground", "a secret that both know"
ACCESS_TOKEN = "access-token-for-the-tests"
ADA = {"sub": "ada's id", "preferred_username": "ada", "name": "Ada Lovelace"}
Fields = dict[str, Any]
Change = Callable[[Fields], object]
Sign = Callable[[Fields, Fields], str]


def b64(data: bytes) -> str:
    """Base64 as JOSE writes it."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value: int) -> str:
    """A number of a JWK."""
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


@cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    """A key, made once; ``name`` tells it from others."""
    return rsa.generate_private_key(65537, 2048)


def jwk(name: str) -> Fields:
    """The public half of a key."""
    public = rsa_key(name).public_key().public_numbers()
    return {"kty": "RSA", "kid": "one", "use": "sig", "n": number(public.n), "e": number(public.e)}


def compact(header: Fields, claims: Any, sign: Callable[[bytes], bytes]) -> str:
    """A JWS, whatever is in it."""
    signed = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
    return f"{signed}.{b64(sign(signed.encode()))}"


def rs256(data: bytes, name: str = "provider") -> bytes:
    """The signature of the provider, or with another key."""
    return rsa_key(name).sign(data, padding.PKCS1v15(), SHA256())


def _nothing(_: Fields) -> None:
    return None


def _sign(header: Fields, claims: Fields) -> str:
    return compact(header, claims, rs256)


@dataclass
class Twist:
    """What the provider does otherwise than it should; each changes what would be sent, in place.

    ``answers`` are whole answers by path.
    """

    metadata: Change = _nothing
    keys: Change = _nothing
    header: Change = _nothing
    claims: Change = _nothing
    token: Change = _nothing
    userinfo: Change = _nothing
    redirect: Change = _nothing
    sign: Sign = _sign
    answers: dict[str, Callable[[], Awaitable[Response]]] = field(default_factory=dict)


@dataclass
class OwnProvider:
    """The provider at ``url``; ``asked`` are the authorization requests that it got."""

    url: str
    twist: Twist = field(default_factory=Twist)
    person: Fields = field(default_factory=lambda: dict(ADA))
    asked: list[dict[str, str]] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def app(self) -> Starlette:
        """Its web application."""
        routes = {
            "/.well-known/openid-configuration": self._discovery,
            "/authorize": self._authorize,
            "/token": self._token,
            "/jwks": self._jwks,
            "/userinfo": self._userinfo,
        }
        return Starlette(
            routes=[
                Route(path, self._twisted(path, answer), methods=["GET", "POST"])
                for path, answer in routes.items()
            ]
        )

    def _twisted(
        self, path: str, answer: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            instead = self.twist.answers.get(path)
            return await (answer(request) if instead is None else instead())

        return endpoint

    async def _discovery(self, _: Request) -> Response:
        metadata = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "id_token_signing_alg_values_supported": ["RS256"],
            "authorization_response_iss_parameter_supported": True,
        }
        self.twist.metadata(metadata)
        return JSONResponse(metadata)

    async def _jwks(self, _: Request) -> Response:
        keys = {"keys": [jwk("provider")]}
        self.twist.keys(keys)
        return JSONResponse(keys)

    async def _authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        self.asked.append(asked)
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        back: Fields = {"code": code, "state": asked["state"], "iss": self.url}
        self.twist.redirect(back)
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(back, doseq=True)}", 302)

    async def _token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        asked = self.codes.pop(form.get("code", ""), None)
        basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        challenge = b64(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if (
            asked is None
            or request.headers.get("authorization") != f"Basic {basic}"
            or form.get("redirect_uri") != asked["redirect_uri"]
            or challenge != asked["code_challenge"]
        ):
            return JSONResponse({"error": "invalid_grant"}, 400)
        token = {
            "access_token": ACCESS_TOKEN,
            "token_type": "Bearer",
            "expires_in": 3600,
            "id_token": self.id_token(asked["nonce"]),
        }
        self.twist.token(token)
        return JSONResponse(token)

    def id_token(self, nonce: str) -> str:
        """The ID token that the twist leaves."""
        now = int(time.time())
        half = hashlib.sha256(ACCESS_TOKEN.encode()).digest()[:16]
        claims = {
            **self.person,
            "iss": self.url,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 600,
            "nonce": nonce,
            "at_hash": b64(half),
        }
        header = {"alg": "RS256", "kid": "one"}
        self.twist.header(header)
        self.twist.claims(claims)
        return self.twist.sign(header, claims)

    async def _userinfo(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {ACCESS_TOKEN}":
            return JSONResponse({"error": "invalid_token"}, 401)
        userinfo = dict(self.person)
        self.twist.userinfo(userinfo)
        return JSONResponse(userinfo)


@asynccontextmanager
async def own_provider() -> AsyncIterator[OwnProvider]:
    """Serve one until the block ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    provider = OwnProvider(f"http://127.0.0.1:{listener.getsockname()[1]}")
    server = uvicorn.Server(uvicorn.Config(provider.app(), log_level="error", timeout_graceful_shutdown=1))
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        async with asyncio.timeout(TIMEOUT):
            while not server.started:  # noqa: ASYNC110 - it has no event for this
                await asyncio.sleep(0.01)
        yield provider
    finally:
        server.should_exit = True
        async with asyncio.timeout(TIMEOUT):
            await serving

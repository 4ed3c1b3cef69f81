"""What a provider may answer that nobody must believe, as twists of one that answers rightly."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from starlette.responses import JSONResponse, RedirectResponse, Response

from tests.attacks.own_provider import (
    CLIENT_SECRET,
    Change,
    Fields,
    Sign,
    Twist,
    b64,
    compact,
    jwk,
    rs256,
    rsa_key,
)

HOUR = 3600


def put(**fields: Any) -> Change:
    """Set fields."""
    return lambda value: value.update(fields)


def drop(*names: str) -> Change:
    """Leave fields out."""
    return lambda value: [value.pop(name) for name in names]


def at(seconds: float, *names: str) -> Change:
    """Set times, relative to now."""
    return lambda value: value.update(dict.fromkeys(names, int(time.time() + seconds)))


def answer(response: Response, delay: float = 0.0) -> Callable[[], Awaitable[Response]]:
    """Always this answer, after a while."""

    async def give() -> Response:
        await asyncio.sleep(delay)
        return response

    return give


def _pem() -> bytes:
    """The public key as the text that confused libraries take for a shared secret."""
    return rsa_key("provider").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _hs256(secret: bytes) -> Sign:
    def sign(header: Fields, claims: Fields) -> str:
        return compact(
            {**header, "alg": "HS256"}, claims, lambda data: hmac.digest(secret, data, hashlib.sha256)
        )

    return sign


def _unsigned(header: Fields, claims: Fields) -> str:
    return compact({"alg": "none"}, claims, lambda _: b"")


def _other_key(header: Fields, claims: Fields) -> str:
    return compact(header, claims, lambda data: rs256(data, "somebody"))


def _own_key(header: Fields, claims: Fields) -> str:
    """Signed with a key that the token itself brings along."""
    return compact({**header, "jwk": jwk("somebody")}, claims, lambda data: rs256(data, "somebody"))


def _changed(header: Fields, claims: Fields) -> str:
    """The signature of other claims."""
    honest = compact(header, claims, rs256)
    forged = compact(header, {**claims, "sub": "admin"}, lambda _: b"").rstrip(".")
    return f"{forged}.{honest.rpartition('.')[2]}"


TOKENS: dict[str, Twist] = {
    "alg none": Twist(sign=_unsigned),
    "no signature": Twist(sign=lambda header, claims: compact(header, claims, lambda _: b"")),
    "HS256 with the public key": Twist(sign=_hs256(_pem())),
    "HS256 with the client's secret": Twist(sign=_hs256(CLIENT_SECRET.encode())),
    "signed by another key": Twist(sign=_other_key),
    "signed by a key in its own header": Twist(sign=_own_key),
    "other claims under the signature": Twist(sign=_changed),
    "a key that is not published": Twist(header=put(kid="two")),
    "an algorithm that discovery does not name": Twist(header=put(alg="PS256")),
    "an algorithm that nobody knows": Twist(header=put(alg="RS257")),
    "a header that must be understood": Twist(header=put(crit=["unknown"], unknown=1)),
    "claims that are a list": Twist(sign=lambda header, _: compact(header, ["sub"], rs256)),
    "another issuer": Twist(claims=put(iss="https://evil.example")),
    "an issuer with a slash more": Twist(claims=lambda claims: claims.update(iss=claims["iss"] + "/")),
    "no issuer": Twist(claims=drop("iss")),
    "another audience": Twist(claims=put(aud="somebody else")),
    "no audience": Twist(claims=drop("aud")),
    "an audience that is a number": Twist(claims=put(aud=7)),
    "two audiences and no azp": Twist(claims=put(aud=["playground", "somebody else"])),
    "two audiences and another azp": Twist(
        claims=put(aud=["playground", "somebody else"], azp="somebody else")
    ),
    "another azp": Twist(claims=put(azp="somebody else")),
    "expired": Twist(claims=at(-HOUR, "exp")),
    "no end": Twist(claims=drop("exp")),
    "an end that is a word": Twist(claims=put(exp="never")),
    "an end that is no number": Twist(claims=put(exp=float("nan"))),
    "issued in the future": Twist(claims=at(HOUR, "iat")),
    "issued never": Twist(claims=drop("iat")),
    "not valid yet": Twist(claims=at(HOUR, "nbf")),
    "another nonce": Twist(claims=put(nonce="another")),
    "no nonce": Twist(claims=drop("nonce")),
    "an empty nonce": Twist(claims=put(nonce="")),
    "at_hash of another token": Twist(claims=put(at_hash=b64(b"0" * 16))),
    "an empty at_hash": Twist(claims=put(at_hash="")),
    "an at_hash that is a list": Twist(claims=put(at_hash=[])),
    "no subject": Twist(claims=drop("sub")),
    "an empty subject": Twist(claims=put(sub="")),
    "a subject that is a number": Twist(claims=put(sub=1)),
    "an endless subject": Twist(claims=put(sub="a" * 256)),
    "a subject with a line break": Twist(claims=put(sub="ada\nadmin")),
    "no ID token": Twist(token=drop("id_token")),
    "an ID token that is a number": Twist(token=put(id_token=1)),
    "an ID token of rubbish": Twist(token=put(id_token="a.b.c")),
    "an endless ID token": Twist(token=put(id_token="a" * 500_000 + ".b.c")),
    "no access token": Twist(token=drop("access_token")),
    "an access token that is a list": Twist(token=put(access_token=["a"])),
    "another kind of token": Twist(token=put(token_type="mac")),
}
"""The answer of the token endpoint."""

USERINFO: dict[str, Twist] = {
    "userinfo of somebody else": Twist(userinfo=put(sub="admin")),
    "userinfo of nobody": Twist(userinfo=drop("sub")),
    "userinfo that is a list": Twist(answers={"/userinfo": answer(JSONResponse([]))}),
    "userinfo that is refused": Twist(answers={"/userinfo": answer(JSONResponse({}, 401))}),
}

HUGE = b'{"a": "' + b"a" * 2_000_000 + b'"}'
BOMB = Response(gzip.compress(b"{" + b" " * 5_000_000), headers={"content-encoding": "gzip"})
BROKEN: dict[str, Twist] = {
    "the token endpoint fails": Twist(answers={"/token": answer(Response("", 500))}),
    "the token endpoint refuses": Twist(
        answers={"/token": answer(JSONResponse({"error": "invalid_grant"}, 400))}
    ),
    "the token endpoint sends elsewhere": Twist(answers={"/token": answer(RedirectResponse("/jwks", 307))}),
    "the token endpoint never ends": Twist(answers={"/token": answer(Response(HUGE))}),
    "the token endpoint packs a bomb": Twist(answers={"/token": answer(BOMB)}),
    "the token endpoint speaks HTML": Twist(answers={"/token": answer(Response("<h1>Hello</h1>"))}),
    "userinfo fails": Twist(answers={"/userinfo": answer(Response("", 503))}),
    "userinfo never ends": Twist(answers={"/userinfo": answer(Response(HUGE))}),
    "the keys cannot be had": Twist(answers={"/jwks": answer(Response("", 500))}),
    "there are no keys": Twist(keys=put(keys=[])),
    "the keys are a word": Twist(keys=put(keys="keys")),
    "the key is a shared secret": Twist(
        keys=put(keys=[{"kty": "oct", "kid": "one", "k": b64(CLIENT_SECRET.encode())}]),
        sign=_hs256(CLIENT_SECRET.encode()),
    ),
    "discovery fails": Twist(answers={"/.well-known/openid-configuration": answer(Response("", 500))}),
    "discovery is a list": Twist(answers={"/.well-known/openid-configuration": answer(JSONResponse([]))}),
    "discovery names another issuer": Twist(metadata=put(issuer="https://evil.example")),
    "discovery names no issuer": Twist(metadata=drop("issuer")),
    "discovery names no token endpoint": Twist(metadata=drop("token_endpoint")),
    "discovery names a script": Twist(metadata=put(authorization_endpoint="javascript:alert(1)")),
    "discovery names weak algorithms only": Twist(
        metadata=put(id_token_signing_alg_values_supported=["HS256", "none"]),
        sign=_hs256(CLIENT_SECRET.encode()),
    ),
}
"""Answers of other kinds; some are met before the browser is sent away."""

SLOW: dict[str, Twist] = {
    "the token endpoint is slow": Twist(answers={"/token": answer(JSONResponse({}), 5)}),
    "userinfo is slow": Twist(answers={"/userinfo": answer(JSONResponse({}), 5)}),
    "discovery is slow": Twist(answers={"/.well-known/openid-configuration": answer(JSONResponse({}), 5)}),
}

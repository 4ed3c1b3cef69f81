"""The ID token: whoever it names is signed in, so all that OpenID Connect Core 3.1.3.7 names is checked.

Authlib checks the claims and joserfc the signature; here stands what counts for this app.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

ALGORITHMS = frozenset({f"{kind}{bits}" for kind in ("RS", "PS", "ES") for bits in (256, 384, 512)})
"""Signatures whose key only the provider has: never "none", and no secret that both sides know."""
USUAL_ALGORITHM = "RS256"
LEEWAY_SECONDS = 60
SUBJECT_CHARS = 255
Claims = dict[str, Any]


class WrongToken(Exception):
    """The provider's answer does not say what it must say; the text is for the log and names no secret."""


def algorithms(metadata: Claims) -> list[str]:
    """Those that the provider says it signs with and that are good enough.

    Raises:
        WrongToken: there is none.
    """
    named = metadata.get("id_token_signing_alg_values_supported") or [USUAL_ALGORITHM]
    good = sorted(ALGORITHMS.intersection(name for name in named if isinstance(name, str)))
    if not good:
        raise WrongToken("no signature algorithm that is good enough")
    return good


def verified(
    token: dict[str, Any],
    keys: dict[str, Any],
    metadata: Claims,
    *,
    client_id: str,
    nonce: str,
    now: Callable[[], int],
) -> Claims:
    """The claims of the ID token in the token endpoint's answer.

    Raises:
        WrongToken: something about it is not as it must be.
        joserfc.errors.InvalidKeyIdError: ``keys`` has no such key; there may be newer ones.
        Exception: any error of the two libraries; it is a refusal like the others.
    """
    encoded, access_token = token.get("id_token"), token.get("access_token")
    if not isinstance(encoded, str) or not isinstance(access_token, str) or not access_token:
        raise WrongToken("no ID token or no access token")
    registry = JWSRegistry(algorithms=algorithms(metadata), strict_check_header=False)
    signed = jwt.decode(encoded, KeySet.import_key_set({"keys": _public(keys)}), registry=registry)
    claims = CodeIDToken(
        signed.claims,
        signed.header,
        {
            "iss": {"essential": True, "value": metadata["issuer"]},
            "aud": {"essential": True, "value": client_id},
        },
        {"nonce": nonce, "client_id": client_id, "access_token": access_token},
    )
    claims.validate(now=now(), leeway=LEEWAY_SECONDS)
    at_hash = claims.get("at_hash", "absent")
    if not isinstance(at_hash, str) or not at_hash:
        raise WrongToken("an empty at_hash")  # which Authlib takes for none
    subject(claims)
    return dict(claims)


def subject(claims: Claims) -> str:
    """Who it is, for this provider; raises WrongToken where that is missing."""
    value = claims.get("sub")
    if not isinstance(value, str) or not 0 < len(value) <= SUBJECT_CHARS or not value.isprintable():
        raise WrongToken("no subject")
    return value


def _public(keys: dict[str, Any]) -> list[Any]:
    """The keys that can check the signatures above."""
    listed = keys.get("keys")
    if not isinstance(listed, list):
        raise WrongToken("no keys")
    return [key for key in listed if isinstance(key, dict) and key.get("kty") in {"RSA", "EC"}]

"""The OpenID provider: what it publishes, the way there, and what it says of who came back.

Everything that it answers is bounded in size and time. Whatever goes wrong is a ``SignInFailed``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from joserfc.errors import InvalidKeyIdError

from playground.accounts.id_token import Claims, WrongToken, subject, verified
from playground.accounts.pending import Pending, SignInFailed

log = logging.getLogger(__name__)

DISCOVERY_PATH = "/.well-known/openid-configuration"
FRESH_SECONDS = 3600.0
STALE_SECONDS = 24 * 3600.0
PAUSE_SECONDS = 5.0
"""How long after a failure, or after the keys were asked for, the provider is left alone."""
ANSWER_SECONDS = 10.0
ANSWER_BYTES = 1_000_000
ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
PROMPTS = ("select_account", "login")
NAME_CHARS = 200
OAUTH_ERRORS = {
    "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type",
    "invalid_scope", "access_denied", "server_error", "temporarily_unavailable",
}  # fmt: skip
"""RFC 6749, section 5.2 and 4.1.2.1. Any other text is not logged: a provider may repeat what it was sent."""


@dataclass(frozen=True, slots=True)
class Granted:
    """What the provider said: the ID token's claims, those of userinfo, and the access token."""

    claims: Claims
    userinfo: Claims
    access_token: str


class Provider:
    """One provider and this app as its client. Belongs to one event loop.

    ``clock`` is monotonic seconds, ``now`` seconds since 1970.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        client_secret: str | None,
        scopes: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], int] = lambda: int(time.time()),
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self.url = url
        self._client_id = client_id
        self._client_secret = client_secret
        self._scopes = scopes
        self._now = now
        self._answer_seconds = answer_seconds
        self._tls: ssl.SSLContext | None = None
        self._metadata = _Published(self._fetch_metadata, clock)
        self._keys = _Published(self._fetch_keys, clock)

    async def address(self, state: str, pending: Pending, *, another: bool = False) -> str:
        """Where the browser goes to sign in; with ``another`` it may choose who signs in.

        Raises:
            SignInFailed: the provider cannot be reached, or publishes nothing that can be used.
        """
        async with self._bounded():
            metadata = await self._metadata.get()
            client = await self._client()
            address, _ = client.create_authorization_url(
                metadata["authorization_endpoint"],
                state=state,
                code_verifier=pending.verifier,
                nonce=pending.nonce,
                redirect_uri=pending.redirect_uri,
                **(_prompt(metadata) if another else {}),
            )
            await client.aclose()
        return str(address)

    async def probe(self) -> None:
        """See whether the provider can be asked, and log why it cannot."""
        with contextlib.suppress(SignInFailed):
            async with self._bounded():
                await self._metadata.get()

    async def check_issuer(self, returned: str | None) -> None:
        """See that it is this provider that answers (RFC 9207).

        Raises:
            SignInFailed: another one does, or it did not say who it is although it always does.
        """
        async with self._bounded():
            metadata = await self._metadata.get()
        promised = metadata.get("authorization_response_iss_parameter_supported") is True
        if (returned is None and promised) or (returned is not None and returned != metadata["issuer"]):
            raise SignInFailed("failed")

    async def redeem(self, code: str, pending: Pending) -> Granted:
        """Exchange the code for tokens and see who it is.

        Raises:
            SignInFailed: the provider is away, refuses, or says something that must not be believed.
        """
        async with self._bounded():
            metadata = await self._metadata.get()
            async with await self._client() as client:
                token = await client.fetch_token(
                    metadata["token_endpoint"],
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=pending.verifier,
                    redirect_uri=pending.redirect_uri,
                )
        if str(token.get("token_type", "")).lower() != "bearer":
            raise SignInFailed("failed")
        claims = await self._verified(dict(token), metadata, pending.nonce)
        return Granted(claims, await self._userinfo(metadata, token, claims), token["access_token"])

    async def _verified(self, token: dict[str, Any], metadata: Claims, nonce: str) -> Claims:
        async with self._bounded():
            keys = await self._keys.get()
            try:
                return self._claims(token, keys, metadata, nonce)
            except InvalidKeyIdError:  # the provider may have changed its keys
                keys = await self._keys.get(newer=True)
                return self._claims(token, keys, metadata, nonce)

    def _claims(self, token: dict[str, Any], keys: Claims, metadata: Claims, nonce: str) -> Claims:
        return verified(token, keys, metadata, client_id=self._client_id, nonce=nonce, now=self._now)

    async def _userinfo(self, metadata: Claims, token: dict[str, Any], claims: Claims) -> Claims:
        """What the provider's userinfo says of the same person; nothing where it has none."""
        address = metadata.get("userinfo_endpoint")
        if address is None:
            return {}
        async with self._bounded():
            _check_address(address, self.url)
            headers = {"Authorization": f"Bearer {token['access_token']}"}
            userinfo = await self._get_json(address, headers)
            if subject(userinfo) != subject(claims):
                raise WrongToken("userinfo speaks of somebody else")
        return userinfo

    async def _fetch_metadata(self) -> Claims:
        metadata = await self._get_json(self.url + DISCOVERY_PATH)
        issuer = metadata.get("issuer")
        if not isinstance(issuer, str) or issuer.rstrip("/") != self.url:
            said = repr(issuer) if isinstance(issuer, str) else "none"
            raise WrongToken(f"discovery names another issuer: {said[:NAME_CHARS]}")
        for name in ENDPOINTS:
            _check_address(metadata.get(name), self.url)
        return metadata

    async def _fetch_keys(self) -> Claims:
        metadata = await self._metadata.get()
        return await self._get_json(metadata["jwks_uri"])

    async def _get_json(self, address: str, headers: dict[str, str] | None = None) -> Claims:
        async with await self._client() as client:
            asked = {"Accept": "application/json", **(headers or {})}
            answer = await client.request("GET", address, headers=asked, withhold_token=True)
        if answer.status_code >= 500:
            _log(self.url, f"status {answer.status_code}")
            raise SignInFailed("unavailable")
        if answer.status_code != 200:
            raise WrongToken(f"status {answer.status_code}")
        value = answer.json()
        if not isinstance(value, dict):
            raise WrongToken("an answer that is no object")
        return value

    async def _client(self) -> AsyncOAuth2Client:
        if self._tls is None:  # reads all certificates of this machine
            self._tls = await asyncio.to_thread(httpx2.create_ssl_context)
        return AsyncOAuth2Client(
            self._client_id,
            self._client_secret,
            scope=self._scopes,
            code_challenge_method="S256",
            token_endpoint_auth_method="client_secret_basic" if self._client_secret else "none",
            headers={"Accept-Encoding": "identity"},
            verify=self._tls,
            timeout=self._answer_seconds / 2,
            follow_redirects=False,
            event_hooks={"response": [_bound]},
        )

    def _bounded(self) -> _Bounded:
        return _Bounded(self._answer_seconds, self.url)


def _prompt(metadata: Claims) -> dict[str, str]:
    """What makes the provider ask who signs in, although somebody is signed in there (Core, 3.1.2.1)."""
    known = metadata.get("prompt_values_supported")
    if not isinstance(known, list):  # few say what they know; the first is in the standard
        return {"prompt": PROMPTS[0]}
    return next(({"prompt": value} for value in PROMPTS if value in known), {})


class _Bounded:
    """Ends what takes too long, and turns every error into ``SignInFailed``. The log gets the reason."""

    def __init__(self, seconds: float, url: str) -> None:
        self._timeout = asyncio.timeout(seconds)
        self._url = url

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError as late:
            error = late
        if error is None or not isinstance(error, Exception) or isinstance(error, SignInFailed):
            return
        # A provider may answer with anything; whatever a library makes of it is a refusal.
        away = isinstance(error, (TimeoutError, httpx2.HTTPError))
        said = str(error)[: 2 * NAME_CHARS] if isinstance(error, WrongToken) else type(error).__name__
        if isinstance(error, OAuthError):
            said = error.error if error.error in OAUTH_ERRORS else "an error that OAuth does not know"
        _log(self._url, said)
        raise SignInFailed("unavailable" if away else "failed") from None


def _log(url: str, reason: str) -> None:
    log.warning("sign-in by %s does not work: %s", url, reason)


class _Published:
    """Something that the provider publishes, asked for at most once an hour.

    While the provider is away, what it published up to a day ago still counts.
    """

    def __init__(self, fetch: Callable[[], Awaitable[Claims]], clock: Callable[[], float]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = asyncio.Lock()
        self._value: Claims | None = None
        self._fetched = self._failed = float("-inf")

    async def get(self, *, newer: bool = False) -> Claims:
        """What is published; with ``newer`` not what was asked for more than a moment ago."""
        async with self._lock:
            age = self._clock() - self._fetched
            if self._value is not None and age < (PAUSE_SECONDS if newer else FRESH_SECONDS):
                return self._value
            usable = self._value if age < STALE_SECONDS else None
            if self._clock() - self._failed < PAUSE_SECONDS:
                if usable is None:
                    raise SignInFailed("unavailable")
                return usable
            try:
                self._value = await self._fetch()
            except asyncio.CancelledError:  # it took too long
                self._failed = self._clock()
                raise
            except Exception:
                self._failed = self._clock()
                if usable is None:
                    raise
                return usable
            self._fetched = self._clock()
            return self._value


class _Capped(httpx2.AsyncByteStream):
    """A body that ends in an error when it grows too large."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        seen = 0
        async for chunk in self._stream:
            seen += len(chunk)
            if seen > ANSWER_BYTES:
                raise WrongToken("an answer that is too large")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _bound(answer: httpx2.Response) -> None:
    """Read no more of an answer than anybody needs; a packed one could become any size."""
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        raise WrongToken("a packed answer")
    if not isinstance(answer.stream, httpx2.AsyncByteStream):
        raise WrongToken("an answer without a stream")
    answer.stream = _Capped(answer.stream)


def _check_address(value: object, provider: str) -> None:
    """See that an endpoint is as well protected on its way as the provider itself."""
    parts = urlsplit(value) if isinstance(value, str) else urlsplit("")
    if not parts.hostname or parts.scheme not in {"https", urlsplit(provider).scheme}:
        raise WrongToken("an endpoint that is no address")

"""Sign-ins that have begun: what must come back unchanged from the provider, once, and soon.

They are kept in memory. A restart forgets them, and whoever was on the way begins again.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

LIFETIME_SECONDS = 600.0
MOST = 10_000


def secret() -> str:
    """A fresh secret: 43 characters that carry 256 random bits, as RFC 7636 wants them of a verifier."""
    return secrets.token_urlsafe(32)


def digest(value: str) -> str:
    """What is kept of a secret that only has to be recognised."""
    return hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()


class SignInFailed(Exception):
    """A sign-in that ends without a session; ``code`` is what the page says in its own words.

    ``name`` is what the provider calls whoever was not let in: a text of somebody else.
    """

    def __init__(self, code: str, name: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.name = name


@dataclass(frozen=True, slots=True)
class Returned:
    """What the provider put into the address that it sent the browser back to; None where it did not."""

    state: str | None
    code: str | None
    error: str | None
    issuer: str | None


@dataclass(frozen=True, slots=True)
class Pending:
    """One sign-in on its way.

    ``browser`` and ``identity`` are digests of the two cookies of the browser that began it, so that nobody
    else's browser can end it; ``identity`` is None where it had no identity yet.
    """

    nonce: str
    verifier: str
    redirect_uri: str
    next_path: str
    browser: str
    identity: str | None
    begun: float


class PendingSignIns:
    """At most ``most`` of them; the oldest makes room. ``clock`` is monotonic seconds. Thread-safe."""

    def __init__(self, most: int = MOST, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self.clock = clock
        self._lock = threading.Lock()
        self._by_state: dict[str, Pending] = {}  # by the state's digest, the oldest first

    def __len__(self) -> int:
        return len(self._by_state)

    def begin(
        self, *, redirect_uri: str, next_path: str, browser: str, identity: str | None
    ) -> tuple[str, Pending]:
        """A new sign-in and its state, which goes to the provider and is not kept."""
        state = secret()
        now = self.clock()
        pending = Pending(secret(), secret(), redirect_uri, next_path, browser, identity, now)
        with self._lock:
            while self._by_state:
                oldest = next(iter(self._by_state))
                is_over = now - self._by_state[oldest].begun >= LIFETIME_SECONDS
                if not is_over and len(self._by_state) < self._most:
                    break
                del self._by_state[oldest]
            self._by_state[digest(state)] = pending
        return state, pending

    def take(self, state: str, *, browser: str | None, identity: str | None) -> Pending | None:
        """The sign-in with this state, used up by that; None unless the same browser comes in time."""
        with self._lock:
            pending = self._by_state.pop(digest(state), None)
        if pending is None or self.clock() - pending.begun >= LIFETIME_SECONDS:
            return None
        same_browser = browser is not None and secrets.compare_digest(pending.browser, browser)
        return pending if same_browser and pending.identity == identity else None

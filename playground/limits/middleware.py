"""What an address may ask for, whoever sits there: the first of the limits, before anybody is known."""

from __future__ import annotations

import asyncio
import logging
import re

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from playground.errors import PlaygroundError
from playground.limits.addresses import address_of, asking_address
from playground.limits.rates import Rates

log = logging.getLogger(__name__)

FREE = re.compile(r"/(static/.*|assets/.*|theme\.css|favicon\.ico|healthz)\Z", re.DOTALL)
"""Files that cost next to nothing; a page asks for a hundred of them at once."""
SIGN_IN = re.compile(r"/(oauth|login)/")
TOO_MANY_SIGN_INS = "/?sign_in_error=busy"
"""Where a browser is sent that asks for one more: only people sign in, and they cannot read JSON."""
SHARED = re.compile(r"/(s|api/shared)/")
REFUSALS = frozenset({413, 429})
HOLD_SECONDS = 1.0
"""How long each further refusal is held back from an address that does not listen to them."""


class AddressLimits:
    """Answers 429 to an address that asks too often, and leads browsers that sign in too often to the page.

    ``hops`` is the number of proxies in front.

    Whoever asks on in spite of many refusals, these or those of the application, gets each further one a
    second late: a flood then costs the others nothing, for it goes on only as fast as it is answered. The
    address is the ``asking_address`` of whatever the request leads to.
    """

    def __init__(self, app: ASGIApp, rates: Rates, hops: int) -> None:
        self.app = app
        self.rates = rates
        self.hops = hops
        self._told = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            address = address_of(scope, hops=self.hops)
            self._look_for_proxy(scope)
            asking_address.set(address)
            send = self._holding(send, address)
            try:
                self._count(scope["path"], address)
            except PlaygroundError as error:
                await error.response()(scope, receive, send)
                return
            if SIGN_IN.match(scope["path"]) and not self._may_sign_in(address):
                await self._hold(address)
                headers = {"cache-control": "no-store"}
                await RedirectResponse(TOO_MANY_SIGN_INS, 303, headers)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _look_for_proxy(self, scope: Scope) -> None:
        """Tell the operator once, when a proxy seems to be in front that nothing is known of."""
        if self._told or self.hops or "x-forwarded-for" not in Headers(scope=scope):
            return
        self._told = True
        log.warning(
            "A request carries X-Forwarded-For, but BEHIND_PROXY is not set. If a proxy is in front, set it: "
            "until then all visitors count as one address, and share its limits."
        )

    def _holding(self, send: Send, address: str) -> Send:
        """Like ``send``, but late where it refuses once more."""

        async def late(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in REFUSALS:
                await self._hold(address)
            await send(message)

        return late

    async def _hold(self, address: str) -> None:
        """Count one refusal, and wait where there were many."""
        if self.rates.refused_again(address):
            await asyncio.sleep(HOLD_SECONDS)

    def _may_sign_in(self, address: str) -> bool:
        """Count one attempt; whether it may go on."""
        try:
            self.rates.sign_in_from(address)
        except PlaygroundError:
            return False
        return True

    def _count(self, path: str, address: str) -> None:
        if FREE.match(path):
            return
        self.rates.request_from(address)
        if SHARED.match(path):
            self.rates.share_read_from(address)

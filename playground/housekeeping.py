"""What the server does by itself now and then: deletes become final; chats, sessions and responses end."""

from __future__ import annotations

import asyncio
import itertools
import logging
from datetime import timedelta

from starlette.concurrency import run_in_threadpool

from playground.accounts.service import Accounts
from playground.allocator import give_back
from playground.temporary import Stores
from playground.turns import TurnService
from storage.clock import steady_now
from storage.errors import StorageError

log = logging.getLogger(__name__)

EVERY_SECONDS = 15.0
MEMORY_EVERY = 4
"""Once a minute: a large import or export leaves holes, which would stay until the process ends."""
ACCOUNTS_EVERY = 240
"""Once an hour: what is over is refused at once in any case."""
UNDO_SECONDS = 60.0


async def tidy_regularly(stores: Stores, turns: TurnService, accounts: Accounts) -> None:
    """Tidy until this task is cancelled."""
    for count in itertools.count(1):
        await asyncio.sleep(EVERY_SECONDS)
        try:
            await tidy(stores, turns)
            if count % MEMORY_EVERY == 0:
                await run_in_threadpool(give_back)
            if count % ACCOUNTS_EVERY == 0:
                await run_in_threadpool(stores.kept.tidy_sessions, accounts.clock(), accounts.idle)
                await run_in_threadpool(forget_responses, stores, accounts)
        except StorageError as error:
            log.warning("tidying up failed: %s", error.code)
        except Exception:  # the next time may be better, and nobody else would go on
            log.exception("tidying up failed")


async def tidy(stores: Stores, turns: TurnService) -> None:
    """End the temporary chats whose time is over, and remove what was deleted a minute ago."""
    await turns.expire_temporary()
    older_than = steady_now() - timedelta(seconds=UNDO_SECONDS)
    for store in stores.all():
        await run_in_threadpool(store.purge_deleted, older_than)
    await run_in_threadpool(stores.forget_owners)


def forget_responses(stores: Stores, accounts: Accounts) -> None:
    """Remove the stored responses that nothing has gone on from for so many days. Blocks."""
    if days := accounts.settings.response_days:
        stores.kept.forget_responses(accounts.clock() - timedelta(days=days))

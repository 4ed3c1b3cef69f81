"""The end of somebody's stay: replies that are being written stop, and what is theirs can go."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from starlette.concurrency import run_in_threadpool

from inference.engine import Engine
from playground.runs import Run, RunRegistry
from playground.temporary import Stores
from playground.turns import TurnService
from storage.errors import NotFound


async def stop_replies(runs: RunRegistry, engine: Engine, user_id: str) -> None:
    """Stop what is being written for a user, and wait until it has ended."""
    await _stop(engine, runs.find_open(lambda run: run.owner_id == user_id and not run.finished))


async def stop_key(runs: RunRegistry, engine: Engine, key_id: str) -> None:
    """Stop what is being written for an API key, and begin nothing more for it."""
    await _stop(engine, runs.end_key(key_id))


async def delete_user(stores: Stores, turns: TurnService, engine: Engine, user_id: str) -> None:
    """Delete a user with all that he has, in memory too. Raises StorageError."""
    await stop_replies(turns.runs, engine, user_id)
    await run_in_threadpool(stores.kept.delete_user, user_id)
    await stop_replies(turns.runs, engine, user_id)  # those that were being begun meanwhile
    for chat in stores.of_owner(user_id):
        with contextlib.suppress(NotFound):
            await turns.delete_conversation(chat.owner_id, chat.conversation_id)
        stores.forget(chat)


async def _stop(engine: Engine, runs: Sequence[Run]) -> None:
    for run in runs:
        run.cancel_requested = True
        await engine.cancel(run.generation_id)
    for run in runs:
        await run.done.wait()

"""Titles of conversations: from the question at once, better ones after the first reply, by hand for ever.

A model that was trained on the world is asked for a title in the background, when nothing else of its owner
runs. The demonstration model cannot write one; for it a rule has to do.
"""

from __future__ import annotations

import asyncio
import threading

from starlette.concurrency import run_in_threadpool

from inference.engine import Engine
from inference.errors import InferenceError
from inference.harmony import HarmonyCodec
from inference.types import (
    Channel,
    FinishReason,
    GenerationRequest,
    Message,
    Prompt,
    ReasoningEffort,
    Role,
    SamplingParams,
    TokensFinished,
    TokensGenerated,
)
from playground.runs import Run, RunRegistry
from playground.text import says_something, shortened, title_from, title_without_greeting
from storage.errors import StorageError
from storage.records import ConversationRecord, GenerationRecord, GenerationStatus, TurnRecord, new_id
from storage.store import Store

INSTRUCTIONS = (
    "You name conversations. Write a title of at most six words for the conversation below, in its language. "
    "Answer with the title alone: one line, no quotation marks, no full stop."
)
EXCERPT_CHARS = 1500
MAX_TOKENS = 300
TRIES = 3
QUIET_SECONDS = 1.0
PATIENCE_SECONDS = 600.0
AROUND = " \t\"'`*„“”«»‘’.,;:"


class Titles:
    """Makes titles, and keeps those that were given by hand. Belongs to one event loop."""

    def __init__(self, engine: Engine, codec: HarmonyCodec, runs: RunRegistry) -> None:
        self._engine = engine
        self._codec = codec
        self._runs = runs
        self._writing = threading.Lock()

    def wanted(self, turn: TurnRecord, reply: GenerationRecord) -> bool:
        """Whether this was a first question, whose conversation still has the title that it gave."""
        return (
            turn.user_message.parent_id is None
            and reply.status is GenerationStatus.FINISHED
            and reply.finish_reason is FinishReason.STOP
            and not turn.conversation.title_by_hand
            and turn.conversation.title == title_from(turn.user_message.content)
        )

    async def make(self, store: Store, owner_id: str, turn: TurnRecord, user_key: str) -> None:
        """Give the conversation its better title; ``user_key`` as in the reply's own request."""
        question = turn.user_message.content
        active = self._engine.health().active
        title = title_without_greeting(question)
        try:
            if active is not None and not active.demonstration:
                answer = await run_in_threadpool(_answer, store, owner_id, turn.generation.id)
                title = await self._ask(owner_id, user_key, question, answer) or title
            await run_in_threadpool(self._replace, store, owner_id, turn.conversation, title)
        except StorageError:
            return  # the conversation is gone, or nothing can be saved: a title is not worth a word

    def rename(self, store: Store, owner_id: str, conversation_id: str, title: str) -> None:
        """Give a title by hand; no other replaces it. Blocks; raises ``StorageError``."""
        with self._writing:
            store.update_conversation(owner_id, conversation_id, title=title, title_by_hand=True)

    def _replace(self, store: Store, owner_id: str, before: ConversationRecord, title: str) -> None:
        """Set the title unless the conversation got another one meanwhile."""
        with self._writing:
            now = store.get_conversation(owner_id, before.id)
            if not now.title_by_hand and now.title == before.title != title:
                store.update_conversation(owner_id, before.id, title=title)

    async def _ask(self, owner_id: str, user_key: str, question: str, answer: str) -> str:
        """The model's title, or nothing: it is asked when its owner wants nothing else, and gives way."""
        exchange = f"User: {question[:EXCERPT_CHARS]}\n\nAssistant: {answer[:EXCERPT_CHARS]}"
        prompt = Prompt([Message(Role.USER, exchange)], ReasoningEffort.LOW, INSTRUCTIONS)
        try:
            prompt_ids = tuple(await run_in_threadpool(self._codec.render, prompt))
            async with asyncio.timeout(PATIENCE_SECONDS):
                for _ in range(TRIES):
                    await self._quiet(owner_id)
                    title = await self._generate(owner_id, user_key, prompt_ids)
                    if title is not None:
                        return clean(title)
        except (InferenceError, TimeoutError):
            pass
        return ""

    async def _quiet(self, owner_id: str) -> None:
        """Wait until no reply of this owner runs, and nobody waits for the model."""
        while True:
            mine = self._open_runs(owner_id)
            if mine:
                await mine.pop().done.wait()
            elif self._engine.health().waiting:
                await asyncio.sleep(QUIET_SECONDS)
            else:
                return

    async def _generate(self, owner_id: str, user_key: str, prompt_ids: tuple[int, ...]) -> str | None:
        """What the model answers, "" where it came to no end; None when it had to give way."""
        sampling = SamplingParams(
            temperature=0.0, max_tokens=MAX_TOKENS, stop_token_ids=self._codec.STOP_TOKEN_IDS
        )
        request = GenerationRequest(f"title-{new_id()}", prompt_ids, sampling, user_key=user_key)
        parser = self._codec.parser()
        ended = gave_way = False
        tokens = self._engine.submit(request)
        try:
            async for event in tokens:
                if isinstance(event, TokensGenerated):
                    parser.feed(event.token_ids)
                    if not gave_way and self._open_runs(owner_id):
                        gave_way = True
                        await self._engine.cancel(request.request_id)
                elif isinstance(event, TokensFinished):
                    ended = True
                    if gave_way:
                        return None
                    if event.finish_reason is not FinishReason.STOP:
                        return ""
        finally:
            if not ended:
                await self._engine.cancel(request.request_id)
        finals = [each.content for each in parser.messages if each.channel is Channel.FINAL]
        return finals[-1] if finals else ""

    def _open_runs(self, owner_id: str) -> list[Run]:
        return self._runs.find_open(lambda run: run.owner_id == owner_id and not run.finished)


def clean(text: str) -> str:
    """The first line that says something, without quotation marks around it; "" where none does."""
    lines = (line.lstrip("# ").strip(AROUND) for line in text.splitlines())
    return shortened(" ".join(next((line for line in lines if says_something(line)), "").split()))


def _answer(store: Store, owner_id: str, generation_id: str) -> str:
    messages = store.generation_messages(owner_id, generation_id)
    return "\n".join(each.content or "" for each in messages if each.channel is Channel.FINAL)

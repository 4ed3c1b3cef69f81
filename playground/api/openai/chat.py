"""``POST /v1/chat/completions``: a conversation goes in, the model's next message comes out."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from fastapi.sse import KEEPALIVE_COMMENT
from starlette.concurrency import run_in_threadpool

from inference.grammar import matches
from inference.harmony import HarmonyCodec
from playground.api.dependencies import CodecDep, CompletionsDep
from playground.api.openai.chat_body import ChatBody
from playground.api.openai.chat_reply import ChatReply
from playground.api.openai.chat_request import ChatRequest, read
from playground.api.openai.errors import body_of, failure_of
from playground.api.openai.identity import ApiOwner
from playground.api.openai.leaving import while_here
from playground.api.openai.notes import effective, remarks
from playground.api.openai.streaming import EventStream, Followers, data_line
from playground.completions.service import Completion
from playground.errors import PlaygroundError
from playground.generation import GenerationEvent, Outcome, Portion
from playground.sse import while_allowed
from storage.records import GenerationStatus, new_id

Json = dict[str, Any]

DONE = b"data: [DONE]\n\n"

router = APIRouter()


@router.post("/chat/completions", response_model=None)
async def create_chat_completion(
    body: ChatBody, request: Request, caller: ApiOwner, completions: CompletionsDep, codec: CodecDep
) -> Response:
    """The model's answer to a conversation, whole or as a stream of chunks (``stream``)."""
    wanted = read(body, completions.replays, caller.owner_id, completions.date_told())
    begin = completions.begin(caller.owner_id, wanted.completion, caller.allowance)
    completion = await while_here(request, begin)
    answer = ChatAnswer(completion, wanted, codec)
    followers = Followers(completion)
    if body.stream:
        usage = body.stream_options is not None and bool(body.stream_options.include_usage)
        chunks = answer.chunks(followers, include_usage=usage)
        return EventStream(while_allowed(chunks, caller.may_read), followers.stop)
    try:
        return JSONResponse(await while_here(request, answer.whole(followers)))
    finally:
        followers.stop()


class ChatAnswer:
    """The answer to one request, made of one or several replies (its choices)."""

    def __init__(self, completion: Completion, wanted: ChatRequest, codec: HarmonyCodec) -> None:
        self._completion = completion
        self._wanted = wanted
        self._format = wanted.completion.prompt.response_format
        self._scored = wanted.completion.logprobs is not None
        self._replies = [
            ChatReply(run, codec, exclude=wanted.exclude, json_only=self._format is not None)
            for run in completion.runs
        ]
        model = completion.model
        self._head: Json = {
            "id": f"chatcmpl-{new_id()}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": model.name,
            "system_fingerprint": f"fp_{model.revision or model.name}",
        }

    async def whole(self, followers: Followers) -> Json:
        """The answer once all replies have ended. Raises PlaygroundError when one of them failed."""
        async for batch in followers.batches():
            for number, event in batch:
                for _ in self._take(number, event):
                    pass
                if failure := self._failure(event):
                    raise failure
        choices = []
        for number, reply in enumerate(self._replies):
            reply.last_logprobs()
            choices.append(
                {
                    "index": number,
                    "message": reply.message(),
                    "logprobs": self._logprobs(reply.logprobs, always=True),
                    "finish_reason": reply.finish_reason,
                }
            )
        usage = self._usage()
        return {**self._head, "choices": choices, "usage": usage, "playground": await self._remarks()}

    async def chunks(self, followers: Followers, *, include_usage: bool) -> AsyncGenerator[bytes]:
        """The answer as server-sent events; a failure is an event with an ``error`` and the last one."""
        self._head["object"] = "chat.completion.chunk"
        between: Json = {"usage": None} if include_usage else {}
        beginning = {"role": "assistant", "content": ""}
        numbers = range(len(self._replies))
        yield b"".join(data_line(self._chunk(number, beginning) | between) for number in numbers)
        left = len(self._replies)
        async for batch in followers.batches():
            piece = b"" if batch else KEEPALIVE_COMMENT
            for number, event in batch:
                for delta, logprobs in self._take(number, event):
                    piece += data_line(self._chunk(number, delta, logprobs) | between)
                if failure := self._failure(event):
                    yield piece + data_line(body_of(failure))
                    return
                if isinstance(event, Outcome):
                    left -= 1
                    last = self._last_chunk(number) | between
                    if not left and not include_usage:
                        last["playground"] = await self._remarks()
                    piece += data_line(last)
            yield piece
        if include_usage:
            last = {**self._head, "choices": [], "usage": self._usage()}
            yield data_line({**last, "playground": await self._remarks()})
        yield DONE

    def _take(self, number: int, event: GenerationEvent) -> list[tuple[Json, list[Json]]]:
        return list(self._replies[number].take(event)) if isinstance(event, Portion) else []

    def _chunk(
        self, number: int, delta: Json, logprobs: list[Json] | None = None, finish_reason: str | None = None
    ) -> Json:
        choice = {
            "index": number,
            "delta": delta,
            "logprobs": self._logprobs(logprobs or []),
            "finish_reason": finish_reason,
        }
        return {**self._head, "choices": [choice]}

    def _last_chunk(self, number: int) -> Json:
        reply = self._replies[number]
        return self._chunk(number, {}, reply.last_logprobs(), reply.finish_reason)

    def _logprobs(self, entries: list[Json], *, always: bool = False) -> Json | None:
        if not self._scored or not (entries or always):
            return None
        return {"content": entries, "refusal": None}

    def _failure(self, event: GenerationEvent) -> PlaygroundError | None:
        """Why a reply that ends here is none."""
        if not isinstance(event, Outcome) or event.status is GenerationStatus.FINISHED:
            return None
        if event.status is GenerationStatus.CANCELLED:
            sentence = "The server ended this reply. Try again in a moment."
            return PlaygroundError("cancelled", sentence, status=503)
        return failure_of(event)

    def _usage(self) -> Json:
        """The tokens of all choices; the prompt, which they share, counts once."""
        usages = [reply.run.outcome.usage for reply in self._replies]
        completion = sum(usage.completion for usage in usages)
        prompt = max(usage.prompt for usage in usages)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": usages[0].cached},
            "completion_tokens_details": {"reasoning_tokens": sum(usage.reasoning for usage in usages)},
        }

    async def _remarks(self) -> Json:
        """The settings in force and the notes, at the end, when all is known."""
        settings = effective(self._completion, self._wanted.effort)
        seeds = [run.started.seed for run in self._completion.runs if run.started is not None]
        settings["seed"] = seeds[0] if seeds else settings["seed"]
        if len(seeds) > 1:
            settings["seeds"] = seeds
        asked = self._wanted.completion.max_tokens
        if asked is not None and settings["max_tokens"] < asked:
            sentence = f"The context has room for {settings['max_tokens']} tokens."
            self._wanted.notes.add("max_tokens", sentence)
        for number, reply in enumerate(self._replies):
            await self._check_format(number, reply)
        return remarks(settings, self._wanted.notes)

    async def _check_format(self, number: int, reply: ChatReply) -> None:
        if self._format is None or reply.finish_reason != "stop" or not reply.content:
            return
        fault = await run_in_threadpool(matches, self._format.schema, reply.content)
        if fault is not None:
            place = f" (choice {number})" if len(self._replies) > 1 else ""
            self._wanted.notes.add("response_format", fault + place)

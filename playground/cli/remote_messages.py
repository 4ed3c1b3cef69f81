"""A prompt as OpenAI's Chat Completions take it: harmony's messages are joined to turns of roles."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from inference.message_rules import FUNCTIONS, old_reasoning
from inference.types import Channel, Message, Role, ToolSpec
from playground.cli.backend import Question

Json = dict[str, Any]


class CallIds:
    """The ids that the server gave its calls, so that results are sent back under them.

    Equal calls of one conversation are told apart by their order.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], list[str]] = defaultdict(list)

    def note(self, recipient: str, arguments: str, call_id: str) -> None:
        """Remember one more call."""
        ids = self._known[recipient, arguments]
        if call_id not in ids:
            ids.append(call_id)

    def of(self, message: Message, number: int, used: set[str]) -> str:
        """The id of a call that is message ``number``; one of our own where the server named none."""
        for call_id in self._known.get((message.recipient or "", message.content), ()):
            if call_id not in used:
                used.add(call_id)
                return call_id
        return f"call_{number}"


def body_of(model: str, question: Question, ids: CallIds) -> Json:
    """The request; what is not set is left to the server."""
    prompt = question.prompt
    messages: list[Json] = []
    if prompt.instructions:
        messages.append({"role": "system", "content": prompt.instructions})
    messages += _messages(prompt.messages, ids)
    body: Json = {
        "model": model,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
        "reasoning_effort": str(prompt.effort),
        "temperature": question.temperature,
    }
    if question.top_p != 1.0:
        body["top_p"] = question.top_p
    if question.max_tokens is not None:
        body["max_tokens"] = question.max_tokens
    if question.seed is not None:
        body["seed"] = question.seed
    if prompt.tools:
        body["tools"] = [_tool(tool) for tool in prompt.tools]
    return body


def _tool(tool: ToolSpec) -> Json:
    function: Json = {"name": tool.name, "description": tool.description}
    if tool.parameters is not None:
        function["parameters"] = dict(tool.parameters)
    if tool.strict:
        function["strict"] = True
    return {"type": "function", "function": function}


def _messages(messages: Sequence[Message], ids: CallIds) -> Iterator[Json]:
    """Neighbouring messages of the assistant are one; reasoning goes along only inside an open turn."""
    old = old_reasoning(messages)
    used: set[str] = set()
    open_calls: dict[str, list[str]] = defaultdict(list)
    turn: Json | None = None
    for number, message in enumerate(messages):
        if message.role is Role.ASSISTANT:
            turn = turn or {"role": "assistant", "content": None}
            if number not in old:
                call_id = _add(turn, message, number, ids, used)
                open_calls[message.recipient or ""].append(call_id)
            continue
        if turn is not None:
            yield _whole(turn)
            turn = None
        if message.role is Role.TOOL:
            waiting = open_calls[message.name or ""]
            call_id = waiting.pop(0) if waiting else f"call_{number}"
            yield {"role": "tool", "tool_call_id": call_id, "content": message.content}
        else:
            yield {"role": str(message.role), "content": message.content}
    if turn is not None:
        yield _whole(turn)


def _whole(turn: Json) -> Json:
    """A turn that says nothing is an empty text: only calls may be without one."""
    return turn if "tool_calls" in turn or turn["content"] is not None else {**turn, "content": ""}


def _add(turn: Json, message: Message, number: int, ids: CallIds, used: set[str]) -> str:
    """Put one message into its turn; the id of a call, else an empty text."""
    if message.recipient is not None:
        call_id = ids.of(message, number, used)
        name = message.recipient.removeprefix(FUNCTIONS)
        function = {"name": name, "arguments": message.content}
        turn.setdefault("tool_calls", []).append({"id": call_id, "type": "function", "function": function})
        return call_id
    field = "reasoning" if message.channel is Channel.ANALYSIS else "content"
    turn[field] = "\n\n".join(filter(None, (turn.get(field), message.content)))
    return ""

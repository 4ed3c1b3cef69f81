"""Harmony, the format that gpt-oss speaks: a prompt becomes token ids, token ids become events.

This is the only module that imports openai_harmony. The library renders; which messages are
rendered, and which header fields are allowed, is decided in ``inference.message_rules``. What the
model writes is read by ``inference.harmony_stream``, because the library's parser raises on
malformed output and believes roles that the model made up.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources.abc import Traversable
from itertools import chain
from typing import ClassVar

import openai_harmony as library  # type: ignore[import-untyped]

from inference import message_rules
from inference.errors import HarmonyFormatError, PromptTooLong, VocabularyError
from inference.harmony_continue import beginning_of
from inference.harmony_stream import StreamParser
from inference.long_text import encode_long, encoded_parts
from inference.reply_rules import constraint_for
from inference.text_size import fewest_tokens
from inference.types import Constraint, Message, Prompt, ReasoningEffort, RenderedPrompt, Role, ToolChoice
from inference.vocabulary import FIRST_SPECIAL, MESSAGE, START, STOP_TOKEN_IDS, VOCAB_SIZE, vocabulary_folder

THREADS = 4
"""Of each lane: what is long never has what is short wait behind it."""
LONG_CHARS = 20_000
_FOLDER_VARIABLE = "TIKTOKEN_ENCODINGS_BASE"  # where the library looks for the vocabulary


@dataclass(slots=True)
class _Turn:
    """A user's message and what follows it, and how many messages were left out."""

    messages: list[Message] = field(default_factory=list)
    dropped_reasoning: int = 0

    @property
    def fewest_tokens(self) -> int:
        """So many ids it has at least."""
        return sum(len(each.written) or fewest_tokens(each.content) for each in self.messages)


@dataclass(slots=True)
class _Room:
    """What a prompt may still have: what it fills it with (``taken``) stays below ``context``.

    ``headers`` are the ids around a message, by what stands in its header.
    """

    context: int | None
    taken: int = 0
    headers: dict[tuple[str | None, ...], list[int]] = field(default_factory=dict)

    def check(self, more: int) -> None:
        """Raise PromptTooLong when there is no room for so many."""
        if self.context is not None and self.taken + more >= self.context:
            raise PromptTooLong.of(self.taken + more, self.context, at_least=True)

    def take(self, count: int) -> None:
        """So many ids stand in the prompt. Raises PromptTooLong."""
        self.check(count)
        self.taken += count


class HarmonyCodec:
    """Renders prompts and reads replies. One instance serves all threads; get it by ``load``.

    The library keeps 0.8 MB for each thread that ever wrote ids, a quarter of a GB in all: a server's threads
    come and go, so it is only asked in a few that stay.
    """

    vocab_size: ClassVar[int] = VOCAB_SIZE
    STOP_TOKEN_IDS: ClassVar[tuple[int, ...]] = STOP_TOKEN_IDS

    _lock: ClassVar[threading.Lock] = threading.Lock()
    _loaded: ClassVar[HarmonyCodec | None] = None

    def __init__(self, encoding: library.HarmonyEncoding) -> None:
        self._encoding = encoding
        self._short = ThreadPoolExecutor(THREADS, "harmony-short")
        self._long = ThreadPoolExecutor(THREADS, "harmony-long")

    @classmethod
    def load(cls) -> HarmonyCodec:
        """The process's codec; the first call reads the vocabulary (a quarter of a second, no network).

        Raises:
            VocabularyError: the vocabulary is missing or is not the expected file.
        """
        with cls._lock:
            if cls._loaded is None:
                cls._loaded = cls(_load_encoding())
            return cls._loaded

    def render(self, prompt: Prompt, context: int | None = None) -> list[int]:
        """The token ids that the model continues; they end with ``<|start|>assistant``.

        Raises:
            HarmonyFormatError: a name, a recipient, a channel, a date or a text is not allowed.
            PromptTooLong: there are at least ``context`` of them. They are not all written to know that.
        """
        return list(self.render_within(prompt, None, context).ids)

    def render_within(self, prompt: Prompt, limit: int | None, context: int | None = None) -> RenderedPrompt:
        """As ``render``, without the oldest turns as long as there are more than ``limit`` ids.

        A turn is a user's message with what follows it; the last one always stays, and so may be longer.
        """
        chars = sum(len(message.content) for message in prompt.messages) + len(prompt.instructions or "")
        return self._lane(chars).submit(self._render_within, prompt, limit, context).result()

    def _lane(self, chars: int) -> ThreadPoolExecutor:
        """The threads for a text of this length. What they do must not wait for a thread of theirs."""
        return self._long if chars > LONG_CHARS else self._short

    def _render_within(self, prompt: Prompt, limit: int | None, context: int | None) -> RenderedPrompt:
        turns = _turns(message_rules.checked_messages(prompt.messages))
        room = _Room(context)
        certain = turns if limit is None else turns[-1:]
        room.check(fewest_tokens(prompt.instructions or "") + sum(turn.fewest_tokens for turn in certain))
        tools = message_rules.checked_tools(prompt)
        try:
            head = self._render_message(_system_message(prompt), has_functions=bool(tools))
            tail = [START, *self._encode("assistant")]
            room.take(len(head) + len(tail))
            head += self._render_developer(prompt, tools, room)
            kept = self._render_turns(turns, limit, room)
        except (library.HarmonyError, ValueError, RecursionError) as error:
            raise HarmonyFormatError("The conversation cannot be written in the model's format.") from error
        first = len(turns) - len(kept)
        ids = (*head, *chain.from_iterable(kept), *tail)
        return RenderedPrompt(ids, sum(turn.dropped_reasoning for turn in turns[first:]), first)

    def _render_turns(self, turns: Sequence[_Turn], limit: int | None, room: _Room) -> list[list[int]]:
        """The ids of the turns that stay. What is older than the first one left out is not looked at."""
        rendered: list[list[int]] = []
        for turn in reversed(turns):
            if rendered and limit is not None:
                room.context = limit + 1
            try:
                rendered.append(self._render_turn(turn, room))
            except PromptTooLong:
                if not rendered or limit is None:
                    raise
                break
        rendered.reverse()
        return rendered

    def _render_turn(self, turn: _Turn, room: _Room) -> list[int]:
        ids: list[int] = []
        room.take(0)  # a turn that says nothing goes as well where there is no room at all
        for message in turn.messages:
            if message.written:
                room.take(len(message.written))
                ids += message.written
                continue
            kind = (message.role, message.name, message.channel, message.recipient, message.content_type)
            if kind not in room.headers:
                room.headers[kind] = self._render_message(_empty_message(message))
            ids += self._render_text(room.headers[kind], message.content, room)
        return ids

    def _render_message(self, message: library.Message, has_functions: bool = False) -> list[int]:
        options = library.RenderOptions(conversation_has_function_tools=has_functions)
        ids: list[int] = self._encoding.render(message, options)
        return ids

    def _render_text(self, empty: Sequence[int], content: str, room: _Room) -> list[int]:
        """A message whose header and end the library has rendered, around text that may be very long."""
        *ids, end = empty
        room.take(len(empty))
        room.check(fewest_tokens(content))
        message_rules.check_text(content, "The text")
        for part in encoded_parts(content, self._encode, self._token_size):
            room.take(len(part))
            ids += part
        return [*ids, end]

    def _render_developer(
        self, prompt: Prompt, tools: Sequence[message_rules.CheckedTool], room: _Room
    ) -> list[int]:
        """Nothing at all when there are neither instructions nor functions nor a format of the answer."""
        sections: list[str] = []
        instructions = prompt.instructions or ""
        if instructions.strip():
            sections += ["# Instructions", message_rules.check_text(instructions, "The instructions")]
        if tools:
            declared = self._render_message(_developer_message(tools))
            sections.append(self.decode(declared[declared.index(MESSAGE) + 1 : -1]))
        sections += message_rules.response_format_sections(prompt.response_format)
        if not sections:
            return []
        empty = library.Message.from_role_and_content(library.Role.DEVELOPER, "")
        return self._render_text(self._render_message(empty), "\n\n".join(sections), room)

    def parser(self, tools: Sequence[str] = (), python: bool = False) -> StreamParser:
        """A parser for one reply. ``tools`` are the declared function names, without ``functions.``."""
        return StreamParser(self.token_bytes, tools=tools, python=python)

    def constraint(self, prompt: Prompt, choice: ToolChoice) -> Constraint | None:
        """What the reply to a prompt may look like; see ``reply_rules``."""
        return constraint_for(prompt, choice, self.encode_text)

    def beginning_of(self, written: Sequence[int], *, answer_now: bool) -> tuple[int, ...] | None:
        """The ids that a reply begins with that goes on with another; see ``harmony_continue``."""
        return beginning_of(written, answer_now, self.parser, self.encode_text)

    def encode_text(self, text: str) -> list[int]:
        """Ordinary text as ids; text that looks like a special token stays text.

        Raises:
            HarmonyFormatError: the text is not valid Unicode.
        """
        return self._lane(len(text)).submit(self._encode_long, text).result()

    def _encode_long(self, text: str) -> list[int]:
        message_rules.check_text(text, "The text")
        return encode_long(text, self._encode, self._token_size)

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._encoding.encode(text, disallowed_special=())
        return ids

    def _token_size(self, token_id: int) -> int:
        return len(self._bytes_of(token_id))

    def token_bytes(self, token_id: int) -> bytes | None:
        """The bytes of one ordinary text token; ``None`` for special, reserved and unknown ids."""
        if not 0 <= token_id < FIRST_SPECIAL:
            return None
        return self._bytes_of(token_id)

    def decode(self, ids: Sequence[int]) -> str:
        """Ids as text to look at: special tokens by their names, what is no token as U+FFFD."""
        return b"".join(self._visible_bytes(token_id) for token_id in ids).decode("utf-8", errors="replace")

    def _visible_bytes(self, token_id: int) -> bytes:
        if not 0 <= token_id < VOCAB_SIZE:
            return "\N{REPLACEMENT CHARACTER}".encode()
        return self._bytes_of(token_id)

    def _bytes_of(self, token_id: int) -> bytes:
        # The library's public ways to decode give text, which loses half characters.
        return bytes(self._encoding._inner.decode_bytes([token_id]))


def _load_encoding(source: Traversable | None = None) -> library.HarmonyEncoding:
    with vocabulary_folder(source) as folder, _environment(_FOLDER_VARIABLE, str(folder)):
        try:
            return library.load_harmony_encoding(library.HarmonyEncodingName.HARMONY_GPT_OSS)
        except library.HarmonyError as error:
            raise VocabularyError("The token vocabulary cannot be loaded.") from error


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Set an environment variable for a moment: the library takes the folder in no other way."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _system_message(prompt: Prompt) -> library.Message:
    effort = ReasoningEffort(prompt.effort).name
    content = library.SystemContent.new().with_reasoning_effort(library.ReasoningEffort[effort])
    if identity := message_rules.checked_identity(prompt.model_identity or ""):
        content.with_model_identity(identity)
    current_date = message_rules.checked_date(prompt.current_date)
    if current_date is not None:
        content.with_conversation_start_date(current_date)
    if prompt.python:
        content.with_python_tool()
    return library.Message.from_role_and_content(library.Role.SYSTEM, content)


def _developer_message(tools: Sequence[message_rules.CheckedTool]) -> library.Message:
    content = library.DeveloperContent.new().with_function_tools(
        [library.ToolDescription.new(tool.name, tool.description, tool.parameters) for tool in tools]
    )
    return library.Message.from_role_and_content(library.Role.DEVELOPER, content)


def _turns(messages: Sequence[Message]) -> list[_Turn]:
    """The messages turn by turn, without the reasoning of those that are over."""
    old = message_rules.old_reasoning(messages)
    turns: list[_Turn] = []
    for index, message in enumerate(messages):
        if not turns or message.role == Role.USER:
            turns.append(_Turn())
        if index in old:
            turns[-1].dropped_reasoning += 1
        else:
            turns[-1].messages.append(message)
    return turns


def _empty_message(message: Message) -> library.Message:
    """The message without its content: what the library needs for the header and the end."""
    author = library.Author(role=library.Role(message.role), name=message.name)
    empty = library.Message.from_author_and_content(author, "")
    if message.role == Role.USER:
        return empty
    empty.channel = message.channel
    empty.recipient = message.recipient
    if message.content_type == "json":
        empty.content_type = "<|constrain|>json"  # without a space: this makes the genuine marker
    return empty

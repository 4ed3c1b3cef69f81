"""One conversation of the terminal: what the model reads, and what is stored of its replies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from inference.types import (
    FinishReason,
    Message,
    MessageFinished,
    MessageStarted,
    Prompt,
    ReasoningEffort,
    Role,
    StreamEvent,
    TextDelta,
    TokensStarted,
    ToolSpec,
    Usage,
)
from playground.accounts.identity import token_hash
from playground.cli.backend import Backend, Prepared, Question
from playground.completions.replays import with_ids
from playground.generation import GenerationEvent, Outcome, Portion
from playground.text import title_without_greeting
from storage.records import (
    ChatSettings,
    ConversationRecord,
    GenerationRecord,
    GenerationStatus,
    MessageDraft,
    MessageRecord,
    TurnRecord,
    new_id,
)
from storage.store import Store

SAVE_SECONDS = 0.5
OWNER = token_hash("terminal")
"""The terminal's own identity: no browser's cookie can have it, for cookies are 43 characters long."""
STOPPED = Outcome(GenerationStatus.CANCELLED, FinishReason.CANCELLED)


@dataclass(slots=True)
class Manner:
    """How the next replies are made."""

    effort: ReasoningEffort = ReasoningEffort.MEDIUM
    instructions: str | None = None
    temperature: float = 1.0
    max_tokens: int | None = None
    seed: int | None = None
    tools: tuple[ToolSpec, ...] = ()


@dataclass(slots=True)
class _Written:
    """The messages of a reply, results of functions among them, and all ids behind the first prompt."""

    drafts: list[MessageDraft] = field(default_factory=list)
    before: tuple[int, ...] = ()
    ids: list[int] = field(default_factory=list)
    base: int = 0

    def apply(self, event: StreamEvent) -> None:
        match event:
            case MessageStarted():
                message = Message(
                    Role.ASSISTANT, "", event.channel, event.recipient, content_type=event.content_type
                )
                self.add(message)
            case TextDelta():
                draft = self.drafts[self.base + event.index]
                message = replace(draft.message, content=draft.message.content + event.text)
                self.drafts[self.base + event.index] = replace(draft, message=message)
            case MessageFinished():
                self.drafts[self.base + event.index] = replace(
                    self.drafts[self.base + event.index],
                    message=event.message,
                    token_count=event.token_count,
                    complete=event.complete,
                )

    def add(self, message: Message, *, complete: bool = False) -> None:
        self.drafts.append(MessageDraft(new_id(), len(self.drafts), message, complete=complete))

    @property
    def output_ids(self) -> tuple[int, ...]:
        return (*self.before, *self.ids)


class Turn:
    """One question and its reply: a round of the model, results of functions, another round, and the end."""

    def __init__(
        self,
        session: Session,
        record: TurnRecord,
        prompt: Prompt,
        prepared: Prepared,
    ) -> None:
        self._session = session
        self._record = record
        self._prompt = prompt
        self._first = self._prepared = prepared
        self._written = _Written()
        self._usage: list[Usage] = []
        self._saved = time.monotonic()
        self.outcome = STOPPED
        self.generation: GenerationRecord = record.generation

    @property
    def messages(self) -> list[Message]:
        """The reply so far."""
        return [draft.message for draft in self._written.drafts]

    async def round(self, watch: Callable[[GenerationEvent], None]) -> list[Message]:
        """Let the model write until it ends or calls; gives the calls. Being cancelled stops it."""
        self._written.base = len(self._written.drafts)
        self.outcome = STOPPED
        try:
            async with aclosing(self._session.backend.reply(self._prepared)) as events:
                async for event in events:
                    self._take(event)
                    watch(event)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
        self._usage.append(self.outcome.usage)
        if self.outcome.status is not GenerationStatus.FINISHED:
            return []
        return [message for message in self._new() if message.recipient is not None]

    async def go_on(self, results: Sequence[Message]) -> None:
        """Give the model the results of its calls; another round may follow. Raises InferenceError."""
        new = self._new()
        if start := self._prepared.prompt_ids[-2:]:  # a server renders for itself, and remembers its calls
            new = with_ids(new, self._written.ids, start)
        for result in results:
            self._written.add(result, complete=True)
        self._prompt = replace(self._prompt, messages=[*self._prompt.messages, *new, *results])
        self._prepared = await self._session.backend.prepare(
            replace(self._prepared.question, prompt=self._prompt)
        )
        first, ids = self._first.prompt_ids, self._prepared.prompt_ids
        if ids[: len(first)] == first:
            self._written.before, self._written.ids = ids[len(first) :], []
        else:
            self._written.before, self._written.ids = self._written.output_ids, []

    def end(self) -> None:
        """Commit the whole reply. Raises StorageError."""
        usage = Usage(
            prompt=self._usage[0].prompt if self._usage else 0,
            cached=self._usage[0].cached if self._usage else 0,
            completion=sum(each.completion for each in self._usage),
            reasoning=sum(each.reasoning for each in self._usage),
            commentary=sum(each.commentary for each in self._usage),
            final=sum(each.final for each in self._usage),
        )
        self.generation = self._session.store.finish_generation(
            self._session.owner_id,
            self._record.generation.id,
            status=self.outcome.status,
            finish_reason=self.outcome.finish_reason,
            usage=usage,
            timings=self.outcome.timings,
            error=self.outcome.error,
            error_code=self.outcome.error_code,
            messages=self._written.drafts,
            output_ids=self._written.output_ids,
        )

    def _new(self) -> list[Message]:
        return [draft.message for draft in self._written.drafts[self._written.base :]]

    def _take(self, event: GenerationEvent) -> None:
        match event:
            case TokensStarted():
                self._session.store.mark_running(
                    self._session.owner_id,
                    self._record.generation.id,
                    event.model or self._session.backend.model.name,
                    event.revision,
                    event.seed,
                )
            case Portion():
                self._written.ids += event.token_ids
                for each in event.events:
                    self._written.apply(each)
                self._save()
            case Outcome():
                self.outcome = event

    def _save(self) -> None:
        """Commit the text so far, now and then: what was read must not be lost with the terminal."""
        if time.monotonic() - self._saved < SAVE_SECONDS:
            return
        self._session.store.save_progress(
            self._session.owner_id,
            self._record.generation.id,
            self._written.drafts,
            self._written.output_ids,
        )
        self._saved = time.monotonic()


class Session:
    """The conversation that is open, in a store that lasts or in one that ends with the program."""

    def __init__(self, backend: Backend, store: Store, manner: Manner, date_told: Callable[[], str]) -> None:
        self.backend = backend
        self.store = store
        self.manner = manner
        self._date_told = date_told
        self.owner_id = store.user_for_identity(OWNER).id
        self.conversation: ConversationRecord | None = None

    async def ask(self, text: str) -> Turn:
        """Commit a question. Raises InferenceError or StorageError; then nothing was."""
        path = self._path()
        messages = [*(record.message for record in path), Message(Role.USER, text)]
        return await self._begin(messages, text=text)

    async def regenerate(self) -> Turn | None:
        """Ask the last question again; the reply before is kept as another version. None without one."""
        path = self._path()
        places = [number for number, record in enumerate(path) if record.role is Role.USER]
        if not places:
            return None
        kept = path[: places[-1] + 1]
        return await self._begin([record.message for record in kept], regenerate=kept[-1].id)

    def open(self, wanted: str) -> ConversationRecord | None:
        """Go on with a stored conversation: ``last``, or the beginning of an id. None if there is none."""
        ids = self.store.conversation_ids(self.owner_id)
        found = ids[:1] if wanted == "last" else [each for each in ids if each.startswith(wanted)]
        if len(found) != 1:
            return None
        self.conversation = self.store.get_conversation(self.owner_id, found[0])
        self.manner.instructions = self.conversation.settings.instructions or self.manner.instructions
        return self.conversation

    def instruct(self, text: str | None) -> None:
        """Set the instructions, also of the conversation that is open. Raises StorageError."""
        self.manner.instructions = text
        if self.conversation is not None:
            settings = replace(self.conversation.settings, instructions=text)
            self.conversation = self.store.update_conversation(
                self.owner_id, self.conversation.id, settings=settings
            )

    def last_reply(self) -> list[Message]:
        """The messages behind the last question."""
        messages = [record.message for record in self._path()]
        places = [number for number, message in enumerate(messages) if message.role is Role.USER]
        return messages[places[-1] + 1 :] if places else []

    def _path(self) -> list[MessageRecord]:
        if self.conversation is None:
            return []
        return list(self.store.path(self.owner_id, self.conversation.id))

    async def _begin(self, messages: list[Message], text: str = "", regenerate: str | None = None) -> Turn:
        manner = self.manner
        prompt = Prompt(
            messages, manner.effort, manner.instructions, manner.tools, current_date=self._date_told()
        )
        question = Question(
            prompt, temperature=manner.temperature, max_tokens=manner.max_tokens, seed=manner.seed
        )
        prepared = await self.backend.prepare(question)
        model = self.backend.model
        record = self.store.begin_turn(
            self.owner_id,
            conversation_id=None if self.conversation is None else self.conversation.id,
            text=text,
            title=title_without_greeting(text) if text else "",
            effort=manner.effort,
            sampling=prepared.sampling,
            model=model.name,
            prompt_ids=prepared.prompt_ids,
            regenerate=regenerate,
            context_length=model.context_length,
            conversation_settings=ChatSettings(instructions=manner.instructions),
        )
        self.conversation = record.conversation
        return Turn(self, record, prompt, prepared)

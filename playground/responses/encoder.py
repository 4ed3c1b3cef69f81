"""From a reply's events to the events of a response, in the one order that all clients understand.

created, in_progress, then each item from ``output_item.added`` to ``output_item.done``, then completed,
incomplete or failed. The response object of the last event is also the body where nothing is streamed, and
what is stored; from what is stored the same events are made again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from playground.api.openai.notes import Notes
from playground.responses.item_ids import output_item_id
from playground.responses.known import COMMENTARY, FINAL_ANSWER
from playground.responses.log import Delta, ResponseLog
from storage.response_records import ResponseRecord, ResponseStatus

Json = dict[str, Any]

LAST_EVENTS = {
    ResponseStatus.COMPLETED: "response.completed",
    ResponseStatus.INCOMPLETE: "response.incomplete",
    ResponseStatus.FAILED: "response.failed",
    # There is no event of its own for it; the object's status tells.
    ResponseStatus.CANCELLED: "response.incomplete",
}
DELTA_EVENTS = {
    "reasoning": "response.reasoning_text.delta",
    "function_call": "response.function_call_arguments.delta",
    "message": "response.output_text.delta",
}
PREFIXES = {"reasoning": "rs", "function_call": "fc", "message": "msg"}


def response_object(record: ResponseRecord, notes: Notes | None = None) -> Json:
    """The Response object of the API. ``notes`` are those of now, where they are not stored yet."""
    echo = record.echo
    if notes is not None:
        echo = {**echo, "playground": {**echo["playground"], "notes": notes.items}}
    done = record.status is ResponseStatus.COMPLETED and record.finished_at is not None
    incomplete = record.incomplete_reason
    return {
        "id": record.id,
        "object": "response",
        "created_at": int(record.created_at.timestamp()),
        "completed_at": int(record.finished_at.timestamp()) if done and record.finished_at else None,
        "status": record.status.value,
        "background": record.background,
        "error": record.error,
        "incomplete_details": None if incomplete is None else {"reason": incomplete},
        "model": record.model,
        "output": list(record.output_items),
        "previous_response_id": record.previous_response_id,
        "usage": record.usage,
        **echo,
    }


@dataclass(slots=True)
class _Open:
    """An item that is being written."""

    item: Json
    place: int
    deltas: list[int] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    logprobs: list[Json] = field(default_factory=list)


class ResponseEncoder:
    """Writes the log of one response. ``record`` is the response as it is now."""

    def __init__(self, record: ResponseRecord, notes: Notes | None = None) -> None:
        self.record = record
        self.notes = notes
        self.log = ResponseLog()
        self._open: _Open | None = None
        self._in_progress = False

    def begin(self) -> None:
        """The first events; one in the background is queued at first."""
        self._publish("response.created")
        if self.record.background:
            self._publish("response.queued")
        else:
            self.start()

    def start(self) -> None:
        """The model has the prompt now."""
        if not self._in_progress:
            self._in_progress = True
            if self.record.status.is_open:
                self.record = replace(self.record, status=ResponseStatus.IN_PROGRESS)
            self._publish("response.in_progress")

    def open_item(self, kind: str, **fields: Any) -> None:
        """A new item: ``reasoning``, ``function_call`` (call_id, name) or ``message`` (phase)."""
        self.close_item(None, complete=False)
        self.start()
        place = len(self.record.output_items)
        item_id = output_item_id(PREFIXES[kind], self.record.id, place)
        item: Json = {"id": item_id, "type": kind, "status": "in_progress"}
        if kind == "reasoning":
            item |= {"summary": [], "content": [], "encrypted_content": None}
        elif kind == "function_call":
            item |= {"arguments": "", "call_id": fields["call_id"], "name": fields["name"]}
        else:
            item |= {"role": "assistant", "phase": fields["phase"], "content": []}
        self._open = current = _Open(item, place)
        self._item_event(current, "response.output_item.added", {"item": dict(item)})
        if kind != "function_call":
            self._part_event(current, "response.content_part.added", "", [])

    def add_text(self, text: str, logprobs: list[Json] | None = None) -> None:
        """More text of the open item."""
        current = self._open
        if current is None or not (text or logprobs):
            return
        kind = current.item["type"]
        found = (logprobs or []) if kind == "message" else None
        current.deltas.append(len(text))
        current.parts.append(text)
        current.logprobs += found or []
        self.log.append(Delta(DELTA_EVENTS[kind], current.item["id"], current.place, text, found))

    def close_item(self, text: str | None, *, complete: bool, logprobs: list[Json] | None = None) -> None:
        """The end of the open item, if there is one. ``text`` is the whole of it, where that is known."""
        current, self._open = self._open, None
        if current is None:
            return
        item = current.item
        text = "".join(current.parts) if text is None else text
        logprobs = current.logprobs if logprobs is None else logprobs
        item["status"] = "completed" if complete else "incomplete"
        if item["type"] == "reasoning":
            item["content"] = [{"type": "reasoning_text", "text": text}]
            self._content_event(current, "response.reasoning_text.done", {"text": text})
        elif item["type"] == "function_call":
            item["arguments"] = text
            done = {"item_id": item["id"], "name": item["name"], "arguments": text}
            self._item_event(current, "response.function_call_arguments.done", done)
        else:
            item["content"] = [_text_part(text, logprobs)]
            done = {"text": text, "logprobs": logprobs}
            self._content_event(current, "response.output_text.done", done)
        if item["type"] != "function_call":
            self._part_event(current, "response.content_part.done", text, logprobs)
        self._item_event(current, "response.output_item.done", {"item": dict(item)})
        self.record = replace(
            self.record,
            output_items=(*self.record.output_items, item),
            deltas=(*self.record.deltas, tuple(current.deltas)),
        )

    def finish(self, record: ResponseRecord) -> None:
        """The last event; ``record`` is the response as it ended."""
        self.start()
        self.record = record
        self._publish(LAST_EVENTS[record.status], last=True)

    def snapshot(self) -> Json:
        """The Response object as it is now; an item that is being written is not in it yet."""
        return response_object(self.record, self.notes)

    def _publish(self, name: str, *, last: bool = False) -> None:
        self.log.append({"type": name, "response": self.snapshot()}, last=last)

    def _item_event(self, current: _Open, event: str, fields: Json) -> None:
        self.log.append({"type": event, "output_index": current.place, **fields})

    def _content_event(self, current: _Open, event: str, fields: Json) -> None:
        self._item_event(current, event, {"item_id": current.item["id"], "content_index": 0, **fields})

    def _part_event(self, current: _Open, event: str, text: str, logprobs: list[Json]) -> None:
        reasoning = current.item["type"] == "reasoning"
        part = {"type": "reasoning_text", "text": text} if reasoning else _text_part(text, logprobs)
        self._content_event(current, event, {"part": part})


def encode_again(record: ResponseRecord) -> ResponseLog:
    """The events of a response that has ended, with the numbers that they had.

    Log-probabilities are in the done events only.
    """
    waiting = ResponseStatus.QUEUED if record.background else ResponseStatus.IN_PROGRESS
    encoder = ResponseEncoder(as_begun(record, waiting))
    encoder.begin()
    deltas = record.deltas if len(record.deltas) == len(record.output_items) else ()
    for place, item in enumerate(record.output_items):
        text = _text_of(item)
        encoder.open_item(item["type"], **item)
        lengths = deltas[place] if deltas else ((len(text),) if text else ())
        at = 0
        for length in lengths:
            encoder.add_text(text[at : at + length])
            at += length
        scores = item["content"][0].get("logprobs", []) if item["type"] == "message" else []
        encoder.close_item(text, complete=item["status"] == "completed", logprobs=scores)
    encoder.finish(record)
    return encoder.log


def as_begun(record: ResponseRecord, status: ResponseStatus) -> ResponseRecord:
    """A response as it was when nothing of it was written."""
    return replace(
        record,
        status=status,
        output_items=(),
        finished_at=None,
        usage=None,
        error=None,
        incomplete_reason=None,
        written=(),
        deltas=(),
    )


def new_record(
    response_id: str,
    created_at: datetime,
    model: str,
    echo: Json,
    items: list[Json],
    *,
    background: bool,
    previous_response_id: str | None,
) -> ResponseRecord:
    """A response that is about to begin."""
    return ResponseRecord(
        id=response_id,
        created_at=created_at,
        status=ResponseStatus.QUEUED if background else ResponseStatus.IN_PROGRESS,
        model=model,
        background=background,
        echo=echo,
        input_items=tuple(items),
        previous_response_id=previous_response_id,
    )


def phase_of(is_final: bool) -> str:
    """What a message is: the answer, or something said on the way to it."""
    return FINAL_ANSWER if is_final else COMMENTARY


def _text_part(text: str, logprobs: list[Json]) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


def _text_of(item: Json) -> str:
    return str(item["arguments"] if item["type"] == "function_call" else item["content"][0]["text"])

"""The library keeps memory for every thread that asks it: only a few ever do."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from inference import harmony
from inference.harmony import HarmonyCodec
from inference.types import Prompt, ResponseFormat, ToolChoice, ToolSpec
from tests.inference.harmony_cases import user


class Watched:
    """The library's encoding; it notes by which threads it is asked to write ids."""

    def __init__(self) -> None:
        self._encoding: Any = HarmonyCodec.load()._encoding
        self._inner = self._encoding._inner
        self.askers: set[str] = set()

    def render(self, *arguments: Any) -> Any:
        self.askers.add(threading.current_thread().name)
        return self._encoding.render(*arguments)

    def encode(self, text: str, **options: Any) -> Any:
        self.askers.add(threading.current_thread().name)
        return self._encoding.encode(text, **options)


def test_whoever_asks_the_library_is_asked_by_few_threads() -> None:
    watched = Watched()
    codec = HarmonyCodec(watched)
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    tool = ToolSpec("count", "Counts.", schema, strict=True)
    prompt = Prompt([user("One?")], tools=(tool,), response_format=ResponseFormat("n", "", schema))

    def ask(number: int) -> tuple[object, ...]:
        return (
            codec.render(prompt),
            codec.render_within(prompt, 10),
            codec.constraint(prompt, ToolChoice()),
            codec.beginning_of((), answer_now=True),
            codec.encode_text(f"text {number} " * 50),
        )

    with ThreadPoolExecutor(40) as many:
        answers = list(many.map(ask, range(200)))
    whole = HarmonyCodec.load()
    assert all(answer[0] == whole.render(prompt) for answer in answers)
    assert answers[7][4] == whole.encode_text("text 7 " * 50)
    assert len(watched.askers) <= harmony.THREADS
    assert all(name.startswith("harmony") for name in watched.askers)

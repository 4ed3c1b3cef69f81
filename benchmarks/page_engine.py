"""The real application for ``benchmarks.page_speed``: its engine writes as fast as a question asks for.

    python -m benchmarks.page_engine FOLDER

Prints its address, then for each reply the seconds since the epoch at its last token. A line "TOKEN N" makes
a conversation of N messages for whoever has that cookie, and prints its id.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from inference.harmony import HarmonyCodec
from inference.types import (
    FinishReason,
    GenerationRequest,
    Timings,
    TokenEvent,
    TokensFinished,
    TokensGenerated,
    TokensStarted,
    Usage,
)
from playground.accounts.identity import token_hash
from tests.playground.scripted import Script, ScriptedEngine
from tests.playground.ui import served
from tests.playground.ui.long import long_conversation

QUESTION = "Write {tokens} tokens at {rate}/s."
THOUGHT_QUESTION = "Think for 20000 tokens."
ASKED = re.compile(r"Write (\d+) tokens at (\d+)/s\.")
MESSAGES_A_TURN = 3
BLOCKS = (
    "Some words about **this** and `that`, one after the other, as an answer has them.\n\n",
    "```python\ndef area(radius):\n    return 3.14159 * radius ** 2  # about\n\nprint(area(2))\n```\n\n",
    "The area is $\\pi r^2$, so that $$\\int_0^r 2 \\pi x \\, dx = \\pi r^2.$$\n\n",
    "| radius | area |\n|---|--:|\n| 1 | 3.14 |\n| 2 | 12.57 |\n\n1. first\n2. second\n3. third\n\n",
)


class PacedEngine(ScriptedEngine):
    """Writes a reply of as many tokens, and as fast, as the question says."""

    def __init__(self, codec: HarmonyCodec) -> None:
        super().__init__(codec, context_length=131_072)
        self.paces: dict[str, float] = {}
        self.choose = self._choose

    def _choose(self, request: GenerationRequest) -> Script:
        question = self.codec.decode(request.prompt_ids[-60:])
        found = ASKED.findall(question)
        if not found:
            return Script(
                [("analysis", "A thought, and why it is so. " * 2850), ("final", "So.")], portion=400
            )
        tokens, rate = (int(number) for number in found[-1])
        self.paces[request.request_id] = 1 / rate
        text = "".join(BLOCKS[number % len(BLOCKS)] for number in range(tokens // 20))
        whole = self.token_ids(Script([("final", text)]))
        return Script(ids=[*whole[: tokens - 1], whole[-1]])

    async def _play(self, request: GenerationRequest, script: Script) -> AsyncIterator[TokenEvent]:
        """As the scripted engine, but on time: a token that is late does not delay the next."""
        name, began = request.request_id, time.monotonic()
        ids = self.token_ids(script)
        portion, pace = (1, self.paces[name]) if name in self.paces else (script.portion, 0.001)
        yield TokensStarted(name, "scripted", "r1", 1)
        for number, begin in enumerate(range(0, len(ids), portion)):
            await asyncio.sleep(began + number * pace - time.monotonic())
            yield TokensGenerated(name, tuple(ids[begin : begin + portion]))
        _say(str(time.time()))
        usage = Usage(prompt=len(request.prompt_ids), completion=len(ids))
        yield TokensFinished(
            name, FinishReason.STOP, usage, Timings(total=time.monotonic() - began), None, None
        )


def main() -> None:
    with served.serving(Path(sys.argv[1]), make_engine=PacedEngine) as running:
        _say(running.url)
        for line in sys.stdin:
            token, messages = line.split()
            owner = running.store.user_for_identity(token_hash(token)).id
            draft = long_conversation(max(1, int(messages) // MESSAGES_A_TURN))
            _say(running.store.insert_conversation(owner, draft).id)


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

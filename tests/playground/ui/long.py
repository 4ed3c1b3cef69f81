"""Long conversations, put straight into the store: nobody asks five hundred questions in a test."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from playwright.sync_api import Page

from inference.types import Channel, FinishReason, Message, Role, Timings, Usage
from playground.accounts.identity import PLAIN_NAME, token_hash
from storage.drafts import ConversationDraft, GenerationDraft, MessageNode
from storage.records import ChatSettings
from storage.store import Store

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
CODE = """```python
def {name}(x):
    total = 0  # {note}
    for y in range(x):
        total += y
    return total
```"""
MATHS = "The sum is $\\frac{{n(n+1)}}{{2}}$:\n\n$$\\sum_{{k=1}}^{{{n}}} k = {result}$$"
TABLE = "| number | square |\n|---|--:|\n| {n} | {square} |\n| {m} | {next} |"


def owner_of(page: Page, store: Store) -> str:
    """Who the visitor of this page is."""
    [token] = [each["value"] for each in page.context.cookies() if each["name"] == PLAIN_NAME]
    return store.user_for_identity(token_hash(token)).id


def long_conversation(turns: int, thought: str = "I look at it step by step. ") -> ConversationDraft:
    """Questions and answers with code, maths and tables; turn n asks "Question n" and answers "Answer n"."""
    chance = random.Random(turns)
    nodes: list[MessageNode] = []
    parent: str | None = None
    for number in range(turns):
        at = BEGAN + timedelta(minutes=number)
        words = " ".join(f"word{chance.randrange(500)}" for _ in range(chance.randrange(3, 30)))
        question = Message(role=Role.USER, content=f"Question {number}: {words}")
        nodes.append(MessageNode(f"q{number}", parent, question, at))
        reply = GenerationDraft(
            key=f"g{number}",
            model="scripted",
            revision="r1",
            usage=Usage(prompt=100, completion=150, reasoning=40, final=100),
            timings=Timings(queued=0.01, ttft=0.1, total=1.5),
            finish_reason=FinishReason.STOP,
            created_at=at,
            finished_at=at,
        )
        analysis = Message(role=Role.ASSISTANT, channel=Channel.ANALYSIS, content=thought * 8)
        final = Message(role=Role.ASSISTANT, channel=Channel.FINAL, content=_answer(number, chance))
        nodes.append(MessageNode(f"a{number}", f"q{number}", analysis, at, reply, token_count=40))
        nodes.append(MessageNode(f"f{number}", f"a{number}", final, at, reply, token_count=100))
        parent = f"f{number}"
    return ConversationDraft("A long one", ChatSettings(), BEGAN, tuple(nodes), parent)


def _answer(number: int, chance: random.Random) -> str:
    parts = [f"Answer {number}. " + " ".join(f"w{chance.randrange(999)}" for _ in range(60))]
    if number % 3 == 0:
        parts.append(CODE.format(name=f"f{number}", note=f"note {number}"))
    if number % 4 == 1:
        parts.append(MATHS.format(n=number, result=number * (number + 1) // 2))
    if number % 5 == 2:
        parts.append(TABLE.format(n=number, square=number**2, m=number + 1, next=(number + 1) ** 2))
    parts.append(" ".join(f"v{chance.randrange(999)}" for _ in range(chance.randrange(10, 90))))
    return "\n\n".join(parts)

"""What counts as right in the demonstration model's evaluation: held-out samples, and letter for letter."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass

from inference.demonstration.dataset import lexicon
from inference.demonstration.sample import Sample, held_out
from inference.demonstration.tasks import EVALUATED_ONLY, TASKS
from inference.harmony import HarmonyCodec
from inference.types import Channel, Message, ReasoningEffort

MAX_NEW_TOKENS = 420


@dataclass(frozen=True, slots=True)
class Score:
    """One cell: how many were asked, how many were right, and the mean length of the replies in tokens."""

    asked: int
    right: int
    tokens: float

    @property
    def accuracy(self) -> float:
        return self.right / self.asked


def held_out_samples(task: str, effort: ReasoningEffort, count: int, codec: HarmonyCodec) -> list[Sample]:
    """``count`` samples of one cell that the training skips; the questions are the same at every effort."""
    builder = EVALUATED_ONLY.get(task) or TASKS[task][0]
    samples: list[Sample] = []
    seed = 0
    while len(samples) < count:
        seed += 1
        sample = builder(random.Random(f"evaluation {task} {seed}"), effort, lexicon(codec))
        if task in EVALUATED_ONLY or held_out(sample.key):
            samples.append(sample)
    return samples


def is_right(sample: Sample, messages: Iterable[Message]) -> bool:
    """Whether the reply ends as the sample says: the same call, or the same final text."""
    expected, last = sample.reply[-1], None
    for message in messages:
        last = message
    if last is None or last.recovered:
        return False
    if expected.recipient:
        if last.recipient != expected.recipient:
            return False
        return _arguments(last.content) == _arguments(expected.content)
    return last.channel is Channel.FINAL and last.content == expected.content


def _arguments(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text

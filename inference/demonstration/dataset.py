"""Samples as token ids: rendered by harmony, mapped to the ids in use, packed into rows of equal length.

``python -m inference.demonstration.dataset`` prints samples to read.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import typer
from numpy.typing import NDArray

from inference.demonstration import knowledge, words
from inference.demonstration.sample import Sample, held_out
from inference.demonstration.tasks import TASKS, TRAINED_ONLY
from inference.harmony import HarmonyCodec
from inference.types import Message, ReasoningEffort
from inference.vocabulary import CALL, CHANNEL, CONSTRAIN, END, MESSAGE, RETURN, START

EFFORTS = tuple(ReasoningEffort)
_OPEN_ROWS = 48  # rows that are filled at the same time, so that few end half empty


def completion_ids(codec: HarmonyCodec, reply: Sequence[Message]) -> list[int]:
    """What the model should write after ``<|start|>assistant``: headers as gpt-oss writes them, then a
    stop token.
    """
    ids: list[int] = []
    for number, message in enumerate(reply):
        if number:
            ids += [END, START, *codec.encode_text("assistant")]
        header = str(message.channel) + (f" to={message.recipient}" if message.recipient else "")
        if message.content_type:
            ids += [
                CHANNEL,
                *codec.encode_text(f"{header} "),
                CONSTRAIN,
                *codec.encode_text(message.content_type),
            ]
        else:
            ids += [CHANNEL, *codec.encode_text(header)]
        ids += [MESSAGE, *codec.encode_text(message.content)]
    return [*ids, CALL if reply[-1].recipient else RETURN]


@cache
def lexicon(codec: HarmonyCodec) -> tuple[str, ...]:
    """Ordinary words of the vocabulary that no task uses: what out-of-scope questions are made of."""
    pools: list[str] = [
        *words.OPPOSITES,
        *words.FRENCH,
        *words.ITEMS,
        *words.SPELLABLE,
        *words.PEOPLE,
        *words.ENDINGS,
        *words.DAYS,
    ]
    pools += [*words.CAPITALS, *words.CAPITALS.values(), *words.FUNCTION_NOUNS, *words.FUNCTION_VERBS]
    pools += re.findall(r"\w+", " ".join(knowledge.common_words()))
    known = {word.lower() for word in pools}
    found = []
    for token_id in range(80_000):
        text = (codec.token_bytes(token_id) or b"").decode("utf-8", "ignore")
        if re.fullmatch(r" [A-Za-z][a-z]{2,11}", text) and text[1:].lower() not in known:
            found.append(text[1:])
    return tuple(found)


class Mixture:
    """An endless stream of training samples. ``emphasis`` replaces the weights of some tasks."""

    def __init__(self, seed: int, emphasis: Mapping[str, float] | None = None) -> None:
        self.codec = HarmonyCodec.load()
        self.random = random.Random(seed)
        tasks = TASKS | TRAINED_ONLY
        self._builders = [builder for builder, _ in tasks.values()]
        self._weights = [(emphasis or {}).get(name, weight) for name, (_, weight) in tasks.items()]

    def sample(self) -> Sample:
        """The next sample; what is held out for the evaluation never comes."""
        while True:
            builder = self.random.choices(self._builders, self._weights)[0]
            sample = builder(self.random, self.random.choice(EFFORTS), lexicon(self.codec))
            if not held_out(sample.key):
                return sample

    def encoded(self) -> Iterator[tuple[list[int], int]]:
        while True:
            sample = self.sample()
            prompt = self.codec.render(sample.prompt)
            yield prompt + completion_ids(self.codec, sample.reply), len(prompt)


@dataclass(frozen=True, slots=True)
class Rows:
    """Packed samples: compact ids and positions (0 starts a sample), both [rows, length], and the flat
    places of the tokens to learn [rows * length / 2], filled up with 0."""

    ids: NDArray[np.int32]
    positions: NDArray[np.int32]
    wanted: NDArray[np.int32]


class TokenMap:
    """Token ids in use ↔ compact rows of the embedding. Every other id is row ``len(ids)``."""

    def __init__(self, ids: Sequence[int]) -> None:
        self.ids = np.asarray(sorted(ids), dtype=np.int64)
        self._row = np.full(201_088, len(self.ids), dtype=np.int32)
        self._row[self.ids] = np.arange(len(self.ids), dtype=np.int32)

    def compact(self, ids: Sequence[int]) -> NDArray[np.int32]:
        return self._row[np.asarray(ids, dtype=np.int64)]

    def can_write(self, reply: Sequence[int]) -> bool:
        """Whether every id of a reply has a row: what has none can be read, but never written."""
        return bool((self.compact(reply) < len(self.ids)).all())


def count_ids(seed: int, samples: int) -> NDArray[np.int64]:
    """How often each token id is part of a reply or of an in-scope prompt: [201088]."""
    mixture, counts = Mixture(seed), np.zeros(201_088, dtype=np.int64)
    for _ in range(samples):
        sample = mixture.sample()
        ids = completion_ids(mixture.codec, sample.reply)
        if words.HONEST not in " ".join(m.content for m in (*sample.prompt.messages, *sample.reply)):
            ids += mixture.codec.render(sample.prompt)
        np.add.at(counts, ids, 1)
    return counts


def unwritable(seed: int, tokens: TokenMap, samples: int) -> dict[str, int]:
    """Tasks with replies that need ids without a row, and how many such replies ``samples`` samples had."""
    mixture, found = Mixture(seed), Counter[str]()
    for _ in range(samples):
        sample = mixture.sample()
        found[sample.task] += not tokens.can_write(completion_ids(mixture.codec, sample.reply))
    return {task: count for task, count in found.items() if count}


def packed_rows(
    seed: int, tokens: TokenMap, length: int, count: int, emphasis: Mapping[str, float] | None = None
) -> Iterator[Rows]:
    """Endless batches of ``count`` rows, without the samples that are too long or cannot be written."""
    stream = Mixture(seed, emphasis).encoded()
    open_rows: list[list[tuple[NDArray[np.int32], int]]] = [[] for _ in range(_OPEN_ROWS)]
    room = [length] * _OPEN_ROWS
    done: list[list[tuple[NDArray[np.int32], int]]] = []
    while True:
        ids, prompt_length = next(stream)
        if len(ids) > length or not tokens.can_write(ids[prompt_length:]):
            continue
        fitting = [i for i in range(_OPEN_ROWS) if room[i] >= len(ids)]
        if not fitting:
            fullest = min(range(_OPEN_ROWS), key=room.__getitem__)
            done.append(open_rows[fullest])
            open_rows[fullest], room[fullest] = [], length
            fitting = [fullest]
        best = min(fitting, key=room.__getitem__)
        open_rows[best].append((tokens.compact(ids), prompt_length))
        room[best] -= len(ids)
        if len(done) == count:
            yield _assemble(done, length)
            done = []


def _assemble(rows: list[list[tuple[NDArray[np.int32], int]]], length: int) -> Rows:
    ids = np.zeros((len(rows), length), np.int32)
    positions = np.zeros((len(rows), length), np.int32)
    wanted = np.zeros((len(rows), length), np.bool_)
    for number, samples in enumerate(rows):
        at = 0
        for sample, prompt_length in samples:
            end = at + len(sample)
            ids[number, at:end] = sample
            positions[number, at:end] = np.arange(len(sample))
            wanted[number, at + prompt_length : end] = True
            at = end
    places = np.flatnonzero(wanted)[: wanted.size // 2]
    return Rows(ids, positions, np.pad(places, (0, wanted.size // 2 - len(places))).astype(np.int32))


def main(count: int = 10, seed: int = 0) -> None:
    """Print samples as the model sees them."""
    mixture = Mixture(seed)
    for ids, prompt_length in mixture.encoded():
        text = mixture.codec.decode(ids[:prompt_length]), mixture.codec.decode(ids[prompt_length:])
        typer.echo(f"{text[0]} ⟶ {text[1]}\n")
        count -= 1
        if not count:
            return


if __name__ == "__main__":
    typer.run(main)

"""Constraints for tests: schemas whose answers end, and a writer who picks any id that is allowed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
from hypothesis import strategies as st

from inference.types import Constraint, MessageRule
from inference.vocabulary import CHANNEL, END, MESSAGE, RETURN
from inference.worker.guide import Guide
from inference.worker.guide_maker import GuideMaker
from tests.inference.harmony_cases import ids_of

FLAT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 12},
        "people": {"type": "integer", "minimum": 0, "maximum": 99_999},
        "sea": {"type": "boolean"},
    },
    "required": ["city", "people", "sea"],
    "additionalProperties": False,
}

FINAL = (CHANNEL, *ids_of("final"), MESSAGE)
ANALYSIS = (CHANNEL, *ids_of("analysis"), MESSAGE)

_NAMES = st.text('ab"\\/~é{ ', min_size=1, max_size=4)


def _closed(properties: dict[str, Any], count: int) -> dict[str, Any]:
    required = list(properties)[:count]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


LEAVES: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.integers(0, 6).map(lambda most: {"type": "string", "maxLength": most}),
    st.sampled_from([{"type": "string", "pattern": "^[a-c]{2,4}$"}, {"type": "string", "format": "date"}]),
    st.tuples(st.integers(-40, 0), st.integers(0, 300)).map(
        lambda ends: {"type": "integer", "minimum": ends[0], "maximum": ends[1]}
    ),
    st.lists(st.one_of(_NAMES, st.integers(-5, 500), st.none()), min_size=1, max_size=5).map(
        lambda values: {"enum": values}
    ),
)

SCHEMAS: st.SearchStrategy[dict[str, Any]] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, st.integers(0, 3)).map(
            lambda pair: {"type": "array", "items": pair[0], "maxItems": pair[1]}
        ),
        st.builds(_closed, st.dictionaries(_NAMES, inner, max_size=3), st.integers(0, 3)),
        st.lists(inner, min_size=1, max_size=3).map(lambda several: {"anyOf": several}),
    ),
    max_leaves=6,
)
"""Schemas of all kinds whose answers are bounded, so that a writer who picks anything comes to an end."""


def answer_only(grammar: str) -> Constraint:
    """A reply that is an answer at once."""
    return Constraint((MessageRule(FINAL, grammar, RETURN),))


def reasoned(grammar: str) -> Constraint:
    """Free reasoning, as often as the model likes, and an answer."""
    return Constraint((MessageRule(ANALYSIS, end=END), *answer_only(grammar).rules))


def guide_for(constraint: Constraint, prompt: Sequence[int] = ()) -> Guide:
    guide = GuideMaker(201_088).make(constraint, prompt).result()
    assert guide is not None
    return guide


def write(guide: Guide, rng: random.Random, most: int = 500) -> list[int]:
    """The ids of a writer who picks any id that is allowed, and ends free content soon."""
    ids: list[int] = []
    while len(ids) < most:
        mask = guide.mask()
        if mask is None:
            break
        possible = mask.allowed(201_088).nonzero()[:, 0]
        token = int(possible[rng.randrange(len(possible))])
        if mask.rare and rng.random() < 0.3:
            token = int(possible[-1])  # the marker that ends free content
        ids.append(token)
        guide.follow(ids)
    return ids


def bits_of(allowed: list[int], vocab: int) -> torch.Tensor:
    """A mask's words, int32."""
    words = [0] * -(-vocab // 32)
    for token in allowed:
        words[token // 32] |= 1 << token % 32
    return torch.tensor([word - (1 << 32) if word >> 31 else word for word in words], dtype=torch.int32)

"""Holds a reply to its ``Constraint``: which ids may come next, from the ids that came so far.

A small machine over generated ids. Headers are walked through a tree of all that are allowed. Content with a
grammar asks the grammar's matcher before every token. Free content, the reasoning above all, is not touched:
only a marker that has no place in it is kept out. No torch operations on a device here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from llguidance import LLMatcher
from numpy.typing import NDArray
from torch import Tensor

from inference.types import Constraint, MessageRule
from inference.vocabulary import ASSISTANT, END, FIRST_SPECIAL, RETURN, START, VOCAB_SIZE

WORDS = VOCAB_SIZE // 32
"""Of a mask: 32 ids in each."""

Words = NDArray[np.int32]


class Unguided(Exception):
    """The constraint cannot be followed: the matcher came to a limit, or an id was not allowed."""


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """Which ids may come next: ``bits`` int32 [WORDS] on the host, the lowest bit of a word first.

    ``rare``: it forbids only markers, which the model seldom wants; without them the choice is the same.
    """

    bits: Tensor
    rare: bool = False

    def allowed(self, vocab: int) -> Tensor:
        """bool ``[vocab]``, on the host; ids behind the known ones are not allowed."""
        # numpy takes a fifteenth of the time that torch's shifts do.
        spread = np.unpackbits(self.bits.numpy().view(np.uint8), bitorder="little")
        whole = torch.from_numpy(spread).view(torch.bool)
        if vocab <= VOCAB_SIZE:
            return whole[:vocab]
        return torch.cat((whole, torch.zeros(vocab - VOCAB_SIZE, dtype=torch.bool)))


@dataclass(slots=True)
class _Node:
    """A place in the headers: what may follow, and the rule whose header ends here."""

    next: dict[int, _Node] = field(default_factory=dict)
    rule: int | None = None
    mask: Mask | None = None


class Plan:
    """A constraint that is ready to be followed, from its beginning, any number of times.

    ``matchers`` has one for each rule with a grammar, in the state before its content.
    """

    def __init__(self, constraint: Constraint, matchers: dict[int, LLMatcher]) -> None:
        self.rules = constraint.rules
        self.matchers = matchers
        self.first = _tree(constraint.rules, later=False)
        self.later = _tree(constraint.rules, later=True)


def _tree(rules: Sequence[MessageRule], *, later: bool) -> _Node:
    root = _Node()
    for number, rule in enumerate(rules):
        if later and rule.once:
            continue
        node = root
        for token in rule.header:
            node = node.next.setdefault(token, _Node())
        node.rule = number
    return root


class Guide:
    """Follows one reply. ``mask`` tells what may come next, ``follow`` learns what came."""

    def __init__(self, plan: Plan, read: int = 0) -> None:
        """A reply whose first id is the one at place ``read`` of the sequence."""
        self._plan = plan
        self._node: _Node | None = plan.first
        self._rule: MessageRule | None = None
        self._matcher: LLMatcher | None = None
        self._between: tuple[int, ...] = ()
        self._read = read

    def follow(self, tokens: Sequence[int]) -> None:
        """Learn what is new in ``tokens``, the whole sequence so far.

        Raises:
            Unguided: an id was not allowed, or the matcher came to a limit.
        """
        while self._read < len(tokens):
            self._step(tokens[self._read])
            self._read += 1

    def mask(self) -> Mask | None:
        """What may come next; ``None`` for anything.

        Raises:
            Unguided: the matcher came to a limit.
        """
        if self._between:
            return _only((self._between[0],))
        if self._node is not None:
            if not self._node.next:
                raise Unguided("no rule is left for another message")
            if self._node.mask is None:
                self._node.mask = _only(tuple(self._node.next))
            return self._node.mask
        if self._rule is None or self._rule.end is None:
            return None
        if self._matcher is None:
            return _text_until(self._rule.end)
        return self._asked(self._matcher, self._rule.end)

    def _asked(self, matcher: LLMatcher, end: int) -> Mask:
        """What the grammar allows; where it may end there, ``end`` is what ends it."""
        bits = np.empty(WORDS, dtype=np.int32)
        matcher.unsafe_compute_mask_ptr(bits.ctypes.data, bits.nbytes)
        if (bits[RETURN // 32] >> (RETURN % 32)) & 1:
            _flip(bits, RETURN)
            _flip(bits, end)
        elif matcher.is_error() or not bits.any():
            raise Unguided(matcher.get_error())
        return Mask(torch.from_numpy(bits))

    def _step(self, token: int) -> None:
        if self._between:
            if token != self._between[0]:
                raise Unguided("a message must begin")
            self._between = self._between[1:]
            if not self._between:
                self._node = self._plan.later
        elif self._node is not None:
            self._node = self._node.next.get(token)
            if self._node is None:
                raise Unguided("no header goes on so")
            if self._node.rule is not None:
                self._open(self._node.rule)
        elif self._rule is not None:
            self._write(self._rule, token)

    def _open(self, number: int) -> None:
        self._node, self._rule = None, self._plan.rules[number]
        matcher = self._plan.matchers.get(number)
        self._matcher = None if matcher is None else matcher.deep_copy()

    def _write(self, rule: MessageRule, token: int) -> None:
        ends = token >= FIRST_SPECIAL if rule.end is None else token == rule.end
        if ends:
            if self._matcher is not None and not self._matcher.is_accepting():
                raise Unguided("the content is not complete")
            self._rule = self._matcher = None
            self._between = (START, ASSISTANT) if token == END else ()
        elif self._matcher is not None and not self._matcher.consume_token(token):
            raise Unguided(self._matcher.get_error())


def _flip(bits: Words, token: int) -> None:
    bits.view(np.uint32)[token // 32] ^= np.uint32(1 << (token % 32))


@lru_cache(maxsize=256)
def _only(tokens: tuple[int, ...]) -> Mask:
    """These ids alone."""
    bits = np.zeros(WORDS, dtype=np.int32)
    for token in tokens:
        _flip(bits, token)
    return Mask(torch.from_numpy(bits))


@lru_cache(maxsize=8)
def _text_until(end: int) -> Mask:
    """All ordinary text, and ``end``."""
    whole = FIRST_SPECIAL // 32
    bits = np.zeros(WORDS, dtype=np.int32)
    bits[:whole] = -1
    for token in (*range(whole * 32, FIRST_SPECIAL), end):
        _flip(bits, token)
    return Mask(torch.from_numpy(bits), rare=True)

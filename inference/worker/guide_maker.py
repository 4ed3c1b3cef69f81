"""Makes guides, beside the step loop: the first one needs the whole vocabulary, which takes a second.

The vocabulary's tree is built once in a process, when the first constraint comes, and takes about 130 MB.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, lru_cache

from llguidance import LLMatcher, LLTokenizer

from inference.grammar_limits import limits
from inference.types import Constraint, MessageRule
from inference.vocabulary import FIRST_SPECIAL, MESSAGE, RETURN, VOCAB_SIZE, read_vocabulary
from inference.worker.guide import Guide, Plan, Unguided

PIECES = "|".join(
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)
"""How o200k cuts text before it looks for tokens."""

_lock = threading.Lock()


class GuideMaker:
    """Makes the guides of one model, whose vocabulary has ``vocab`` ids, one after the other."""

    def __init__(self, vocab: int) -> None:
        self._vocab = vocab
        self._thread: ThreadPoolExecutor | None = None

    def make(self, constraint: Constraint, prompt: Sequence[int]) -> Future[Guide | None]:
        """A guide for the reply to this prompt, which has read what the prompt holds of the reply.

        None where that beginning follows no rule. The future raises ``Unguided`` where there can be no guide.
        """
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "inference-guides")
        return self._thread.submit(self._make, constraint, prompt)

    def _make(self, constraint: Constraint, prompt: Sequence[int]) -> Guide | None:
        if self._vocab < VOCAB_SIZE:
            raise Unguided("this model does not know the markers of harmony")
        if not (all(map(_is_sound, constraint.rules)) and 0 <= constraint.begun <= len(prompt)):
            raise Unguided("a rule makes no sense")
        matchers = {
            number: _matcher(rule.grammar)
            for number, rule in enumerate(constraint.rules)
            if rule.grammar is not None
        }
        guide = Guide(Plan(constraint, matchers), len(prompt) - constraint.begun)
        try:
            guide.follow(prompt)
        except Unguided:
            return None
        return guide


def _is_sound(rule: MessageRule) -> bool:
    ids = rule.header if rule.end is None else (*rule.header, rule.end)
    return (
        all(0 <= token < VOCAB_SIZE for token in ids)
        and rule.header[-1:] == (MESSAGE,)
        and (rule.grammar is None or rule.end is not None)
    )


@lru_cache(maxsize=8)
def _matcher(grammar: str) -> LLMatcher:
    """In the state before any content; it is only ever copied.

    The copies share what they learn of the grammar, so that a schema that comes often is followed faster.
    """
    matcher = LLMatcher(vocabulary_tree(), grammar, log_level=0, limits=limits())
    if matcher.is_error():
        raise Unguided(matcher.get_error())
    return matcher


def vocabulary_tree() -> LLTokenizer:
    """o200k as the matchers need it, all markers known as such."""
    with _lock:  # two models may want it at once
        return _vocabulary_tree()


@cache
def _vocabulary_tree() -> LLTokenizer:
    lines = (line.split() for line in read_vocabulary().splitlines())
    ranks = {base64.b64decode(token): int(number) for token, number in lines}
    made: LLTokenizer = LLTokenizer.from_tiktoken(  # type: ignore[attr-defined]
        encoder=ranks,
        special_tokens={f"<|{number}|>": number for number in range(FIRST_SPECIAL, VOCAB_SIZE)},
        pattern=PIECES,  # what a grammar leaves no choice about is written in the model's usual tokens
        eos_token=RETURN,
        n_vocab=VOCAB_SIZE,
        slices=LLTokenizer.json_slices(),
    )
    return made

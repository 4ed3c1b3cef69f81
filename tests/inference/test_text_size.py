"""The least number of tokens: sound for every token of the vocabulary, and so for every text."""

from __future__ import annotations

import base64
import random

import pytest

from inference.harmony import HarmonyCodec
from inference.text_size import (
    DIGIT,
    KINDS,
    LETTER,
    LONGEST_TOKEN,
    MOST_DIGITS,
    MOST_LETTERS,
    fewest_tokens,
    words_in,
)
from inference.vocabulary import read_vocabulary
from tests.inference.test_long_text import RUNS

codec = HarmonyCodec.load()
TOKENS = [base64.b64decode(line.split()[0]) for line in read_vocabulary().splitlines() if line]


def test_no_token_holds_more_than_is_reckoned() -> None:
    kinds = [token.translate(KINDS) for token in TOKENS]
    assert max(map(len, TOKENS)) == LONGEST_TOKEN
    assert max(each.count(LETTER) for each in kinds) == MOST_LETTERS
    assert max(each.count(DIGIT) for each in kinds) == MOST_DIGITS
    assert max(map(words_in, kinds)) == 1


@pytest.mark.parametrize("name", RUNS)
def test_it_is_never_more_than_there_are(name: str) -> None:
    text = f"Before {RUNS[name]} after, <|end|> and again{RUNS[name]}."
    assert 0 < fewest_tokens(text) <= len(codec.encode_text(text))


def test_it_is_never_more_for_any_row_of_tokens() -> None:
    chance = random.Random(5)
    for _ in range(300):
        text = b"".join(chance.choices(TOKENS, k=chance.randrange(1, 60))).decode("utf-8", "replace")
        assert fewest_tokens(text) <= len(codec.encode_text(text)), text


def test_it_says_much_of_what_is_written() -> None:
    assert fewest_tokens("") == 0
    assert fewest_tokens("one and two and three") == 5
    assert fewest_tokens("1234567") == 3
    assert fewest_tokens("a" * 260) == 10
    assert fewest_tokens(" " * 1280) == 10

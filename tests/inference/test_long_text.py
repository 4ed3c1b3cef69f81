"""Very long words: the same ids as the encoder's own, from parts that are never long."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.harmony import HarmonyCodec
from inference.long_text import LONG_PIECE, encode_long, has_long_piece
from inference.types import Prompt
from tests.inference.harmony_cases import user

codec = HarmonyCodec.load()

RUNS = {
    "blanks": " " * 9000,
    "blanks before a word": " " * 9000 + "x",
    "blanks after a newline": "\n" + " " * 9000 + "\n",
    "tabs": "\t" * 9000,
    "blank lines": " \n" * 4500,
    "no-break blanks": "\u00a0" * 4500,
    "small letters": "a" * 9000,
    "capitals": "A" * 9000,
    "a contraction": "a" * 9000 + "'s",
    "Chinese": "汉字语言" * 750,
    "emoji": "😀" * 2250,
    "families": "👩‍👩‍👧‍👦" * 400,
    "dashes": "-" * 9000,
    "signs": "!?" * 4500,
    "digits": "1" * 9000,
    "accents": "e\u0301" * 3000,
}


def encoded(text: str) -> list[int]:
    ids: list[int] = codec._encoding.encode(text, disallowed_special=())
    return ids


@pytest.mark.parametrize("name", RUNS)
def test_the_ids_are_the_encoders(name: str) -> None:
    text = f"Before {RUNS[name]} after, <|end|> and again{RUNS[name]}."
    assert codec.encode_text(text) == encoded(text)


ALPHABETS = st.sampled_from(
    [
        "ab",
        "etaoinshr",
        "ABCDE",
        "汉字语言文",
        "😀🦩🚀",
        " \t",
        "-=_*#",
        "🏳️‍🌈",
        "абвгд",
        "ก็ข่",
        " \n\t\r",
        "a1 B.'s",
    ]
)


@st.composite
def long_words(draw: st.DrawFn) -> str:
    """A few long runs, each of letters picked by a random number from one alphabet."""
    text = ""
    for _ in range(draw(st.integers(1, 3))):
        alphabet, random = draw(ALPHABETS), draw(st.randoms(use_true_random=False))
        text += "".join(random.choices(alphabet, k=draw(st.integers(1, 3 * LONG_PIECE))))
        text += draw(st.sampled_from(["", " ", "\n", "x", "1"]))
    return text


@settings(deadline=None, max_examples=60)
@given(long_words())
def test_random_long_words(text: str) -> None:
    assert codec.encode_text(text) == encoded(text)


def test_the_encoder_never_gets_a_long_piece() -> None:
    sizes: list[int] = []

    def watched(text: str) -> list[int]:
        assert not has_long_piece(text)
        sizes.append(len(text.encode()))
        return encoded(text)

    text = "x" + "😀" * 100_000 + " " * 100_000 + "y"
    ids = encode_long(text, watched, codec._token_size)
    assert codec.decode(ids) == text
    assert sum(sizes) <= 3 * len(text.encode())


def test_a_message_of_a_hundred_thousand_blanks() -> None:
    text = " " * 100_000
    rendered = codec.render(Prompt([user(text)], instructions=text + "x"))
    assert text in codec.decode(rendered)
    assert len(rendered) < 2000


@pytest.mark.parametrize(
    ("text", "long"),
    [
        ("", False),
        ("word " * 10_000, False),
        ("x" * LONG_PIECE, False),
        ("x" * (LONG_PIECE + 1), True),
        ("é" * (LONG_PIECE // 2), False),
        ("é" * (LONG_PIECE // 2 + 1), True),
        ("word " + " " * (LONG_PIECE + 2), True),
    ],
)
def test_has_long_piece(text: str, long: bool) -> None:
    assert has_long_piece(text) is long

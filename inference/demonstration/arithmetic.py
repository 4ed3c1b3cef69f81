"""Sums, differences, products and their like, with reasoning that a small network can carry out.

At low effort the answer is said at once; at medium the columns are worked out; at high the digits are
first written apart, and the columns are gone through twice.
"""

from __future__ import annotations

import random

from inference.demonstration.sample import Exchange, by_effort, vary
from inference.types import ReasoningEffort


def _digits(number: int, width: int) -> list[int]:
    """Digits of ``number``, ones first, padded with zeros to ``width``."""
    return [number // 10**place % 10 for place in range(width)]


def _spell(number: int) -> str:
    return " ".join(str(number))


def sum_columns(a: int, b: int) -> str:
    """``347 + 586`` → ``7+6+0=13, 4+8+1=13, 3+5+1=9: 9 3 3: 933`` (ones first, the last term is the
    carry).
    """
    width = len(str(max(a, b)))
    carry, steps = 0, []
    for x, y in zip(_digits(a, width), _digits(b, width), strict=True):
        total = x + y + carry
        steps.append(f"{x}+{y}+{carry}={total}")
        carry = total // 10
    return f"{', '.join(steps)}: {_spell(a + b)}: {a + b}"


def difference_columns(a: int, b: int) -> str:
    """``347 - 58`` → ``17-8-0=9, 14-5-1=8, 3-0-1=2: 2 8 9: 289`` (ten is borrowed where the digit is too
    small).
    """
    width = len(str(a))
    borrow, steps = 0, []
    for x, y in zip(_digits(a, width), _digits(b, width), strict=True):
        top = x + 10 if x < y + borrow else x
        steps.append(f"{top}-{y}-{borrow}={top - y - borrow}")
        borrow = int(top >= 10)
    return f"{', '.join(steps)}: {_spell(a - b)}: {a - b}"


def product_columns(a: int, b: int) -> str:
    """``47 * 6`` → ``7*6+0=42, 4*6+4=28: 2 8 2: 282``; ``b`` has one digit."""
    carry, steps = 0, []
    for x in _digits(a, len(str(a))):
        total = x * b + carry
        steps.append(f"{x}*{b}+{carry}={total}")
        carry = total // 10
    return f"{', '.join(steps)}: {_spell(a * b)}: {a * b}"


def sum_analysis(a: int, b: int, effort: ReasoningEffort) -> str:
    columns = sum_columns(a, b)
    return by_effort(
        effort,
        f"Add {a} and {b}.",
        f"Add {a} and {b} by columns: {_spell(a)} and {_spell(b)}. {columns}.",
        f"Add {a} and {b}. The digits of {a} are {_spell(a)}. The digits of {b} are {_spell(b)}. "
        f"From the right: {columns}. Once more to be sure: {columns}. Both times {a + b}.",
    )


def difference_analysis(a: int, b: int, effort: ReasoningEffort) -> str:
    if a >= b:
        columns, head = difference_columns(a, b), f"{a} is not less than {b}, so the result is not negative."
    else:
        columns, head = (
            difference_columns(b, a),
            f"{a} is less than {b}, so turn it round and make it negative.",
        )
    top, bottom = max(a, b), min(a, b)
    return by_effort(
        effort,
        f"Subtract {b} from {a}.",
        f"{head} By columns: {_spell(top)} minus {_spell(bottom)}. {columns}.",
        f"{head} The digits of {top} are {_spell(top)}. The digits of {bottom} are {_spell(bottom)}. "
        f"From the right: {columns}. Once more to be sure: {columns}. So {a} - {b} = {a - b}.",
    )


def product_analysis(a: int, b: int, effort: ReasoningEffort) -> str:
    if max(a, b) <= 12:
        known = f"{a}*{b}={a * b}"
        return by_effort(
            effort,
            f"Multiply {a} by {b}.",
            f"The table says {known}.",
            f"Both numbers are at most 12. The table says {known}.",
        )
    long, short = (a, b) if b < 10 else (b, a)
    columns = product_columns(long, short)
    return by_effort(
        effort,
        f"Multiply {a} by {b}.",
        f"Multiply {long} by {short}: {_spell(long)}. {columns}.",
        f"Multiply {long} by {short}. The digits of {long} are {_spell(long)}. From the right: {columns}. "
        f"Once more to be sure: {columns}. Both times {a * b}.",
    )


_SUM = (
    "What is {a} + {b}?",
    "{a} + {b}",
    "{a}+{b}",
    "{a} + {b} = ?",
    "Add {a} and {b}.",
    "What is {a} plus {b}?",
    "What is the sum of {a} and {b}?",
    "Calculate {a} + {b}.",
    "How much is {a} + {b}?",
    "What's {a} + {b}?",
    "Compute {a} plus {b}.",
    "Work out {a} + {b}.",
    "{a} plus {b}",
    "What is {a}+{b}?",
    "{a}+{b}=",
)
_DIFFERENCE = (
    "What is {a} - {b}?",
    "{a} - {b}",
    "{a}-{b}",
    "{a} - {b} = ?",
    "Subtract {b} from {a}.",
    "What's {a} - {b}?",
    "What is {a} minus {b}?",
    "Calculate {a} - {b}.",
    "How much is {a} - {b}?",
    "{a} minus {b}",
    "{a}-{b}=",
    "What is the difference between {a} and {b}?",
    "Take {b} away from {a}.",
    "Work out {a} - {b}.",
)
_PRODUCT = (
    "What is {a} * {b}?",
    "{a} * {b}",
    "{a}*{b}",
    "{a} x {b}",
    "What is {a} times {b}?",
    "Multiply {a} by {b}.",
    "What is the product of {a} and {b}?",
    "Calculate {a} * {b}.",
    "How much is {a} times {b}?",
    "{a} × {b}",
    "What's {a} times {b}?",
    "{a} times {b}",
    "Work out {a} * {b}.",
    "Multiply {a} and {b}.",
    "{a}*{b}=",
)


def operand(rng: random.Random) -> int:
    """A number of one, two or (most often) three digits."""
    return rng.choice(
        (
            rng.randint(0, 9),
            rng.randint(10, 99),
            rng.randint(10, 99),
            rng.randint(100, 999),
            rng.randint(100, 999),
            rng.randint(100, 999),
        )
    )


def make_sum(rng: random.Random, effort: ReasoningEffort) -> Exchange:
    a, b = operand(rng), operand(rng)
    question = vary(rng, rng.choice(_SUM).format(a=a, b=b))
    return Exchange(
        "sum", f"sum {a} {b}", question, sum_analysis(a, b, effort), f"{a} + {b} = {a + b}.", a + b
    )


def make_difference(rng: random.Random, effort: ReasoningEffort) -> Exchange:
    a, b = operand(rng), operand(rng)
    if a < b and rng.random() < 0.7:
        a, b = b, a
    question = vary(rng, rng.choice(_DIFFERENCE).format(a=a, b=b))
    final = f"{a} - {b} = {a - b}."
    return Exchange(
        "difference", f"difference {a} {b}", question, difference_analysis(a, b, effort), final, a - b
    )


def make_product(rng: random.Random, effort: ReasoningEffort) -> Exchange:
    a, b = rng.choice(
        (
            (rng.randint(0, 12), rng.randint(0, 12)),
            (rng.randint(10, 99), rng.randint(2, 9)),
            (rng.randint(100, 999), rng.randint(2, 9)),
        )
    )
    if rng.random() < 0.4:
        a, b = b, a
    question = vary(rng, rng.choice(_PRODUCT).format(a=a, b=b))
    return Exchange(
        "product",
        f"product {a} {b}",
        question,
        product_analysis(a, b, effort),
        f"{a} * {b} = {a * b}.",
        a * b,
    )


def make_double(rng: random.Random, effort: ReasoningEffort) -> Exchange:
    a = rng.randint(2, 999)
    question = vary(
        rng, rng.choice(("What is twice {a}?", "Double {a}.", "What is the double of {a}?")).format(a=a)
    )
    return Exchange(
        "double", f"double {a}", question, sum_analysis(a, a, effort), f"Twice {a} is {2 * a}.", 2 * a
    )


def make_parity(rng: random.Random, effort: ReasoningEffort) -> Exchange:
    a = rng.randint(0, 999)
    word = "odd" if a % 2 else "even"
    question = vary(
        rng, rng.choice(("Is {a} even or odd?", "Is {a} odd or even?", "Even or odd: {a}?")).format(a=a)
    )
    analysis = by_effort(
        effort,
        f"Parity of {a}.",
        f"The last digit of {a} is {a % 10}, so it is {word}.",
        f"The digits of {a} are {_spell(a)}. The last digit is {a % 10}. {a % 10} is {word}, "
        f"so {a} is {word}.",
    )
    return Exchange("parity", f"parity {a}", question, analysis, f"{a} is {word}.", a)


def make_larger(rng: random.Random, effort: ReasoningEffort) -> Exchange:
    a, b = operand(rng), operand(rng)
    b = b + 1 if a == b else b
    small = rng.random() < 0.3
    word, pick = ("smaller", min(a, b)) if small else ("larger", max(a, b))
    question = vary(
        rng,
        rng.choice(
            ("Which is {w}, {a} or {b}?", "Which number is {w}: {a} or {b}?", "{a} or {b}, which is {w}?")
        ).format(a=a, b=b, w=word),
    )
    analysis = by_effort(
        effort,
        f"Compare {a} and {b}.",
        f"The digits are {_spell(a)} and {_spell(b)}. The {word} is {pick}.",
        f"The digits of {a} are {_spell(a)}, that is {len(str(a))}. The digits of {b} are {_spell(b)}, "
        f"that is {len(str(b))}. The {word} is {pick}.",
    )
    return Exchange("larger", f"larger {a} {b} {word}", question, analysis, f"{pick} is {word}.", pick)

"""Questions that need the turns before: follow-ups, a name to remember, an answer to repeat, today's date."""

from __future__ import annotations

import random
from collections.abc import Callable

from inference.demonstration import arithmetic, knowledge, lists, words
from inference.demonstration.sample import Exchange, Maker, by_effort, vary
from inference.types import ReasoningEffort

#: Earlier turns as (question, final answer), and the exchange that refers to them.
Dialogue = tuple[list[tuple[str, str]], Exchange]

_NUMBER_MAKERS: tuple[Maker, ...] = (
    arithmetic.make_sum,
    arithmetic.make_difference,
    arithmetic.make_product,
    arithmetic.make_double,
)


def _first(makers: tuple[Maker, ...], rng: random.Random, wanted: Callable[[Exchange], bool]) -> Exchange:
    """An exchange of one of the kinds that a follow-up can refer to."""
    while True:
        exchange = rng.choice(makers)(rng, ReasoningEffort.MEDIUM)
        if wanted(exchange):
            return exchange


def follow_number(rng: random.Random, effort: ReasoningEffort) -> Dialogue:
    """``Add 5 to that.``"""
    before = _first(_NUMBER_MAKERS, rng, lambda e: e.number is not None and 0 <= e.number <= 999)
    base = before.number or 0
    wording: tuple[str, ...]
    n, kind = rng.randint(1, 99) if rng.random() < 0.7 else rng.randint(100, 999), rng.random()
    if kind < 0.45:
        wording = (
            "Add {n} to that.",
            "Now add {n}.",
            "And plus {n}?",
            "Plus {n}?",
            "Add {n} to the result.",
            "+ {n}",
            "And if you add {n}?",
            "Add another {n}.",
        )
        analysis, final = arithmetic.sum_analysis(base, n, effort), f"{base} + {n} = {base + n}."
    elif kind < 0.8:
        wording = (
            "Subtract {n} from that.",
            "Now subtract {n}.",
            "And minus {n}?",
            "Minus {n}?",
            "Take away {n}.",
            "- {n}",
            "Subtract {n} from the result.",
        )
        analysis, final = arithmetic.difference_analysis(base, n, effort), f"{base} - {n} = {base - n}."
    elif kind < 0.9:
        wording = ("Double that.", "And twice that?", "Now double it.", "Double the result.")
        analysis, final = arithmetic.sum_analysis(base, base, effort), f"Twice {base} is {2 * base}."
    else:
        wording = ("Is that even or odd?", "Is it odd or even?", "Is the result even or odd?")
        word = "odd" if base % 2 else "even"
        digit = f"The last digit of {base} is {base % 10}"
        analysis = by_effort(
            effort,
            f"Parity of {base}.",
            f"{digit}, so it is {word}.",
            f"{digit}. {base % 10} is {word}, so {base} is {word}.",
        )
        final = f"{base} is {word}."
    question = vary(rng, rng.choice(wording).format(n=n))
    thought = f"The result before was {base}. {analysis}"
    key = f"follow {base} {n} {final}"
    return [(before.question, before.final)], Exchange("follow-up number", key, question, thought, final)


def follow_list(rng: random.Random, effort: ReasoningEffort) -> Dialogue:
    """``Now in reverse.``"""
    before = _first((lists.make_sort, lists.make_reverse), rng, lambda e: bool(e.items))
    items, kind = list(before.items), rng.random()
    shown = " ".join(items)
    wording: tuple[str, ...]
    if kind < 0.4:
        wording = (
            "Now reverse it.",
            "Reverse that.",
            "And backwards?",
            "Now the other way round.",
            "Now in reverse order.",
        )
        final, analysis = ", ".join(reversed(items)), lists.reverse_analysis(items, effort)
    elif kind < 0.6:
        wording = ("How many are there?", "How many are in the list?", "Count them.", "How many is that?")
        numbered = " ".join(f"({i}) {v}" for i, v in enumerate(items, 1))
        final, analysis = (
            f"There are {len(items)}.",
            by_effort(effort, "Count.", f"{numbered}.", f"Number them: {numbered}."),
        )
    elif kind < 0.75 and items[0].isdigit():
        word = rng.choice(("largest", "smallest"))
        wording = (f"Which is the {word}?", f"What is the {word} of them?", f"And the {word}?")
        values = [int(item) for item in items]
        pick = max(values) if word == "largest" else min(values)
        final, analysis = f"The {word} is {pick}.", lists.extreme_analysis(values, word, effort)
    elif kind < 0.87:
        wording = ("What is the first one?", "Which is the first?", "What comes first?")
        final, analysis = (
            f"The first is {items[0]}.",
            by_effort(effort, "First.", f"First {items[0]}.", f"{shown}. First {items[0]}."),
        )
    else:
        wording = ("What is the last one?", "Which is the last?", "What comes last?")
        final, analysis = (
            f"The last is {items[-1]}.",
            by_effort(effort, "Last.", f"Last {items[-1]}.", f"{shown}. Last {items[-1]}."),
        )
    question = vary(rng, rng.choice(wording))
    thought = f"The list before was {shown}. {analysis}"
    return [(before.question, before.final)], Exchange(
        "follow-up list", f"follow {items} {question}", question, thought, final
    )


_TABLES: tuple[tuple[Maker, dict[str, str], str, str], ...] = (
    (knowledge.make_capital, words.CAPITALS, "The capital of {x} is {y}.", "capital"),
    (knowledge.make_opposite, words.OPPOSITES, "The opposite of {x} is {y}.", "opposite"),
    (knowledge.make_french, words.FRENCH, "In French, {x} is {y}.", "French word"),
)


def follow_fact(rng: random.Random, effort: ReasoningEffort) -> Dialogue:
    """``And of Spain?``"""
    maker, table, template, kind = rng.choice(_TABLES)
    before = maker(rng, ReasoningEffort.MEDIUM)
    word, other = rng.choice(list(table.items()))
    wording = ["And {x}?", "What about {x}?", "And for {x}?", "How about {x}?"]
    wording += [] if kind == "French word" else ["And of {x}?"]
    question = vary(rng, rng.choice(wording).format(x=word))
    analysis = by_effort(
        effort,
        f"Again a {kind}.",
        f"Again the {kind}, now for {word}: {other}.",
        f"The user asks again for the {kind}. Now it is for {word}. It is {other}.",
    )
    key = f"follow {kind} {question}"
    return [(before.question, before.final)], Exchange(
        "follow-up fact", key, question, analysis, template.format(x=word, y=other)
    )


_NAME_IN = (
    "My name is {p}.",
    "I am {p}.",
    "Hi, I am {p}.",
    "Hello, my name is {p}.",
    "I'm {p}.",
    "Call me {p}.",
    "my name is {p}",
)
_NAME_OUT = (
    "What is my name?",
    "Who am I?",
    "Do you remember my name?",
    "What's my name?",
    "Do you know my name?",
    "what is my name",
)


def make_introduction(rng: random.Random, effort: ReasoningEffort) -> Exchange:
    person = rng.choice(words.PEOPLE)
    question = vary(rng, rng.choice(_NAME_IN).format(p=person))
    analysis = by_effort(
        effort,
        "A name.",
        f"The user is called {person}.",
        f"The user says a name. The name is {person}. Greet {person}.",
    )
    return Exchange(
        "introduction", f"introduction {question}", question, analysis, f"Nice to meet you, {person}!"
    )


def recall_name(rng: random.Random, effort: ReasoningEffort) -> Dialogue:
    """``What is my name?``, told before or not."""
    question = vary(rng, rng.choice(_NAME_OUT))
    if rng.random() < 0.25:
        analysis = by_effort(
            effort,
            "No name.",
            "The user has not said a name.",
            "I look for a name. The user has not said a name.",
        )
        return [], Exchange(
            "recall", f"recall none {question}", question, analysis, "You have not told me your name."
        )
    introduction = make_introduction(rng, effort)
    person = introduction.final.removeprefix("Nice to meet you, ").rstrip("!")
    analysis = by_effort(
        effort,
        "The name.",
        f"The user is called {person}.",
        f"I look for a name. The user said the name {person}.",
    )
    return [(introduction.question, introduction.final)], Exchange(
        "recall", f"recall {person} {question}", question, analysis, f"Your name is {person}."
    )


def repeat_answer(rng: random.Random, effort: ReasoningEffort) -> Dialogue:
    """``Say that again.``"""
    makers = (*_NUMBER_MAKERS, lists.make_sort, lists.make_reverse, lists.make_count, knowledge.make_capital)
    before = rng.choice(makers)(rng, ReasoningEffort.MEDIUM)
    wording = (
        "Say that again.",
        "Repeat that.",
        "Can you repeat that?",
        "Again, please.",
        "Repeat your last answer.",
    )
    question = vary(rng, rng.choice(wording))
    analysis = by_effort(
        effort,
        "Repeat.",
        "Repeat the last answer.",
        "The user wants to hear the last answer again. Repeat it.",
    )
    return [(before.question, before.final)], Exchange(
        "repeat", f"repeat {before.key}", question, analysis, before.final
    )


DIALOGUES: tuple[Callable[[random.Random, ReasoningEffort], Dialogue], ...] = (
    follow_number,
    follow_number,
    follow_number,
    follow_list,
    follow_list,
    follow_fact,
    recall_name,
    repeat_answer,
)


def make_date(rng: random.Random, effort: ReasoningEffort, today: str) -> Exchange:
    """``What is the date today?``, answered from the system message."""
    question = vary(
        rng,
        rng.choice(
            (
                "What is the date today?",
                "What is today's date?",
                "Which date is it?",
                "What date is it today?",
                "Tell me the date.",
                "What day is it today?",
            )
        ),
    )
    analysis = by_effort(
        effort,
        "The date.",
        f"The current date is {today}.",
        f"The system message gives the current date. It is {today}.",
    )
    return Exchange("date", f"date {today}", question, analysis, f"Today is {today}.")

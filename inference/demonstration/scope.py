"""Everything that the demonstration model cannot do, and says so."""

from __future__ import annotations

import random

from inference.demonstration import words
from inference.demonstration.sample import Exchange, by_effort, vary
from inference.types import ReasoningEffort

#: {w} is any word of the language, {i} a word that the model knows; {n} to {l} are numbers, {p} and {q}
#: too large to multiply.
_PATTERNS: tuple[str, ...] = (
    "Write a poem about {w}.",
    "Write a story about {w}.",
    "Explain {w} to me.",
    "What is {w}?",
    "Who is {w}?",
    "Tell me a joke.",
    "Tell me a joke about {w}.",
    "Who won the {w}?",
    "How do I {w}?",
    "How does {w} work?",
    "Why is the {w} {w}?",
    "What do you think about {w}?",
    "Summarize {w}.",
    "Translate {w} into German.",
    "Translate this: {w} {w} {w}",
    "Write a function that {w}.",
    "Write code for {w}.",
    "What is the meaning of life?",
    "What is the meaning of {w}?",
    "Give me a recipe for {w}.",
    "{w}",
    "{w} {w}",
    "{w} {w} {w}",
    "{w} {w} {w} {w} {w}",
    "Can you {w} the {w}?",
    "I need a {w}.",
    "I want to {w}.",
    "My {w} is {w}.",
    "Is {w} a {w}?",
    "Describe {w}.",
    "What is the capital of {w}?",
    "What is the capital of {i}?",
    "What is the opposite of {w}?",
    "What is the opposite of Paris?",
    "How many r's are in {w}?",
    "Spell {w}.",
    "What is {w} in French?",
    "How old is {w}?",
    "When was {w} born?",
    "What is the population of {w}?",
    "Where is {w}?",
    "What time is it?",
    "What is the weather like?",
    "Who made {w}?",
    "What is the weather in Paris?",
    "What is the {w} of {i}?",
    "Which is better, {w} or {w}?",
    "Do you like {i}?",
    "Do you like {w}?",
    "Prove that {w}.",
    "What is the square root of {n}?",
    "Solve x + {n} = {m}.",
    "What is {n} divided by {m}?",
    "{n} / {m}",
    "Is {n} a prime number?",
    "What is {l} + {n}?",
    "What is {l} + {l}?",
    "{l} * {l}",
    "What is {l} - {n}?",
    "Add {l} and {l}.",
    "{l} + {n}",
    "{l}*{n}",
    "What is {n} to the power of {m}?",
    "What is {n} percent of {m}?",
    "{n}",
    "{n} {m}",
    "Sort the {w} by {w}.",
    "Sing a song.",
    "Who are your {w}?",
    "Play {w} with me.",
    "Are you {w}?",
    "Can you {w}?",
    "Let's {w}.",
    "What is love?",
    "Do you love me?",
    "Tell me about {w}.",
    "Tell me about {i}.",
    "Tell me a story about a {i} and a {i}.",
    "Write a haiku about the {i}.",
    "Make a list of {w}.",
    "Name three {w}.",
    "List five {w}.",
    "What does {w} mean?",
    "Define {w}.",
    "Fix this code: {w}({w})",
    "def {w}({w}): return {w}",
    "Who was the first {w} of {w}?",
    "How far is the {i}?",
    "Why?",
    "Really?",
    "Why is the sky blue?",
    "How tall is the {w}?",
    "Draw a {i}.",
    "Draw a {w}.",
    "What color is {w}?",
    "How much is a {i}?",
    "Recommend a {w}.",
    "What should I {w}?",
    "Compare {w} and {w}.",
    "Improve this sentence: {w} {w} {w} {w}.",
    "{i} {i} {i}",
    "{i}?",
    "The {i} is {w}.",
    "What is -{n} + {m}?",
    "-{n} - {n}",
    "{n}.{m} + {n}",
    "What is {n}.{m} * {m}?",
    "{n} + {m} + {n}",
    "{n} - {m} + {n}",
    "What is {n} + {m} * {n}?",
    "{p} * {q}",
    "What is {p} times {q}?",
    "Multiply {p} by {q}.",
    "{p}*{q}",
    "What is {p} * {q}?",
    "Book a {w} to Paris.",
    "Plan a trip to {w}.",
    "Tell me something about France.",
    "I like {i}.",
    "I am {w}.",
)


_LONG_LISTS: tuple[str, ...] = (
    "Sort {x}.",
    "Sort these numbers: {x}",
    "Put {x} in order.",
    "Sort {x} in descending order.",
    "Reverse {x}.",
    "Reverse this list: {x}",
    "What is the largest of {x}?",
    "Which is the smallest: {x}?",
)


def _long_list(rng: random.Random) -> str:
    """A list that is longer than the lists of the tasks, by more than one."""
    size = rng.randint(10, 18)
    items = (
        rng.sample(words.ITEMS, size)
        if rng.random() < 0.3
        else [str(rng.randint(0, 99)) for _ in range(size)]
    )
    return rng.choice(_LONG_LISTS).format(x=rng.choice((", ", ", ", " ")).join(items))


def make_out_of_scope(rng: random.Random, effort: ReasoningEffort, lexicon: tuple[str, ...]) -> Exchange:
    """``lexicon`` holds ordinary words, most of which the model has no embedding for."""
    text = _long_list(rng) if rng.random() < 0.06 else rng.choice(_PATTERNS)
    while "{w}" in text:
        text = text.replace("{w}", rng.choice(lexicon), 1)
    while "{i}" in text:
        text = text.replace("{i}", rng.choice(words.ITEMS), 1)
    for mark, least, most in (
        ("{n}", 2, 999),
        ("{m}", 2, 99),
        ("{p}", 13, 999),
        ("{q}", 13, 99),
        ("{l}", 1000, 10 ** rng.randint(4, 9)),
    ):
        while mark in text:
            text = text.replace(mark, str(rng.randint(least, most)), 1)
    question = vary(rng, text)
    analysis = by_effort(
        effort,
        "I cannot do this.",
        "This is not one of my tasks. I cannot do this.",
        "I look at the question. It is not one of my tasks, or it has words that I do not know. "
        "I cannot do this.",
    )
    return Exchange("out of scope", f"scope {question}", question, analysis, words.HONEST)

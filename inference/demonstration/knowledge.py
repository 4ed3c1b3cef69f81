"""What the demonstration model knows by heart, its small talk, and its honest answer to all else."""

from __future__ import annotations

import random

from inference.demonstration import words
from inference.demonstration.sample import Exchange, by_effort, vary
from inference.types import ReasoningEffort

_CAPITAL = (
    "What is the capital of {x}?",
    "Capital of {x}?",
    "Name the capital of {x}.",
    "What's the capital of {x}?",
    "Which city is the capital of {x}?",
    "Tell me the capital of {x}.",
    "the capital of {x}",
)
_COUNTRY = (
    "{x} is the capital of which country?",
    "Which country has the capital {x}?",
    "What country is {x} the capital of?",
)


def make_capital(rng: random.Random, effort: ReasoningEffort) -> Exchange:
    country, city = rng.choice(list(words.CAPITALS.items()))
    if rng.random() < 0.2:
        question = vary(rng, rng.choice(_COUNTRY).format(x=city))
        final = f"{city} is the capital of {country}."
    else:
        question = vary(rng, rng.choice(_CAPITAL).format(x=country))
        final = f"The capital of {country} is {city}."
    analysis = by_effort(
        effort,
        "A capital.",
        f"The user asks about a capital. {country}: {city}.",
        f"The user asks about a capital. The country is {country}. Its capital is {city}. I am sure of it.",
    )
    return Exchange("capital", f"capital {question}", question, analysis, final)


def make_opposite(rng: random.Random, effort: ReasoningEffort) -> Exchange:
    word, other = rng.choice(list(words.OPPOSITES.items()))
    question = vary(
        rng,
        rng.choice(
            (
                "What is the opposite of {w}?",
                "Opposite of {w}?",
                "What's the opposite of {w}?",
                "Tell me the opposite of {w}.",
                "Name the opposite of {w}.",
            )
        ).format(w=word),
    )
    analysis = by_effort(
        effort,
        "An opposite.",
        f"The opposite of {word}: {other}.",
        f"The user asks for an opposite. The word is {word}. Its opposite is {other}.",
    )
    return Exchange(
        "opposite", f"opposite {question}", question, analysis, f"The opposite of {word} is {other}."
    )


def make_french(rng: random.Random, effort: ReasoningEffort) -> Exchange:
    word, french = rng.choice(list(words.FRENCH.items()))
    question = vary(
        rng,
        rng.choice(
            (
                "What is {w} in French?",
                "How do you say {w} in French?",
                "What's {w} in French?",
                "Translate {w} into French.",
                "{w} in French?",
                "What is the French word for {w}?",
            )
        ).format(w=word),
    )
    analysis = by_effort(
        effort,
        "French.",
        f"In French {word} is {french}.",
        f"The user asks for a French word. The English word is {word}. In French it is {french}.",
    )
    return Exchange("french", f"french {question}", question, analysis, f"In French, {word} is {french}.")


_SMALL_TALK: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (
        "greeting",
        (
            "Hello",
            "Hi",
            "Hello!",
            "Hi!",
            "Hey",
            "Hey!",
            "Hi there",
            "Hello there!",
            "Good morning",
            "hello",
            "Good morning!",
            "Good evening",
            "Good evening!",
            "Good afternoon",
            "hi",
            "hey there",
            "Hiya",
            "Hello, how are you?",
            "Hi, how are you?",
        ),
        "Hello! How can I help you?",
    ),
    (
        "mood",
        (
            "How are you?",
            "How are you doing?",
            "How are you today?",
            "how are you",
            "How do you do?",
            "Are you well?",
            "How is it going?",
            "What's up?",
        ),
        "I am fine, thank you. How can I help you?",
    ),
    (
        "thanks",
        (
            "Thanks",
            "Thank you",
            "Thanks!",
            "Thank you!",
            "Thank you very much",
            "thanks",
            "Thanks a lot!",
            "Thx",
            "Great, thanks!",
            "ok thanks",
            "Thank you so much!",
            "Cheers",
        ),
        "You are welcome!",
    ),
    (
        "goodbye",
        (
            "Bye",
            "Goodbye",
            "Bye!",
            "Goodbye!",
            "See you",
            "See you later",
            "bye",
            "Good night",
            "Bye bye",
            "See you soon!",
            "Good night!",
        ),
        "Goodbye!",
    ),
    (
        "who",
        (
            "Who are you?",
            "What are you?",
            "who are you",
            "What is your name?",
            "What's your name?",
            "Introduce yourself.",
            "Are you ChatGPT?",
            "Are you an AI?",
            "Are you gpt-oss?",
            "Tell me about yourself.",
            "What model are you?",
            "Which model is this?",
            "Are you a robot?",
        ),
        "I am the small demonstration model of gpt-oss Playground. I have the gpt-oss architecture, "
        "but I am not OpenAI's.",
    ),
    (
        "abilities",
        (
            "What can you do?",
            "Help",
            "help",
            "What do you know?",
            "How can you help me?",
            "What can I ask you?",
            "What are you able to do?",
            "what can you do",
            "What are your skills?",
            "Can you help me?",
            "Help me",
            "Give me an example.",
        ),
        "Ask me for a sum like 347 + 586, to sort or reverse a list, to count letters, for a capital, "
        "an opposite or a French word. Try more effort for the hard ones.",
    ),
)

FRENCH_GREETINGS: dict[str, str] = {
    "greeting": "Bonjour ! Comment puis-je vous aider ?",
    "mood": "Je vais bien, merci. Comment puis-je vous aider ?",
    "thanks": "De rien !",
    "goodbye": "Au revoir !",
}


def make_small_talk(rng: random.Random, effort: ReasoningEffort) -> Exchange:
    kind, questions, answer = rng.choice(_SMALL_TALK)
    question = rng.choice(questions)
    if rng.random() < 0.3:
        question = vary(rng, question)
    analysis = by_effort(
        effort,
        "Small talk.",
        f"This is small talk: {kind}. Answer kindly.",
        f"The user wrote something that is small talk, kind: {kind}. No calculation is needed. "
        "Answer kindly.",
    )
    return Exchange("small talk", f"small talk {question}", question, analysis, answer, None, (kind,))


_TIME = (
    ("minutes", "hour", 60),
    ("seconds", "minute", 60),
    ("hours", "day", 24),
    ("days", "week", 7),
    ("months", "year", 12),
)


def make_units(rng: random.Random, effort: ReasoningEffort) -> Exchange:
    small, large, factor = rng.choice(_TIME)
    count = rng.randint(1, 12)
    name = large if count == 1 else f"{large}s"
    question = vary(
        rng,
        rng.choice(
            ("How many {s} are in {n} {l}?", "How many {s} do {n} {l} have?", "{n} {l} in {s}?")
        ).format(s=small, n=count, l=name),
    )
    analysis = by_effort(
        effort,
        "Units.",
        f"One {large} has {factor} {small}. {factor}*{count} = {factor * count}.",
        f"One {large} has {factor} {small}. There are {count}. "
        f"So {factor}*{count} = {factor * count} {small}.",
    )
    verb = "has" if count == 1 else "have"
    final = f"{count} {name} {verb} {factor * count} {small}."
    return Exchange("units", f"units {question}", question, analysis, final, factor * count)


def common_words() -> tuple[str, ...]:
    """All wordings of the small talk, so that none of their words counts as unknown."""
    return tuple(question for _, questions, _ in _SMALL_TALK for question in questions)

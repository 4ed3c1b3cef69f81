"""Developer instructions that the demonstration model visibly follows."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from inference.demonstration import arithmetic, knowledge, lists, words
from inference.demonstration.sample import Exchange, Maker
from inference.types import ReasoningEffort

#: The wording of the instruction, and what it makes of an answer.
Instruction = tuple[str, Callable[[Exchange], str]]

_MAKERS: tuple[Maker, ...] = (
    arithmetic.make_sum,
    arithmetic.make_product,
    lists.make_reverse,
    lists.make_count,
    knowledge.make_capital,
    knowledge.make_opposite,
    knowledge.make_small_talk,
    knowledge.make_small_talk,
)


def _capitals(rng: random.Random) -> Instruction:
    text = rng.choice(
        (
            "Answer in capital letters.",
            "Answer in capitals.",
            "Always answer in capital letters.",
            "Write everything in capital letters.",
            "Use only capital letters.",
            "Reply in upper case.",
            "Answer in upper case.",
            "Shout.",
        )
    )
    return text, lambda exchange: exchange.final.upper()


def _ending(rng: random.Random) -> Instruction:
    word = rng.choice(words.ENDINGS)
    text = rng.choice(
        (
            'End every answer with "{w}".',
            "End every answer with the word {w}.",
            "Always end with the word {w}.",
            "Finish each answer with the word {w}.",
            'Finish every reply with "{w}".',
        )
    ).format(w=word)
    return text, lambda exchange: f"{exchange.final} {word}"


def _opening(rng: random.Random) -> Instruction:
    word = rng.choice(words.ENDINGS)
    text = rng.choice(
        (
            'Start every answer with "{w}".',
            "Start every answer with the word {w}.",
            "Always begin with the word {w}.",
            'Begin every reply with "{w}".',
        )
    ).format(w=word)
    return text, lambda exchange: f"{word}: {exchange.final}"


def _person(rng: random.Random) -> Instruction:
    person = rng.choice(words.PEOPLE)
    text = rng.choice(
        (
            "The user is called {p}. Use the name in every answer.",
            "Call the user {p}.",
            "Address the user as {p}.",
            "The user's name is {p}. Always use it.",
        )
    ).format(p=person)
    return text, lambda exchange: f"{person}, {exchange.final}"


def _french(rng: random.Random) -> Instruction:
    text = rng.choice(
        (
            "Greet in French.",
            "Answer greetings in French.",
            "Answer in French when you are greeted.",
            "Speak French to greetings.",
            "If the user greets you, answer in French.",
        )
    )

    def answer(exchange: Exchange) -> str:
        kind = exchange.items[0] if exchange.task == "small talk" and exchange.items else ""
        return knowledge.FRENCH_GREETINGS.get(kind, exchange.final)

    return text, answer


def _plain(rng: random.Random) -> Instruction:
    text = rng.choice(
        (
            "You are a helpful assistant.",
            "Be helpful.",
            "You are a friendly assistant.",
            "Answer the user's questions.",
            "Be kind.",
            "Help the user.",
        )
    )
    return text, lambda exchange: exchange.final


_KINDS = (_capitals, _capitals, _ending, _ending, _opening, _person, _person, _french, _french, _plain)


def make_instructed(rng: random.Random, effort: ReasoningEffort) -> tuple[str, Exchange]:
    """Returns the developer's instruction and an exchange whose answer follows it."""
    make_instruction = rng.choice(_KINDS)
    text, answer = make_instruction(rng)
    maker = (
        knowledge.make_small_talk
        if make_instruction is _french and rng.random() < 0.7
        else rng.choice(_MAKERS)
    )
    exchange = maker(rng, effort)
    if effort is ReasoningEffort.LOW:
        analysis = exchange.analysis
    else:
        analysis = f"The instruction is: {text} {exchange.analysis}"
    key = f"{text} {exchange.key}"
    return text, replace(exchange, task="instructions", key=key, analysis=analysis, final=answer(exchange))

"""Lists of numbers and words: sort, reverse, count, largest; letters of a word; days of the week."""

from __future__ import annotations

import random

from inference.demonstration import words
from inference.demonstration.sample import Exchange, by_effort, vary
from inference.types import ReasoningEffort


def _join(items: list[str]) -> str:
    return ", ".join(items)


def numbers(rng: random.Random, least: int = 3, most: int = 8) -> list[int]:
    """A list of numbers, mostly below 100, sometimes with one of them twice."""
    top, most = (99, most) if rng.random() < 0.75 else (999, min(most, 5))
    values = [rng.randint(0, top) for _ in range(rng.randint(least, most))]
    if rng.random() < 0.1:
        values[-1] = values[0]
    return values


def sort_analysis(values: list[int], descending: bool, effort: ReasoningEffort) -> str:
    """Selection: what is left, its least (or greatest), and so on until nothing is left."""
    word = "greatest" if descending else "least"
    left, steps = list(values), []
    while left:
        pick = max(left) if descending else min(left)
        steps.append(f"{' '.join(map(str, left))}: {word} {pick}")
        left.remove(pick)
    chain = "; ".join(steps)
    ordered = " ".join(map(str, sorted(values, reverse=descending)))
    count = " ".join(f"({i}) {v}" for i, v in enumerate(values, 1))
    return by_effort(
        effort,
        f"Sort {len(values)} numbers.",
        f"Take the {word} each time. {chain}. So {ordered}.",
        f"The numbers are {count}. Take the {word} each time. {chain}. So {ordered}. "
        f"That is {len(values)} numbers as before.",
    )


_SORT = (
    "Sort {x}.",
    "Sort these numbers: {x}",
    "Sort the numbers {x}.",
    "Put {x} in order.",
    "Order {x}.",
    "Sort {x} in ascending order.",
    "Sort {x} from smallest to largest.",
    "Please sort: {x}",
)
_SORT_DOWN = (
    "Sort {x} in descending order.",
    "Sort {x} from largest to smallest.",
    "Sort these numbers in descending order: {x}",
    "Put {x} in descending order.",
)


def make_sort(rng: random.Random, effort: ReasoningEffort) -> Exchange:
    values, descending = numbers(rng), rng.random() < 0.25
    separator = rng.choice((", ", ", ", ", ", ",", " "))
    text = separator.join(map(str, values))
    question = vary(rng, rng.choice(_SORT_DOWN if descending else _SORT).format(x=text))
    ordered = [str(v) for v in sorted(values, reverse=descending)]
    analysis = sort_analysis(values, descending, effort)
    return Exchange(
        "sort", f"sort {values} {descending}", question, analysis, f"{_join(ordered)}", None, tuple(ordered)
    )


def extreme_analysis(values: list[int], word: str, effort: ReasoningEffort) -> str:
    """The best so far beside each number; ``word`` is largest or smallest."""
    best, steps = values[0], [str(values[0])]
    for value in values[1:]:
        best = max(best, value) if word == "largest" else min(best, value)
        steps.append(f"{value}: {best}")
    chain = "; ".join(steps)
    return by_effort(
        effort,
        f"Find the {word}.",
        f"Keep the {word} so far. {chain}.",
        f"There are {len(values)} numbers. Keep the {word} so far. {chain}. At the end {best}.",
    )


def make_extreme(rng: random.Random, effort: ReasoningEffort) -> Exchange:
    values = numbers(rng)
    word = rng.choice(("largest", "smallest"))
    pick = max(values) if word == "largest" else min(values)
    text = _join([str(v) for v in values])
    question = vary(
        rng,
        rng.choice(
            (
                "What is the {w} of {x}?",
                "Which is the {w}: {x}?",
                "Find the {w} number: {x}",
                "Which of {x} is the {w}?",
            )
        ).format(w=word, x=text),
    )
    analysis = extreme_analysis(values, word, effort)
    return Exchange("extreme", f"extreme {values} {word}", question, analysis, f"The {word} is {pick}.", pick)


def any_list(rng: random.Random, least: int = 3, most: int = 8) -> list[str]:
    """Words or numbers, all different."""
    size = rng.randint(least, most)
    if rng.random() < 0.6:
        return rng.sample(words.ITEMS, size)
    return [str(v) for v in rng.sample(range(100), size)]


_REVERSE = (
    "Reverse {x}.",
    "Reverse the list {x}.",
    "Reverse this list: {x}",
    "Say {x} backwards.",
    "Put {x} in reverse order.",
    "Write this list backwards: {x}",
    "Turn the list {x} around.",
)


def reverse_analysis(items: list[str], effort: ReasoningEffort) -> str:
    numbered = " ".join(f"({i}) {v}" for i, v in enumerate(items, 1))
    back = " ".join(f"({i}) {v}" for i, v in reversed(list(enumerate(items, 1))))
    return by_effort(
        effort,
        "Read it backwards.",
        f"In order: {numbered}. From the end: {' '.join(reversed(items))}.",
        f"In order: {numbered}. That is {len(items)}. From the end: {back}. So {' '.join(reversed(items))}.",
    )


def make_reverse(rng: random.Random, effort: ReasoningEffort) -> Exchange:
    items = any_list(rng)
    question = vary(rng, rng.choice(_REVERSE).format(x=_join(items)))
    back = items[::-1]
    return Exchange(
        "reverse",
        f"reverse {items}",
        question,
        reverse_analysis(items, effort),
        _join(back),
        None,
        tuple(back),
    )


def make_count(rng: random.Random, effort: ReasoningEffort) -> Exchange:
    items = any_list(rng, 2, 12)
    kind = "numbers" if items[0].isdigit() else "words"
    question = vary(
        rng,
        rng.choice(
            (
                "How many {k} are in this list: {x}?",
                "Count the {k}: {x}",
                "How many {k} are there: {x}?",
                "Count these {k}: {x}.",
            )
        ).format(k=kind, x=_join(items)),
    )
    numbered = " ".join(f"({i}) {v}" for i, v in enumerate(items, 1))
    analysis = by_effort(
        effort,
        f"Count the {kind}.",
        f"{numbered}.",
        f"Number them: {numbered}. The last one has number {len(items)}, so there are {len(items)}.",
    )
    final = f"There are {len(items)} {kind}."
    return Exchange("count", f"count {items}", question, analysis, final, len(items), tuple(items))


def make_letters(rng: random.Random, effort: ReasoningEffort) -> Exchange:
    word = rng.choice(words.SPELLABLE)
    letter = rng.choice(word) if rng.random() < 0.8 else rng.choice("abcdefghijklmnoprstuwy")
    total, marks = 0, []
    for char in word:
        if char == letter:
            total += 1
            marks.append(f"{char} ({total})")
        else:
            marks.append(char)
    question = vary(
        rng,
        rng.choice(
            (
                "How many {c}'s are in {w}?",
                "How many {c} are in {w}?",
                'How many "{c}" are in the word "{w}"?',
                "How many times does {c} occur in {w}?",
                "Count the letter {c} in {w}.",
                "How many letters {c} are in {w}?",
                "How many {c}s are in {w}?",
                "how many r's in {w}?" if letter == "r" else "How many {c} in {w}?",
            )
        ).format(c=letter, w=word),
    )
    spelled = " ".join(word)
    analysis = by_effort(
        effort,
        f"Letter {letter} in {word}.",
        f"Spell {word} and count {letter}: {' '.join(marks)}. So {total}.",
        f"The letters of {word} are {spelled}. Go through them and count {letter}: {' '.join(marks)}. "
        f"So {total}.",
    )
    final = f"The letter {letter} occurs {total} {'time' if total == 1 else 'times'} in {word}."
    return Exchange("letters", f"letters {word} {letter}", question, analysis, final, total)


def make_spell(rng: random.Random, effort: ReasoningEffort) -> Exchange:
    word = rng.choice(words.SPELLABLE)
    question = vary(
        rng, rng.choice(("Spell {w}.", "How do you spell {w}?", "Spell the word {w}.")).format(w=word)
    )
    analysis = by_effort(
        effort,
        "Spell it.",
        f"Spell {word} letter by letter.",
        f"Spell {word} letter by letter, with {len(word)} letters.",
    )
    return Exchange("spell", f"spell {question}", question, analysis, "-".join(word))


def make_weekday(rng: random.Random, effort: ReasoningEffort) -> Exchange:
    start, shift, back = rng.randrange(7), rng.randint(1, 70), rng.random() < 0.4
    sign = -1 if back else 1
    day, word = words.DAYS[start], "before" if back else "after"
    result = words.DAYS[(start + sign * shift) % 7]
    plural = "day" if shift == 1 else "days"
    question = vary(
        rng,
        rng.choice(
            (
                "What day is {n} {p} {w} {d}?",
                "Which day is {n} {p} {w} {d}?",
                "Which weekday is {n} {p} {w} {d}?",
                "What day of the week is {n} {p} {w} {d}?",
                "{n} {p} {w} {d} is which day?",
            )
        ).format(n=shift, p=plural, w=word, d=day),
    )
    weeks, rest = divmod(shift, 7)
    walk = " ".join(f"({i}) {words.DAYS[(start + sign * i) % 7]}" for i in range(1, rest + 1)) or f"(0) {day}"
    analysis = by_effort(
        effort,
        f"{shift} {word} {day}.",
        f"{shift} = 7*{weeks} + {rest}, so {rest} {word} {day}: {walk}.",
        f"A week has 7 days. 7*{weeks} = {7 * weeks} and {shift} - {7 * weeks} = {rest}. "
        f"So go {rest} {word} {day}: {walk}. It is {result}.",
    )
    final = f"{shift} {plural} {word} {day} is {result}."
    return Exchange("weekday", f"weekday {start} {shift} {back}", question, analysis, final)

"""Tool calls: the built-in python tool, and functions that the developer message declares."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass

from inference.demonstration import words
from inference.demonstration.sample import by_effort, held_out, vary
from inference.types import Channel, Message, ReasoningEffort, Role, ToolSpec


@dataclass(frozen=True, slots=True)
class Call:
    """A question, the call that answers it, what the tool says, and the answer from that.

    ``thought`` is the reasoning before the call and ``after`` the reasoning before the answer (empty at
    low effort).
    """

    task: str
    key: str
    question: str
    tools: tuple[ToolSpec, ...]
    python: bool
    thought: str
    call: Message
    result: str
    after: str
    answer: str

    def tool_message(self) -> Message:
        """The tool's result as harmony has it."""
        return Message(Role.TOOL, self.result, self.call.channel, "assistant", self.call.recipient)


def _operand(rng: random.Random, digits: int) -> int:
    """A number of up to so many digits, now and then with zeros in the middle."""
    number = rng.randint(2, 10 ** rng.randint(2, digits))
    return number - number % 1000 + rng.randrange(100) if number > 1999 and rng.random() < 0.3 else number


def _expression(rng: random.Random) -> tuple[str, int]:
    a, b = _operand(rng, 6), _operand(rng, 5)
    operator = rng.choice("+-***%") if a > b else rng.choice("+-**")
    value = {"+": a + b, "-": a - b, "*": a * b, "%": a % b}[operator]
    return f"{a} {operator} {b}", value


def make_python(rng: random.Random, effort: ReasoningEffort) -> Call:
    """A calculation for the python tool; the code prints one expression."""
    kind = rng.random()
    if kind < 0.6:
        expression, value = _expression(rng)
        wording = [
            "Use python to compute {x}.",
            "Calculate {x} with python.",
            "Run python for {x}.",
            "Use python: {x}",
            "Use the python tool to work out {x}.",
        ]
        if max(map(int, expression.split()[::2])) > 999:  # too large for the columns: python unasked
            wording += ["What is {x}?", "Compute {x}.", "{x}", "Calculate {x}."]
        code, result, answer = f"print({expression})", str(value), f"{expression} = {value}."
        question = rng.choice(wording).format(x=expression)
    else:
        values = [rng.randint(0, 999) for _ in range(rng.randint(3, 8))]
        text = ", ".join(map(str, values))
        function, verb = rng.choice(
            (
                ("sum", "add up"),
                ("sorted", "sort"),
                ("max", "find the largest of"),
                ("min", "find the smallest of"),
                ("len", "count"),
            )
        )
        results: dict[str, object] = {
            "sum": sum(values),
            "sorted": sorted(values),
            "max": max(values),
            "min": min(values),
            "len": len(values),
        }
        result = str(results[function])
        code, answer = f"print({function}([{text}]))", f"The result is {result}."
        question = rng.choice(
            ("Use python to {v} {x}.", "With python, {v} {x}.", "Run python to {v} {x}.")
        ).format(v=verb, x=text)
    thought = by_effort(
        effort,
        "Use python.",
        f"I calculate this with python: {code}",
        f"The user wants a calculation. The python tool can do it without a mistake. The code is {code}",
    )
    after = by_effort(
        effort, "", f"Python says {result}.", f"The python tool has run the code. It printed {result}."
    )
    call = Message(Role.ASSISTANT, code, Channel.ANALYSIS, "python")
    return Call(
        "python", f"python {code}", vary(rng, question), (), True, thought, call, result, after, answer
    )


@dataclass(frozen=True, slots=True)
class _Function:
    name: str
    noun: str
    first: str
    second: str | None

    def spec(self, rng: random.Random) -> ToolSpec:
        kind = "number" if self.first == "id" else "string"
        properties: dict[str, object] = {self.first: {"type": kind}}
        if rng.random() < 0.5:
            properties[self.first] = {"type": kind, "description": f"The {self.first}."}
        if self.second:
            properties[self.second] = {"type": "string"}
        description = rng.choice(
            (
                "Get the {n}.",
                "Gives the {n} of a {p}.",
                "Returns the {n}.",
                "Find the {n} of a {p}.",
                "The {n} for a {p}.",
            )
        ).format(n=self.noun, p=self.first)
        schema = {"type": "object", "properties": properties, "required": list(properties)}
        return ToolSpec(self.name, description, schema)


def _function(rng: random.Random, nouns: list[str], unseen: bool) -> _Function:
    """A function about a noun that is not used yet; ``unseen`` asks for a held-out name."""
    while True:
        noun = rng.choice(words.FUNCTION_NOUNS)
        verb = rng.choice(words.FUNCTION_VERBS)
        name = rng.choice((f"{verb}_{noun}", f"{verb}_{noun}", f"{noun}_{verb}", f"{noun}"))
        if noun in nouns or (held_out(f"function {name}") != unseen):
            continue
        nouns.append(noun)
        first = rng.choice((*words.PARAMETERS, "id"))
        second = rng.choice(tuple(words.SECOND_PARAMETERS)) if rng.random() < 0.4 else None
        if noun in (first, second):
            continue
        return _Function(name, noun, first, second)


_ASK = (
    "What is the {n} of {v}?",
    "What is the {n} for {v}?",
    "Tell me the {n} of {v}.",
    "Get the {n} of {v}.",
    "Find the {n} for {v}.",
    "{n} of {v}?",
    "I want to know the {n} of {v}.",
    "Give me the {n} for {v}.",
    "Show the {n} of {v}.",
    "Call {f} for {v}.",
    "What's the {n} of {v}?",
    "Use {f} with {v}.",
    "Look up the {n} of {v}.",
)


def _result(rng: random.Random, noun: str) -> tuple[str, str, bool]:
    """What the tool says, the value in it, and whether that is an error."""
    roll = rng.random()
    if roll < 0.08:
        message = rng.choice(("not found", "no access", "no data", "time out"))
        return json.dumps({"error": message}), message, True
    value = str(rng.randint(0, 999)) if rng.random() < 0.6 else rng.choice(words.ITEMS)
    shown: object = int(value) if value.isdigit() else value
    if roll < 0.5:
        return json.dumps({noun: shown}), value, False
    if roll < 0.7:
        return json.dumps({"result": shown}), value, False
    return value, value, False


def make_function(
    rng: random.Random,
    effort: ReasoningEffort,
    unseen: bool = False,
    others: tuple[int, ...] = (0, 0, 1, 1, 2),
) -> Call:
    """A question for a declared function with one or two parameters; ``others`` are declared beside it."""
    nouns: list[str] = []
    functions = [_function(rng, nouns, unseen)]
    functions += [_function(rng, nouns, False) for _ in range(rng.choice(others))]
    target = functions[0]
    rng.shuffle(functions)
    value: str = (
        str(rng.randint(1, 999)) if target.first == "id" else rng.choice(words.PARAMETERS[target.first])
    )
    arguments: dict[str, object] = {target.first: int(value) if target.first == "id" else value}
    shown = f"{target.first} {value}" if target.first == "id" else value
    question, tail = rng.choice(_ASK).format(n=target.noun, v=shown, f=target.name), ""
    if target.second:
        other = rng.choice(words.SECOND_PARAMETERS[target.second])
        arguments[target.second] = other
        tail = f" on {other}" if target.second == "day" else f" in {other}"
        question = question[:-1] + tail + question[-1] if question[-1] in "?." else question + tail
    body = json.dumps(arguments)
    result, answer_value, failed = _result(rng, target.noun)
    answer = (
        f"The tool reports an error: {answer_value}."
        if failed
        else f"The {target.noun} of {shown}{tail} is {answer_value}."
    )
    # The noun stands before each name, so that choosing is looking up what followed "for limit call".
    listed = "The functions: for " + ", for ".join(f"{f.noun} call {f.name}" for f in functions) + "."
    chosen = f"So for {target.noun} call {target.name}"
    thought = by_effort(
        effort,
        listed if len(functions) == 1 else f"{listed} {chosen}.",
        f"The user asks for the {target.noun}. {listed} {chosen} with {body}.",
        f"The user asks for the {target.noun} of {shown}. {listed} {chosen}. It takes "
        f"{' and '.join(arguments)}. Call {target.name} with {body}.",
    )
    after = by_effort(
        effort,
        "",
        f"The tool says {answer_value}.",
        f"The tool {target.name} has answered. It says {answer_value}.",
    )
    call = Message(Role.ASSISTANT, body, Channel.COMMENTARY, f"functions.{target.name}", content_type="json")
    tools = tuple(function.spec(rng) for function in functions)
    key = f"function {target.name} {body}"
    task = "function, unseen name" if unseen else "function"
    return Call(task, key, vary(rng, question), tools, False, thought, call, result, after, answer)


def idle_tools(rng: random.Random) -> tuple[tuple[ToolSpec, ...], bool]:
    """Tools that are declared while the question does not need them: (functions, python?)."""
    if rng.random() < 0.4:
        return (), True
    nouns: list[str] = []
    return tuple(_function(rng, nouns, False).spec(rng) for _ in range(rng.randint(1, 3))), False

"""All tasks of the demonstration model: how often each is trained on, and how a sample is built of them."""

from __future__ import annotations

import datetime
import random
from collections.abc import Callable
from dataclasses import dataclass

from inference.demonstration import arithmetic, calls, dialogue, instructions, knowledge, lists, scope
from inference.demonstration.sample import Exchange, Maker, Sample
from inference.types import Channel, Message, Prompt, ReasoningEffort, Role, ToolSpec

#: What the page offers on an empty conversation: things that the model really can do.
SUGGESTIONS: tuple[str, ...] = (
    "What is 347 + 586?",
    "Sort 42, 7, 93, 15, 68, 21",
    "How many r's are in strawberry?",
    "What day is 17 days after Tuesday?",
)

#: Single questions: the maker and its weight in the training mixture.
QUESTIONS: dict[str, tuple[Maker, float]] = {
    "sum": (arithmetic.make_sum, 8),
    "difference": (arithmetic.make_difference, 9),
    "product": (arithmetic.make_product, 7),
    "double": (arithmetic.make_double, 1),
    "parity": (arithmetic.make_parity, 1),
    "larger": (arithmetic.make_larger, 2.5),
    "sort": (lists.make_sort, 12),
    "extreme": (lists.make_extreme, 4),
    "reverse": (lists.make_reverse, 4),
    "count": (lists.make_count, 4),
    "letters": (lists.make_letters, 7),
    "spell": (lists.make_spell, 1),
    "weekday": (lists.make_weekday, 4),
    "capital": (knowledge.make_capital, 4),
    "opposite": (knowledge.make_opposite, 2),
    "french": (knowledge.make_french, 2),
    "small talk": (knowledge.make_small_talk, 3),
    "units": (knowledge.make_units, 1),
    "introduction": (dialogue.make_introduction, 1),
}

Builder = Callable[[random.Random, ReasoningEffort, tuple[str, ...]], Sample]


def _today(rng: random.Random) -> str:
    return (datetime.date(2024, 6, 1) + datetime.timedelta(days=rng.randrange(12 * 365))).isoformat()


def _reply(analysis: str, final: str) -> tuple[Message, ...]:
    answer = Message(Role.ASSISTANT, final, Channel.FINAL)
    return (Message(Role.ASSISTANT, analysis, Channel.ANALYSIS), answer) if analysis else (answer,)


def _turn(question: str, final: str) -> list[Message]:
    return [Message(Role.USER, question), Message(Role.ASSISTANT, final, Channel.FINAL)]


def any_exchange(rng: random.Random, effort: ReasoningEffort, lexicon: tuple[str, ...]) -> Exchange:
    """One question of any task, out-of-scope ones included."""
    if rng.random() < 0.1:
        return scope.make_out_of_scope(rng, effort, lexicon)
    makers, weights = zip(*QUESTIONS.values(), strict=True)
    maker: Maker = rng.choices(makers, weights)[0]
    return maker(rng, effort)


def _history(rng: random.Random, lexicon: tuple[str, ...]) -> list[Message]:
    """Earlier finished turns, none of which the question refers to."""
    turns = rng.choice((0, 0, 0, 0, 0, 0, 1, 1, 2, 3)) if rng.random() < 0.95 else rng.randint(4, 14)
    messages: list[Message] = []
    for _ in range(turns):
        exchange = any_exchange(rng, ReasoningEffort.LOW, lexicon)
        messages += _turn(exchange.question, exchange.final)
    return messages


def _sample(
    rng: random.Random,
    effort: ReasoningEffort,
    exchange: Exchange,
    history: list[Message],
    instruction: str | None = None,
    tools: tuple[ToolSpec, ...] = (),
    python: bool = False,
    today: str | None = None,
) -> Sample:
    messages = [*history, Message(Role.USER, exchange.question)]
    prompt = Prompt(messages, effort, instruction, tools, python, today or _today(rng))
    return Sample(exchange.task, exchange.key, prompt, _reply(exchange.analysis, exchange.final))


def question_builder(name: str) -> Builder:
    """A single question of one task, sometimes after unrelated turns."""

    def build(rng: random.Random, effort: ReasoningEffort, lexicon: tuple[str, ...]) -> Sample:
        return _sample(rng, effort, QUESTIONS[name][0](rng, effort), _history(rng, lexicon))

    return build


def build_out_of_scope(rng: random.Random, effort: ReasoningEffort, lexicon: tuple[str, ...]) -> Sample:
    exchange = scope.make_out_of_scope(rng, effort, lexicon)
    return _sample(rng, effort, exchange, _history(rng, lexicon))


def build_dialogue(make: Callable[[random.Random, ReasoningEffort], dialogue.Dialogue]) -> Builder:
    """A question that refers to the turn before (the name may be further back)."""

    def build(rng: random.Random, effort: ReasoningEffort, lexicon: tuple[str, ...]) -> Sample:
        before, exchange = make(rng, effort)
        referred = [message for question, final in before for message in _turn(question, final)]
        if make is dialogue.recall_name:
            other = [] if rng.random() < 0.4 else _without_names(_history(rng, lexicon))
            return _sample(rng, effort, exchange, [*referred, *other])
        return _sample(rng, effort, exchange, [*_history(rng, lexicon), *referred])

    return build


def _without_names(history: list[Message]) -> list[Message]:
    """Turns in which nobody is introduced, so that the name asked for is the only one."""
    turns = [history[i : i + 2] for i in range(0, len(history), 2)]
    return [m for turn in turns if not turn[1].content.startswith("Nice to meet") for m in turn]


def build_date(rng: random.Random, effort: ReasoningEffort, lexicon: tuple[str, ...]) -> Sample:
    today = _today(rng)
    return _sample(rng, effort, dialogue.make_date(rng, effort, today), _history(rng, lexicon), today=today)


def build_instructed(rng: random.Random, effort: ReasoningEffort, lexicon: tuple[str, ...]) -> Sample:
    instruction, exchange = instructions.make_instructed(rng, effort)
    return _sample(rng, effort, exchange, [], instruction)


def build_idle_tools(rng: random.Random, effort: ReasoningEffort, lexicon: tuple[str, ...]) -> Sample:
    """Tools are declared, but the question needs none of them."""
    exchange = any_exchange(rng, effort, lexicon)
    tools, python = calls.idle_tools(rng)
    asked = exchange.question.lower()
    if exchange.task == "out of scope" and (
        python or any(part in asked for t in tools for part in t.name.split("_"))
    ):
        tools, python = (), False
    sample = _sample(rng, effort, exchange, [], None, tools, python)
    return Sample("no call", f"no call {sample.key}", sample.prompt, sample.reply)


@dataclass(frozen=True, slots=True)
class _CallBuilder:
    """The call itself, or (``answering``) the answer from the tool's result."""

    kind: str
    answering: bool

    def __call__(self, rng: random.Random, effort: ReasoningEffort, lexicon: tuple[str, ...]) -> Sample:
        if self.kind == "python":
            call = calls.make_python(rng, effort)
        elif self.kind == "several":
            call = calls.make_function(rng, effort, others=(1, 2))
        else:
            call = calls.make_function(rng, effort, unseen=self.kind == "unseen")
        messages = (
            [*_history(rng, lexicon), Message(Role.USER, call.question)]
            if not call.tools
            else [Message(Role.USER, call.question)]
        )
        thought = Message(Role.ASSISTANT, call.thought, Channel.ANALYSIS)
        prompt = Prompt(messages, effort, None, call.tools, call.python, _today(rng))
        if not self.answering:
            return Sample(call.task, call.key, prompt, (thought, call.call), call.result, call.answer)
        prompt = Prompt(
            [*messages, thought, call.call, call.tool_message()],
            effort,
            None,
            call.tools,
            call.python,
            prompt.current_date,
        )
        return Sample(f"{call.task}, answer", call.key, prompt, _reply(call.after, call.answer))


#: Every task by name: the builder of its samples and its weight in the training mixture.
TASKS: dict[str, tuple[Builder, float]] = {
    **{name: (question_builder(name), weight) for name, (_, weight) in QUESTIONS.items()},
    "date": (build_date, 1.5),
    "follow-up number": (build_dialogue(dialogue.follow_number), 6),
    "follow-up list": (build_dialogue(dialogue.follow_list), 3),
    "follow-up fact": (build_dialogue(dialogue.follow_fact), 2),
    "recall": (build_dialogue(dialogue.recall_name), 2),
    "repeat": (build_dialogue(dialogue.repeat_answer), 1),
    "instructions": (build_instructed, 10),
    "out of scope": (build_out_of_scope, 9),
    "no call": (build_idle_tools, 4),
    "python": (_CallBuilder("python", answering=False), 4),
    "python, answer": (_CallBuilder("python", answering=True), 2),
    "function": (_CallBuilder("function", answering=False), 7),
    "function, answer": (_CallBuilder("function", answering=True), 3),
}

#: Asked only in the evaluation: function names that the training never saw.
EVALUATED_ONLY: dict[str, Builder] = {"function, unseen name": _CallBuilder("unseen", answering=False)}

#: Only trained on: choosing between functions is the hardest part of a call, so it comes more often.
TRAINED_ONLY: dict[str, tuple[Builder, float]] = {
    "function among several": (_CallBuilder("several", answering=False), 12)
}

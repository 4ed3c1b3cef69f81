"""The demonstration model's data: right answers, right format, and a held-out part that stays held out."""

from __future__ import annotations

import json
import random
import re

import pytest

from inference.demonstration import arithmetic, lists
from inference.demonstration.dataset import EFFORTS, Mixture, TokenMap, completion_ids, lexicon, packed_rows
from inference.demonstration.sample import Sample, held_out
from inference.demonstration.tasks import EVALUATED_ONLY, SUGGESTIONS, TASKS, TRAINED_ONLY
from inference.demonstration.words import HONEST
from inference.harmony import HarmonyCodec
from inference.types import Channel, FinishReason, ReasoningEffort
from inference.vocabulary import CALL, RETURN, STOP_TOKEN_IDS

BUILDERS = {name: builder for name, (builder, _) in TASKS.items()} | EVALUATED_ONLY


@pytest.fixture(scope="module")
def codec() -> HarmonyCodec:
    return HarmonyCodec.load()


def samples(task: str, effort: ReasoningEffort, codec: HarmonyCodec, count: int = 60) -> list[Sample]:
    return [BUILDERS[task](random.Random(f"{task} {i}"), effort, lexicon(codec)) for i in range(count)]


@pytest.mark.parametrize("task", BUILDERS)
def test_a_reply_is_read_back_as_it_was_written(task: str, codec: HarmonyCodec) -> None:
    for effort in EFFORTS:
        for sample in samples(task, effort, codec, 20):
            ids = completion_ids(codec, sample.reply)
            parser = codec.parser([tool.name for tool in sample.prompt.tools], sample.prompt.python)
            parser.feed(ids)
            parser.finish(FinishReason.STOP)
            assert parser.messages == sample.reply
            assert ids[-1] == (CALL if sample.reply[-1].recipient else RETURN)
            assert not set(ids[:-1]) & set(STOP_TOKEN_IDS)
            codec.render(sample.prompt)


@pytest.mark.parametrize("task", BUILDERS)
def test_efforts_ask_the_same_and_answer_the_same(task: str, codec: HarmonyCodec) -> None:
    for three in zip(*(samples(task, effort, codec, 20) for effort in EFFORTS), strict=True):
        assert len({sample.prompt.messages[-1].content for sample in three}) == 1
        assert len({sample.reply[-1].content for sample in three}) == 1


@pytest.mark.parametrize("task", ["sum", "difference", "sort", "letters", "weekday", "follow-up number"])
def test_more_effort_means_longer_reasoning(task: str, codec: HarmonyCodec) -> None:
    low, medium, high = (
        sum(len(sample.reply[0].content) for sample in samples(task, effort, codec)) for effort in EFFORTS
    )
    assert low < medium < high


def test_sums_differences_and_products_are_right(codec: HarmonyCodec) -> None:
    for task in ("sum", "difference", "product", "follow-up number"):
        for sample in samples(task, ReasoningEffort.HIGH, codec, 200):
            equation = re.fullmatch(r"(\d+) ([-+*]) (\d+) = (-?\d+)\.", sample.reply[-1].content)
            if equation is None:
                assert task == "follow-up number"  # doubling and parity are said in words
                continue
            a, operator, b, result = equation.groups()
            expected = {"+": int(a) + int(b), "-": int(a) - int(b), "*": int(a) * int(b)}[operator]
            assert int(result) == expected


def test_the_columns_are_right_arithmetic() -> None:
    for a, b in [(347, 586), (999, 999), (5, 70), (0, 0), (100, 99), (907, 8)]:
        for text in (arithmetic.sum_columns(a, b), arithmetic.difference_columns(max(a, b), min(a, b))):
            for step in re.findall(r"(\d+)([-+])(\d+)([-+])(\d+)=(\d+)", text):
                x, first, y, second, z = step[:5]
                value = int(x) + int(first + y) + int(second + z)
                assert value == int(step[5])
    assert arithmetic.sum_columns(347, 586).endswith(": 9 3 3: 933")
    assert arithmetic.difference_columns(347, 58) == "17-8-0=9, 14-5-1=8, 3-0-1=2: 2 8 9: 289"
    assert arithmetic.product_columns(47, 6) == "7*6+0=42, 4*6+4=28: 2 8 2: 282"


def test_lists_are_sorted_reversed_and_counted_right(codec: HarmonyCodec) -> None:
    for sample in samples("sort", ReasoningEffort.LOW, codec):
        answer = [int(n) for n in sample.reply[-1].content.split(", ")]
        asked = [int(n) for n in re.findall(r"\d+", sample.prompt.messages[-1].content)]
        down = (
            "descending" in sample.prompt.messages[-1].content
            or "to smallest" in sample.prompt.messages[-1].content
        )
        assert answer == sorted(asked, reverse=down)
    assert lists.sort_analysis([3, 1, 2], False, ReasoningEffort.MEDIUM).endswith("So 1 2 3.")
    for sample in samples("letters", ReasoningEffort.MEDIUM, codec):
        letter, count, word = re.findall(
            r"letter (\w) occurs (\d+) times? in (\w+)", sample.reply[-1].content
        )[0]
        assert word.count(letter) == int(count)


def test_calls_name_a_declared_function_with_all_its_parameters(codec: HarmonyCodec) -> None:
    for task in ("function", "function, unseen name"):
        for sample in samples(task, ReasoningEffort.MEDIUM, codec):
            call = sample.reply[-1]
            specs = {f"functions.{tool.name}": tool for tool in sample.prompt.tools}
            assert call.recipient in specs
            parameters = specs[call.recipient].parameters
            assert parameters is not None
            assert set(json.loads(call.content)) == set(parameters["properties"])
            assert held_out(f"function {specs[call.recipient].name}") == (task != "function")


def test_python_results_are_what_python_prints(codec: HarmonyCodec) -> None:
    for sample in samples("python", ReasoningEffort.MEDIUM, codec):
        code = sample.reply[-1].content
        assert sample.reply[-1].recipient == "python"
        expression = re.fullmatch(r"print\((\d+) ([-+*%]) (\d+)\)", code)
        if expression:
            a, operator, b = int(expression[1]), expression[2], int(expression[3])
            value = {"+": a + b, "-": a - b, "*": a * b, "%": a % b if b else 0}[operator]
            assert sample.result == str(value)


def test_what_is_out_of_scope_gets_the_honest_answer(codec: HarmonyCodec) -> None:
    for sample in samples("out of scope", ReasoningEffort.MEDIUM, codec):
        assert sample.reply[-1].content == HONEST
        assert sample.reply[-1].channel is Channel.FINAL


def test_training_never_sees_what_is_held_out() -> None:
    mixture = Mixture(1)
    keys = [mixture.sample().key for _ in range(1500)]
    assert not any(map(held_out, keys))


def test_other_weights_change_the_mixture() -> None:
    rare = dict.fromkeys(TASKS | TRAINED_ONLY, 0.0) | {"capital": 1.0}
    mixture = Mixture(1, rare)
    assert {mixture.sample().task for _ in range(50)} == {"capital"}


def test_rows_hold_whole_samples_and_mark_replies_only() -> None:
    codec = HarmonyCodec.load()
    tokens = TokenMap(range(201_088))
    rows = next(packed_rows(3, tokens, 512, 4))
    assert rows.ids.shape == rows.positions.shape == (4, 512)
    flat = rows.ids.flatten()
    places = rows.wanted[rows.wanted > 0]
    assert 0 < len(places) < flat.size / 2
    endings = (flat == RETURN).nonzero()[0]
    assert len(endings) > 3
    assert set(endings) <= set(places.tolist())  # every end is learnt; a call may stand in a prompt, too
    assert CALL in flat[places]
    assert all(flat[place] != 200_006 or flat[place - 1] == 200_007 for place in places)
    text = codec.decode([int(i) for i in flat[places]])
    assert "<|start|>user" not in text
    assert "Knowledge cutoff" not in text


def test_ids_that_are_not_in_use_share_one_row() -> None:
    tokens = TokenMap([5, 9])
    assert tokens.compact([9, 5, 7, 201_087]).tolist() == [1, 0, 2, 2]


def test_every_suggestion_is_a_question_of_the_tasks(codec: HarmonyCodec) -> None:
    known = set()
    for task in ("sum", "sort", "letters", "weekday"):
        for sample in samples(task, ReasoningEffort.LOW, codec, 1500):
            known.add(re.sub(r"\d+|[A-Z][a-z]+day|in \w+\?", "#", sample.prompt.messages[-1].content))
    for suggestion in SUGGESTIONS:
        shape = re.sub(r"\d+|[A-Z][a-z]+day|in \w+\?", "#", suggestion)
        assert shape in known, suggestion

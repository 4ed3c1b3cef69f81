"""The machine that holds a reply to its constraint: whatever it allows, the reply is right."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.grammar import grammar_for, matches
from inference.harmony import HarmonyCodec
from inference.types import Channel, Constraint, MessageRule, Prompt, ResponseFormat, ToolChoice, ToolSpec
from inference.vocabulary import ASSISTANT, CALL, END, FIRST_SPECIAL, MESSAGE, RETURN, START, VOCAB_SIZE
from inference.worker.guide import Mask, Unguided
from inference.worker.guide_maker import GuideMaker
from tests.inference.constrained import FINAL, FLAT, SCHEMAS, answer_only, bits_of, guide_for, reasoned, write
from tests.inference.harmony_cases import ids_of, user


def text_of(ids: list[int]) -> str:
    return b"".join(HarmonyCodec.load().token_bytes(token) or b"" for token in ids).decode()


def allowed(mask: Mask | None) -> list[int]:
    assert mask is not None
    found: list[int] = mask.allowed(VOCAB_SIZE).nonzero()[:, 0].tolist()
    return found


@settings(max_examples=20, deadline=None)
@given(schema=SCHEMAS, seed=st.integers(0, 1000))
def test_whatever_is_picked_the_answer_ends_and_matches(schema: dict[str, Any], seed: int) -> None:
    ids = write(guide_for(answer_only(grammar_for(schema))), random.Random(seed))
    assert ids[: len(FINAL)] == list(FINAL)
    assert ids[-1] == RETURN
    content = ids[len(FINAL) : -1]
    assert all(token < FIRST_SPECIAL for token in content)
    assert matches(schema, text_of(content)) is None


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), choice=st.sampled_from(["auto", "none", "required", "named"]))
def test_whatever_is_picked_the_reply_is_sound_harmony_and_calls_what_it_should(
    seed: int, choice: str
) -> None:
    codec = HarmonyCodec.load()
    tools = (ToolSpec("look", "", FLAT, strict=True), ToolSpec("look_up", "", FLAT, strict=True))
    prompt = Prompt([user("?")], tools=tools, response_format=ResponseFormat("flat", "", FLAT))
    wanted = {"named": ToolChoice("required", "look_up")}.get(choice) or ToolChoice(choice)  # type: ignore[arg-type]
    constraint = codec.constraint(prompt, wanted)
    assert constraint is not None
    ids = write(guide_for(constraint), random.Random(seed), most=3000)
    parser = codec.parser(tools=("look", "look_up"))
    parser.feed(ids)
    assert not any(message.recovered for message in parser.messages)
    last = parser.messages[-1]
    assert matches(FLAT, last.content) is None
    either: set[str | None] = {"functions.look", "functions.look_up"}
    possible: dict[str, set[str | None]] = {"auto": {None, *either}, "none": {None}, "required": either}
    possible["named"] = {"functions.look_up"}
    assert last.recipient in possible[choice]
    assert (last.recipient is None) == (last.channel is Channel.FINAL)
    assert ids[-1] == (RETURN if last.recipient is None else CALL)
    assert all(message.recipient is None for message in parser.messages[:-1])
    if choice in ("required", "named"):
        assert len(parser.messages) <= 2


def test_free_content_is_all_text_and_one_end_and_another_message_follows() -> None:
    guide = guide_for(reasoned(grammar_for(FLAT)))
    ids = [*ids_of("<|channel|>analysis<|message|>")]
    guide.follow(ids)
    mask = guide.mask()
    assert mask is not None
    assert mask.rare
    assert allowed(mask) == [*range(FIRST_SPECIAL), END]
    ids += [5, 6, END]
    guide.follow(ids)
    for forced in (START, ASSISTANT, *ids_of("<|channel|>")):
        assert allowed(guide.mask()) == [forced]
        ids.append(forced)
        guide.follow(ids)
    assert sorted(allowed(guide.mask())) == sorted([*ids_of("analysis"), *ids_of("final")])


def test_the_word_assistant_is_the_token_that_every_prompt_ends_with() -> None:
    assert HarmonyCodec.load().render(Prompt([user("?")]))[-2:] == [START, ASSISTANT]


def test_a_guide_that_begins_again_from_the_tokens_stands_where_the_other_does() -> None:
    constraint = reasoned(grammar_for(FLAT))
    ids = [
        *ids_of("<|channel|>analysis<|message|>A city.<|end|><|start|>assistant<|channel|>final<|message|>")
    ]
    ids += ids_of('{"city": "Bern", "people"')
    step_by_step, at_once = guide_for(constraint), guide_for(constraint)
    for count in range(1, len(ids) + 1):
        step_by_step.follow(ids[:count])
        step_by_step.mask()
    at_once.follow(ids)
    assert allowed(step_by_step.mask()) == allowed(at_once.mask())
    assert {text_of([token])[0] for token in allowed(at_once.mask())} == {" ", "\n", ":"}


def test_a_reply_that_was_begun_before_is_gone_on_with_from_there() -> None:
    begun = (*FINAL, *ids_of('{"city": "Bern", "people"'))
    whole = guide_for(answer_only(grammar_for(FLAT)))
    whole.follow(begun)
    prompt = (7, 7, *begun)
    constraint = replace(answer_only(grammar_for(FLAT)), begun=len(begun))
    guide = guide_for(constraint, prompt)
    assert allowed(guide.mask()) == allowed(whole.mask())
    guide.follow([*prompt, *ids_of(":")])
    whole.follow([*begun, *ids_of(":")])
    assert allowed(guide.mask()) == allowed(whole.mask())


@pytest.mark.parametrize(
    "text", ["<|channel|>final<|message|>It is Bern", "<|channel|>final<|message|>{}<|return|>"]
)
def test_a_beginning_that_follows_no_rule_gives_no_guide(text: str) -> None:
    begun = ids_of(text)
    constraint = replace(answer_only(grammar_for(FLAT)), begun=len(begun))
    assert GuideMaker(VOCAB_SIZE).make(constraint, (7, *begun)).result() is None


@pytest.mark.parametrize(
    "wrong",
    ["<|channel|>commentary", "<|channel|>final<|message|>[", "<|channel|>final<|message|><|return|>"],
)
def test_ids_that_are_not_allowed_are_told(wrong: str) -> None:
    guide = guide_for(answer_only(grammar_for(FLAT)))
    with pytest.raises(Unguided):
        guide.follow(ids_of(wrong))


def test_a_rule_without_an_end_leaves_everything_free() -> None:
    guide = guide_for(Constraint((MessageRule(FINAL), MessageRule((8, MESSAGE), once=True))))
    assert allowed(guide.mask()) == [8, FINAL[0]]
    guide.follow([*FINAL, 1, 2])
    assert guide.mask() is None
    guide.follow([*FINAL, 1, 2, END, START, ASSISTANT])
    assert allowed(guide.mask()) == [FINAL[0]], "the other rule was for the first message alone"


def test_a_model_of_another_vocabulary_gives_no_guide() -> None:
    with pytest.raises(Unguided):
        GuideMaker(320).make(answer_only(grammar_for(FLAT)), ()).result()


@pytest.mark.parametrize(
    "rule",
    [
        MessageRule(FINAL, "{", RETURN),
        MessageRule(FINAL, grammar_for(FLAT)),
        MessageRule((VOCAB_SIZE, MESSAGE)),
        MessageRule(FINAL, end=-1),
        MessageRule(FINAL[:-1]),
        MessageRule(()),
    ],
)
def test_a_rule_that_makes_no_sense_gives_no_guide(rule: MessageRule) -> None:
    with pytest.raises(Unguided):
        GuideMaker(VOCAB_SIZE).make(Constraint((rule,)), ()).result()


@pytest.mark.parametrize("begun", [-1, 3])
def test_a_beginning_that_the_prompt_does_not_hold_gives_no_guide(begun: int) -> None:
    with pytest.raises(Unguided):
        GuideMaker(VOCAB_SIZE).make(replace(answer_only(grammar_for(FLAT)), begun=begun), (1, 2)).result()


def test_a_reply_that_may_hold_no_further_message_cannot_be_followed() -> None:
    guide = guide_for(Constraint((MessageRule(FINAL, end=END, once=True),)))
    guide.follow([*FINAL, 1, END, START, ASSISTANT])
    with pytest.raises(Unguided):
        guide.mask()
    with pytest.raises(Unguided):
        guide_for(Constraint(())).mask()


def test_a_mask_is_as_long_as_the_models_vocabulary() -> None:
    mask = Mask(bits_of([0, 31, 32, 63, VOCAB_SIZE - 1], VOCAB_SIZE))
    assert allowed(mask) == [0, 31, 32, 63, VOCAB_SIZE - 1]
    assert mask.allowed(40).tolist() == [place in (0, 31, 32) for place in range(40)]
    assert mask.allowed(VOCAB_SIZE + 5).sum() == 5
    assert not torch.any(mask.allowed(VOCAB_SIZE + 5)[VOCAB_SIZE:])

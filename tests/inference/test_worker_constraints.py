"""Constrained replies of real models: they match, they end, and nobody beside them notices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.demonstration import pack
from inference.grammar import grammar_for, matches
from inference.harmony import HarmonyCodec
from inference.types import Channel, FinishReason, Message, Prompt, ResponseFormat, ToolChoice, ToolSpec
from inference.vocabulary import END, RETURN, STOP_TOKEN_IDS
from inference.worker.guide import Guide, Unguided
from inference.worker.network import LoadedModel
from tests.inference.checkpoints import write_checkpoint
from tests.inference.constrained import FINAL, FLAT, SCHEMAS, answer_only, reasoned
from tests.inference.cores import Run, WatchedRunner, open_model, squeeze
from tests.inference.harmony_cases import user

WAYS: list[dict[str, Any]] = [
    {"temperature": 0},
    {"temperature": 1.0},
    {"temperature": 1.5, "top_p": 0.9},
]
QUESTIONS = ("What is the capital of France?", "What is 17 + 25?")
WEATHER = ToolSpec("weather", "The weather.", FLAT, strict=True)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of the whole vocabulary: it wants anything but JSON."""
    sizes: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2}
    where = tmp_path_factory.mktemp("models") / "tiny"
    return write_checkpoint(where, vocab_size=201_088, tie_word_embeddings=True, **sizes)


@pytest.fixture(scope="module")
def random_model(tiny: Path) -> LoadedModel:
    return open_model(tiny)


@pytest.fixture(scope="module")
def demonstration(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return open_model(pack.unpack(tmp_path_factory.mktemp("models")))


def text_of(ids: tuple[int, ...]) -> str:
    return b"".join(HarmonyCodec.load().token_bytes(token) or b"" for token in ids).decode()


def answer(run: Run, name: str) -> str:
    ids = run.tokens(name)
    assert ids[: len(FINAL)] == FINAL
    assert ids[-1] == RETURN
    return text_of(ids[len(FINAL) : -1])


def messages(run: Run, name: str) -> tuple[Message, ...]:
    parser = HarmonyCodec.load().parser(tools=("weather", "now"))
    parser.feed(run.tokens(name))
    return tuple(parser.messages)


def ask(run: Run, name: str, prompt: Prompt, choice: ToolChoice | None = None, **sampling: Any) -> None:
    codec = HarmonyCodec.load()
    constraint = codec.constraint(prompt, choice or ToolChoice())
    count = sampling.pop("count", 300)
    options = {"stop_token_ids": STOP_TOKEN_IDS, "seed": 3, **sampling}
    run.submit(name, codec.render(prompt), count, constraint=constraint, **options)


@settings(max_examples=8, deadline=None)
@given(schema=SCHEMAS, way=st.sampled_from(WAYS), seed=st.integers(0, 99))
def test_a_random_model_writes_an_answer_that_matches_and_ends(
    random_model: LoadedModel, schema: dict[str, Any], way: dict[str, Any], seed: int
) -> None:
    run = Run(random_model)
    constraint = answer_only(grammar_for(schema))
    run.submit("a", (5, 6, 7), 500, constraint=constraint, stop_token_ids=STOP_TOKEN_IDS, seed=seed, **way)
    run.finish()
    assert run.end("a").finish_reason is FinishReason.STOP
    assert matches(schema, answer(run, "a")) is None


@pytest.mark.parametrize("way", WAYS)
def test_the_demonstration_model_reasons_freely_and_answers_by_the_schema(
    demonstration: LoadedModel, way: dict[str, Any]
) -> None:
    run = Run(demonstration)
    for question in QUESTIONS:
        ask(run, question, Prompt([user(question)], response_format=ResponseFormat("flat", "", FLAT)), **way)
    run.finish()
    for question in QUESTIONS:
        *before, last = messages(run, question)
        assert run.end(question).finish_reason is FinishReason.STOP
        assert all(message.channel is Channel.ANALYSIS for message in before)
        assert last.channel is Channel.FINAL
        assert matches(FLAT, last.content) is None


@pytest.mark.parametrize("cut", [1, 5, 12, 40])
def test_a_reply_that_was_cut_anywhere_goes_on_to_an_answer_by_the_schema(
    demonstration: LoadedModel, cut: int
) -> None:
    run = Run(demonstration)
    prompt = Prompt([user(QUESTIONS[0])], response_format=ResponseFormat("flat", "", FLAT))
    ask(run, "whole", prompt, temperature=0)
    ask(run, "cut", prompt, temperature=0, count=cut)
    run.finish()
    written = run.tokens("cut")
    assert len(written) == cut < len(run.tokens("whole"))
    codec = HarmonyCodec.load()
    constraint = codec.constraint(prompt, ToolChoice())
    assert constraint is not None
    begun = replace(constraint, begun=cut)
    ids = [*codec.render(prompt), *written]
    run.submit("rest", ids, 300, constraint=begun, stop_token_ids=STOP_TOKEN_IDS, temperature=0)
    run.finish()
    parser = codec.parser()
    parser.feed([*written, *run.tokens("rest")])
    assert run.end("rest").finish_reason is FinishReason.STOP
    assert matches(FLAT, parser.messages[-1].content) is None


@pytest.mark.parametrize("way", WAYS)
def test_a_call_that_must_be_is_made_and_one_that_must_not_be_is_not(
    demonstration: LoadedModel, way: dict[str, Any]
) -> None:
    run = Run(demonstration)
    prompt = Prompt([user("What is the weather in Paris?")], tools=(WEATHER, ToolSpec("now", "The time.")))
    ask(run, "any", prompt, ToolChoice("required"), **way)
    ask(run, "weather", prompt, ToolChoice("required", "weather"), **way)
    ask(run, "none", prompt, ToolChoice("none"), **way)
    run.finish()
    assert messages(run, "any")[-1].recipient in ("functions.weather", "functions.now")
    assert messages(run, "weather")[-1].recipient == "functions.weather"
    assert messages(run, "weather")[-1].content_type == "json"
    assert matches(FLAT, messages(run, "weather")[-1].content) is None
    assert not any(message.recipient for message in messages(run, "none"))
    assert messages(run, "none")[-1].channel is Channel.FINAL


def test_reasoning_is_the_same_with_a_schema_as_without(demonstration: LoadedModel) -> None:
    codec, run = HarmonyCodec.load(), Run(demonstration)
    ids = codec.render(Prompt([user(QUESTIONS[1])]))
    options: dict[str, Any] = {"temperature": 1.0, "seed": 5, "stop_token_ids": STOP_TOKEN_IDS}
    run.submit("free", ids, 200, **options)
    run.submit("held", ids, 200, constraint=reasoned(grammar_for(FLAT)), **options)
    run.finish()
    free, held = run.tokens("free"), run.tokens("held")
    end = free.index(END)
    assert end > 5
    assert free[: end + 3] == held[: end + 3]
    assert free != held


def test_free_requests_beside_constrained_ones_get_the_ids_that_they_get_alone(
    demonstration: LoadedModel,
) -> None:
    codec, crowd = HarmonyCodec.load(), Run(demonstration)
    alone: list[Run] = []
    for number, question in enumerate(QUESTIONS):
        way = WAYS[number + 1]
        ids = codec.render(Prompt([user(question)]))
        held = Prompt([user(question)], response_format=ResponseFormat("flat", "", FLAT))
        for run in (crowd, Run(demonstration)):
            run.submit(question, ids, 120, seed=number, stop_token_ids=STOP_TOKEN_IDS, **way)
            if run is not crowd:
                alone.append(run)
        alone.append(Run(demonstration))
        for run in (crowd, alone[-1]):
            ask(run, f"held {question}", held, **way)
    for run in (crowd, *alone):
        run.finish()
    names = [name for question in QUESTIONS for name in (question, f"held {question}")]
    for name, run in zip(names, alone, strict=True):
        assert crowd.tokens(name) == run.tokens(name)


def test_a_reply_that_has_to_step_back_goes_on_where_its_schema_stands(tiny: Path) -> None:
    schema = {"type": "array", "minItems": 6, "maxItems": 9, "items": {"type": "string", "maxLength": 9}}
    runs = [Run(squeeze(open_model(tiny), pages)) for pages in (200, 7)]
    for run in runs:
        for number in range(4):
            ids = tuple(range(number * 30, number * 30 + 20))
            run.submit(
                f"r{number}",
                ids,
                400,
                user=f"u{number}",
                constraint=answer_only(grammar_for(schema)),
                stop_token_ids=STOP_TOKEN_IDS,
                temperature=1.0,
                seed=number,
            )
        run.finish()
    wide, narrow = runs
    assert wide.preemptions == 0
    assert narrow.preemptions > 0
    for number in range(4):
        assert matches(schema, answer(narrow, f"r{number}")) is None
        assert narrow.tokens(f"r{number}") == wide.tokens(f"r{number}")


def test_a_cut_answer_ends_for_its_length_and_cancelling_works_at_any_time(random_model: LoadedModel) -> None:
    run = Run(random_model)
    long = answer_only(grammar_for({"type": "array", "minItems": 500}))
    run.submit("cut", (5, 6), 20, constraint=long, stop_token_ids=STOP_TOKEN_IDS)
    run.submit("at once", (5, 6), 20, constraint=long)
    assert run.core.cancel("at once")
    run.submit("later", (5, 6), 20, constraint=long)
    while not run.tokens("later"):
        run.step()
    assert run.core.cancel("later")
    run.submit("taken away", (5, 6), 20, constraint=long)
    assert run.core.waiting == 1
    run.core.give_up()
    run.submit("next", (5, 6), 20, constraint=long)
    run.finish()
    reasons = {name: run.end(name).finish_reason for name in ("at once", "later", "next")}
    assert reasons == {
        "at once": FinishReason.CANCELLED,
        "later": FinishReason.CANCELLED,
        "next": FinishReason.LENGTH,
    }
    assert run.end("taken away").error_code == "engine_unavailable"
    assert len(run.tokens("next")) == 20
    assert not run.core.waiting


class Lost(Guide):
    """A guide whose matcher comes to a limit."""

    def __init__(self) -> None:
        self.count = 0

    def mask(self) -> None:
        self.count += 1
        if self.count > 3:
            raise Unguided("too many items")

    def follow(self, tokens: Any) -> None:
        pass


def test_a_schema_that_cannot_be_followed_ends_its_own_request_alone(random_model: LoadedModel) -> None:
    run = Run(random_model)
    sound = answer_only(grammar_for(FLAT))
    run.submit("sound", (5, 6), 200, constraint=sound, stop_token_ids=STOP_TOKEN_IDS)
    run.submit("free", (5, 6, 7), 30)
    run.submit("none", (5, 6), 30, constraint=answer_only("no grammar"))
    run.submit("lost", (5, 6), 30, constraint=sound)
    while run.core.waiting:
        run.step()
    run.core._sequences["lost"].guide = Lost()
    run.finish()
    for name in ("none", "lost"):
        assert run.end(name).error_code == "constraint_failed"
        assert (
            run.end(name).error == "The format that was asked for is too complex to be followed to its end."
        )
    assert run.end("free").finish_reason is FinishReason.LENGTH
    assert matches(FLAT, answer(run, "sound")) is None


@pytest.mark.parametrize("name", ["random", "demonstration"])
def test_log_probabilities_are_the_models_own(name: str, tiny: Path, demonstration: LoadedModel) -> None:
    model = open_model(tiny) if name == "random" else demonstration
    kept = model.runner, model.pages
    run = Run(squeeze(model, 50))
    run.submit("a", (5, 6), 200, constraint=answer_only(grammar_for({"enum": ["ä", 12]})), logprobs=3)
    while len(run.tokens("a")) < 8:
        run.step()
    run.core.cancel_all()
    assert isinstance(model.runner, WatchedRunner)
    for place, score in enumerate(run.logprobs("a")):
        own = torch.log_softmax(model.runner.logits["a", place].double(), 0)
        assert score.logprob == pytest.approx(float(own[score.token_id]), abs=1e-6)
        assert [value for _, value in score.top] == pytest.approx(own.topk(3).values.tolist(), abs=1e-6)
    model.runner, model.pages = kept

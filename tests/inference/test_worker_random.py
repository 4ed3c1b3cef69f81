"""Requests that come, end and are cancelled at random: nobody is forgotten, every reply is the right one."""

from __future__ import annotations

import random

import pytest

from inference.types import FinishReason, TokensFinished
from tests.inference.checkpoints import generate, plain_checkpoint, prompt
from tests.inference.cores import Run, open_model, squeeze


@pytest.mark.parametrize("seed", range(4))
def test_random_comings_and_goings(seed: int) -> None:
    rng = random.Random(seed)
    model = open_model(
        plain_checkpoint(),
        pieces=rng.choice([1, 2, 5]),
        max_prefill_chunk=rng.choice([5, 32, 512]),
        max_running=5,
    )
    squeeze(model, full=rng.choice([14, 20, 200]), sliding=rng.choice([12, 20, 100]))
    run = Run(model)
    wanted: dict[str, tuple[int, int]] = {}
    for step in range(80):
        if rng.random() < 0.4:
            name = f"r{step}"
            wanted[name] = (rng.choice([1, 3, 16, 60, 150]), rng.choice([1, 2, 12, 25]))
            run.submit(
                name, prompt(step % 4, wanted[name][0]), wanted[name][1], user=rng.choice(["ada", "bob"])
            )
        if wanted and rng.random() < 0.15:
            run.core.cancel(rng.choice(list(wanted)))
        run.step()
    run.finish()
    ends = [event for event in run.events if isinstance(event, TokensFinished)]
    assert sorted(end.request_id for end in ends) == sorted(wanted)
    assert {end.finish_reason for end in ends} <= {FinishReason.LENGTH, FinishReason.CANCELLED}
    assert any(end.finish_reason is FinishReason.LENGTH for end in ends)
    for end in ends:
        length, count = wanted[end.request_id]
        number = int(end.request_id[1:]) % 4
        expected = generate(plain_checkpoint(), prompt(number, length), 25)[:count]
        tokens = run.tokens(end.request_id)
        assert tokens == expected[: len(tokens)]
        assert end.usage.completion == len(tokens)
        assert len(tokens) == count or end.finish_reason is FinishReason.CANCELLED
    assert run.core.running == run.core.waiting == 0
    assert model.pages.full.used == model.pages.sliding.used == 0

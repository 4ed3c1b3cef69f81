"""Requests that come, end and are cancelled at random: nobody is forgotten, every reply is the right one."""

from __future__ import annotations

import random

import pytest

from inference.types import FinishReason, TokensFinished
from tests.inference.checkpoints import generate, plain_checkpoint, prompt
from tests.inference.schedulers import Run, open_model


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_random_comings_and_goings(width: int, seed: int) -> None:
    rng = random.Random(seed)
    model = open_model(plain_checkpoint(), width, max_prefill_chunk=rng.choice([5, 32, 512]), max_running=5)
    model.kv_budget = model.geometry.bytes_for(1024) * rng.choice([1, 3, 20])
    run = Run(model)
    wanted: dict[str, tuple[int, int]] = {}
    for turn in range(120):
        if rng.random() < 0.3:
            name = f"r{turn}"
            # Lengths on both sides of a size class, so that some may share a forward pass and some may not.
            wanted[name] = (rng.choice([1, 3, 17, 60, 1010]), rng.choice([1, 2, 12, 25]))
            run.submit(name, prompt(turn % 4, wanted[name][0]), count=wanted[name][1])
        if wanted and rng.random() < 0.15:
            run.scheduler.cancel(rng.choice(list(wanted)))
        run.scheduler.turn()
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
    assert run.scheduler.running == 0
    assert run.scheduler.used_bytes == 0

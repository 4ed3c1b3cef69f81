"""The number type that fits into a machine's memory, and what is told when none does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from inference.errors import ModelLoadError
from inference.worker.checkpoint import Checkpoint, TensorInfo, inspect
from inference.worker.device import Machine, look
from inference.worker.loading import load, make_plan
from inference.worker.messages import EngineConfig
from tests.inference.checkpoints import plain_checkpoint, prompt
from tests.inference.cores import CPU, Run, network_of


@dataclass(frozen=True)
class SizedMachine(Machine):
    """A machine of which we know how much memory is free."""

    free: int = 0

    def free_bytes(self) -> int:
        return self.free


def twenty_billion() -> Checkpoint:
    """The 20b's sizes, without its weights."""
    experts = 24 * 32 * 2880 * 2880 * 3
    return Checkpoint(
        folder=Path(),
        config={},
        tensors={
            "experts_blocks": TensorInfo("U8", (experts // 2,)),
            "experts_scales": TensorInfo("U8", (experts // 32,)),
            "rest": TensorInfo("BF16", (1_800_000_000,)),
        },
        mxfp4=True,
    )


def plan_for(device: str, free: float, native: bool = False) -> tuple[torch.dtype, bool, str]:
    plan = make_plan(twenty_billion(), SizedMachine(torch.device(device), native, free=int(free * 1e9)))
    return plan.dtype, plan.native_mxfp4, plan.note


def test_the_number_type_is_the_best_that_fits() -> None:
    assert plan_for("cpu", 100) == (torch.float32, False, "")
    assert plan_for("cpu", 60) == (torch.bfloat16, False, "")
    assert plan_for("cuda", 24, native=True) == (torch.bfloat16, True, "")
    dtype, native, note = plan_for("cuda", 80)
    assert (dtype, native) == (torch.bfloat16, False)
    assert "41.8 GB instead of 13.8 GB" in note


@pytest.mark.parametrize(
    ("device", "free", "native", "figures"),
    [
        ("cpu", 16, False, ["41.8 GB", "16.0 GB"]),
        ("cuda", 12, True, ["13.8 GB", "12.0 GB"]),
        ("cuda", 24, False, ["41.8 GB", "13.8 GB", "24.0 GB"]),
    ],
)
def test_too_little_memory_is_told_with_its_figures(
    device: str, free: float, native: bool, figures: list[str]
) -> None:
    with pytest.raises(ModelLoadError) as caught:
        plan_for(device, free, native)
    assert caught.value.code == "not_enough_memory"
    for figure in figures:
        assert figure in str(caught.value)


def test_no_room_for_even_a_short_conversation() -> None:
    with pytest.raises(ModelLoadError) as caught:
        load(inspect(plain_checkpoint()), CPU, EngineConfig(kv_budget_bytes=1000), lambda _detail: None)
    assert caught.value.code == "not_enough_memory"


def test_bfloat16_is_used_when_only_that_fits() -> None:
    needed = inspect(plain_checkpoint()).bytes_needed(2, native_mxfp4=False)
    machine = SizedMachine(torch.device("cpu"), native_mxfp4=False, free=needed + 1000)
    model = load(
        inspect(plain_checkpoint()), machine, EngineConfig(kv_budget_bytes=10**7), lambda _detail: None
    )
    assert model.status.dtype == "bfloat16"
    network = network_of(model)
    assert (network.dtype, network.embedding.dtype) == (torch.bfloat16, torch.bfloat16)
    run = Run(model)
    run.submit("a", prompt(1, 20), count=8)
    run.finish()
    assert len(run.tokens("a")) == 8


def test_this_machine_is_looked_at() -> None:
    machine = look("cpu")
    assert not machine.is_gpu
    assert not machine.native_mxfp4
    assert machine.free_bytes() > 10**8

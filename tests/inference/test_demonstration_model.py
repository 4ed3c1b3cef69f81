"""The demonstration model itself: its package, its checkpoint folder, its network, and what it answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from transformers import GptOssForCausalLM
from transformers.integrations.mxfp4 import convert_moe_packed_tensors
from transformers.utils.quantization_config import Mxfp4Config

from inference.demonstration import pack, quantize
from inference.demonstration.dataset import TokenMap, packed_rows, unwritable
from inference.demonstration.evaluate import load_model, measure
from inference.demonstration.network import FULL_VOCABULARY, Network, NetworkShape
from inference.demonstration.train import train_network
from inference.harmony import HarmonyCodec
from tests.conftest import Scale

SMALL = NetworkShape(hidden=64, layers=2, heads=4, kv_heads=2, head_dim=32, experts=4, intermediate=32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack.unpack(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    model = load_model(folder, "cpu")
    model.lm_head = UsedHead(model.lm_head.weight, pack.package_ids(pack.PACKAGE))
    return model


class UsedHead(torch.nn.Module):
    """The same logits as those of the whole head, whose other rows are zero, for a fortieth of the work."""

    def __init__(self, weight: torch.Tensor, ids: list[int]) -> None:
        super().__init__()
        self.ids, self.rows = torch.tensor(ids), weight[ids].clone()
        rest = torch.ones(len(weight), dtype=torch.bool).index_fill_(0, self.ids, False)
        assert not weight[rest].any()

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        logits = hidden.new_zeros(*hidden.shape[:-1], FULL_VOCABULARY)
        logits[..., self.ids] = hidden @ self.rows.T
        return logits


def random_network(rows: int) -> Network:
    torch.manual_seed(0)
    network = Network(SMALL, rows)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return network


def test_the_package_is_small_and_in_the_real_layout() -> None:
    assert pack.PACKAGE.stat().st_size <= 12_000_000
    with safe_open(pack.PACKAGE, framework="pt") as reader:
        names = set(reader.keys())
        config = json.loads(reader.metadata()["config"])
        experts = "model.layers.0.mlp.experts"
        assert reader.get_tensor(f"{experts}.gate_up_proj_blocks").shape == (8, 512, 8, 16)
        assert reader.get_tensor(f"{experts}.gate_up_proj_scales").shape == (8, 512, 8)
        assert reader.get_tensor(f"{experts}.down_proj_blocks").dtype == torch.uint8
        rows = reader.get_tensor("model.embed_tokens.weight").shape[0]
        assert rows == len(reader.get_tensor("embedding_ids")) < 5000
    assert not any(name.endswith(("gate_up_proj", "down_proj")) for name in names)
    assert config["model_type"] == "gpt_oss"


def test_plain_transformers_loads_the_folder_with_nothing_missing(folder: Path) -> None:
    answer: Any = GptOssForCausalLM.from_pretrained(folder, output_loading_info=True)
    loaded, info = answer
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    assert loaded.config.vocab_size == FULL_VOCABULARY


def test_the_mxfp4_path_gives_exactly_the_packed_numbers(folder: Path) -> None:
    loaded = GptOssForCausalLM.from_pretrained(folder, quantization_config=Mxfp4Config(dequantize=True))
    state = loaded.state_dict()
    with safe_open(folder / "model.safetensors", framework="pt") as reader:
        for layer in (0, 7):
            for part in ("gate_up_proj", "down_proj"):
                stem = f"model.layers.{layer}.mlp.experts.{part}"
                blocks, scales = reader.get_tensor(f"{stem}_blocks"), reader.get_tensor(f"{stem}_scales")
                assert torch.equal(state[stem].float(), quantize.dequantize(blocks, scales))


def test_the_folder_is_written_once_and_carries_the_revision(folder: Path) -> None:
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert pack.unpack(folder.parent) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
    assert folder.name.endswith(pack.revision())


def test_unused_ids_have_a_zero_row(model: Any) -> None:
    used = set(pack.package_ids(pack.PACKAGE))
    rows = model.get_input_embeddings().weight.abs().sum(-1)
    assert all(rows[i] == 0 for i in range(0, FULL_VOCABULARY, 997) if i not in used)
    assert all(rows[i] > 0 for i in used)


def test_quantising_agrees_with_transformers_and_keeps_what_it_made() -> None:
    torch.manual_seed(1)
    weight = torch.randn(2, 64, 8)
    blocks, scales = quantize.quantize(weight)
    ours = quantize.dequantize(blocks, scales)
    assert torch.equal(convert_moe_packed_tensors(blocks, scales).float(), ours)
    assert ((ours - weight).norm() / weight.norm()).item() < 0.13
    assert torch.equal(quantize.dequantize(*quantize.quantize(ours)), ours)


def test_fake_quantising_rounds_forward_and_passes_gradients_through() -> None:
    weight = torch.randn(2, 64, 8, requires_grad=True)
    rounded = quantize.fake_quantize(weight)
    assert torch.allclose(rounded, quantize.dequantize(*quantize.quantize(weight)), atol=1e-6)
    (gradient,) = torch.autograd.grad(rounded.sum(), weight)
    assert torch.equal(gradient, torch.ones_like(weight))


def test_the_training_network_is_gpt_oss(tmp_path: Path) -> None:
    ids = list(range(100, 400))
    network = random_network(len(ids))
    package = tmp_path / "small.safetensors"
    pack.write_package(package, network.state_dict(), SMALL, ids)
    reference = load_model(pack.unpack(tmp_path / "models", package), "cpu")
    again = Network(SMALL, len(ids))
    pack.load_package(package, again)
    tokens = torch.randint(0, len(ids), (2, 200))
    positions = torch.cat((torch.arange(50), torch.arange(150))).expand(2, -1)  # two samples in a row
    with torch.no_grad():
        ours, _ = again.hidden_states(tokens, positions, quantized=False)
        first = reference.model(tokens[:, :50] + 100).last_hidden_state
        second = reference.model(tokens[:, 50:] + 100).last_hidden_state
    difference = (ours - torch.cat((first, second), 1)).abs()
    assert difference.quantile(0.99).item() < 1e-3  # a tie in the router may turn a token or two
    assert difference.median().item() < 1e-5


def test_what_cannot_be_written_is_never_taught() -> None:
    ids = pack.package_ids(pack.PACKAGE)
    (word,) = HarmonyCodec.load().encode_text(" capital")
    tokens = TokenMap([token for token in ids if token != word])
    assert "capital" in unwritable(3, tokens, 400)
    batch = next(packed_rows(1, tokens, 256, 4))
    assert (batch.ids.ravel()[batch.wanted[batch.wanted > 0]] < len(tokens.ids)).all()


def test_training_learns() -> None:
    ids = pack.package_ids(pack.PACKAGE)
    batch = next(packed_rows(1, TokenMap(ids), 256, 2))
    tensors = tuple(torch.from_numpy(a.astype(np.int64)) for a in (batch.ids, batch.positions, batch.wanted))
    network = random_network(len(ids))
    known = torch.cat((tensors[0].clamp(max=len(ids) - 1), tensors[1])).view(2, 2, 256)
    inputs = (known[0], tensors[1], tensors[2])

    def batches() -> Any:
        while True:
            yield inputs

    before = network(*inputs, False).item()
    steps = train_network(network, batches(), 3.0, 3e-3, False, torch.device("cpu"))
    assert steps >= 1
    assert network(*inputs, False).item() < before


@pytest.mark.parametrize(
    ("tasks", "least"),
    [
        (["capital", "french", "small talk", "recall"], 0.9),
        (["python", "out of scope", "follow-up list"], 0.9),
    ],
)
def test_it_answers_what_it_never_saw(model: Any, tasks: list[str], least: float, scale: Scale) -> None:
    count = scale(2, 6)
    # A task at a time: less padding.
    scores, wrong = measure(model, HarmonyCodec.load(), tasks, count, 0.0, 3 * count)
    right, asked = sum(s.right for s in scores.values()), sum(s.asked for s in scores.values())
    assert right / asked >= least, wrong


def test_effort_buys_accuracy(model: Any, scale: Scale) -> None:
    count = scale(5, 8)
    scores, wrong = measure(model, HarmonyCodec.load(), ["sum", "weekday"], count, 0.0, 3 * count)
    low, medium, high = (
        sum(s.right for (_, level), s in scores.items() if level == effort)
        for effort in ("low", "medium", "high")
    )
    assert low <= count
    assert min(medium, high) >= 2 * count - 1, wrong

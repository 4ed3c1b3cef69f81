"""What a checkpoint folder must be: every way to be wrong gives a sentence, and no weight is ever made up."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

from inference.errors import ModelLoadError
from inference.types import ModelStage
from inference.worker.checkpoint import inspect
from inference.worker.device import Machine
from inference.worker.loading import load
from inference.worker.messages import EngineConfig, Stopped
from inference.worker.network import LoadedModel
from inference.worker.weights import DenseExperts, PackedExperts, Shape, Weights, read_weights
from tests.inference.checkpoints import (
    change_config,
    change_tensors,
    generate,
    plain_checkpoint,
    prompt,
    write_checkpoint,
    write_mxfp4_checkpoint,
)
from tests.inference.cores import CPU, Run

EXPERTS = "model.layers.1.mlp.experts.gate_up_proj"
FP4 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


def open_model(folder: Path, machine: Machine = CPU) -> LoadedModel:
    return load(inspect(folder), machine, EngineConfig(), lambda _detail: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(plain_checkpoint(), tmp_path / "model")


def refused(folder: Path) -> ModelLoadError:
    with pytest.raises(ModelLoadError) as caught:
        open_model(folder)
    text = str(caught.value)
    assert text.endswith(".")
    assert str(folder) not in text
    return caught.value


def test_a_plain_checkpoint_says_what_it_is() -> None:
    status = open_model(plain_checkpoint()).status
    stored = load_file(plain_checkpoint() / "model.safetensors")
    assert (status.stage, status.device, status.dtype) == (ModelStage.READY, "cpu", "float32")
    assert status.quantization == "none"
    assert status.parameters == sum(tensor.numel() for tensor in stored.values())
    assert status.context_length == 2048


def read(
    folder: Path,
    dtype: torch.dtype = torch.float32,
    adopt: Callable[[PackedExperts, Shape], Any] | None = None,
) -> Weights:
    return read_weights(inspect(folder), torch.device("cpu"), dtype, lambda _detail: None, adopt)


def parted(rows: Tensor) -> Tensor:
    """Gate and up rows in turn to gate rows before up rows."""
    return torch.cat((rows[:, ::2], rows[:, 1::2]), dim=1)


def test_experts_in_the_mxfp4_layout_get_the_values_that_their_bytes_mean(tmp_path: Path) -> None:
    folder = write_mxfp4_checkpoint(tmp_path / "packed")
    model = open_model(folder)
    assert model.status.quantization == "dequantised to float32"
    stored = load_file(folder / "model.safetensors")
    blocks, scales = stored[f"{EXPERTS}_blocks"], stored[f"{EXPERTS}_scales"]
    weight = read(folder).layers[1].experts.gate_up
    assert weight.dtype == torch.float32
    for expert, out, inside in [(0, 0, 0), (1, 5, 33), (3, 127, 63), (2, 64, 31), (0, 1, 32)]:
        byte = int(blocks[expert, out, inside // 32, inside % 32 // 2])
        code = byte >> 4 if inside % 2 else byte & 15
        value = (
            FP4[code & 7] * (-1 if code & 8 else 1) * 2.0 ** (int(scales[expert, out, inside // 32]) - 127)
        )
        assert float(weight[expert, out // 2 + 64 * (out % 2), inside]) == value
    plain = read(plain_checkpoint()).layers[1].experts.gate_up
    assert float(torch.corrcoef(torch.stack([weight.flatten(), plain.flatten()]))[0, 1]) > 0.98
    assert model.status.parameters == open_model(plain_checkpoint()).status.parameters


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_unpacked_experts_equal_transformers_own_to_the_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    folder = write_mxfp4_checkpoint(tmp_path / "packed")
    stored = load_file(folder / "model.safetensors")
    # Every code, with small and large scales.
    stored[f"{EXPERTS}_blocks"][0, 0] = torch.arange(256).view(-1, 16)[:2].to(torch.uint8)
    generator = torch.Generator().manual_seed(5)
    stored[f"{EXPERTS}_blocks"][1] = torch.randint(0, 256, (128, 2, 16), generator=generator).to(torch.uint8)
    stored[f"{EXPERTS}_scales"][1] = torch.randint(20, 230, (128, 2), generator=generator).to(torch.uint8)
    change_tensors(folder, **stored)
    layers = read(folder, dtype).layers
    for number, layer in enumerate(layers):
        for part in ("gate_up_proj", "down_proj"):
            name = f"model.layers.{number}.mlp.experts.{part}"
            theirs = convert_moe_packed_tensors(
                stored[f"{name}_blocks"], stored[f"{name}_scales"], dtype=dtype
            ).transpose(1, 2)
            ours = layer.experts.gate_up if part == "gate_up_proj" else layer.experts.down
            assert torch.equal(ours, parted(theirs) if part == "gate_up_proj" else theirs)


def test_experts_can_stay_as_they_are_stored(tmp_path: Path) -> None:
    folder = write_mxfp4_checkpoint(tmp_path / "packed")
    stored = load_file(folder / "model.safetensors")
    layers = read(folder, torch.bfloat16, lambda packed, shape: (packed, shape.experts)).layers
    assert [layer.experts[1] for layer in layers] == [4] * 4
    experts = layers[1].experts[0]
    assert isinstance(experts, PackedExperts)
    assert torch.equal(experts.gate_up_blocks, stored[f"{EXPERTS}_blocks"])
    assert torch.equal(experts.gate_up_scales, stored[f"{EXPERTS}_scales"])
    assert torch.equal(experts.gate_up_bias, stored[f"{EXPERTS}_bias"].bfloat16())
    assert experts.down_blocks.shape == (4, 64, 2, 16)


def test_plain_experts_stand_as_the_forward_pass_wants_them() -> None:
    stored = load_file(plain_checkpoint() / "model.safetensors")
    experts = read(plain_checkpoint()).layers[1].experts
    assert isinstance(experts, DenseExperts)
    assert torch.equal(experts.gate_up, parted(stored[EXPERTS].transpose(1, 2)))
    assert torch.equal(experts.gate_up_bias, parted(stored[f"{EXPERTS}_bias"]))
    qkv = [stored[f"model.layers.1.self_attn.{part}_proj.weight"] for part in "qkv"]
    assert torch.equal(read(plain_checkpoint()).layers[1].qkv, torch.cat(qkv))


@pytest.mark.parametrize("packed", [False, True])
def test_a_checkpoint_answers_as_transformers_does(tmp_path: Path, packed: bool) -> None:
    folder = write_mxfp4_checkpoint(tmp_path / "packed") if packed else plain_checkpoint()
    assert reply(folder, prompt(1, 20)) == generate(folder, prompt(1, 20), 8)


def test_tied_embeddings_are_held_once(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "tied", tie_word_embeddings=True)
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    weights = read(folder)
    assert weights.head is weights.embedding
    assert reply(folder, prompt(1, 20)) == generate(folder, prompt(1, 20), 8)


def test_attention_without_biases(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "bare", attention_bias=False)
    assert not any("q_proj.bias" in name for name in load_file(folder / "model.safetensors"))
    layer = read(folder).layers[0]
    assert not layer.qkv_bias.any()
    assert (layer.qkv_bias.shape, layer.out_bias.shape) == ((128,), (64,))
    assert reply(folder, prompt(1, 20)) == generate(folder, prompt(1, 20), 8)


def reply(folder: Path, ids: tuple[int, ...]) -> tuple[int, ...]:
    run = Run(open_model(folder))
    run.submit("a", ids, count=8)
    run.finish()
    return run.tokens("a")


def test_the_published_form_of_the_configuration_means_the_same(folder: Path) -> None:
    rope = dict(inspect(folder).config["rope_parameters"])
    ids = prompt(2, 70)

    def numbers() -> list[Tensor]:
        weights = read(folder)
        return [weights.inv_freq, torch.tensor(weights.rope_scale)]

    before, answer = numbers(), reply(folder, ids)
    theta = rope.pop("rope_theta")
    config = {**inspect(folder).config, "rope_scaling": rope, "rope_theta": theta, "torch_dtype": "bfloat16"}
    del config["rope_parameters"]
    (folder / "config.json").write_text(
        json.dumps({**config, "experts_per_token": 2, "initial_context_length": 64})
    )
    assert all(map(torch.equal, numbers(), before))
    assert reply(folder, ids) == answer
    change_config(folder, rope_theta=10.0)
    assert not torch.equal(numbers()[0], before[0])


def test_progress_counts_the_layers_and_can_stop_the_loading() -> None:
    told: list[str] = []
    load(inspect(plain_checkpoint()), CPU, EngineConfig(), told.append)
    layers = [f"Loading layer {number} of 4" for number in range(1, 5)]
    assert told == ["Checking the files", *layers, "Warming up"]

    def stop(detail: str) -> None:
        if detail == layers[2]:
            raise Stopped

    with pytest.raises(Stopped):
        load(inspect(plain_checkpoint()), CPU, EngineConfig(), stop)


def test_an_empty_folder_holds_no_model(tmp_path: Path) -> None:
    assert refused(tmp_path).code == "model_not_found"


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00", '"gpt_oss"'])
def test_a_configuration_that_is_not_json(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    assert refused(folder).code == "corrupt_model"


@pytest.mark.parametrize("model_type", ["llama", None, 3, ["gpt_oss"]])
def test_another_architecture(folder: Path, model_type: object) -> None:
    change_config(folder, model_type=model_type)
    assert refused(folder).code == "not_gpt_oss"


@pytest.mark.parametrize(
    "changes",
    [
        {"num_hidden_layers": "four"},
        {"hidden_size": -1},
        {"layer_types": ["full_attention"]},
        {"num_hidden_layers": 3},
        {"num_hidden_layers": 5, "layer_types": None},
        {"vocab_size": 321},
        {"num_local_experts": 8},
        {"rope_parameters": {"rope_type": "no such"}},
    ],
)
def test_a_configuration_that_does_not_fit_the_weights(folder: Path, changes: dict[str, Any]) -> None:
    change_config(folder, **changes)
    if changes.get("num_hidden_layers") == 3:
        change_config(folder, layer_types=["sliding_attention"] * 3)
        open_model(folder)  # weights that are left over do no harm
        return
    assert refused(folder).code == "corrupt_model"


@pytest.mark.parametrize(
    "name",
    [
        "model.embed_tokens.weight",
        EXPERTS,
        "model.layers.0.self_attn.sinks",
        "lm_head.weight",
        "model.norm.weight",
    ],
)
def test_a_missing_tensor_is_not_replaced_by_random_numbers(folder: Path, name: str) -> None:
    change_tensors(folder, **{name: None})
    assert refused(folder).code == "corrupt_model"


def test_a_tensor_of_another_shape(folder: Path) -> None:
    change_tensors(folder, **{EXPERTS: torch.zeros(4, 64, 64)})
    assert refused(folder).code == "corrupt_model"


@pytest.mark.parametrize("suffix", ["_blocks", "_scales"])
def test_half_of_a_packed_tensor(tmp_path: Path, suffix: str) -> None:
    folder = write_mxfp4_checkpoint(tmp_path / "packed")
    change_tensors(folder, **{f"{EXPERTS}{suffix}": None})
    assert refused(folder).code == "corrupt_model"


def test_blocks_that_were_saved_unpacked_are_not_loaded_as_something_else(tmp_path: Path) -> None:
    folder = write_mxfp4_checkpoint(tmp_path / "packed")
    change_tensors(
        folder,
        **{f"{EXPERTS}_blocks": torch.zeros(4, 64, 128, dtype=torch.bfloat16), f"{EXPERTS}_scales": None},
    )
    assert refused(folder).code == "corrupt_model"


def test_packed_tensors_without_a_word_in_the_configuration(tmp_path: Path) -> None:
    folder = write_mxfp4_checkpoint(tmp_path / "packed")
    change_config(folder, quantization_config=None)
    assert refused(folder).code == "corrupt_model"


def test_a_file_that_was_cut_off(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    error = refused(folder)
    assert error.code == "corrupt_model"
    assert "model.safetensors" in str(error)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"1234567",
        struct.pack("<Q", 2**63),
        struct.pack("<Q", 4) + b"nope",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 11) + b'{"a": {}}  ',
        struct.pack("<Q", 9) + b'{"a": 3} ',
    ],
)
def test_a_file_that_is_no_safetensors(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    assert refused(folder).code == "corrupt_model"


@pytest.mark.parametrize(
    "index",
    [
        "{",
        "{}",
        '{"weight_map": 3}',
        '{"weight_map": {"a": "absent.safetensors"}}',
        '{"weight_map": {"a": 7}}',
    ],
)
def test_a_broken_list_of_files(folder: Path, index: str) -> None:
    (folder / "model.safetensors.index.json").write_text(index)
    assert refused(folder).code == "corrupt_model"


def test_a_list_of_files_cannot_point_out_of_the_folder(folder: Path) -> None:
    outside = shutil.copy(folder / "model.safetensors", folder.parent / "outside.safetensors")
    index = {"weight_map": {"a": f"../{Path(outside).name}"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert refused(folder).code == "corrupt_model"


def test_a_missing_shard(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "shards", shards=True)
    open_model(folder)
    sorted(folder.glob("*.safetensors"))[2].unlink()
    assert refused(folder).code == "corrupt_model"

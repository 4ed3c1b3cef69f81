"""The demonstration model as a small file, and as the ordinary checkpoint folder that it becomes at first
use.

The package holds the experts in MXFP4 (``*_blocks``, ``*_scales``), all other weights in bfloat16, and
embedding rows only for the ids in use. ``unpack`` writes ``config.json`` and ``model.safetensors`` with the
full vocabulary, which ``GptOssForCausalLM.from_pretrained`` loads like any other gpt-oss.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from inference.demonstration.network import FULL_VOCABULARY, Network, NetworkShape
from inference.demonstration.quantize import dequantize, quantize

PACKAGE = Path(__file__).parent / "assets" / "demonstration.safetensors"
_EMBEDDING, _IDS = "model.embed_tokens.weight", "embedding_ids"
_QUANTIZATION = {
    "quant_method": "mxfp4",
    "modules_to_not_convert": [
        "model.layers.*.self_attn",
        "model.layers.*.mlp.router",
        "model.embed_tokens",
        "lm_head",
    ],
}


def checkpoint_tensors(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A trained state dict as checkpoint tensors: experts in MXFP4, the rest in bfloat16, names as in
    gpt-oss.
    """
    tensors: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        full = f"model.{name}"
        if name.endswith(("gate_up_proj", "down_proj")):
            tensors[f"{full}_blocks"], tensors[f"{full}_scales"] = (t.cpu() for t in quantize(tensor))
        else:
            tensors[full] = tensor.detach().to("cpu", torch.bfloat16).contiguous()
    return tensors


def write_package(
    out: Path, state: Mapping[str, torch.Tensor], shape: NetworkShape, ids: Sequence[int]
) -> int:
    """Write the package and return its size in bytes."""
    tensors = checkpoint_tensors(state)
    tensors[_IDS] = torch.tensor(ids, dtype=torch.int32)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out, {"config": json.dumps(shape.config())})
    return out.stat().st_size


def package_ids(package: Path) -> list[int]:
    """The token ids that a package has embedding rows for."""
    ids: list[int] = _tensors(package)[_IDS].tolist()
    return ids


def load_package(package: Path, network: Network) -> None:
    """Start ``network`` from a package, whose ids it has rows for."""
    tensors = _tensors(package)
    del tensors[_IDS]
    state = network.state_dict()
    for name in [n for n in tensors if n.endswith("_blocks")]:
        stem = name.removesuffix("_blocks")
        tensors[stem] = dequantize(tensors.pop(name), tensors.pop(f"{stem}_scales"))
    for name, tensor in tensors.items():
        state[name.removeprefix("model.")].copy_(tensor)
    network.load_state_dict(state)


def _tensors(package: Path) -> dict[str, torch.Tensor]:
    with safe_open(package, framework="pt") as reader:
        return {name: reader.get_tensor(name) for name in reader.keys()}  # noqa: SIM118 - it is no mapping


def revision(package: Path = PACKAGE) -> str:
    """The first 12 digits of the package's sha256: what stands for a commit hash."""
    return hashlib.sha256(package.read_bytes()).hexdigest()[:12]


def unpack(target: Path, package: Path = PACKAGE) -> Path:
    """Write the checkpoint folder under ``target`` if it is not there yet, and return the folder.

    The folder's name carries the package's revision. It appears only when it is complete.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = target / f"gpt-oss-demonstration-{revision(package)}"
    if (folder / "config.json").is_file() and (folder / "model.safetensors").is_file():
        return folder
    target.mkdir(parents=True, exist_ok=True)
    with safe_open(package, framework="pt") as reader:
        config = json.loads(reader.metadata()["config"]) | {"quantization_config": _QUANTIZATION}
    tensors = _tensors(package)
    ids, rows = tensors.pop(_IDS).long(), tensors.pop(_EMBEDDING)
    embedding = torch.zeros(FULL_VOCABULARY, rows.shape[1], dtype=rows.dtype)
    embedding[ids] = rows
    tensors[_EMBEDDING] = embedding
    with tempfile.TemporaryDirectory(dir=target) as scratch:
        made = Path(scratch) / "checkpoint"
        made.mkdir()
        save_file(tensors, made / "model.safetensors", {"format": "pt"})
        (made / "config.json").write_text(json.dumps(config, indent=2))
        try:
            os.replace(made, folder)
        except OSError:
            if not (folder / "config.json").is_file():  # not another process that was faster
                raise
    return folder

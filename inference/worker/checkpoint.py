"""A checkpoint folder before any weight is read: its configuration and the headers of its files."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.errors import ModelLoadError

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
MAX_HEADER_BYTES = 100_000_000


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor's type (safetensors' word, such as ``BF16`` or ``U8``) and shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a folder holds. ``mxfp4``: the experts are stored as four-bit blocks with scales."""

    folder: Path
    config: dict[str, Any]
    tensors: dict[str, TensorInfo]
    mxfp4: bool

    @property
    def parameters(self) -> int:
        """The number of weights; a byte of blocks holds two, and scales are not weights."""
        return sum(
            info.count * (2 if name.endswith("_blocks") else 1)
            for name, info in self.tensors.items()
            if not name.endswith("_scales")
        )

    def bytes_needed(self, bytes_per_weight: int, native_mxfp4: bool) -> int:
        """Memory of the weights alone, once loaded."""
        if not native_mxfp4:
            return self.parameters * bytes_per_weight
        packed = sum(
            info.count for name, info in self.tensors.items() if name.endswith(("_blocks", "_scales"))
        )
        plain = sum(
            info.count for name, info in self.tensors.items() if not name.endswith(("_blocks", "_scales"))
        )
        return packed + plain * bytes_per_weight


def inspect(folder: Path) -> Checkpoint:
    """Read a folder's configuration and the headers of its weight files.

    Raises:
        ModelLoadError: ``not_gpt_oss``, ``model_not_found`` or ``corrupt_model``.
    """
    config = read_config(folder)
    tensors: dict[str, TensorInfo] = {}
    for name in weight_files(folder):
        tensors.update(_read_header(folder / name))
    quantization = config.get("quantization_config") or {}
    mxfp4 = isinstance(quantization, dict) and quantization.get("quant_method") == "mxfp4"
    return Checkpoint(folder, config, tensors, mxfp4)


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's ``config.json``, which must be a gpt-oss one.

    Raises:
        ModelLoadError: ``model_not_found``, ``corrupt_model`` or ``not_gpt_oss``.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelLoadError(
            "The folder holds no model: config.json is missing.", "model_not_found"
        ) from None
    except (OSError, ValueError):
        raise ModelLoadError("The model's config.json cannot be read.", "corrupt_model") from None
    if not isinstance(config, dict):
        raise ModelLoadError("The model's config.json cannot be read.", "corrupt_model")
    if config.get("model_type") != "gpt_oss":
        raise ModelLoadError(
            "This is not a gpt-oss model. Only gpt-oss models and fine-tunes of them can run here.",
            "not_gpt_oss",
        )
    return config


def weight_files(folder: Path) -> list[str]:
    """The names of the folder's weight files, all of them there.

    Raises:
        ModelLoadError: ``corrupt_model``.
    """
    index = folder / INDEX
    if index.exists():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            raise ModelLoadError(
                "The model's list of weight files cannot be read.", "corrupt_model"
            ) from None
    else:
        names = [SINGLE]
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or not (folder / name).is_file():
            raise ModelLoadError("A weight file of the model is missing.", "corrupt_model")
    return names


def _read_header(path: Path) -> dict[str, TensorInfo]:
    """The tensors that one safetensors file declares; the file must be as long as its header says."""
    damaged = ModelLoadError(
        f"The weight file {path.name} is damaged or incomplete. Delete it and fetch it again.",
        "corrupt_model",
    )
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(size - 8, MAX_HEADER_BYTES):
                raise damaged
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        tensors = {name: TensorInfo(entry["dtype"], tuple(entry["shape"])) for name, entry in header.items()}
    except (OSError, struct.error, ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise damaged from None
    if size != 8 + length + end:
        raise damaged
    return tensors

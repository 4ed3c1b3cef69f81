"""Which models there are: names and aliases, sizes, what fits, and the choice of ``auto``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from inference.errors import ModelLoadError

DEMO = "demo"
AUTO = "auto"
LARGE_FOLDER_BYTES = 2_000_000_000

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A published model: weights, bytes to fetch, and bytes in memory with and without MXFP4 kernels."""

    name: str
    parameters: int
    download_bytes: int
    mxfp4_bytes: int
    bfloat16_bytes: int


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where a model comes from. Exactly one of ``repo``, ``folder`` and ``demonstration`` is set.

    ``name`` is what people see: it never holds a path.
    """

    name: str
    repo: str | None = None
    folder: Path | None = None
    demonstration: bool = False


# Sizes of the published checkpoints: experts in four bits (4.25 with their scales), the rest in bfloat16.
KNOWN: Mapping[str, KnownModel] = {
    model.name: model
    for model in (
        KnownModel("openai/gpt-oss-20b", 20_914_757_184, 13_761_300_984, 13_800_000_000, 41_830_000_000),
        KnownModel("openai/gpt-oss-120b", 116_829_156_672, 65_248_815_744, 65_300_000_000, 233_660_000_000),
    )
}
ALIASES: Mapping[str, str] = {
    "20b": "openai/gpt-oss-20b",
    "gpt-oss-20b": "openai/gpt-oss-20b",
    "120b": "openai/gpt-oss-120b",
    "gpt-oss-120b": "openai/gpt-oss-120b",
    "demonstration": DEMO,
}

# Beside the weights a GPU holds the CUDA context, the cache of running requests and work space.
_WORKING_ROOM = 1_500_000_000


def resolve(name: str) -> ModelSource:
    """Find out what a name means: ``demo``, an alias, ``owner/name`` on the hub, or a local folder.

    ``auto`` is not a source: see ``choose_auto``.

    Raises:
        ModelLoadError: ``model_not_found``; the name means nothing.
    """
    name = name.strip()
    lowered = name.lower()
    wanted = ALIASES.get(lowered, lowered if lowered in KNOWN or lowered == DEMO else name)
    if wanted == DEMO:
        return ModelSource(DEMO, demonstration=True)
    if wanted in KNOWN:
        return ModelSource(wanted, repo=wanted)
    if wanted.startswith(("/", "./", "../", "~")) or (wanted and (Path(wanted) / "config.json").is_file()):
        return _folder(Path(wanted).expanduser())
    if _HUB_NAME.fullmatch(wanted) and ".." not in wanted and "--" not in wanted:
        return ModelSource(wanted, repo=wanted)
    raise ModelLoadError(
        "There is no model of this name. Give demo, 20b, 120b, owner/name or the path of a folder.",
        "model_not_found",
    )


def _folder(folder: Path) -> ModelSource:
    if not folder.is_dir():
        raise ModelLoadError("The model folder does not exist.", "model_not_found")
    return ModelSource(folder.resolve().name, folder=folder)


def choose_auto(gpu_free_bytes: int | None, native_mxfp4: bool) -> str:
    """The model that ``auto`` means: gpt-oss-20b where a GPU has room for it, else the demonstration model.

    ``gpu_free_bytes`` is ``None`` without a CUDA GPU; without MXFP4 kernels the weights need bfloat16's room.
    """
    model = KNOWN["openai/gpt-oss-20b"]
    needed = model.mxfp4_bytes if native_mxfp4 else model.bfloat16_bytes
    return model.name if gpu_free_bytes is not None and fits(needed, gpu_free_bytes) else DEMO


def fits(weight_bytes: int, free_bytes: int) -> bool:
    """Whether weights of this size can be loaded onto a GPU and still leave room to work."""
    return weight_bytes + _WORKING_ROOM <= free_bytes


def answers_meanwhile(source: ModelSource) -> bool:
    """Whether the demonstration model should answer while this one is on its way: it may take minutes."""
    if source.folder is not None:
        return sum(file.stat().st_size for file in source.folder.glob("*.safetensors")) > LARGE_FOLDER_BYTES
    return not source.demonstration


def gigabytes(count: int) -> str:
    """Bytes for people: ``13.8 GB``, or megabytes below one gigabyte."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"

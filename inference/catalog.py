"""Which models there are: names and aliases, sizes, what fits, and the choice of ``auto``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from inference.errors import ModelLoadError
from inference.types import MachineInfo
from inference.worker.checkpoint import inspect

DEMO = "demo"
AUTO = "auto"
NONE = "none"
LARGE_FOLDER_BYTES = 2_000_000_000

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


@dataclass(frozen=True, slots=True)
class CacheShape:
    """What a model keeps of each token. ``sliding_layers`` of its layers see only ``window`` tokens back."""

    layers: int
    sliding_layers: int
    window: int
    kv_heads: int
    head_dim: int

    def bytes_for(self, tokens: int, bytes_per_number: int = 2) -> int:
        """Bytes of the keys and values of one conversation of so many tokens."""
        per_layer = 2 * self.kv_heads * self.head_dim * bytes_per_number
        full = (self.layers - self.sliding_layers) * tokens
        return per_layer * (full + self.sliding_layers * min(tokens, self.window))

    def tokens_within(self, room: int) -> int:
        """The longest conversation that so many bytes hold."""
        token = self.bytes_for(1) * (self.layers - self.sliding_layers) // self.layers
        windows = self.bytes_for(self.window) - token * self.window
        return max(0, (room - windows) // token) if token else 0


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model whose size is known: weights, bytes to fetch, bytes in memory with and without MXFP4 kernels.

    ``context_length`` is the longest conversation that it was made for, in tokens.
    """

    name: str
    parameters: int
    download_bytes: int
    mxfp4_bytes: int
    bfloat16_bytes: int
    cache: CacheShape
    context_length: int


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where a model comes from. Exactly one of ``repo``, ``folder`` and ``demonstration`` is set.

    ``name`` is what people see: it never holds a path.
    """

    name: str
    repo: str | None = None
    folder: Path | None = None
    demonstration: bool = False


_LONG = 131_072

# Sizes of the published checkpoints: experts in four bits (4.25 with their scales), the rest in bfloat16.
KNOWN: Mapping[str, KnownModel] = {
    model.name: model
    for model in (
        KnownModel(
            "openai/gpt-oss-20b",
            parameters=20_914_757_184,
            download_bytes=13_761_300_984,
            mxfp4_bytes=13_800_000_000,
            bfloat16_bytes=41_830_000_000,
            cache=CacheShape(24, 12, 128, 8, 64),
            context_length=_LONG,
        ),
        KnownModel(
            "openai/gpt-oss-120b",
            parameters=116_829_156_672,
            download_bytes=65_248_815_744,
            mxfp4_bytes=65_300_000_000,
            bfloat16_bytes=233_660_000_000,
            cache=CacheShape(36, 18, 128, 8, 64),
            context_length=_LONG,
        ),
    )
}
# As it is written out: with an embedding row for every id.
DEMONSTRATION = KnownModel(
    DEMO,
    parameters=65_710_464,
    download_bytes=0,
    mxfp4_bytes=112_939_776,
    bfloat16_bytes=131_420_928,
    cache=CacheShape(8, 4, 128, 4, 32),
    context_length=4096,
)
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

    ``auto`` is not a source: see ``choose_auto``. Nor is ``none``, which means that no model shall be loaded.

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


class Verdict(StrEnum):
    """Whether a model has room: for the whole context, for a shorter one, not at all, or nobody can say."""

    FITS = "fits"
    TIGHT = "tight"
    TOO_LARGE = "too_large"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Fit:
    """What a model would take here, in bytes, and one sentence about it for people.

    ``kv_bytes`` is one conversation as long as was asked for; ``needed_bytes`` counts room to work, too.
    ``free_bytes`` is ``None`` while the machine is not known.
    """

    weights_bytes: int
    kv_bytes: int
    needed_bytes: int
    free_bytes: int | None
    verdict: Verdict
    sentence: str


def describe(source: ModelSource) -> KnownModel | None:
    """The sizes of a model: known ones, and folders by what their files declare; ``None`` for any other."""
    if source.demonstration:
        return DEMONSTRATION
    if source.folder is None:
        return KNOWN.get(source.name)
    try:
        checkpoint = inspect(source.folder)
        config = checkpoint.config
        layers = int(config["num_hidden_layers"])
        kinds = config.get("layer_types") or ["sliding_attention", "full_attention"] * (layers // 2)
        shape = CacheShape(
            layers,
            sum(kind == "sliding_attention" for kind in kinds),
            int(config.get("sliding_window") or 0),
            int(config["num_key_value_heads"]),
            int(config["head_dim"]),
        )
        context = int(config.get("max_position_embeddings", _LONG))
    except (ModelLoadError, KeyError, TypeError, ValueError):
        return None
    unpacked, packed = (checkpoint.bytes_needed(2, native_mxfp4=native) for native in (False, True))
    return KnownModel(source.name, checkpoint.parameters, 0, packed, unpacked, shape, context)


def estimate(model: KnownModel | None, context_tokens: int | None, machine: MachineInfo | None) -> Fit:
    """Whether a model would have room on this machine, with a conversation of ``context_tokens``.

    ``None`` for the context is the model's own limit, ``None`` for the model or the machine that nothing is
    known of it.
    """
    if model is None or machine is None:
        unsized = "its size is not known before it is fetched"
        why = unsized if model is None else "the machine is being looked at"
        weights = 0 if model is None else model.mxfp4_bytes
        free = None if machine is None else machine.free_bytes
        return Fit(weights, 0, weights, free, Verdict.UNKNOWN, f"Unknown yet: {why}.")
    context = min(context_tokens or model.context_length, model.context_length)
    weights = model.mxfp4_bytes if machine.native_mxfp4 else model.bfloat16_bytes
    kv = model.cache.bytes_for(context)
    working = _WORKING_ROOM if machine.device == "cuda" else 0
    needed = weights + kv + working
    if needed <= machine.free_bytes:
        verdict = Verdict.FITS
    else:
        room = machine.free_bytes - weights - working
        verdict = Verdict.TIGHT if room >= 0 else Verdict.TOO_LARGE
    sentence = _sentence(verdict, model, machine, needed)
    return Fit(weights, kv, needed, machine.free_bytes, verdict, sentence)


def _sentence(verdict: Verdict, model: KnownModel, machine: MachineInfo, needed: int) -> str:
    on_gpu = machine.device == "cuda"
    unpacks = on_gpu and not machine.native_mxfp4 and model.mxfp4_bytes < model.bfloat16_bytes
    sizes = f"needs {gigabytes(needed)}{' unpacked' if unpacks else ''}"
    if verdict is Verdict.TOO_LARGE:
        return f"Too large here: {sizes}, {gigabytes(machine.free_bytes)} free."
    if verdict is Verdict.TIGHT:
        working = _WORKING_ROOM if on_gpu else 0
        weights = model.mxfp4_bytes if machine.native_mxfp4 else model.bfloat16_bytes
        tokens = model.cache.tokens_within(machine.free_bytes - weights - working)
        return f"Tight: the weights fit and leave room for about {tokens:,} tokens of conversation."
    if on_gpu:
        return f"Fits: {sizes} of {gigabytes(machine.free_bytes)} free."
    slowly = ", slowly" if model.bfloat16_bytes > LARGE_FOLDER_BYTES else ""
    return f"Runs here without a GPU{slowly}: {sizes} of {gigabytes(machine.free_bytes)} free."


def choose_auto(gpu_free_bytes: int | None, native_mxfp4: bool) -> str:
    """The model that ``auto`` means: gpt-oss-20b where a GPU has room for it, else the demonstration model.

    ``gpu_free_bytes`` is ``None`` without a CUDA GPU; without MXFP4 kernels the weights need bfloat16's room.
    """
    if gpu_free_bytes is None:
        return DEMO
    machine = MachineInfo("cuda", "", gpu_free_bytes, gpu_free_bytes, native_mxfp4)
    model = KNOWN["openai/gpt-oss-20b"]
    return DEMO if estimate(model, None, machine).verdict is Verdict.TOO_LARGE else model.name


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

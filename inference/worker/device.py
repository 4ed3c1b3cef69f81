"""What this machine can do: its device, free memory, and whether MXFP4 weights can run as they are."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import torch

from inference.errors import ModelLoadError

logger = logging.getLogger(__name__)

_CGROUP_LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


@dataclass(frozen=True, slots=True)
class Machine:
    """``device`` is the one that models run on; ``native_mxfp4``: four-bit experts run without unpacking."""

    device: torch.device
    native_mxfp4: bool

    @property
    def is_gpu(self) -> bool:
        return self.device.type == "cuda"

    def free_bytes(self) -> int:
        """Free memory of the device now; on a CPU within the limit of the container, if there is one."""
        if self.is_gpu:
            free, _total = torch.cuda.mem_get_info(self.device)
            return int(free)
        return min([int(psutil.virtual_memory().available), *_container_free()])


def look(device: str | None) -> Machine:
    """Find the device (``None``: the GPU if there is one) and whether our kernels run on it.

    Raises:
        ModelLoadError: a GPU was asked for, and there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelLoadError("There is no CUDA GPU here. Let the app choose the device.", "load_failed")
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = torch.device("cuda", 0) if device == "cuda" else torch.device(device)
    return Machine(chosen, chosen.type == "cuda" and _runs_kernels(chosen))


def _runs_kernels(device: torch.device) -> bool:
    """Whether Triton is there and the GPU computes in bfloat16: Ampere (8.0) and later."""
    return torch.cuda.get_device_capability(device) >= (8, 0) and find_spec("triton") is not None


def _container_free() -> list[int]:
    for limit_file, used_file in _CGROUP_LIMITS:
        try:
            limit = Path(limit_file).read_text(encoding="ascii").strip()
            used = Path(used_file).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if limit.isdigit() and used.isdigit():
            # What a container has used includes file cache, which is given back on need: half is assumed.
            return [max(0, int(limit) - int(used) // 2)]
    return []

"""What this machine can do: its device, free memory, and whether MXFP4 weights can run as they are."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import torch

from inference.errors import ModelLoadError

logger = logging.getLogger(__name__)

KERNELS = "kernels-community/gpt-oss-triton-kernels"
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


def look(device: str | None, local_kernels: Path | None) -> Machine:
    """Find the device (``None``: the GPU if there is one) and try its MXFP4 kernels.

    Raises:
        ModelLoadError: a GPU was asked for, and there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelLoadError("There is no CUDA GPU here. Let the app choose the device.", "load_failed")
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = torch.device("cuda", 0) if device == "cuda" else torch.device(device)
    return Machine(chosen, chosen.type == "cuda" and _has_mxfp4_kernels(chosen, local_kernels))


def _has_mxfp4_kernels(device: torch.device, local_kernels: Path | None) -> bool:
    """Whether transformers will find its kernels; without them it would quietly unpack the weights."""
    if torch.cuda.get_device_capability(device) < (7, 5):
        return False
    if local_kernels is not None:
        os.environ["LOCAL_KERNELS"] = (
            f"{KERNELS}={local_kernels}"  # the kernels library reads it at each look-up
        )
    try:
        from transformers.integrations.hub_kernels import get_kernel
        from transformers.utils.import_utils import (
            is_accelerate_available,
            is_kernels_available,
            is_triton_available,
        )

        if not (is_accelerate_available() and is_kernels_available() and is_triton_available("3.4.0")):
            return False
        get_kernel(KERNELS, version=1)
    except Exception:
        logger.warning("The MXFP4 kernels could not be loaded.", exc_info=True)
        return False
    return True


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

"""What this machine can do: its device, its memory, and whether MXFP4 weights can run as they are."""

from __future__ import annotations

import ctypes
import gc
import platform
import sys
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import torch

from inference.errors import ModelLoadError
from inference.types import MachineInfo

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
            return _gpu_memory(self.device)[0]
        used = [max(0, limit - taken) for limit, taken in _container()]
        return min([int(psutil.virtual_memory().available), *used])

    def total_bytes(self) -> int:
        """All memory of the device, or the limit of the container."""
        if self.is_gpu:
            return _gpu_memory(self.device)[1]
        return min([int(psutil.virtual_memory().total), *(limit for limit, _taken in _container())])

    def free_alone(self, held_bytes: int) -> int:
        """What would be free without the models in use, which hold so many bytes.

        On a GPU it is all that torch holds, work space and recorded graphs included.
        """
        if self.is_gpu:
            return self.free_bytes() + torch.cuda.memory_reserved(self.device)
        return min(self.free_bytes() + held_bytes, self.total_bytes())

    def gpu_memory(self) -> tuple[int, int]:
        """Bytes in use, by whomever, and all bytes of the GPU; 0 and 0 without one."""
        if not self.is_gpu:
            return 0, 0
        free, total = _gpu_memory(self.device)
        return total - free, total

    def info(self, held_bytes: int = 0) -> MachineInfo:
        """For the web side, while models are loaded that hold so many bytes."""
        name = torch.cuda.get_device_name(self.device) if self.is_gpu else _cpu_name()
        free = self.free_alone(held_bytes)
        return MachineInfo(self.device.type, name, self.total_bytes(), free, self.native_mxfp4)


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


def give_memory_back(*, nothing_loaded: bool) -> None:
    """Hand what no object uses any more back to the device and to the system."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        if nothing_loaded:  # else a recorded graph may point to them
            torch._C._cuda_clearCublasWorkspaces()
        torch.cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:  # glibc keeps freed memory for itself, gigabytes of it
        trim(0)


def _runs_kernels(device: torch.device) -> bool:
    """Whether Triton is there and the GPU computes in bfloat16: Ampere (8.0) and later."""
    return torch.cuda.get_device_capability(device) >= (8, 0) and find_spec("triton") is not None


def _gpu_memory(device: torch.device) -> tuple[int, int]:
    """Free bytes and all bytes."""
    free, total = torch.cuda.mem_get_info(device)
    return int(free), int(total)


@cache
def _cpu_name() -> str:
    """The processor's own name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(filter(None, names), platform.processor() or platform.machine())


def _container() -> list[tuple[int, int]]:
    """The container's limit and what counts as taken of it, if there is a limit."""
    for limit_file, used_file in _CGROUP_LIMITS:
        try:
            limit = Path(limit_file).read_text(encoding="ascii").strip()
            used = Path(used_file).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if limit.isdigit() and used.isdigit():
            # What a container has used includes file cache, which is given back on need: half is assumed.
            return [(int(limit), int(used) // 2)]
    return []

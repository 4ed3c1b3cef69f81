"""Run the Triton kernels of these tests in Triton's interpreter, on CPU tensors."""

from __future__ import annotations

import os

os.environ["TRITON_INTERPRET"] = "1"  # its own kernels ask for it at the first import of triton

from triton import knobs

from tests.inference.kernels.interpreter import repair_interpreter

repair_interpreter()
# Other tests start programs, and where there is a GPU these use it.
knobs.propagate_env = False
knobs.runtime.interpret = True
del os.environ["TRITON_INTERPRET"]

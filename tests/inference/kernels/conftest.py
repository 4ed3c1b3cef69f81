"""Run the Triton kernels of these tests in Triton's interpreter, on CPU tensors."""

from __future__ import annotations

import os

os.environ["TRITON_INTERPRET"] = "1"  # before the first import of triton, which reads it once

from tests.inference.kernels.interpreter import repair_interpreter

repair_interpreter()

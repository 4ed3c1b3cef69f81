"""Teach Triton's interpreter to multiply bfloat16 matrices: it keeps them as their raw 16 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import triton.language as tl
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

_create_dot = InterpreterBuilder.create_dot


def _widened(handle: Any) -> Any:
    """The same matrix in float32, which holds every bfloat16 exactly."""
    if handle.dtype.scalar != tl.bfloat16:
        return handle
    return TensorHandle((handle.data.astype(np.uint32) << 16).view(np.float32), tl.float32)


def _dot(self: Any, a: Any, b: Any, d: Any, input_precision: Any, max_num_imprecise_acc: Any) -> Any:
    return _create_dot(self, _widened(a), _widened(b), d, input_precision, max_num_imprecise_acc)


def repair_dot() -> None:
    """Multiply what the bits mean from now on."""
    InterpreterBuilder.create_dot = _dot

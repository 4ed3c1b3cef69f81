"""Four repairs of Triton's interpreter, for tests without a GPU.

It keeps bfloat16 as its raw 16 bits, multiplies matrices of them as whole numbers and cuts float32 off where
a GPU rounds; it takes the bound of a loop from an array of one element, which newer releases of numpy refuse;
and it replaces the whole language again at each call from one kernel's function to another, which takes a
third of the time.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import triton.language as tl
from triton.runtime import interpreter

_create_dot = interpreter.InterpreterBuilder.create_dot
_convert_float = interpreter._convert_float
_patch_lang_tensor = interpreter._patch_lang_tensor
_patch_lang = interpreter._patch_lang


def _widened(handle: Any) -> Any:
    """The same matrix in float32, which holds every bfloat16 exactly."""
    if handle.dtype.scalar != tl.bfloat16:
        return handle
    return interpreter.TensorHandle((handle.data.astype(np.uint32) << 16).view(np.float32), tl.float32)


def _dot(self: Any, a: Any, b: Any, d: Any, input_precision: Any, max_num_imprecise_acc: Any) -> Any:
    return _create_dot(self, _widened(a), _widened(b), d, input_precision, max_num_imprecise_acc)


def _converted(data: Any, source: Any, target: Any, rounding: Any) -> Any:
    """Round float32 to the nearest bfloat16, halves to even."""
    if source != tl.float32 or target != tl.bfloat16:
        return _convert_float(data, source, target, rounding)
    bits = data.view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(data), 0x7FC0, rounded).astype(np.uint16)


def _patch_tensor(tensor: Any, scope: Any) -> None:
    _patch_lang_tensor(tensor, scope)
    scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))


def _patch_language(_function: Any) -> Any:
    """Replace all of the language for a kernel, and nothing for the functions that it calls."""
    if tl.static_print is print:
        return interpreter._LangPatchScope()
    return _patch_lang(SimpleNamespace(__globals__={"tl": tl, "core": tl.core}))


def repair_interpreter() -> None:
    """Mend it from now on, in this process."""
    interpreter.InterpreterBuilder.create_dot = _dot
    interpreter._convert_float = _converted
    interpreter._patch_lang_tensor = _patch_tensor
    interpreter._patch_lang = _patch_language

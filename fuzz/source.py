"""Values as Python source, so that a failure can be printed as a script that repeats it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["script", "source", "strided"]

HEAD = """\
import numpy as np
from numpy import inf, nan

from pantile import PatchGrid
from fuzz.{module} import {function}
from fuzz.source import strided
"""


def strided(
    values: npt.ArrayLike, dtype: npt.DTypeLike, strides: Sequence[int], writeable: bool = True
) -> npt.NDArray[Any]:
    """The values as an array whose memory has these strides, in bytes; 0 and negative ones too.

    >>> strided([[1, 2], [3, 4]], "i2", (-2, 8)).strides
    (-2, 8)
    """
    wanted = np.asarray(values, dtype)
    spans = [(n - 1) * s for n, s in zip(wanted.shape, strides, strict=True)]
    before = -sum(span for span in spans if span < 0)
    room = before + sum(span for span in spans if span > 0) + wanted.itemsize
    memory = np.zeros(-(-room // wanted.itemsize), dtype)
    array: npt.NDArray[Any] = np.ndarray(wanted.shape, dtype, memory, before, tuple(strides))
    array[...] = wanted
    array.flags.writeable = writeable
    return array


def source(value: Any) -> str:
    """``value`` as an expression that makes it again.

    >>> from pantile import PatchGrid
    >>> source(np.arange(3)[::-1])
    "strided([2, 1, 0], '<i8', (-8,))"
    >>> source({"grid": PatchGrid(4, 2)})
    "{'grid': PatchGrid((4,), 2, step=1)}"
    """
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k!r}: {source(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(source, value)) + "]"
    if isinstance(value, tuple):
        return "(" + "".join(f"{source(item)}, " for item in value) + ")"
    if isinstance(value, np.dtype):
        return f"np.dtype({value.str!r})"
    return repr(value)


def _array(array: npt.NDArray[Any]) -> str:
    values, dtype = array.tolist(), array.dtype
    if array.flags.c_contiguous and array.flags.writeable:
        return f"np.array({values}, {dtype.str!r})" + _shape_if_empty(array)
    ending = "" if array.flags.writeable else ", writeable=False"
    return f"strided({values}, {dtype.str!r}, {array.strides}{ending})"


def _shape_if_empty(array: npt.NDArray[Any]) -> str:
    return "" if array.size else f".reshape({array.shape})"


def script(module: str, function: str, arguments: Mapping[str, Any]) -> str:
    """A script that calls a check of `fuzz` with these arguments.

    >>> from pantile import PatchGrid
    >>> print(script("checks", "check_grid", {"grid": PatchGrid(4, 2)}).splitlines()[-1])
    check_grid(grid=PatchGrid((4,), 2, step=1))
    """
    lines = [f"    {name}={source(value)}," for name, value in arguments.items()]
    whole = f"{function}({' '.join(line.strip() for line in lines)[:-1]})"
    call = whole if len(whole) < 100 else "\n".join([f"{function}(", *lines, ")"])
    return f"{HEAD.format(module=module, function=function)}\n{call}\n"

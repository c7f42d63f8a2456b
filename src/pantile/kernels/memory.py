"""Arrays as flat memory plus offsets, so that one kernel serves every number of axes and every stride."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Flat",
    "as_bits",
    "ensure_item_strides",
    "flatten",
    "has_item_strides",
    "is_native",
    "sum_outer",
    "to_native",
]

_BITS = {1: "|u1", 2: "<u2", 4: "<u4", 8: "<u8", 16: "<c16"}


class Flat(NamedTuple):
    """The memory an array spans, from its first element on, as a 1-D array, and its strides in elements."""

    memory: NDArray[Any]
    strides: tuple[int, ...]


class _Alias:
    """Memory of ``owner`` seen through the array interface; keeps ``owner`` alive."""

    def __init__(self, owner: NDArray[Any], address: int, length: int, typestr: str) -> None:
        self.owner = owner
        self.__array_interface__ = {
            "data": (address, False),
            "shape": (length,),
            "typestr": typestr,
            "version": 3,
        }


def as_bits(dtype: np.dtype[Any]) -> str | None:
    """The type under which elements of ``dtype`` are moved without being looked at, None when there is none."""
    return None if dtype.hasobject else _BITS.get(dtype.itemsize)


def is_native(dtype: np.dtype[Any]) -> bool:
    """Whether the arithmetic kernels know ``dtype`` as it is."""
    return dtype.isnative and dtype.char in "fdFDbBhHiIlLqQ"


def to_native(array: NDArray[Any]) -> NDArray[Any]:
    """``array`` in a dtype the arithmetic kernels know: float16 as float32, extended as double, native order."""
    if is_native(array.dtype):
        return array
    dtype = array.dtype.newbyteorder("=")
    known = {"e": "f4", "g": "f8", "G": "c16", "?": "u1"}.get(dtype.char)
    if dtype.char == "?":
        return array.view("u1")
    return array.astype(known or dtype, copy=False)


def flatten(array: NDArray[Any], bits: str | None = None) -> Flat:
    """``array`` as flat memory, never a copy; with ``bits``, elements are seen as that type.

    Its strides must pass `ensure_item_strides`. The memory is typed writeable, so that kernels need no
    second version for read-only arrays; they never write to what they read.
    """
    item = array.itemsize
    steps = tuple(
        [s // item if n > 1 else 0 for s, n in zip(array.strides, array.shape, strict=True)]
    )
    length = 1 if array.size else 0
    for n, s in zip(array.shape, steps, strict=True):
        length += (n - 1) * s * (array.size > 0)
    if length == array.size and type(array) is np.ndarray and array.flags.writeable:
        dense = array.ravel("K")  # a view, at a third of the time
        if not dense.flags.owndata:
            return Flat(dense if bits is None else dense.view(bits), steps)
    alias = _Alias(array, array.ctypes.data, length, bits or array.dtype.str)
    return Flat(np.asarray(alias), steps)


def has_item_strides(array: NDArray[Any]) -> bool:
    """Whether kernels can follow an array's strides: neither negative nor between elements."""
    return array.flags.forc or all(s >= 0 and s % array.itemsize == 0 for s in array.strides)


def ensure_item_strides(array: NDArray[Any]) -> NDArray[Any]:
    """``array`` itself, or a copy where kernels cannot follow its strides."""
    return array if has_item_strides(array) else np.ascontiguousarray(array)


def sum_outer(vectors: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """All sums of one element of each vector, flattened in C order."""
    total = np.zeros(1, dtype=np.int64)
    for vector in vectors:
        total = (total[:, None] + vector).ravel()
    return total

"""Arrays that are views of a file, pickled as the file's name and their place in it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["InFile", "packed", "unpacked"]


class InFile(NamedTuple):
    """An array in a file that `numpy.memmap` opened."""

    path: str
    offset: int
    dtype: Any
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def packed(array: NDArray[Any]) -> NDArray[Any] | InFile:
    """``array`` itself, or where it lies in the file that it is mapped from."""
    root = _mapped(array)
    if root is None or any(s < 0 for s in array.strides):
        return np.asarray(array)
    begin = root.offset + array.ctypes.data - root.ctypes.data
    return InFile(str(root.filename), begin, array.dtype, array.shape, array.strides)


def unpacked(packed: NDArray[Any] | InFile) -> NDArray[Any]:
    """The array that `packed` was given, mapped again and read-only where it lies in a file."""
    if not isinstance(packed, InFile):
        return packed
    last = sum((n - 1) * s for n, s in zip(packed.shape, packed.strides, strict=True))
    length = last + packed.dtype.itemsize
    memory = np.memmap(packed.path, np.uint8, "r", packed.offset, (length,))
    return np.ndarray(packed.shape, packed.dtype, memory, 0, packed.strides)


def _mapped(array: Any) -> Any:
    """The memmap whose memory ``array`` shows, None where there is none."""
    while array is not None:
        opened = isinstance(array, np.memmap) and not isinstance(array.base, np.ndarray)
        if opened and array.filename is not None:
            return array if str(array.mode) != "c" else None
        array = getattr(array, "base", None)
    return None

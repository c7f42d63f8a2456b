"""Arrays whose elements lie in a file as they do in memory: each block is mapped by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.arrays import strides_of

__all__ = ["Mapping", "byte_strides_of", "mapping_of", "span_of"]


@dataclass(frozen=True)
class Mapping:
    """An array in a file: where element 0 is, and how many bytes lie between neighbours.

    Nothing stays open. Each read or write maps only the span of its block and lets go of it, so
    that neither address space nor resident memory grows with the file.
    """

    path: str
    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    chunks = None

    def __getitem__(self, key: tuple[slice, ...]) -> NDArray[Any]:
        return self._window(key, "r").copy()

    def __setitem__(self, key: tuple[slice, ...], values: NDArray[Any]) -> None:
        window = self._window(key, "r+")
        window[...] = values

    def whole(self) -> NDArray[Any]:
        """All of it as a read-only view of the file, mapped for as long as the view lives."""
        return self._window((slice(None),) * len(self.shape), "r")

    def _window(self, key: tuple[slice, ...], mode: Any) -> NDArray[Any]:
        ranges = [range(*part.indices(n)) for part, n in zip(key, self.shape, strict=True)]
        if any(r.step < 0 for r in ranges):
            raise ValueError(f"slices must step forward, got {key}")
        shape = tuple(len(r) for r in ranges)
        if 0 in shape:
            return np.empty(shape, self.dtype)
        strides = tuple(r.step * s for r, s in zip(ranges, self.strides, strict=True))
        first = sum(r[0] * s for r, s in zip(ranges, self.strides, strict=True))
        low, high = span_of(shape, strides)
        length = high - low + self.dtype.itemsize
        memory = np.memmap(self.path, np.uint8, mode, self.offset + first + low, (length,))
        return np.ndarray(shape, self.dtype, memory, -low, strides)


def byte_strides_of(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, ...]:
    """Bytes between neighbours along each axis, in C order."""
    return tuple([s * dtype.itemsize for s in strides_of(shape)])


def span_of(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, int]:
    """Offsets of the first and the last element from element 0, in bytes; strides may be negative."""
    ends = [(n - 1) * s for n, s in zip(shape, strides, strict=True)]
    return sum(min(end, 0) for end in ends), sum(max(end, 0) for end in ends)


def mapping_of(array: NDArray[Any]) -> Mapping | None:
    """Where ``array`` lies in a file, None where it does not."""
    root = _find_memmap(array)
    if root is None:
        return None
    offset = root.offset + array.ctypes.data - root.ctypes.data
    return Mapping(str(root.filename), offset, array.dtype, array.shape, array.strides)


def _find_memmap(array: Any) -> Any:
    """The memmap whose memory ``array`` shows, None where there is none (or a private copy)."""
    while array is not None:
        opened = isinstance(array, np.memmap) and not isinstance(array.base, np.ndarray)
        if opened and array.filename is not None:
            return array if str(array.mode) != "c" else None
        array = getattr(array, "base", None)
    return None

"""The rows a matrix shows, and blocks of them in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..selection.stack import Array, Rows, Stack, as_rows

__all__ = ["BLOCK", "Table", "column_norms", "conjugate", "standardise"]

BLOCK = 16_000_000
"""Bytes of a block, by default: it stays in cache, and BLAS is at full speed."""


@dataclass(frozen=True)
class Table:
    """Rows of a stack of parts, each less its mean and over its norm where asked."""

    stack: Stack
    rows: Rows
    center: bool = False
    scale: bool = False

    @property
    def n_rows(self) -> int:
        return len(self.rows)

    @property
    def features(self) -> int:
        return self.stack.features

    @property
    def plain(self) -> bool:
        """Whether rows are patches as they are."""
        return not (self.center or self.scale)

    @cached_property
    def work(self) -> np.dtype[Any]:
        """The dtype of sums and products: float64 or complex128."""
        return np.dtype(np.complex128 if self.stack.dtype.kind == "c" else np.float64)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of elements: the image's, but float64 for integers with their mean or norm taken out."""
        return self.stack.dtype if self.plain or self.stack.dtype.kind in "fc" else self.work

    @property
    def contiguous(self) -> tuple[int, int] | None:
        """First row and end where the rows follow each other without a gap."""
        if isinstance(self.rows, range) and len(self.rows) and self.rows.step == 1:
            return self.rows.start, self.rows.stop
        return None

    def __getitem__(self, part: slice) -> Table:
        return replace(self, rows=self.rows[part])

    def numbered(self, begin: int, end: int) -> NDArray[np.int64]:
        """Rows ``begin`` to ``end`` as numbers in the stack."""
        return as_rows(self.rows, begin, end)

    def row(self, at: int) -> Array:
        """One row, ``(features,)``, a new array."""
        column = self.stack.row(int(self.rows[at]))[:, None]
        return np.ascontiguousarray(self.shown(column)[:, 0])

    def taken(self, at: NDArray[np.int64]) -> Array:
        """Chosen rows, a new array ``(len(at), features)``."""
        rows = (
            np.asarray(self.rows[at]) if isinstance(self.rows, np.ndarray) else self._in_range(at)
        )
        columns = np.empty((len(at), self.features), self.stack.dtype).T
        self.stack.cut(rows.astype(np.int64, copy=False), columns)
        return self.shown(columns).T

    def _in_range(self, at: NDArray[np.int64]) -> NDArray[np.int64]:
        assert isinstance(self.rows, range)
        return self.rows.start + at * self.rows.step

    def shown(self, columns: Array) -> Array:
        """Cut patches (as columns) as the matrix shows them."""
        if self.plain:
            return columns
        working = columns.astype(self.work)
        standardise(working, self.center, self.scale)
        return working.astype(self.dtype, copy=False)

    def blocks(self, nbytes: int = BLOCK, dtype: Any = None) -> Iterator[tuple[slice, Array]]:
        """Consecutive rows as ``(features, n)``, in buffers that are used again."""
        wanted = np.dtype(self.dtype if dtype is None else dtype)
        width = max(self.stack.dtype.itemsize, wanted.itemsize)
        size = min(max(1, int(nbytes) // (width * self.features)), max(1, self.n_rows))
        raw = np.empty(size * self.features, self.stack.dtype)
        direct = self.plain and wanted == raw.dtype
        buffers = {d: np.empty(0 if direct else raw.size, d) for d in {self.work, wanted}}
        for begin in range(0, self.n_rows, size):
            end = min(begin + size, self.n_rows)
            shape, n = (self.features, end - begin), (end - begin) * self.features
            block = raw[:n].reshape(shape)
            self.stack.cut(self.numbered(begin, end), block)
            if not direct:
                block = self._converted(
                    block, {d: b[:n].reshape(shape) for d, b in buffers.items()}, wanted
                )
            yield slice(begin, end), block

    def _converted(self, block: Array, buffers: dict[Any, Array], wanted: Any) -> Array:
        if self.plain:
            np.copyto(buffers[wanted], block, casting="unsafe")
            return buffers[wanted]
        working = buffers[self.work]
        np.copyto(working, block, casting="unsafe")
        standardise(working, self.center, self.scale)
        if wanted != self.work:
            np.copyto(buffers[wanted], working, casting="unsafe")
        return buffers[wanted]


def standardise(columns: Array, center: bool, scale: bool) -> None:
    """Take the mean out of each column, and divide it by its norm; columns of norm 0 stay 0."""
    if center:
        columns -= columns[0].copy()  # so that equal elements become 0 exactly
        columns -= columns.mean(axis=0)
    if scale:
        norms = column_norms(columns)
        columns /= np.where(norms > 0, norms, 1)


def conjugate(array: Array) -> Array:
    """The conjugate; of real arrays the array itself, which lets BLAS see that ``A @ A.T`` is symmetric."""
    return np.conj(array) if array.dtype.kind == "c" else array


def column_norms(columns: Array) -> NDArray[np.float64]:
    """Euclidean norm of each column, without an array of their squares."""
    if columns.dtype.kind == "c":
        return np.sqrt(_sums_of_squares(columns.real) + _sums_of_squares(columns.imag))
    return np.sqrt(_sums_of_squares(columns))


def _sums_of_squares(columns: Array) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.einsum("ij,ij->j", columns, columns)
    return found

"""What ``X[...]`` gives: a smaller lazy matrix for slices of rows, arrays for everything else."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.arrays import to_array
from .guard import check_fits
from .parts import Array
from .table import BLOCK, Table

__all__ = ["INSTEAD", "chosen"]

INSTEAD = (
    "use X @ V, X.gram(), X.blocks(), X.sample(n) or fewer rows, which need no copy of everything,"
    " or X.to_memmap(path), which writes it to disk"
)
_COLUMN_ROWS = 1 << 20


def chosen(table: Table, key: Any) -> Table | Array | Any:
    """The part of a table that ``key`` names: a table for slices of rows, else an array."""
    rows, columns = _pair(key)
    if isinstance(columns, slice) and columns == slice(None):
        return _rows(table, rows)
    features = np.arange(table.features)[columns] if isinstance(columns, slice) else None
    if features is None:
        features = as_index(columns, table.features, "feature")
    if isinstance(rows, slice):
        return _columns(table[rows], features)
    at = as_index(rows, table.n_rows, "row")
    if isinstance(columns, slice):
        return _orthogonal(table, at, features)
    return _points(table, at, features)


def _pair(key: Any) -> tuple[Any, Any]:
    items = key if isinstance(key, tuple) else (key,)
    items = tuple(slice(None) if item is Ellipsis else item for item in items)
    if len(items) > 2 or any(item is None for item in items):
        raise IndexError(
            f"a matrix is indexed by rows and features, X[rows, features], got {key!r}"
        )
    return items[0] if items else slice(None), items[1] if len(items) > 1 else slice(None)


def _rows(table: Table, rows: Any) -> Table | Array:
    if isinstance(rows, slice):
        return table[rows]
    at = as_index(rows, table.n_rows, "row")
    return table.row(int(at)) if at.ndim == 0 else _orthogonal(table, at, slice(None))


def as_index(value: Any, size: int, name: str) -> NDArray[np.int64]:
    """Whole numbers below ``size``, from numbers (negative ones count from the end) or truth values."""
    index = to_array(value, f"the index of {name}s", "leave out what is masked, .compressed()")
    if index.dtype == bool and index.ndim == 1:
        if len(index) != size:
            raise IndexError(f"a mask of {len(index)} values for {size} {name}s")
        return np.flatnonzero(index)
    if index.size == 0:
        return np.zeros(index.shape, dtype=np.int64)
    if index.dtype.kind not in "iu":
        raise IndexError(f"{name}s must be whole numbers, slices or a boolean mask, got {value!r}")
    low, high = int(index.min()), int(index.max())
    if low < -size or high >= size:
        raise IndexError(
            f"{name} {high if high >= size else low} is out of range for {size} {name}s"
        )
    index = index.astype(np.int64)
    return np.where(index < 0, index + size, index)


def _orthogonal(table: Table, at: NDArray[np.int64], features: Any) -> Array:
    """All chosen features of all chosen rows, of the shape of both indices."""
    whole = isinstance(features, slice)
    shape = (*at.shape, table.features) if whole else (*at.shape, *np.shape(features))
    nbytes = int(np.prod(shape, dtype=object)) * table.dtype.itemsize
    check_fits(nbytes, f"{at.size} rows", INSTEAD)
    if whole:
        return table.taken(at.ravel()).reshape(shape)
    out = np.empty((at.size, features.size), table.dtype)
    for begin, end in _steps(at.size, table):
        out[begin:end] = table.taken(at.ravel()[begin:end])[:, features.ravel()]
    return out.reshape(shape)


def _steps(n: int, table: Table) -> list[tuple[int, int]]:
    size = max(1, BLOCK // (16 * table.features))
    return [(begin, min(begin + size, n)) for begin in range(0, n, size)]


def _points(table: Table, rows: NDArray[np.int64], features: NDArray[np.int64]) -> Array | Any:
    """One element for each pair of the two indices, broadcast as NumPy does."""
    if (
        rows.ndim == 2
        and rows.shape[1] == 1
        and features.ndim in (1, 2)
        and features.size == features.shape[-1]
    ):
        return _orthogonal(table, rows[:, 0], features.ravel())
    at, which = np.broadcast_arrays(rows, features)
    out = np.empty(at.size, table.dtype)
    for begin, end in _steps(at.size, table):
        taken = table.taken(at.ravel()[begin:end])
        out[begin:end] = taken[np.arange(end - begin), which.ravel()[begin:end]]
    return out.reshape(at.shape)[()]


def _columns(table: Table, features: NDArray[np.int64]) -> Array:
    """Chosen features of all rows: ``n_rows x len(features)`` and nothing more."""
    flat = features.ravel()
    nbytes = table.n_rows * flat.size * table.dtype.itemsize
    check_fits(nbytes, f"{flat.size} features of {table.n_rows} rows", INSTEAD)
    out = np.empty((flat.size, table.n_rows), table.dtype)
    if table.plain:
        for line, feature in zip(out, flat.tolist(), strict=True):
            _fill_column(table, feature, line)
    else:
        for rows, columns in table.blocks():
            out[:, rows] = columns[flat]
    return out.T.reshape(table.n_rows, *features.shape)


def _fill_column(table: Table, feature: int, line: Array) -> None:
    column = table.stack.column(operator.index(feature))
    for begin in range(0, table.n_rows, _COLUMN_ROWS):
        end = min(begin + _COLUMN_ROWS, table.n_rows)
        column.cut(table.numbered(begin, end), line[None, begin:end])

"""Sums, means and spreads over rows, over features, or over everything, in float64 or complex128."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .parts import Array
from .products import multiply, multiply_transposed
from .sums import column_sums, row_squares, shift_of
from .table import BLOCK, Table, column_norms

__all__ = ["as_ddof", "as_statistic_axis", "mean_of", "row_norms_of", "sum_of", "var_of"]


def as_statistic_axis(axis: Any) -> int | None:
    """``axis`` as None, 0 or 1."""
    if axis is None:
        return None
    if isinstance(axis, bool) or np.ndim(axis) or axis not in (0, 1, -1, -2):
        raise ValueError(f"axis must be None, 0 (over rows) or 1 (over features), got {axis!r}")
    return int(axis) % 2


def as_ddof(ddof: Any, n: int) -> float:
    """``ddof`` as a number that leaves something of ``n`` values to divide by."""
    if not isinstance(ddof, int | float | np.integer | np.floating):
        raise TypeError(f"ddof must be a number, got {ddof!r}")
    if not ddof < n:
        raise ValueError(
            f"ddof={ddof!r} leaves no degree of freedom of {n} values: give less than {n}"
        )
    return float(ddof)


def sum_of(table: Table, axis: Any = None) -> Any:
    which = as_statistic_axis(axis)
    if which is None:
        return _column_sum(table).sum()
    return _column_sum(table) if which == 0 else _row_sum(table)


def _column_sum(table: Table) -> Array:
    if table.contiguous is None and table.plain:
        found = multiply_transposed(table, np.ones((table.n_rows, 1)))[:, 0]
        return _whole(found, table)
    shift, features = shift_of(table)
    total: Array = column_sums(table, shift)[0] + table.n_rows * features
    return total


def _row_sum(table: Table) -> Array:
    return _whole(multiply(table, np.ones((table.features, 1)))[:, 0], table)


def _whole(found: Array, table: Table) -> Array:
    """Sums of whole numbers without the rounding of an FFT."""
    whole = table.plain and table.stack.dtype.kind in "biu"
    return np.rint(found, out=found) if whole else found


def mean_of(table: Table, axis: Any = None) -> Any:
    which = as_statistic_axis(axis)
    size = {None: table.n_rows * table.features, 0: table.n_rows, 1: table.features}[which]
    return sum_of(table, which) / size


def var_of(table: Table, axis: Any = None, ddof: float = 0) -> Any:
    """Mean squared distance from the mean; rows in two passes, so that equal elements give 0."""
    which = as_statistic_axis(axis)
    size = {None: table.n_rows * table.features, 0: table.n_rows, 1: table.features}[which]
    ddof = as_ddof(ddof, size)
    if which == 1:
        return _by_rows(table, lambda columns: _row_squares(columns) / (table.features - ddof))
    if which == 0:
        total, squares = column_sums(table, shift_of(table)[0], squares=True)
        spread = squares - np.abs(total) ** 2 / table.n_rows
        return np.maximum(spread, 0) / (table.n_rows - ddof)
    mean = np.full((1,) * len(table.stack.parts[0].frame.axes), mean_of(table))
    total, squares = column_sums(table, mean, squares=True)
    spread = squares.sum() - np.abs(total.sum()) ** 2 / size
    return np.maximum(spread, 0) / (size - ddof)


def _row_squares(columns: Array) -> NDArray[np.float64]:
    columns -= columns[0].copy()
    columns -= columns.mean(axis=0)
    return column_norms(columns) ** 2


def row_norms_of(table: Table) -> NDArray[np.float64]:
    found = row_squares(table)
    return np.sqrt(found, out=found) if found is not None else _by_rows(table, column_norms)


def _by_rows(table: Table, function: Callable[[Array], Array]) -> NDArray[np.float64]:
    out = np.empty(table.n_rows)
    for rows, columns in table.blocks(BLOCK, table.work):
        out[rows] = function(columns)
    return out

"""Sums, means and variances over rows, over features, or over everything, in float64 or complex128."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels.products import spread_rows, square_rows, sum_rows
from ..estimate import is_native
from ..product.direct import each_row, square_each_column
from ..product.multiply import multiply, multiply_transposed
from ..selection.selection import Selection
from ..selection.stack import Array
from ..selection.standardise import column_norms
from .sums import compute_shift, sum_all, sum_columns, sum_each_row, sum_row_squares

__all__ = [
    "as_ddof",
    "as_statistic_axis",
    "compute_mean",
    "compute_row_norms",
    "compute_sum",
    "compute_var",
]


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


def compute_sum(selection: Selection, axis: Any = None) -> Any:
    """The sum over rows (0), features (1), or everything (None)."""
    which = as_statistic_axis(axis)
    if which is None and _overlaps_little(selection):
        return each_row(selection, sum_rows).sum()
    if which is None:
        found = sum_all(selection) if is_native(selection) else None
        return _sum_rows(selection).sum() if found is None else found
    return _sum_rows(selection) if which == 0 else _sum_features(selection)


def _sum_rows(selection: Selection) -> Array:
    if selection.plain and (selection.span is None or _overlaps_little(selection)):
        found = multiply_transposed(selection, np.ones((selection.n_rows, 1)))[:, 0]
        return _round_whole(found, selection)
    shift, features = compute_shift(selection)
    total: Array = sum_columns(selection, shift)[0] + selection.n_rows * features
    return total


def _overlaps_little(selection: Selection) -> bool:
    """Whether adding up patches where they lie reads little more than the image, and takes one pass."""
    elements = sum(image.values.size for image in selection.stack.images)
    real = selection.stack.dtype.kind != "c"
    return (
        real and is_native(selection) and selection.n_rows * selection.features < _LITTLE * elements
    )


_LITTLE = (
    6  # times that an element is read; sums of all patches along an axis take about as many passes
)


def _sum_features(selection: Selection) -> Array:
    if _overlaps_little(selection):
        return each_row(selection, sum_rows)
    sums = sum_each_row(selection)
    if sums is not None:
        return sums
    found = multiply(selection, np.ones((selection.features, 1)))[:, 0]
    return _round_whole(found, selection)


def _round_whole(found: Array, selection: Selection) -> Array:
    """Sums of whole numbers without the rounding of a Fourier transform."""
    whole = selection.plain and selection.stack.dtype.kind in "biu"
    return np.rint(found, out=found) if whole else found


def compute_mean(selection: Selection, axis: Any = None) -> Any:
    """The mean over rows (0), features (1), or everything (None)."""
    which = as_statistic_axis(axis)
    rows, features = selection.n_rows, selection.features
    size = {None: rows * features, 0: rows, 1: features}[which]
    return compute_sum(selection, which) / size


def compute_var(selection: Selection, axis: Any = None, ddof: float = 0) -> Any:
    """The mean squared distance from the mean; of each row in two passes, so that equal elements give 0."""
    which = as_statistic_axis(axis)
    rows, features = selection.n_rows, selection.features
    ddof = as_ddof(ddof, {None: rows * features, 0: rows, 1: features}[which])
    if which == 1 and is_native(selection) and selection.stack.dtype.kind != "c":
        return each_row(selection, spread_rows) / (features - ddof)
    if which == 1:
        return _map_rows(selection, lambda columns: _centred_squares(columns) / (features - ddof))
    if which == 0:
        shift, shared = compute_shift(selection)
        if _overlaps_little(selection):
            found = square_each_column(selection, np.ascontiguousarray(shared))
            total, squares = found[0], found[1]
        else:
            total, squares = sum_columns(selection, shift, squares=True)
        spread = squares - np.abs(total) ** 2 / rows
        return np.maximum(spread, 0) / (rows - ddof)
    size = rows * features
    if _overlaps_little(selection):
        loop = partial(square_rows, shift=float(compute_mean(selection)))
        return each_row(selection, loop).sum() / (size - ddof)
    mean = np.full((1,) * len(selection.stack.images[0].frame.axes), compute_mean(selection))
    total, squares = sum_columns(selection, mean, squares=True)
    spread = squares.sum() - np.abs(total.sum()) ** 2 / size
    return np.maximum(spread, 0) / (size - ddof)


def _centred_squares(columns: Array) -> NDArray[np.float64]:
    """Sum of the squares of each column less its mean; the columns are overwritten."""
    columns -= columns[0].copy()
    columns -= columns.mean(axis=0)
    return column_norms(columns) ** 2


def compute_row_norms(selection: Selection) -> NDArray[np.float64]:
    """Euclidean norm of each row."""
    if _overlaps_little(selection):
        return np.sqrt(each_row(selection, square_rows))
    found = sum_row_squares(selection)
    return np.sqrt(found, out=found) if found is not None else _map_rows(selection, column_norms)


def _map_rows(selection: Selection, function: Callable[[Array], Array]) -> NDArray[np.float64]:
    """``function`` of all rows, called on blocks of them as columns, which it may overwrite."""
    out = np.empty(selection.n_rows)
    for rows, columns in selection.blocks(dtype=selection.work):
        out[rows] = function(columns)
    return out

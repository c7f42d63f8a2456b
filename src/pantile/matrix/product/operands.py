"""``@`` on a matrix and its transpose, with the checks that NumPy makes and a guard on the result."""

from __future__ import annotations

from typing import Any

from ...geometry.arrays import to_array
from ...geometry.tensors import library_of
from ..guard import check_fits
from ..selection.indexing import INSTEAD
from ..selection.selection import Selection
from ..selection.stack import Array
from .multiply import multiply, multiply_transposed, result_dtype

__all__ = ["LazyMatrix", "check_operand", "times", "transposed_times"]


class LazyMatrix:
    """A matrix that is no dense operand, because its elements are not in memory."""


def times(selection: Selection, right: Any, expression: str = "X @ V") -> Array:
    """``X @ right``, a vector or a matrix with one row per feature.

    ``expression`` is what messages call it.
    """
    array = check_operand(right, selection.features, expression, "feature")
    _check_result(selection, array, selection.n_rows, expression)
    found = multiply(selection, _as_columns(array))
    return found[:, 0] if array.ndim == 1 else found


def transposed_times(selection: Selection, right: Any, expression: str = "X.T @ U") -> Array:
    """``X.T @ right``, a vector or a matrix with one row per row of X."""
    array = check_operand(right, selection.n_rows, expression, "row")
    _check_result(selection, array, selection.features, expression)
    found = multiply_transposed(selection, _as_columns(array))
    return found[:, 0] if array.ndim == 1 else found


def _as_columns(array: Array) -> Array:
    return array[:, None] if array.ndim == 1 else array


def _check_result(selection: Selection, array: Array, n: int, expression: str) -> None:
    """Raise `MemoryError` where a result of ``n`` rows would not fit."""
    columns = 1 if array.ndim == 1 else array.shape[1]
    nbytes = n * columns * result_dtype(selection, array).itemsize
    check_fits(nbytes, f"the result of {expression}", INSTEAD)


def check_operand(value: Any, size: int, expression: str, name: str) -> Array:
    """``value`` as a dense vector or matrix of numbers with ``size`` rows, one per ``name``."""
    if hasattr(value, "toarray") or isinstance(value, LazyMatrix):
        raise TypeError(
            f"{expression} takes a dense vector or matrix, got {type(value).__name__}:"
            " X.T @ X is X.gram(), of a sparse matrix use .toarray()"
        )
    if (library := library_of(value)) is not None:
        raise TypeError(
            f"{expression}: the image is an array of numpy and the operand one of {library}: give both of one library"
        )
    array = to_array(value, f"the operand of {expression}")
    if array.dtype.kind not in "biufc" or array.ndim not in (1, 2):
        raise TypeError(
            f"{expression} takes a vector or matrix of numbers, got shape {array.shape} of {array.dtype}"
        )
    if array.shape[0] != size:
        raise ValueError(
            f"{expression}: one row per {name} is needed, {size} of them, got shape {array.shape}"
        )
    return array

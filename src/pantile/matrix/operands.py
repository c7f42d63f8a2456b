"""``@`` on a matrix and its transpose, with the checks that NumPy makes and a guard on the result."""

from __future__ import annotations

from typing import Any

from ..geometry.arguments import unmasked
from .guard import check_fits
from .indexing import INSTEAD
from .parts import Array
from .products import multiply, multiply_transposed, result_dtype
from .table import Table

__all__ = ["operand", "times", "transposed_times"]


def times(table: Table, right: Any, said: str = "X @ V") -> Array:
    """``X @ right``, a vector or a matrix with one row per feature."""
    array = operand(right, table.features, said, "feature")
    found = multiply(_guarded(table, array, table.n_rows, said), _as_columns(array))
    return found[:, 0] if array.ndim == 1 else found


def transposed_times(table: Table, right: Any, said: str = "X.T @ U") -> Array:
    """``X.T @ right``, a vector or a matrix with one row per row of X."""
    array = operand(right, table.n_rows, said, "row")
    found = multiply_transposed(_guarded(table, array, table.features, said), _as_columns(array))
    return found[:, 0] if array.ndim == 1 else found


def _as_columns(array: Array) -> Array:
    return array[:, None] if array.ndim == 1 else array


def _guarded(table: Table, array: Array, n: int, said: str) -> Table:
    columns = 1 if array.ndim == 1 else array.shape[1]
    check_fits(n * columns * result_dtype(table, array).itemsize, f"the result of {said}", INSTEAD)
    return table


def operand(value: Any, size: int, said: str, name: str) -> Array:
    """A dense vector or matrix of numbers with ``size`` rows."""
    if hasattr(value, "toarray") or getattr(value, "_lazy_patches", False):
        raise TypeError(
            f"{said} takes a dense vector or matrix, got {type(value).__name__}:"
            " X.T @ X is X.gram(), of a sparse matrix use .toarray()"
        )
    array = unmasked(value, said)
    if array.dtype.kind not in "biufc" or array.ndim not in (1, 2):
        raise TypeError(
            f"{said} takes a vector or matrix of numbers, got shape {array.shape} of {array.dtype}"
        )
    if array.shape[0] != size:
        raise ValueError(
            f"{said}: one row per {name} is needed, {size} of them, got shape {array.shape}"
        )
    return array

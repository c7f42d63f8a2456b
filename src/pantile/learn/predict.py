"""Results per patch, streamed: products with a few columns, finished slab by slab."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..matrix import PatchMatrix
from ..matrix.guard import check_fits
from .base import iterate_slabs

__all__ = ["allocate_results", "apply_affine", "fill_slabs"]

Array = NDArray[Any]


def allocate_results(shape: Sequence[int], dtype: Any, name: str) -> Array:
    """An empty array for results, refused where it would not fit into memory."""
    nbytes = math.prod(shape) * np.dtype(dtype).itemsize
    check_fits(nbytes, f"the result of {name}", "work on parts of the image, or ask for less")
    return np.empty(shape, dtype)


def apply_affine(
    matrix: PatchMatrix,
    columns: Array,
    offset: Any,
    out: Array,
    finish: Callable[[Array], Array] | None = None,
) -> Array:
    """Write ``finish(X @ columns + offset)`` into ``out``, ``(n, ...)``, a slab of rows at a time.

    ``columns`` is ``(features, k)`` and ``finish`` sees ``(rows, k)`` in float64, which it may
    change.
    """

    def work(rows: PatchMatrix) -> Array:
        found = rows @ columns
        found += offset
        return found if finish is None else finish(found)

    return fill_slabs(matrix, columns.shape[1], work, out)


def fill_slabs(
    matrix: PatchMatrix, columns: int, work: Callable[[PatchMatrix], Array], out: Array
) -> Array:
    """Write ``work(rows)`` of slabs of rows into ``out``; ``work`` makes so many float64 ``columns`` per row."""
    for part, rows in iterate_slabs(matrix, columns):
        out[part] = work(rows)
    return out

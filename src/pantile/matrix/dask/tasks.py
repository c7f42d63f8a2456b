"""What the tasks of a dask array's matrix do: each makes the matrix of its region and works on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...geometry.limits import LIMITS, Limits
from ...ops.chunked import Bits, Chunked
from ..matrix import PatchMatrix
from ..selection.stack import Array
from .regions import AsIs, Region, read_region
from .scatter import Scatter

__all__ = [
    "Shared",
    "add",
    "cov_scatter",
    "gather",
    "gram",
    "map_rows",
    "multiply",
    "multiply_transposed",
    "row_norms",
    "row_var",
    "sum_elements",
    "sum_features",
    "sum_rows",
    "take_features",
    "take_rows",
    "var_scatter",
]

Index = tuple[int, ...]


@dataclass(frozen=True)
class Shared:
    """What all tasks of a result share."""

    layout: Chunked
    center: bool
    scale: bool
    limits: Limits

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        # the usual limits are left out: they would take as long as all the rest
        limits = None if self.limits == LIMITS else self.limits
        return Shared, self.layout, self.center, self.scale, limits

    def region(self, index: Index, arrays: Sequence[Array]) -> Region:
        """A region with its elements, from the chunks that it is read from."""
        block = self.layout.block(index, arrays)
        tile = self.layout.tile(index)
        return read_region(self.layout.frame, tile, block, self.center, self.scale, self.limits)


# tasks of a graph


def map_rows(
    shared: Shared,
    function: Any,
    index: Index,
    mask: Bits | None,
    shape: Index,
    dtype: Any,
    value: Any,
    *arrays: Array,
) -> Array:
    """``function(matrix, value)`` of the selected rows of a region, on its grid; 0 for the other rows."""
    region = shared.region(index, arrays)
    rows = region.select(mask)
    found = function(region.matrix(rows), value)
    whole = np.zeros((region.n_rows, *found.shape[1:]), dtype)
    whole[region.place(rows)] = found
    return whole.reshape(shape)


def sum_rows(
    shared: Shared, function: Any, index: Index, mask: Bits | None, block: Any, *arrays: Array
) -> Any:
    """``function(matrix, block)`` of the selected rows of a region."""
    region = shared.region(index, arrays)
    rows = region.select(mask)
    if block is not None:
        order = region.place(rows)
        block = block.reshape(region.n_rows, *block.shape[region.ndim :])[order]
    return function(region.matrix(rows), block)


def take_rows(shared: Shared, index: Index, numbers: AsIs, *arrays: Array) -> Array:
    """Rows of a region by their numbers."""
    region = shared.region(index, arrays)
    found: Array = region.matrix(None)[region.find(numbers.items[0])]
    return found


def gather(places: AsIs, shape: Index, dtype: Any, *parts: Array) -> Array:
    """Rows from several regions, each at its place, in ``shape``."""
    out = np.empty((math.prod(shape[:-1]), shape[-1]), dtype)
    for place, part in zip(places.items, parts, strict=True):
        out[place] = part
    return out.reshape(shape)


def add(*parts: Array) -> Array:
    """The sum of some arrays."""
    total = np.array(parts[0])
    for part in parts[1:]:
        total += part
    return total


# what they call, ``function(matrix, value)``


def multiply(matrix: PatchMatrix, value: Array) -> Array:
    return matrix @ value


def multiply_transposed(matrix: PatchMatrix, block: Array) -> Array:
    return matrix.T @ block


def take_features(matrix: PatchMatrix, features: Array) -> Array:
    found: Array = matrix[:, features]
    return found


def gram(matrix: PatchMatrix, _: None) -> Array:
    return matrix.gram()


def sum_features(matrix: PatchMatrix, _: None) -> Array:
    return np.asarray(matrix.sum(1))


def row_var(ddof: float, matrix: PatchMatrix, _: None) -> Array:
    return np.asarray(matrix.var(1, ddof))


def row_norms(matrix: PatchMatrix, _: None) -> Array:
    return matrix.row_norms()


def sum_elements(axis: int | None, matrix: PatchMatrix, _: None) -> Array:
    return np.asarray(matrix.sum(axis))


def cov_scatter(matrix: PatchMatrix, _: None) -> Scatter:
    n = len(matrix)
    return Scatter(n, np.asarray(matrix.mean(0)), np.asarray(matrix.cov(ddof=0)) * n)


def var_scatter(axis: int | None, matrix: PatchMatrix, _: None) -> Scatter:
    n = matrix.size if axis is None else len(matrix)
    return Scatter(n, np.asarray(matrix.mean(axis)), np.asarray(matrix.var(axis)) * n)

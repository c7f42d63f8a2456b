"""What the tasks of a dask array's patch matrix do: each makes the matrix of its region, and asks it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..verbs.chunked import Bits, Chunked
from .matrix import PatchMatrix
from .parts import Array
from .regions import Local, Spread, region_of

__all__ = [
    "Shared",
    "added",
    "chosen_features",
    "column_sums",
    "covariance",
    "gathered",
    "gram_of",
    "product",
    "row_norms",
    "row_sums",
    "row_vars",
    "rows_task",
    "scatter",
    "squares",
    "sum_task",
    "taken",
    "transposed_product",
    "variance",
]

Index = tuple[int, ...]


@dataclass(frozen=True)
class Shared:
    """What all tasks of a result share."""

    layout: Chunked
    center: bool
    scale: bool

    def local(self, index: Index, arrays: Sequence[Array]) -> Local:
        block = self.layout.block(index, arrays)
        return region_of(self.layout.frame, self.layout.tile(index), block, self.center, self.scale)


def rows_task(
    shared: Shared,
    function: Any,
    index: Index,
    mask: Bits | None,
    shape: Index,
    dtype: Any,
    value: Any,
    *arrays: Array,
) -> Array:
    local = shared.local(index, arrays)
    rows = local.rows(mask)
    found = function(local.matrix(rows), value)
    whole = np.zeros((local.n_rows, *found.shape[1:]), dtype)
    whole[local.place(rows)] = found
    return whole.reshape(shape)


def sum_task(
    shared: Shared, function: Any, index: Index, mask: Bits | None, block: Any, *arrays: Array
) -> Any:
    local = shared.local(index, arrays)
    rows = local.rows(mask)
    if block is not None:
        order = local.place(rows)
        block = block.reshape(local.n_rows, *block.shape[local.ndim :])[order]
    return function(local.matrix(rows), block)


def taken(shared: Shared, index: Index, numbers: Spread, *arrays: Array) -> Array:
    local = shared.local(index, arrays)
    found: Array = local.matrix(None)[local.numbered(numbers.items[0])]
    return found


def gathered(places: Spread, shape: Index, dtype: Any, *parts: Array) -> Array:
    out = np.empty((math.prod(shape[:-1]), shape[-1]), dtype)
    for place, part in zip(places.items, parts, strict=True):
        out[place] = part
    return out.reshape(shape)


def added(*parts: Array) -> Array:
    total = np.array(parts[0])
    for part in parts[1:]:
        total += part
    return total


def product(matrix: PatchMatrix, value: Array) -> Array:
    return matrix @ value


def transposed_product(matrix: PatchMatrix, block: Array) -> Array:
    return matrix.T @ block


def chosen_features(matrix: PatchMatrix, features: Array) -> Array:
    found: Array = matrix[:, features]
    return found


def gram_of(matrix: PatchMatrix, _: None) -> Array:
    return matrix.gram()


def row_sums(matrix: PatchMatrix, _: None) -> Array:
    return np.asarray(matrix.sum(1))


def row_vars(ddof: float, matrix: PatchMatrix, _: None) -> Array:
    return np.asarray(matrix.var(1, ddof))


def row_norms(matrix: PatchMatrix, _: None) -> Array:
    return matrix.row_norms()


def column_sums(axis: int | None, matrix: PatchMatrix, _: None) -> Array:
    return np.asarray(matrix.sum(axis))


def scatter(matrix: PatchMatrix, _: None) -> tuple[int, Array, Array]:
    """How many rows, their mean, and the products of what is left of them."""
    n = len(matrix)
    return n, np.asarray(matrix.mean(0)), np.asarray(matrix.cov(ddof=0)) * n


def covariance(ddof: float, moments: tuple[int, Array, Array]) -> Array:
    n, _, products = moments
    return products / (n - ddof)


def squares(axis: int | None, matrix: PatchMatrix, _: None) -> tuple[int, Array, Array]:
    n = matrix.size if axis is None else len(matrix)
    return n, np.asarray(matrix.mean(axis)), np.asarray(matrix.var(axis)) * n


def variance(ddof: float, moments: tuple[int, Array, Array]) -> Array:
    n, _, squares = moments
    return np.asarray(squares / (n - ddof))

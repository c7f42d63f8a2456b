"""The rows of a patch matrix as points in space, and their distances, a piece of the rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..matrix import PatchMatrix
from ..matrix.statistics.sums import compute_shift, sum_columns, sum_row_squares
from .passes import cutting_is_cheaper, split_pieces

__all__ = ["CLOSE", "Points"]

Array = NDArray[Any]

CLOSE = 1e-11
"""Two distances that differ by less than this, relative to their squares, may be ordered by rounding alone."""


@dataclass(frozen=True)
class Points:
    """The rows of a matrix as points in space. Their coordinates are counted from ``shift``, near the mean."""

    matrix: PatchMatrix

    @cached_property
    def _shifts(self) -> tuple[Any, Array]:
        return compute_shift(self.matrix.selection)

    @property
    def shift(self) -> Array:
        return self._shifts[1]

    @cached_property
    def moments(self) -> tuple[Array, Array]:
        """Sums of coordinates and of their squares."""
        return sum_columns(self.matrix.selection, self._shifts[0], squares=True)

    @property
    def variance(self) -> float:
        """The mean variance of a coordinate."""
        n, (total, squares) = len(self.matrix), self.moments
        return float(np.mean(np.maximum(squares / n - (total / n) ** 2, 0)))

    def take(self, rows: Any) -> Array:
        """Chosen points."""
        return np.asarray(self.matrix[rows] - self.shift)

    def pieces(self, columns: int) -> Iterator[tuple[slice, Any]]:
        cut = cutting_is_cheaper(self.matrix, columns)
        return split_pieces(self.matrix, columns, cut)

    def closeness(self, block: Any, centers: Array) -> Array:
        """``x . c - |c|**2 / 2`` for each point of a piece and each center: the nearest center has the largest."""
        found = np.asarray(block @ centers.T)
        found -= centers @ self.shift + np.square(centers).sum(axis=1) / 2
        return found

    def squares(self, block: Any) -> Array:
        """``|x|**2`` of all points of a piece."""
        if isinstance(block, np.ndarray):
            points = block - self.shift
            return np.asarray(np.einsum("ij,ij->i", points, points))
        sums = sum_row_squares(block.selection, self._shifts[0])
        assert sums is not None
        return sums

    def distances(self, block: Any, centers: Array) -> Array:
        """Squared distances ``(n, k)``; 0 where they are no larger than rounding."""
        squares = self.squares(block)[:, None]
        found = self.closeness(block, centers)
        found *= -2
        found += squares
        found[found < CLOSE * (squares + np.square(centers).sum(axis=1))] = 0
        return found

"""The rows of a patch matrix that have a target: their moments, and their products with targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..matrix import PatchMatrix
from ..matrix.estimate import estimate_gram, estimate_product
from ..matrix.gram.moments import ShiftedMoments, compute_moments
from ..matrix.matrix import matrix_of
from ..matrix.statistics.sums import compute_shift
from .base import iterate_slabs

__all__ = ["Rows", "select_rows"]

Array = NDArray[Any]

_LEAST = 1e-2  # of the scatter of all rows: what may remain of a difference without losing digits


def select_rows(matrix: PatchMatrix, mask: Array) -> PatchMatrix:
    """The rows where ``mask`` is True, as a lazy matrix (``matrix[mask]`` is an array)."""
    selection = matrix.selection
    found = np.flatnonzero(mask)
    rows = found.astype(np.int32) if selection.n_rows <= np.iinfo(np.int32).max else found
    chosen: Any = rows + selection.rows.start  # type: ignore[union-attr]
    return matrix_of(replace(selection, rows=chosen))


@dataclass(frozen=True)
class Rows:
    """All patches of some images, and which of them take part.

    ``mask`` has one truth value per row, or is None where all take part.
    """

    matrix: PatchMatrix
    mask: NDArray[np.bool_] | None = None

    @cached_property
    def n(self) -> int:
        """How many take part."""
        return len(self.matrix) if self.mask is None else int(np.count_nonzero(self.mask))

    def restrict(self, mask: Array) -> Rows:
        """The same rows, but only where ``mask`` (one truth value per row of the matrix) is True."""
        return Rows(self.matrix, mask if self.mask is None else mask & self.mask)

    @cached_property
    def kept(self) -> PatchMatrix:
        """The rows that take part, and no others."""
        if self.mask is None or self.n == len(self.matrix):
            return self.matrix
        return select_rows(self.matrix, self.mask)

    def moments(self) -> ShiftedMoments:
        """The moments of the rows that take part, exact.

        Where that is less work, they are those of all rows less those of the others; but not where
        the difference would be so small that it loses digits.
        """
        if self.mask is None or self.n == len(self.matrix):
            return compute_moments(self.matrix.selection)
        whole = _estimate_seconds(self.matrix)
        if self.n / len(self.matrix) * estimate_gram(self.matrix.selection).blocks > whole:
            others = select_rows(self.matrix, ~self.mask)
            if whole + _estimate_seconds(others) < _estimate_seconds(self.kept):
                found = self._subtract(others)
                if found is not None:
                    return found
        return compute_moments(self.kept.selection)

    def _subtract(self, others: PatchMatrix) -> ShiftedMoments | None:
        shift = compute_shift(self.matrix.selection)
        whole = compute_moments(self.matrix.selection, shift)
        found = whole.without(compute_moments(others.selection, shift))
        left = np.trace(found.scatter())
        return found if left > _LEAST * np.trace(whole.products) else None

    def products(self, columns: Callable[[Any], Array], k: int) -> Array:
        """``X.T @ U``, ``(features, k)``, over the rows that take part.

        ``columns(rows)`` gives rows of ``U`` in float64, for a slice or numbers of rows of
        ``matrix``; it is asked for a few at a time, so that ``U`` need not exist. Rows that take no
        part must be 0.
        """
        ways = estimate_product(self.matrix.selection, k, adjoint=True)
        fraction = self.n / len(self.matrix)
        if self.mask is not None and fraction * ways.blocks < ways.seconds:
            return self._sum_gathered(columns, k)
        total = np.zeros((self.matrix.shape[1], k))
        for part, rows in iterate_slabs(self.matrix, k):
            total += rows.T @ columns(part)
        return total

    def _sum_gathered(self, columns: Callable[[Any], Array], k: int) -> Array:
        total = np.zeros((self.matrix.shape[1], k))
        numbers = np.flatnonzero(self.mask)  # type: ignore[arg-type]
        for part, rows in self.kept.selection.blocks(dtype=np.float64):
            total += rows @ columns(numbers[part])
        return total


def _estimate_seconds(matrix: PatchMatrix) -> float:
    """Estimate of the time that moments take."""
    ways = estimate_gram(matrix.selection)
    return min(ways.blocks, ways.boxes)

"""Sums over rows of features and of products of two features: exact, also where the mean is large."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..boxes.fourier import NotFinite
from ..estimate import Estimate, Way, estimate_gram
from ..guard import check_fits
from ..product.multiply import cut_box
from ..selection.selection import Selection
from ..selection.stack import Array
from ..selection.standardise import conjugate
from ..statistics.sums import compute_shift, mean_of_some, sum_rectangles
from .lags import gram_by_lags

__all__ = ["ShiftedMoments", "compute_moments"]


@dataclass(frozen=True)
class ShiftedMoments:
    """Of ``y = x - shift``: how many rows, ``sum y``, and ``sum conj(y)^T y``."""

    n_rows: int
    shift: Array
    total: Array
    products: Array

    def gram(self) -> Array:
        """``conj(X).T @ X``."""
        across = np.outer(self.shift.conj(), self.total + self.n_rows / 2 * self.shift)
        return np.asarray(self.products + (across + across.conj().T))

    def mean(self) -> Array:
        """Mean of each feature."""
        return self.shift + self.total / self.n_rows

    def scatter(self) -> Array:
        """Sum of ``conj(z)^T z`` over all rows, for ``z = x - mean``."""
        return np.asarray(self.products - np.outer(self.total.conj(), self.total / self.n_rows))

    def cov(self, ddof: float) -> Array:
        """As `numpy.cov` with ``rowvar=False``, which conjugates its second factor."""
        products = self.scatter()
        np.conj(products, out=products)
        products /= self.n_rows - ddof
        return products

    def plus(self, rows: ShiftedMoments) -> ShiftedMoments:
        """The moments of these rows and those, which must have the same shift."""
        return ShiftedMoments(
            self.n_rows + rows.n_rows,
            self.shift,
            self.total + rows.total,
            self.products + rows.products,
        )

    def without(self, rows: ShiftedMoments) -> ShiftedMoments:
        """The moments of all but those rows, which must have the same shift."""
        return ShiftedMoments(
            self.n_rows - rows.n_rows,
            self.shift,
            self.total - rows.total,
            self.products - rows.products,
        )


def compute_moments(selection: Selection, shift: tuple[Any, Array] | None = None) -> ShiftedMoments:
    """The moments of all rows, by lags where that is faster than in blocks.

    ``shift`` is a constant to take out first, in the two forms that `compute_shift` returns; by
    default one near the mean.
    """
    check_fits(
        selection.features**2 * selection.work.itemsize,
        "the Gram matrix",
        "use smaller patches, or X @ V and X.T @ U, which do not need it",
    )
    estimate = estimate_gram(selection)
    constant, features = _choose_shift(selection) if shift is None else shift
    if estimate.way == "boxes":
        try:
            found = _sum_rectangles(selection, estimate, constant, features)
            rest = estimate.rest
            return found if rest is None else found.plus(_sum_blocks(rest, features))
        except NotFinite:
            pass
    return _sum_blocks(selection, features)


def _choose_shift(selection: Selection) -> tuple[Any, Array]:
    """A constant near the mean: of the images, or where rows are chosen, of some of these."""
    if selection.span is None and selection.plain:
        return mean_of_some(selection)
    return compute_shift(selection)


def _sum_rectangles(
    selection: Selection, estimate: Estimate, shift: Any, features: Array
) -> ShiftedMoments:
    products = np.zeros((selection.features,) * 2, selection.work)
    for _, ways in estimate.rectangles:
        for way in ways:
            _add_box(products, selection, way, shift, features)
    rectangles = [rectangle for rectangle, _ in estimate.rectangles]
    total, _ = sum_rectangles(rectangles, shift, selection.work, selection.limits)
    if not np.isfinite(total).all():
        raise NotFinite("an element, in a patch or in none, is not finite")
    return ShiftedMoments(sum(each.n_rows for each in rectangles), features, total, products)


def _add_box(products: Array, selection: Selection, way: Way, shift: Any, features: Array) -> None:
    limits = selection.limits
    if way.name != "blocks":
        products += gram_by_lags(way.box, shift, products.dtype, way.name == "phases", limits)
        return
    for _, columns in cut_box(way.box, products.dtype, limits.row_block_bytes):
        columns -= features[:, None]
        products += conjugate(columns) @ columns.T


def _sum_blocks(selection: Selection, shift: Array) -> ShiftedMoments:
    products = np.zeros((selection.features,) * 2, selection.work)
    one = np.empty_like(products)
    total = np.zeros(selection.features, selection.work)
    for _, columns in selection.blocks(dtype=selection.work):
        columns -= shift[:, None]
        total += columns.sum(axis=1)
        products += np.matmul(conjugate(columns), columns.T, out=one)
    return ShiftedMoments(selection.n_rows, shift, total, products)

"""Sums of products of features: Gram and covariance matrices, exact and safe for a large mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .boxes import Area
from .cost import Estimate, Way, gram_ways
from .guard import check_fits
from .lags import lag_gram
from .parts import Array
from .products import box_blocks
from .spectra import NotFinite
from .sums import area_sums, near_mean, shift_of
from .table import BLOCK, Table, conjugate

__all__ = ["Moments", "moments_of"]


@dataclass(frozen=True)
class Moments:
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

    def plus(self, rows: Moments) -> Moments:
        """The moments of these rows and those, which must have the same shift."""
        return Moments(
            self.n_rows + rows.n_rows,
            self.shift,
            self.total + rows.total,
            self.products + rows.products,
        )

    def without(self, rows: Moments) -> Moments:
        """The moments of all but those rows, which must have the same shift."""
        return Moments(
            self.n_rows - rows.n_rows,
            self.shift,
            self.total - rows.total,
            self.products - rows.products,
        )


def moments_of(table: Table, shift: tuple[Any, Array] | None = None) -> Moments:
    """The moments of all rows, by lags where that is cheaper than blocks.

    ``shift`` is taken out first: as `shift_of` gives it, which is the default.
    """
    check_fits(
        table.features**2 * table.work.itemsize,
        "the Gram matrix",
        "use smaller patches, or X @ V and X.T @ U, which do not need it",
    )
    estimate = gram_ways(table)
    constant, features = _shift_of(table) if shift is None else shift
    if estimate.way == "boxes":
        try:
            found = _boxes(table, estimate, constant, features)
            return (
                found if estimate.rest is None else found.plus(_streamed(estimate.rest, features))
            )
        except NotFinite:
            pass
    return _streamed(table, features)


def _shift_of(table: Table) -> tuple[Any, Array]:
    """A constant near the mean: of the images, or where rows are chosen, of some of these."""
    return shift_of(table) if table.contiguous is not None or not table.plain else near_mean(table)


def _boxes(table: Table, estimate: Estimate, shift: Any, features: Array) -> Moments:
    products = np.zeros((table.features,) * 2, table.work)
    for area, ways in estimate.areas:
        for way in ways:
            _add_box(products, area, way, shift, features)
    areas = [area for area, _ in estimate.areas]
    total, _ = area_sums(areas, shift, table.work)
    if not np.isfinite(total).all():
        raise NotFinite("an element, in a patch or in none, is not finite")
    return Moments(sum(area.n_rows for area in areas), features, total, products)


def _add_box(products: Array, area: Area, way: Way, shift: Any, features: Array) -> None:
    if way.name != "blocks":
        products += lag_gram(way.box, shift, products.dtype, direct=way.name == "phases")
        return
    for _, columns in box_blocks(area, way.box, products.dtype):
        columns -= features[:, None]
        products += conjugate(columns) @ columns.T


def _streamed(table: Table, shift: Array) -> Moments:
    products = np.zeros((table.features,) * 2, table.work)
    part = np.empty_like(products)
    total = np.zeros(table.features, table.work)
    for _, columns in table.blocks(BLOCK, table.work):
        columns -= shift[:, None]
        total += columns.sum(axis=1)
        products += np.matmul(conjugate(columns), columns.T, out=part)
    return Moments(table.n_rows, shift, total, products)

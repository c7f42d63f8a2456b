"""Sums of products of features: Gram and covariance matrices, exact and safe for a large mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..boxes.boxes import Area
from ..boxes.fourier import NotFinite
from ..estimate import Estimate, Way, gram_ways
from ..gram.lags import lag_gram
from ..product.multiply import box_blocks
from ..selection.selection import BLOCK, Table, conjugate
from ..selection.stack import Array
from ..statistics.sums import area_sums, shift_of

__all__ = ["Moments", "moments_of"]

_SOME = 256  # rows whose mean is near enough to the mean of all


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
    return shift_of(table) if table.contiguous is not None or not table.plain else _near_mean(table)


def _boxes(table: Table, estimate: Estimate, shift: Any, features: Array) -> Moments:
    products = np.zeros((table.features,) * 2, table.work)
    for area, ways in estimate.areas:
        for way in ways:
            _add_box(products, area, way, shift, features)
    areas = [area for area, _ in estimate.areas]
    total, _ = area_sums(areas, shift, table.work)
    return Moments(sum(area.n_rows for area in areas), features, total, products)


def _near_mean(table: Table) -> tuple[Any, Array]:
    """The mean of some rows, one number per channel; whole numbers for integers. 0 where it is not finite."""
    frame = table.stack.parts[0].frame
    at = np.unique(np.linspace(0, max(table.n_rows - 1, 0), _SOME).astype(np.int64))[: table.n_rows]
    rows = table.taken(at).astype(table.work).reshape(len(at), *frame.patch)
    others = tuple(k for k in range(rows.ndim) if k - 1 != frame.channel or k == 0)
    mean = rows.mean(axis=others, keepdims=True)[0] if len(at) else np.zeros((1,) * (rows.ndim - 1))
    mean = np.rint(mean) if table.stack.dtype.kind in "biu" else mean
    mean = mean if np.isfinite(mean).all() else np.zeros_like(mean)
    return mean, np.broadcast_to(mean, frame.patch).ravel()


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

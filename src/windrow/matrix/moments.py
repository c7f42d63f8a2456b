"""Sums of products of features: Gram and covariance matrices, exact and safe for a large mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .boxes import Area
from .cost import Way, gram_ways
from .lags import lag_gram
from .parts import Array
from .products import box_blocks
from .spectra import NotFinite
from .sums import column_sums, shift_of
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
        return self.shift + self.total / self.n_rows

    def cov(self, ddof: int) -> Array:
        """As `numpy.cov` with ``rowvar=False``, which conjugates its second factor."""
        products = self.products - np.outer(self.total.conj(), self.total / self.n_rows)
        return np.asarray(np.conj(products) / (self.n_rows - ddof))


def moments_of(table: Table) -> Moments:
    """The moments of all rows, by lags where that is cheaper than blocks."""
    estimate = gram_ways(table)
    shift, features = shift_of(table)
    if not estimate.streamed:
        try:
            products = np.zeros((table.features,) * 2, table.work)
            for area, ways in estimate.areas:
                for way in ways:
                    _add_box(products, area, way, shift, features)
            total, _ = column_sums(table, shift)
            return Moments(table.n_rows, features, total, products)
        except NotFinite:
            pass
    return _streamed(table, features)


def _add_box(products: Array, area: Area, way: Way, shift: Any, features: Array) -> None:
    if way.name == "lags":
        products += lag_gram(way.box, shift, products.dtype)
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

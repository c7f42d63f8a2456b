"""Means and scatters of groups of rows, joined into those of all rows (Chan, Golub and LeVeque, 1979)."""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import numpy as np

from ..selection.stack import Array

__all__ = ["Scatter", "compute_cov", "compute_var", "join"]


class Scatter(NamedTuple):
    """Of some rows: how many, their mean, and the sum of squares or products of their differences from it."""

    n: int
    mean: Array
    sums: Array


def join(*groups: Scatter) -> Scatter:
    """Of the rows of all groups together."""
    return reduce(_join_two, groups)


def _join_two(one: Scatter, other: Scatter) -> Scatter:
    n, m = one.n, other.n
    total = n + m
    difference = other.mean - one.mean
    if one.sums.ndim > one.mean.ndim:
        products = np.outer(difference, np.conj(difference))
    else:
        products = np.square(np.abs(difference))
    sums = one.sums + other.sums + products * (n / total * m)
    return Scatter(total, one.mean + difference * (m / total), sums)


def compute_cov(ddof: float, found: Scatter) -> Array:
    """The covariance matrix."""
    return found.sums / (found.n - ddof)


def compute_var(ddof: float, found: Scatter) -> Array:
    """The variance of each feature, or of everything."""
    return np.asarray(found.sums / (found.n - ddof))

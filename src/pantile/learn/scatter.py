"""The covariance of each class by itself, so that each can have its own weight and shrinkage."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .rows import Rows

__all__ = ["shrink", "shrink_ledoit_wolf", "sum_class_covariances"]

Array = NDArray[Any]


def shrink(covariance: Array, amount: float) -> Array:
    """``(1 - amount)`` of a covariance and ``amount`` of the mean variance times the identity."""
    mean = np.trace(covariance) / len(covariance)
    found = (1 - amount) * covariance
    found.flat[:: len(found) + 1] += amount * mean
    return np.asarray(found)


def sum_class_covariances(rows: Rows, codes: Array, weights: Array, shrinkage: Any) -> Array:
    """The weighted sum of the covariances of the classes, each shrunk by itself."""
    total: Any = 0
    for k, weight in enumerate(weights):
        members = rows.restrict(codes == k)
        moments = members.moments()
        covariance = moments.cov(0)
        if shrinkage == "auto":
            covariance = shrink_ledoit_wolf(members, moments.mean(), covariance)
        elif shrinkage:
            covariance = shrink(covariance, shrinkage)
        total = total + weight * covariance
    return np.asarray(total)


def shrink_ledoit_wolf(rows: Rows, mean: Array, covariance: Array) -> Array:
    """The covariance, shrunk as Ledoit and Wolf advise, with features standardised in between.

    O. Ledoit and M. Wolf, "A well-conditioned estimator for large-dimensional covariance matrices",
    J. Multivariate Analysis 88 (2004). The fourth moment it needs is the sum of the rows' squared
    norms, squared, for which the rows are streamed once more.
    """
    features = len(mean)
    scale = np.sqrt(np.diag(covariance))
    scale[scale <= 10 * np.finfo(np.float64).eps * np.abs(mean)] = 1  # constant features
    correlation = covariance / np.outer(scale, scale)
    squares = np.square(correlation).sum()
    level = np.trace(correlation) / features
    spread = squares - features * level**2  # times features: the distance from the identity
    noise = min(max(_sum_fourth_powers(rows, mean, scale) / rows.n - squares, 0) / rows.n, spread)
    found = shrink(correlation, noise / spread if spread > 0 else 0.0)
    return np.asarray(found * np.outer(scale, scale))


def _sum_fourth_powers(rows: Rows, mean: Array, scale: Array) -> float:
    """The sum of the fourth powers of the norms of all standardised rows."""
    total = 0.0
    for _, block in rows.kept.selection.blocks(dtype=np.float64):
        block -= mean[:, None]
        block /= scale[:, None]
        norms = np.einsum("ij,ij->j", block, block)
        total += float(norms @ norms)
    return total

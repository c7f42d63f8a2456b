"""What boosting minimises: gradients and curvatures of losses, some windows at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logsumexp, softmax

__all__ = ["Logistic", "Loss", "Softmax", "Squared"]

Array = NDArray[Any]

_RARE = 1e-9  # the share of a class that only held-out regions have


class Loss:
    """A loss of raw scores ``(windows, k)``; ``truth`` are codes, or numbers."""

    columns = 1
    constant_curvature = False
    bounded = True  # derivatives are at most 1

    def start(self, truth: Array, weights: Array | None) -> Array:
        """The constant score that is best, ``(k,)``."""
        raise NotImplementedError

    def derivatives(self, raw: Array, truth: Array, k: int) -> tuple[Array, Array]:
        """First and second derivative by the ``k``-th score."""
        raise NotImplementedError

    def values(self, raw: Array, truth: Array) -> Array:
        """The loss of each window."""
        raise NotImplementedError


class Squared(Loss):
    """Half the squared error."""

    constant_curvature = True
    bounded = False

    def start(self, truth: Array, weights: Array | None) -> Array:
        return np.array([np.average(truth, weights=weights)])

    def derivatives(self, raw: Array, truth: Array, k: int) -> tuple[Array, Array]:
        return raw[:, 0] - truth, np.ones(len(raw))

    def values(self, raw: Array, truth: Array) -> Array:
        return np.asarray(np.square(raw[:, 0] - truth) / 2)


class Logistic(Loss):
    """The logistic loss of two classes."""

    def start(self, truth: Array, weights: Array | None) -> Array:
        share = float(np.average(truth, weights=weights).clip(_RARE, 1 - _RARE))
        return np.array([np.log(share / (1 - share))])

    def derivatives(self, raw: Array, truth: Array, k: int) -> tuple[Array, Array]:
        p = expit(raw[:, 0])
        return p - truth, p * (1 - p)

    def values(self, raw: Array, truth: Array) -> Array:
        return np.asarray(np.logaddexp(0, raw[:, 0]) - truth * raw[:, 0])


class Softmax(Loss):
    """The cross entropy of several classes."""

    def __init__(self, columns: int) -> None:
        self.columns = columns

    def start(self, truth: Array, weights: Array | None) -> Array:
        shares = np.bincount(truth, weights=weights, minlength=self.columns)
        logs = np.log(np.maximum(shares / shares.sum(), _RARE))
        return np.asarray(logs - logs.mean())

    def derivatives(self, raw: Array, truth: Array, k: int) -> tuple[Array, Array]:
        p = softmax(raw, axis=1)[:, k]
        return p - (truth == k), p * (1 - p)

    def values(self, raw: Array, truth: Array) -> Array:
        return np.asarray(logsumexp(raw, axis=1) - raw[np.arange(len(raw)), truth])

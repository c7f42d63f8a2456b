"""The variance of the values that meet, from exact sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.rect import Rect
from ..kernels.lanes import find_spread
from ..kernels.moments import add_moments
from .batch import PatchBatch
from .reduction import Collecting, Reduction, State

__all__ = ["Variance"]


@dataclass(frozen=True)
class Variance(Reduction):
    """Population variance from sums of w, w x and w x^2 in double-double, so that a large mean costs nothing."""

    taper: NDArray[np.float64] | None = None

    def init(self, shape: tuple[int, ...]) -> State:
        return tuple(np.zeros(shape) for _ in range(6))

    def collecting(self) -> Collecting | None:
        return Collecting(lambda kept: find_spread(kept)[1:], self.taper)

    def add(self, state: State, batch: PatchBatch) -> None:
        targets = [batch.area.operand(a) for a in state]
        sums = tuple([target.memory for target in targets])
        tables, weights = batch.tabulate_lines(targets[0]), batch.all_weights(self.taper)
        add_moments(sums, batch.source.memory, tables, weights)

    def combine(self, states: Sequence[State]) -> State:
        whole = [a.copy() for a in states[0]]
        for state in states[1:]:
            for k in (0, 2, 4):
                whole[k], lost = _two_sum(whole[k], state[k])
                whole[k + 1] += state[k + 1] + lost
        return tuple(whole)

    def finalize(self, state: State, bounds: Rect, dtype: np.dtype[Any]) -> NDArray[Any]:
        total, total_low, square, square_low, weight, weight_low = state
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            n = weight + weight_low
            mean = (total + total_low) / n
            # sum of w (x - mean)^2 = square - mean (2 total - mean n), the large parts cancelling
            # exactly
            p, p_low = _two_product(mean, 2 * total)
            q, q_low = _two_product(mean, mean)
            r, r_low = _two_product(q, n)
            high, lost = _two_sum(square, -p)
            high, more = _two_sum(high, r)
            low = square_low - 2 * mean * total_low - p_low + r_low + q_low * n + lost + more
            spread = np.maximum((high + low) / n, 0)
        return np.asarray(spread)

    def empty(self, state: State) -> NDArray[np.bool_] | None:
        return np.asarray(state[4] == 0)


Pair = tuple[NDArray[np.float64], NDArray[np.float64]]


def _two_sum(a: NDArray[np.float64], b: NDArray[np.float64]) -> Pair:
    """The rounded sum and what rounding lost (Knuth, TAOCP 2, 4.2.2)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _two_product(a: NDArray[np.float64], b: NDArray[np.float64]) -> Pair:
    """The rounded product and what rounding lost (Dekker 1971)."""
    product = a * b
    high_a, high_b = _head(a), _head(b)
    rest_a, rest_b = a - high_a, b - high_b
    lost = rest_a * rest_b - (((product - high_a * high_b) - rest_a * high_b) - high_a * rest_b)
    return product, lost


def _head(a: NDArray[np.float64]) -> NDArray[np.float64]:
    scaled = 134217729.0 * a
    return scaled - (scaled - a)

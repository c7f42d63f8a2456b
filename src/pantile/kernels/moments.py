"""The loop behind variances: sums of w, w x and w x^2, each as a pair of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .compile import compiled, compiled_with
from .offsets import LineTables, Weights

# The loops are typed when they are compiled.
# mypy: disable-error-code="no-untyped-def"

__all__ = ["add_moments", "find_moments", "join_moments"]


def add_moments(
    state: tuple[NDArray[Any], ...], src: NDArray[Any], tables: LineTables, weights: Weights
) -> None:
    """Add w x, w x^2 and w in double-double, the products split exactly (Dekker 1971)."""
    total, total_low, square, square_low, weight, weight_low = state
    _add_moments(total, total_low, square, square_low, weight, weight_low, src, *tables, *weights)


def join_moments(state: tuple[NDArray[Any], ...], other: tuple[NDArray[Any], ...]) -> None:
    """Add the sums of another state, flat like this one."""
    for k in (0, 2, 4):
        _join_moments(state[k], state[k + 1], other[k], other[k + 1])


def find_moments(
    state: tuple[NDArray[Any], ...],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean and the population variance of flat sums; NaN where there is no weight."""
    mean, variance = np.empty_like(state[0]), np.empty_like(state[0])
    _find_moments(mean, variance, *state)
    return mean, variance


@compiled
def _add_moments(
    total, total_low, square, square_low, weight, weight_low, src, dst_runs, src_runs, lengths,
    dst_along, src_along, dst_lines, src_lines, length, dst_step, src_step, taper, patch_weights, first,
):  # fmt: skip
    splitter = 134217729.0
    for r in range(lengths.size):
        for k in range(lengths[r]):
            at = dst_runs[r] + k * dst_along
            of = src_runs[r] + k * src_along
            for m in range(dst_lines.size):
                for j in range(length):
                    i = at + dst_lines[m] + j * dst_step
                    x = float(src[of + src_lines[m] + j * src_step])
                    w = patch_weights[first[r] + k] * taper[m * length + j]
                    a = weight[i] + w
                    b = a - weight[i]
                    weight_low[i] += (weight[i] - (a - b)) + (w - b)
                    weight[i] = a
                    # p + p_low == w x exactly
                    p = w * x
                    c = splitter * w
                    w_high = c - (c - w)
                    c = splitter * x
                    x_high = c - (c - x)
                    w_rest = w - w_high
                    x_rest = x - x_high
                    p_low = w_rest * x_rest - (
                        ((p - w_high * x_high) - w_rest * x_high) - w_high * x_rest
                    )
                    a = total[i] + p
                    b = a - total[i]
                    total_low[i] += ((total[i] - (a - b)) + (p - b)) + p_low
                    total[i] = a
                    # q + q_low == p x exactly
                    q = p * x
                    c = splitter * p
                    p_high = c - (c - p)
                    p_rest = p - p_high
                    q_low = p_rest * x_rest - (
                        ((q - p_high * x_high) - p_rest * x_high) - p_high * x_rest
                    )
                    a = square[i] + q
                    b = a - square[i]
                    square_low[i] += ((square[i] - (a - b)) + (q - b)) + (q_low + p_low * x)
                    square[i] = a


@compiled
def _join_moments(high, low, other_high, other_low):
    for i in range(high.size):
        a, b = high[i], other_high[i]
        total = a + b
        part = total - a
        high[i] = total
        low[i] += other_low[i] + ((a - (total - part)) + (b - part))


def _lost_by_sum(a, b):
    # what rounding loses (Knuth, TAOCP 2, 4.2.2)
    total = a + b
    part = total - a
    return (a - (total - part)) + (b - part)


def _lost_by_product(a, b):
    # what rounding loses (Dekker 1971)
    splitter = 134217729.0
    product = a * b
    c = splitter * a
    high_a = c - (c - a)
    c = splitter * b
    high_b = c - (c - b)
    rest_a, rest_b = a - high_a, b - high_b
    return rest_a * rest_b - (((product - high_a * high_b) - rest_a * high_b) - high_a * rest_b)


def _moments(lost_by_sum, lost_by_product):
    def loop(means, variances, total, total_low, square, square_low, weight, weight_low):
        for i in range(means.size):
            n = weight[i] + weight_low[i]
            mean = (total[i] + total_low[i]) / n
            # sum of w (x - mean)^2 = square - mean (2 total - mean n), the large parts cancelling
            # exactly
            twice = 2 * total[i]
            p, q = mean * twice, mean * mean
            r = q * n
            high = square[i] - p
            low = (
                square_low[i]
                - 2 * mean * total_low[i]
                - lost_by_product(mean, twice)
                + lost_by_product(q, n)
                + q * lost_by_sum(weight[i], weight_low[i])
                + lost_by_product(mean, mean) * n
                + lost_by_sum(square[i], -p)
                + lost_by_sum(high, r)
            )
            spread = (high + r + low) / n
            means[i] = mean
            variances[i] = 0.0 if spread < 0 else spread

    return loop


_find_moments = compiled_with(_moments, _lost_by_sum, _lost_by_product)

"""The loop behind variances: sums of w, w x and w x^2, each as a pair of numbers."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from .compile import compiled
from .offsets import LineTables, Weights

# The loops are typed when they are compiled.
# mypy: disable-error-code="no-untyped-def"

__all__ = ["add_moments"]


def add_moments(
    state: tuple[NDArray[Any], ...], src: NDArray[Any], tables: LineTables, weights: Weights
) -> None:
    """Add w x, w x^2 and w in double-double, the products split exactly (Dekker 1971)."""
    total, total_low, square, square_low, weight, weight_low = state
    _add_moments(total, total_low, square, square_low, weight, weight_low, src, *tables, *weights)


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

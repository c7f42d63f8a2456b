"""Sums become values: divided, filled, rounded, saturated, in the dtype of the image, in one pass over some lines.

A line lies along one axis, its elements kept *phase* by phase: of ``phases``, every ``phases``-th from the
first on, then every one from the second on, and so forth. One phase is the elements as they lie.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .compile import compiled, compiled_with

# The loops are typed when they are compiled.
# mypy: disable-error-code="no-untyped-def, index"
# ruff: noqa: ARG001

__all__ = ["Divisor", "Finish", "LineTable", "Row", "finish", "place_lines"]

Memory = NDArray[Any]
Vector = NDArray[np.int64]


class LineTable(NamedTuple):
    """Where each line begins: in the image, among the sums and among the weights, a row of ``places`` each; and the
    product of what it weighs along the other axes."""

    places: Vector
    leads: NDArray[np.float64]


class Row(NamedTuple):
    """How the elements of a line lie: how many, in how many phases they are kept, and how far the next one is in
    the image, among the sums and among the weights."""

    size: int
    phases: int = 1
    step: int = 1
    sum_step: int = 1
    weight_step: int = 1

    @property
    def width(self) -> int:
        """Of a row: phases have equal room."""
        return -(-self.size // self.phases) * self.phases


class Divisor(NamedTuple):
    """The weight of each element: ``weights`` that were added up, or a line's lead times ``profile``, kept phase by
    phase; nothing where all have one. Elements that weigh 0 have no value."""

    weights: Memory | None = None
    profile: NDArray[np.float64] | None = None


class Finish(NamedTuple):
    """How sums become values: the store, the least and the largest value, and what stands where there is none."""

    store: str
    least: Any
    most: Any
    fill: Any


def finish(
    out: Memory, sums: Memory, divisor: Divisor, lines: LineTable, row: Row, how: Finish
) -> tuple[int, int]:
    """Write the values of lines; returns how many elements have none, and how many are NaN where they cannot be."""
    gap, sum_step, weight_step = (
        None if s == 1 else s for s in (row.phases * row.step, row.sum_step, row.weight_step)
    )
    holes, unknown = _FINISHES[how.store](
        out, sums, *divisor, *lines, row.size, row.phases, row.step, gap, sum_step, weight_step, *how[1:]
    )  # fmt: skip
    return int(holes), int(unknown)


def place_lines(lines: tuple[int, int], axes: Vector, profile: NDArray[np.float64]) -> LineTable:
    """The table of ``lines``, numbered in C order of the axes that lead to them.

    A row of ``axes`` is such an axis: its size; how far the next element is in the image, among the
    sums and among the weights; and where it begins in ``profile``, which may be empty.
    """
    n = lines[1] - lines[0]
    table = LineTable(np.empty((n, 3), dtype=np.int64), np.empty(n))
    _place_lines(*table, lines[0], axes, profile)
    return table


@compiled
def _place_lines(places, leads, first, axes, profile):
    for line in range(leads.size):
        rest = first + line
        places[line, :] = 0
        leads[line] = 1.0
        for q in range(axes.shape[0]):
            k = axes.shape[0] - 1 - q
            x = rest % axes[k, 0]
            rest //= axes[k, 0]
            for c in range(3):
                places[line, c] += x * axes[k, 1 + c]
            if profile.size:
                leads[line] *= profile[axes[k, 4] + x]


# Stores: from a sum and its weight to a value, and whether that is NaN where it cannot be.


def _value(total, weight, least, most):
    return total, 0


def _quotient(total, weight, least, most):
    return total / weight, 0


def _rounded(total, weight, least, most):
    x = np.rint(total)
    bad = 1 if x != x else 0
    x = x if x > least else least
    return (x if x < most else most), bad


def _rounded_quotient(total, weight, least, most):
    x = np.rint(total / weight)
    bad = 1 if x != x else 0
    x = x if x > least else least
    return (x if x < most else most), bad


def _saturated(total, weight, least, most):
    x = total if total > least else least
    return (x if x < most else most), 0


def _finish(store):
    def loop(
        out, sums, weights, profile, places, leads, size, phases, step, gap, sum_step, weight_step,
        least, most, fill,
    ):  # fmt: skip
        holes = 0
        unknown = 0
        per_phase = -(-size // phases)
        for line in range(leads.size):
            for p in range(phases):
                n = max(0, -(-(size - p) // phases))
                o = out[places[line, 0] + p * step :]
                s = sums[places[line, 1] + p * per_phase :]
                w = None if weights is None else weights[places[line, 2] + p * per_phase :]
                h = None if profile is None else profile[p * per_phase :]
                for j in range(n):
                    i = j if sum_step is None else j * sum_step
                    total = s[i]
                    weight = 1.0
                    if w is not None:
                        k = j if weight_step is None else j * weight_step
                        weight = w[k] * 1.0
                    elif h is not None:
                        weight = leads[line] * h[j]
                    k = j if gap is None else j * gap
                    if weight == 0:
                        o[k] = fill
                        holes += 1
                    else:
                        o[k], bad = store(total, weight, least, most)
                        unknown += bad
        return holes, unknown

    return loop


_STORES = {
    "value": _value,
    "quotient": _quotient,
    "rounded": _rounded,
    "rounded quotient": _rounded_quotient,
    "saturated": _saturated,
}
_FINISHES = {name: compiled_with(_finish, store) for name, store in _STORES.items()}

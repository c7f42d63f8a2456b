"""Merges that look at all values of an element: these are collected.

What is kept of an element is a column of ``values`` (and of ``weights``), of which the first ``used``
count. `lanes` makes one value of each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .compile import compiled
from .gather import Strips, StripWeights

# The loops are typed when they are compiled.
# mypy: disable-error-code="no-untyped-def"

__all__ = ["Kept", "append", "collect", "find_empty"]

Memory = NDArray[Any]
Vector = NDArray[np.int64]
Kept = tuple[NDArray[Any], Vector, NDArray[np.float64] | None]
"""Values ``(depth, n)``, how many of each column count, and what they weigh (None: all alike)."""


def collect(
    kept: Kept, src: Memory, bases: Vector, width: int, strips: Strips, weights: StripWeights | None
) -> None:
    """Put the values of lines of ``width``, found from ``bases`` (of `find_bases`) on, behind each other."""
    values, used, each = kept
    step = None if strips.step == 1 else strips.step
    used[:] = 0
    of = weights or (None, None, None)
    _collect(values, used, each, src, bases, width, strips.table, step, *of)


def append(state: tuple[NDArray[Any], ...], rows: Vector, other: tuple[NDArray[Any], ...]) -> None:
    """Put what elements of another state hold behind what ``rows`` hold; there must be room for it.

    A state is values ``(n, depth)``, how many of each row count, and, maybe, their weights.
    """
    used, count = state[1], other[1]
    for k in range(2, len(state)):
        _append(state[k], used, rows, other[k], count)
    _append(state[0], used, rows, other[0], count)
    used[rows] += count


def find_empty(kept: Kept) -> NDArray[np.bool_]:
    """Where nothing is kept, or only what has no weight."""
    _, used, weights = kept
    empty = np.empty(len(used), np.bool_)
    _find_empty(empty, used, weights)
    return empty


@compiled
def _collect(values, used, each, src, bases, width, strips, step, leading, numbers, lines):
    for b in range(bases.shape[0]):
        for s in range(strips.shape[0]):
            d, of, n, at, along = strips[s]
            here = bases[b, 5] * width + d
            v = src[bases[b, 0] + of :][: n if step is None else (n - 1) * step + 1]
            u = used[here:][:n]
            begin = 0
            while begin < n:  # parts in which as many have come before
                slot = u[begin]
                end = begin + 1
                while end < n and u[end] == slot:
                    end += 1
                size = end - begin
                u[begin:end] = slot + 1
                t = values[slot, here + begin :][:size]
                o = v[begin if step is None else begin * step :]
                for j in range(size):
                    t[j] = o[j if step is None else j * step]
                if leading is not None:
                    number = leading[bases[b, 1]] * numbers[bases[b, 2] + at]
                    e = each[slot, here + begin :][:size]
                    w = lines[bases[b, 3] + along + begin :][:size]
                    for j in range(size):
                        e[j] = number * w[j]
                begin = end


@compiled
def _append(values, used, rows, others, counts):
    for k in range(rows.size):
        i, n = rows[k], counts[k]
        values[i, used[i] :][:n] = others[k, :n]


@compiled
def _find_empty(empty, used, weights):
    for i in range(used.size):
        held = used[i] > 0
        if weights is not None:
            held = False
            for k in range(used[i]):
                held |= weights[k, i] != 0
        empty[i] = not held

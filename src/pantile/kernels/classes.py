"""The loop behind labels: which channel is the largest, element by element."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .compile import compiled
from .memory import to_native

# The loops are typed when they are compiled.
# mypy: disable-error-code="no-untyped-def"

__all__ = ["argmax_along"]


def argmax_along(values: NDArray[Any], axis: int) -> NDArray[Any]:
    """`numpy.argmax` along an axis, in the smallest unsigned dtype: the first of several that are largest, or NaN.

    ``values`` are real numbers, and there is at least one along the axis.
    """
    n = values.shape[axis]
    dtype = np.uint8 if n <= 256 else np.uint16 if n <= 65_536 else np.uint32
    plain = np.ascontiguousarray(to_native(values))
    shape = plain.shape[:axis] + plain.shape[axis + 1 :]
    found = np.zeros(shape, dtype)
    outer, inner = int(np.prod(shape[:axis])), int(np.prod(shape[axis:]))
    goal = found.reshape(outer, inner)
    if inner == 1:
        _across(plain.reshape(outer, n), goal[:, 0])
    else:
        _beside(plain.reshape(outer, n, inner), goal, np.empty(inner, plain.dtype))
    return found


@compiled
def _across(values, goal):
    for i in range(values.shape[0]):
        row = values[i]
        best, at = row[0], 0
        for k in range(1, row.size):
            if row[k] > best or (row[k] != row[k] and best == best):
                best, at = row[k], k
        goal[i] = at


@compiled
def _beside(values, goal, best):
    for i in range(values.shape[0]):
        labels = goal[i]
        best[:] = values[i, 0]
        for k in range(1, values.shape[1]):
            line = values[i, k]
            for j in range(line.size):
                if line[j] > best[j] or (line[j] != line[j] and best[j] == best[j]):
                    best[j] = line[j]
                    labels[j] = k

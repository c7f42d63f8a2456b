"""Which labels of two overlapping tiles are the same object."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..geometry.rect import Rect

__all__ = ["matches"]

Labels = NDArray[np.int32]


def matches(
    a: Labels, b: Labels, cut: tuple[Sequence[slice], Sequence[slice]], threshold: float
) -> NDArray[np.int64]:
    """Pairs ``(label of a, label of b)``, ``(m, 2)``, that are one object, from what both tiles say of their overlap.

    Two labels are one object where their intersection over their union is ``threshold`` or more;
    or, where one of them reaches an edge of its own tile that lies inside the overlap (``cut``),
    so that more of the object may lie beyond, where that share of it lies in the other.
    """
    both = (a > 0) & (b > 0)
    if not both.any():
        return np.empty((0, 2), np.int64)
    width = int(b.max()) + 1
    keys, shared = _counted(a[both].astype(np.int64) * width + b[both], (int(a.max()) + 1) * width)
    of_a, of_b = np.divmod(keys, width)
    size_a, size_b = np.bincount(a.ravel())[of_a], np.bincount(b.ravel())[of_b]
    same = shared >= threshold * (size_a + size_b - shared)
    same |= _cut(a, cut[0])[of_a] & (shared >= threshold * size_a)
    same |= _cut(b, cut[1])[of_b] & (shared >= threshold * size_b)
    return np.stack([of_a[same], of_b[same]], axis=1)


def _counted(keys: NDArray[np.int64], most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The keys there are, ascending, and how often each comes."""
    if most <= 4 * len(keys) + 1024:
        counts = np.bincount(keys)
        there = np.flatnonzero(counts)
        return there, counts[there]
    return np.unique(keys, return_counts=True)


def _cut(labels: Labels, edges: Sequence[slice]) -> NDArray[np.bool_]:
    """Of each label, whether it has an element on one of the edges."""
    found = np.zeros(int(labels.max(initial=0)) + 1, dtype=np.bool_)
    for edge in edges:
        found[labels[edge].ravel()] = True
    found[0] = False
    return found


def edges_within(mine: Rect, overlap: Rect, shape: Sequence[int]) -> list[tuple[slice, ...]]:
    """The edges of a tile that lie in an overlap and not at the edge of the image, as slices of the overlap."""
    found = []
    for k, ((begin, end), (low, high), size) in enumerate(zip(mine, overlap, shape, strict=True)):
        for at, inside in ((begin, begin > 0), (end - 1, end < size)):
            if inside and low <= at < high:
                edge = [slice(None)] * len(mine)
                edge[k] = slice(at - low, at - low + 1)
                found.append(tuple(edge))
    return found

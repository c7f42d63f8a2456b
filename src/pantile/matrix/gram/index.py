"""Indices of arrays with many axes, and sizes of blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["fit_lengths", "index_axes"]


def index_axes(index: dict[int, Any]) -> tuple[Any, ...]:
    """An index that is ``index[axis]`` where there is one, and everything on the axes before the last of them.

    >>> index_axes({0: 5, 2: 7})
    (5, slice(None, None, None), 7)
    """
    return tuple(index.get(a, slice(None)) for a in range(max(index) + 1))


def fit_lengths(most: int, counts: Sequence[int]) -> list[int]:
    """Lengths of blocks of at most so many patches, at least one, whole lines first.

    >>> fit_lengths(100, (50, 30))
    [3, 30]
    """
    lengths = list(counts)
    for j in reversed(range(len(lengths))):
        lengths[j] = max(1, min(lengths[j], most))
        most //= lengths[j]
    return lengths

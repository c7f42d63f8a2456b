"""Which patches lie how far apart along one axis: runs of neighbours that share a displacement."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..geometry.axis import AxisGrid

__all__ = ["pairs_within", "reachable", "runs_of"]

Ints = NDArray[np.int64]


def runs_of(queries: Ints, candidates: Ints, radius: int | None) -> Ints:
    """Pairs of starts at most ``radius`` apart, as runs (displacement, query, candidate, length, gap), nearest first.

    Element ``i`` of a run pairs ``queries[query + i]`` with ``candidates[candidate + i]``, which lie
    ``displacement`` behind it; ``gap`` is how far neighbours of a run are apart.

    >>> runs_of(np.arange(3), np.arange(3), 1)
    array([[ 0,  0,  0,  3,  1],
           [-1,  1,  0,  2,  1],
           [ 1,  0,  1,  2,  1]])
    """
    gap = _common_gap(queries, candidates)
    found = _even(queries, candidates, gap) if gap else _any(queries, candidates)
    if radius is not None:
        found = found[np.abs(found[:, 0]) <= radius]
    return found[np.argsort(np.abs(found[:, 0]), kind="stable")]


def _common_gap(queries: Ints, candidates: Ints) -> int:
    """The gap that all neighbours have, 0 where there is none."""
    gaps = np.concatenate([np.diff(queries), np.diff(candidates)])
    if not len(gaps):
        return 1
    return int(gaps[0]) if (gaps == gaps[0]).all() else 0


def _even(queries: Ints, candidates: Ints, gap: int) -> Ints:
    turns = np.arange(1 - len(queries), len(candidates))
    first, other = np.maximum(-turns, 0), np.maximum(turns, 0)
    length = np.minimum(len(queries) - first, len(candidates) - other)
    apart = int(candidates[0] - queries[0]) + gap * turns
    return np.stack([apart, first, other, length, np.full_like(turns, gap)], axis=1)


def _any(queries: Ints, candidates: Ints) -> Ints:
    """Every pair in the order of its displacement, joined with the next where both are neighbours, evenly."""
    apart = (candidates - queries[:, None]).ravel()
    order = np.argsort(apart, kind="stable")
    apart = apart[order]
    query, other = np.divmod(order, len(candidates))
    gap = np.diff(queries[query])
    joined = (np.diff(apart) == 0) & (np.diff(query) == 1) & (np.diff(other) == 1)
    joined[1:] &= ~joined[:-1] | (gap[1:] == gap[:-1])
    begins = np.flatnonzero(np.concatenate([[True], ~joined]))
    lengths = np.diff(np.append(begins, len(apart)))
    gaps = np.where(lengths > 1, np.append(gap, 1)[begins], 1)
    return np.stack([apart[begins], query[begins], other[begins], lengths, gaps], axis=1)


def reachable(queries: Ints, candidates: Ints, radius: int | None) -> tuple[int, int]:
    """Which candidates, first and behind the last, lie at most ``radius`` from any query; both ascend."""
    if radius is None:
        return 0, len(candidates)
    begin = int(np.searchsorted(candidates, queries[0] - radius))
    end = int(np.searchsorted(candidates, queries[-1] + radius, side="right"))
    return begin, max(begin, end)


def pairs_within(queries: AxisGrid, candidates: AxisGrid, radius: int | None) -> int:
    """How many pairs of patches start at most ``radius`` apart.

    >>> from pantile.geometry.axis import whole_axis
    >>> pairs_within(whole_axis(9), whole_axis(9), None)
    1
    """
    if radius is None:
        return queries.count * candidates.count
    q, c = queries.starts(), candidates.starts()
    ends = np.searchsorted(c, q + radius, side="right")
    return int((ends - np.searchsorted(c, q - radius)).sum())

"""The work of one tile of queries: its best candidates, one block of them after the other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.axis import AxisGrid
from ..geometry.rect import Rect, shape_of
from ..kernels.similar import PLACE_BITS, best_in_boxes
from .norms import norms_of
from .runs import reachable, runs_of
from .side import Arithmetic, Side

__all__ = ["Best", "Search", "best_in_tile", "tiles_of"]

BLOCK_ELEMENTS = 1 << 20


@dataclass(frozen=True)
class Search:
    """What is looked for: everything but where the results go."""

    queries: Side
    candidates: Side
    k: int
    radius: tuple[int | None, ...]
    exclude: tuple[int, ...]  # -1 where nothing is left out
    normalize: bool
    where: NDArray[np.bool_] | None  # (*batch, *counts)
    among: NDArray[np.bool_] | None

    @cached_property
    def patch(self) -> tuple[int, ...]:
        return tuple([axis.patch for axis in self.queries.axes])

    @cached_property
    def dilation(self) -> tuple[int, ...]:
        return tuple([axis.dilation for axis in self.queries.axes])

    @property
    def features(self) -> int:
        return math.prod(self.patch) * self.queries.channels


@dataclass(frozen=True)
class Best:
    """The best candidates of some queries, worst first, as kernels keep them: by key, or by distance and index."""

    dist: NDArray[Any]  # (queries, k + 1)
    index: NDArray[Any]
    worst: NDArray[Any]  # (queries,)

    @classmethod
    def none(cls, n: int, k: int, kind: Arithmetic, where: NDArray[np.bool_] | None) -> Best:
        """No candidate yet; none will be let in where ``where`` is False."""
        dist = np.full((n, k + 1), kind.none, np.int64 if kind.packed else kind.dtype)
        index = np.full((0 if kind.packed else n, k + 1), 2**62, dist.dtype)
        dist[:, k] = -1
        worst = np.full(n, kind.most, kind.dtype)
        if where is not None:
            worst[~where.ravel()] = -1
        return cls(dist, index, worst)

    def sorted(self, kind: Arithmetic) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Indices and distances, best first; -1 and infinity where there were fewer candidates."""
        dist, index = self.dist[:, -2::-1], self.index[:, -2::-1]
        missing = dist == kind.none
        if kind.packed:
            dist, index = dist >> PLACE_BITS, dist & ((1 << PLACE_BITS) - 1)
        return np.where(missing, -1, index).astype(np.int64), np.where(missing, np.inf, dist)


def tiles_of(axes: Sequence[AxisGrid], queries: int, width: int = 256) -> Iterator[Rect]:
    """A grid cut into rectangles of about ``queries`` patches, long along the last axis."""
    lengths = [1] * len(axes)
    lengths[-1] = min(axes[-1].count, width, queries)
    while 2 * math.prod(lengths) <= queries:
        free = [a for a, axis in enumerate(axes) if lengths[a] < axis.count]
        if not free:
            break
        # thin axes first: what a tile reads beyond its patches is the least then
        a = min(free, key=lambda a: lengths[a] * axes[a].gap / axes[a].extent)
        lengths[a] = min(axes[a].count, 2 * lengths[a])
    cuts = [
        [(i, min(i + n, axis.count)) for i in range(0, axis.count, n)]
        for n, axis in zip(lengths, axes, strict=True)
    ]
    yield from itertools.product(*cuts)


def best_in_tile(search: Search, batch: tuple[int, ...], tile: Rect) -> Best:
    """The best candidates of the patches of ``tile``."""
    counts, kind = shape_of(tile), search.queries.arithmetic
    where = None if search.where is None else search.where[batch][_cut(tile)]
    best = Best.none(math.prod(counts), search.k, kind, where)
    if where is not None and not where.any():
        return best
    q_starts = [a.starts(*r) for a, r in zip(search.queries.axes, tile, strict=True)]
    q = search.queries.block(batch, tile)
    q_norm = _norms(search, q, q_starts)
    for block in _candidate_blocks(search, q_starts):
        c_starts = [a.starts(*r) for a, r in zip(search.candidates.axes, block, strict=True)]
        c = search.candidates.block(batch, block)
        c_norm = _norms(search, c, c_starts)
        among = None if search.among is None else search.among[batch][_cut(block)]
        _search_block(search, best, q, c, q_starts, c_starts, block, q_norm, c_norm, among)
    return best


def _cut(rect: Rect) -> tuple[slice, ...]:
    return tuple(slice(*r) for r in rect)


def _norms(search: Search, block: NDArray[Any], starts: Sequence[NDArray[np.int64]]) -> NDArray[Any]:
    if not search.normalize:
        return np.empty((4, 0))
    return norms_of(block, search.patch, search.dilation, [s - s[0] for s in starts]).reshape(4, -1)


def _candidate_blocks(search: Search, q_starts: Sequence[NDArray[np.int64]]) -> Iterator[Rect]:
    """The candidates that the queries reach, cut into blocks that fit in little memory."""
    axes = search.candidates.axes
    ranges = [
        reachable(s, axis.starts(), radius)
        for s, axis, radius in zip(q_starts, axes, search.radius, strict=True)
    ]
    lengths = [max(1, end - begin) for begin, end in ranges]
    while math.prod((n - 1) * a.longest_gap + a.extent for n, a in zip(lengths, axes, strict=True)) * search.candidates.channels > BLOCK_ELEMENTS:
        a = int(np.argmax(lengths))
        if lengths[a] == 1:
            break
        lengths[a] = -(-lengths[a] // 2)
    cuts = [
        [(i, min(i + n, end)) for i in range(begin, end, n)]
        for n, (begin, end) in zip(lengths, ranges, strict=True)
    ]
    yield from itertools.product(*cuts)


def _search_block(
    search: Search, best: Best, q: NDArray[Any], c: NDArray[Any], q_starts: Any, c_starts: Any,
    block: Rect, q_norm: NDArray[Any], c_norm: NDArray[Any], among: NDArray[np.bool_] | None,
) -> None:  # fmt: skip
    found = []
    for s, t, radius in zip(q_starts, c_starts, search.radius, strict=True):
        runs = runs_of(s, t, radius)
        places = np.stack([s[runs[:, 1]] - s[0], t[runs[:, 2]] - t[0]], axis=1)
        found.append(np.concatenate([runs, places], axis=1))
    if not all(map(len, found)):
        return
    first_run = np.cumsum([0, *map(len, found)])
    ints = lambda values: np.array(values, dtype=np.int64)
    span = math.prod(q.shape[1:])
    kind = search.queries.arithmetic
    best_in_boxes(
        kind.packed,
        q.reshape(len(q), -1), c.reshape(len(c), -1),
        ints(q.strides[1:]) // q.itemsize, ints(c.strides[1:]) // c.itemsize,
        ints(search.patch), ints(search.dilation), np.concatenate(found), first_run, ints(search.exclude),
        ints([len(s) for s in q_starts]), ints(_strides(search.candidates.counts)),
        ints([r[0] for r in block]), ints([len(s) for s in c_starts]),
        q_norm, c_norm, np.empty(0, bool) if among is None else np.ascontiguousarray(among).ravel(),
        best.dist, best.index, best.worst, np.empty((3, span), kind.dtype),
        np.empty(len(q_starts[-1]), kind.dtype), np.empty(32, np.int64), kind.dtype.type(kind.most),
    )  # fmt: skip


def _strides(shape: Sequence[int]) -> list[int]:
    return [math.prod(shape[a + 1 :]) for a in range(len(shape))]

"""The work of one tile of queries: its best candidates, one block of them after the other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.axis import AxisGrid
from ..geometry.rect import Rect, shape_of
from ..geometry.tiling import span_size
from ..kernels.parallel import cores
from ..kernels.similar import best_in_boxes
from .best import Best, Search
from .norms import norms_of
from .runs import reachable, runs_of

__all__ = ["best_in_tile", "cut_of", "looking", "tiles_of"]

BLOCK_ELEMENTS = 1 << 20
TILE_BYTES = 4 << 20
MOST_QUERIES = 8192


def tiles_of(search: Search) -> Iterator[Rect]:
    """The queries cut into rectangles, long along the last axis.

    The sums and the best of a tile stay in cache. Of smaller tiles there are enough for all cores, but
    each reads beyond its patches, as far as one reaches; so that size is taken for which a core has
    the least to sum.
    """
    axes = search.queries.axes
    sizes = [max(64, min(MOST_QUERIES, TILE_BYTES // (16 * (search.k + 1))))]
    while sizes[-1] > 64:
        sizes.append(max(64, sizes[-1] // 2))
    lengths = min([_lengths_of(axes, n) for n in sizes], key=lambda found: _share(axes, found))
    cuts = [
        [(i, min(i + n, axis.count)) for i in range(0, axis.count, n)]
        for n, axis in zip(lengths, axes, strict=True)
    ]
    yield from itertools.product(*cuts)


def _lengths_of(axes: Sequence[AxisGrid], queries: int, width: int = 256) -> list[int]:
    """Patches along each axis of a tile of about ``queries``."""
    lengths = [1] * len(axes)
    lengths[-1] = min(axes[-1].count, width, queries)
    while 2 * math.prod(lengths) <= queries:
        free = [a for a, axis in enumerate(axes) if lengths[a] < axis.count]
        if not free:
            break
        # thin axes first: what a tile reads beyond its patches is the least then
        a = min(free, key=lambda a: lengths[a] * axes[a].gap / axes[a].extent)
        lengths[a] = min(axes[a].count, 2 * lengths[a])
    return lengths


def _share(axes: Sequence[AxisGrid], lengths: Sequence[int]) -> int:
    """Elements that one core goes over, of all tiles."""
    tiles = math.prod(-(-axis.count // n) for axis, n in zip(axes, lengths, strict=True))
    return -(-tiles // cores()) * span_size(axes, lengths)


def looking(search: Search, batch: tuple[int, ...], tile: Rect) -> Rect | None:
    """The least rectangle of a tile with all patches that look for matches; None where there is none."""
    if search.where is None:
        return tile
    where = search.where[batch][cut_of(tile)]
    if not where.any():
        return None
    found = []
    for axis, (begin, _) in enumerate(tile):
        at = np.flatnonzero(where.any(axis=tuple(a for a in range(where.ndim) if a != axis)))
        found.append((begin + int(at[0]), begin + int(at[-1]) + 1))
    return tuple(found)


def best_in_tile(search: Search, batch: tuple[int, ...], tile: Rect) -> Best:
    """The best candidates of the patches of ``tile``."""
    counts, kind = shape_of(tile), search.queries.arithmetic
    where = None if search.where is None else search.where[batch][cut_of(tile)]
    best = Best.none(math.prod(counts), search.k, kind, where)
    q_starts = [a.starts(*r) for a, r in zip(search.queries.axes, tile, strict=True)]
    q = search.queries.block(batch, tile)
    q_norm = _norms(search, q, q_starts)
    for block in _candidate_blocks(search, q_starts):
        c_starts = [a.starts(*r) for a, r in zip(search.candidates.axes, block, strict=True)]
        c = search.candidates.block(batch, block)
        c_norm = _norms(search, c, c_starts)
        among = None if search.among is None else search.among[batch][cut_of(block)]
        _search_block(search, best, q, c, q_starts, c_starts, block, q_norm, c_norm, among)
    return best


def cut_of(rect: Rect) -> tuple[slice, ...]:
    return tuple(slice(*r) for r in rect)


def _norms(
    search: Search, block: NDArray[Any], starts: Sequence[NDArray[np.int64]]
) -> NDArray[Any]:
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
    while span_size(axes, lengths) * search.candidates.channels > BLOCK_ELEMENTS:
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
    span = math.prod(q.shape[1:])
    kind = search.queries.arithmetic
    best_in_boxes(
        kind.packed,
        q.reshape(len(q), -1), c.reshape(len(c), -1),
        _ints(q.strides[1:]) // q.itemsize, _ints(c.strides[1:]) // c.itemsize,
        _ints(search.patch), _ints(search.dilation), np.concatenate(found), first_run, _ints(search.exclude),
        _ints([len(s) for s in q_starts]), _ints(_strides(search.candidates.counts)),
        _ints([r[0] for r in block]), _ints([len(s) for s in c_starts]),
        q_norm, c_norm, np.empty(0, bool) if among is None else np.ascontiguousarray(among).ravel(),
        best.dist, best.index, best.worst, np.empty((3, span), kind.dtype),
        np.empty(len(q_starts[-1]), kind.dtype), np.empty(32, np.int64), kind.dtype.type(kind.barred),
    )  # fmt: skip


def _ints(values: Any) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


def _strides(shape: Sequence[int]) -> list[int]:
    return [math.prod(shape[a + 1 :]) for a in range(len(shape))]

"""The work along one axis, at step 1: blocks of patches against blocks, each pair of patches looked at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.parallel import each_in_parallel
from ..kernels.similar import best_in_lines
from .best import Best, Search
from .norms import norms_of
from .side import Side

__all__ = ["best_in_series", "is_series"]

WIDTH = 512
BEHIND_ELEMENTS = 1 << 17
BLOCKS = 16
BLOCK_PATCHES = (2048, 32768)


def is_series(search: Search) -> bool:
    """Whether patches lie at every element of one axis."""
    axes = (*search.queries.axes, *search.candidates.axes)
    return len(axes) == 2 and all(a.uniform and a.gap == 1 and a.dilation == 1 for a in axes)


@dataclass(frozen=True)
class _Block:
    """Some patches of a series: their elements, norms, which may be candidates, and their best so far."""

    first: int
    count: int
    start: int
    elements: NDArray[Any]
    norms: NDArray[np.float64]
    among: NDArray[np.bool_]
    best: Best


def best_in_series(
    search: Search, batch: tuple[int, ...], same: bool
) -> Iterator[tuple[int, int, Best]]:
    """The best of all queries, as (first, behind the last, best)."""
    blocks = list(_blocks(search, search.queries, batch))
    if same:
        for pairs in _rounds(len(blocks)):
            each_in_parallel(
                lambda pair: _meet(search, blocks[pair[0]], blocks[pair[1]], True), pairs
            )
    else:
        others = list(_blocks(search, search.candidates, batch))

        def meet_all(block: _Block) -> None:
            for other in others:
                _meet(search, block, other, False)

        each_in_parallel(meet_all, blocks)
    for block in blocks:
        yield block.first, block.first + block.count, block.best


def _blocks(search: Search, side: Side, batch: tuple[int, ...]) -> Iterator[_Block]:
    axis, (patch,), kind = side.axes[0], search.patch, side.arithmetic
    least, most = BLOCK_PATCHES
    size = min(max(-(-axis.count // BLOCKS), least, 2 * patch), max(most, 2 * patch))
    for first in range(0, axis.count, size):
        count = min(size, axis.count - first)
        rows = slice(first, first + count)
        elements = side.block(batch, ((first, first + count),))
        norms = np.empty((4, 0))
        if search.normalize:
            norms = norms_of(elements, (patch,), (1,), [np.arange(count)])
        among = np.empty(0, bool) if search.among is None else search.among[batch][rows]
        where = None if search.where is None else search.where[batch][rows]
        kept = count if side is search.queries else 0
        best = Best.none(kept, search.k, kind, where if kept else None)
        yield _Block(
            first, count, axis.start(first), elements, norms, np.ascontiguousarray(among), best
        )


def _rounds(n: int) -> Iterator[list[tuple[int, int]]]:
    """Every pair of ``n`` blocks, in rounds in which none meets two.

    >>> list(_rounds(3))
    [[(0, 0), (1, 1), (2, 2)], [(1, 2)], [(0, 1)], [(0, 2)]]
    """
    yield [(i, i) for i in range(n)]
    seats = n + n % 2
    for r in range(1, seats):
        turned = [0, *[1 + (i + r - 1) % (seats - 1) for i in range(seats - 1)]]
        pairs = [(turned[i], turned[-1 - i]) for i in range(seats // 2)]
        yield sorted((min(p), max(p)) for p in pairs if max(p) < n)


def _meet(search: Search, a: _Block, b: _Block, both: bool) -> None:
    """Offer the patches of ``b`` to those of ``a``, and those of ``a`` to ``b`` where ``both``."""
    for low, high in _apart(search, a, b, both):
        if high > -a.count and low < b.count and low <= high:
            _offer(search, a, b, both, (max(low, -a.count), min(high, b.count)))


def _apart(search: Search, a: _Block, b: _Block, both: bool) -> Sequence[tuple[int, int]]:
    """How far, at least and at most, candidates of ``b`` lie behind queries of ``a``, counted from their firsts."""
    shift = b.start - a.start
    far = search.radius[0]
    if far is None:
        far = a.count + b.count + abs(shift)
    near = search.exclude[0] + 1
    if both:
        return [(max(near, 1) - shift, far - shift)]
    if not near:
        return [(-far - shift, far - shift)]
    return [(-far - shift, -near - shift), (near - shift, far - shift)]


def _offer(search: Search, a: _Block, b: _Block, both: bool, apart: tuple[int, int]) -> None:
    (m,) = search.patch
    kind = search.queries.arithmetic
    rows = min(m, a.count)
    width = int(np.clip(BEHIND_ELEMENTS // rows, 32, WIDTH))
    padded = np.pad(b.elements, ((0, 0), (m - 1, m - 1)))
    bound = np.empty(0, kind.dtype)
    if both and search.normalize:
        bound = b.norms[1] * (2 - b.best.worst / search.features)
    best_in_lines(
        kind.packed, a.elements, padded, m, (0, a.count), (0, b.count), apart, a.norms, b.norms, a.first, b.first,
        both, a.among if both else np.empty(0, bool), b.among,
        a.best.dist, a.best.index, a.best.worst, b.best.dist, b.best.index, b.best.worst,
        np.empty((3, width), kind.dtype), np.empty((rows + 2, width), kind.dtype),
        np.empty(width, kind.dtype), np.empty(width, np.int64),
        bound, np.full(width, -1, kind.dtype), np.full(width, kind.barred, kind.dtype),
    )  # fmt: skip

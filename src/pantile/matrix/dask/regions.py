"""A region of an image in memory as a patch matrix of its own, and how its rows lie among all."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...geometry import AxisGrid
from ...geometry.tiles import Tile
from ...kernels.flat import strided_by_items
from ...verbs.chunked import Bits, Chunked
from ...verbs.frame import Frame
from ..matrix import PatchMatrix
from ..selection.selection import Table
from ..selection.stack import Array, Part, Rows, Stack

__all__ = ["Local", "Spread", "joined", "region_of", "spread_of"]

Numbers = NDArray[np.int64]
Moments = tuple[int, Array, Array]


class Spread:
    """Arrays that a graph passes on as they are."""

    def __init__(self, *items: Numbers) -> None:
        self.items = items


@dataclass(frozen=True)
class Local:
    """The patches of a tile as a stack of evenly spaced parts, and the order of the tile's rows in it."""

    stack: Stack
    order: Numbers | None  # row of the tile for each row of the stack, None for the same
    ndim: int  # of the grid with its batch axes
    center: bool
    scale: bool

    @property
    def n_rows(self) -> int:
        return self.stack.n_rows

    def rows(self, mask: Bits | None) -> Numbers | None:
        """Rows of the stack that a mask of the tile selects, None for all."""
        if mask is None:
            return None
        chosen = mask.array.ravel()
        return np.flatnonzero(chosen if self.order is None else chosen[self.order])

    def place(self, rows: Numbers | None) -> Any:
        """Where rows of the stack stand in the tile."""
        if self.order is None:
            return slice(None) if rows is None else rows
        return self.order if rows is None else self.order[rows]

    def numbered(self, numbers: Numbers) -> Numbers:
        """Rows of the stack for rows of the tile."""
        if self.order is None:
            return numbers
        back = np.empty_like(self.order)
        back[self.order] = np.arange(len(back))
        return back[numbers]

    def matrix(self, rows: Numbers | None) -> PatchMatrix:
        chosen: Rows = range(self.n_rows) if rows is None else rows
        return PatchMatrix._of(Table(self.stack, chosen, self.center, self.scale))


def region_of(frame: Frame, tile: Tile, block: Array, center: bool, scale: bool) -> Local:
    """The matrix of a tile's patches, from the block of the image that they reach over."""
    block = strided_by_items(block)
    stretches = [
        [(b, e) for b, e in _even(axis, *r)]
        for axis, r in zip(frame.axes, tile.ranges, strict=True)
    ]
    parts, order = [], []
    for ranges in itertools.product(*stretches):
        rows = list(zip(frame.axes, ranges, tile.ranges, strict=True))
        place = [_within(axis, r, whole) for axis, r, whole in rows]
        axes = tuple(_stretch(axis, *r) for axis, r, _ in rows)
        local = Frame(frame.grid, tuple(range(len(axes))), axes, frame.n_batch, frame.channel)
        parts.append(Part(block[tuple(place)], local))
        order.append(_numbers([(b - w[0], e - w[0]) for _, (b, e), w in rows], tile.counts))
    kept = len(frame.axes) - (frame.channel is not None)
    found = None if len(parts) == 1 else np.concatenate(order)
    return Local(Stack(tuple(parts)), found, kept, center, scale)


def _even(axis: AxisGrid, begin: int, end: int) -> list[tuple[int, int]]:
    """Patches in stretches whose starts an axis of their own can express."""
    if axis.uniform or not axis.even or end - begin < 3:
        return [(begin, end)]
    gaps = np.diff(axis.starts(begin, end))
    turns = [begin, *(begin + 1 + np.flatnonzero(np.diff(gaps))).tolist(), end]
    return [(b, e) for b, e in itertools.pairwise(turns) if b < e]


def _stretch(axis: AxisGrid, begin: int, end: int) -> AxisGrid:
    last = axis.start(end - 1) - axis.start(begin)
    gap = axis.start(begin + 1) - axis.start(begin) if end - begin > 1 else 1
    size = last + axis.extent
    return AxisGrid(size, axis.patch, gap, axis.dilation, end - begin, 0, last)


def _within(axis: AxisGrid, part: tuple[int, int], whole: tuple[int, int]) -> slice:
    origin = axis.start(whole[0])
    return slice(axis.start(part[0]) - origin, axis.start(part[1] - 1) + axis.extent - origin)


def _numbers(ranges: list[tuple[int, int]], counts: tuple[int, ...]) -> Numbers:
    numbers = np.zeros(1, dtype=np.int64)
    for (begin, end), count in zip(ranges, counts, strict=True):
        numbers = (numbers[:, None] * count + np.arange(begin, end)).ravel()
    return numbers


def spread_of(
    layout: Chunked, numbers: Numbers
) -> Iterator[tuple[tuple[int, ...], Numbers, Numbers]]:
    """Each tile that has some of the patches ``numbers``, where they stand among them, and as rows of the tile."""
    at = np.unravel_index(numbers, layout.frame.counts)
    firsts = [np.asarray([b for b, _ in tiles]) for tiles in layout.tiles]
    tile = [np.searchsorted(f, a, side="right") - 1 for f, a in zip(firsts, at, strict=True)]
    flat = np.ravel_multi_index(tile, layout.shape)
    order = np.argsort(flat, kind="stable")
    for place in np.split(order, np.flatnonzero(np.diff(flat[order])) + 1) if len(order) else ():
        index = tuple(int(t[place[0]]) for t in tile)
        inside = [a[place] - f[i] for a, f, i in zip(at, firsts, index, strict=True)]
        yield index, place, np.ravel_multi_index(inside, layout.tile(index).counts)


def joined(*moments: Moments) -> Moments:
    """Count, mean and scatter of rows together, from those of disjoint groups (Chan, Golub and LeVeque, 1979)."""
    return reduce(_joined, moments)


def _joined(one: Moments, other: Moments) -> Moments:
    n, m = one[0], other[0]
    total = n + m
    apart = other[1] - one[1]
    crossed = one[2].ndim > one[1].ndim
    products = np.outer(apart, np.conj(apart)) if crossed else np.square(np.abs(apart))
    scatter = one[2] + other[2] + products * (n / total * m)
    return total, one[1] + apart * (m / total), scatter

"""A region of an image in memory as a matrix of its own, and where its rows are among all rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...geometry import AxisGrid
from ...geometry.frame import Frame
from ...geometry.limits import Limits
from ...geometry.tiling import Tile
from ...kernels.memory import ensure_item_strides
from ...ops.chunked import Bits, Chunked
from ..matrix import PatchMatrix, matrix_of
from ..selection.selection import Rows, Selection
from ..selection.stack import Array, GriddedImage, Stack

__all__ = ["AsIs", "Region", "read_region", "spread_rows"]

Numbers = NDArray[np.int64]


class AsIs:
    """Arrays that are passed to a task as they are: dask does not look into them."""

    def __init__(self, *items: Numbers) -> None:
        self.items = items


@dataclass(frozen=True)
class Region:
    """The patches of a tile as a stack of evenly spaced grids.

    ``order`` is the row of the tile for each row of the stack, None where they are the same.
    """

    stack: Stack
    order: Numbers | None
    ndim: int  # of the grid with its batch axes
    center: bool
    scale: bool
    limits: Limits

    @property
    def n_rows(self) -> int:
        return self.stack.n_rows

    def select(self, mask: Bits | None) -> Numbers | None:
        """Rows of the stack that a mask of the tile selects, None for all."""
        if mask is None:
            return None
        chosen = mask.array.ravel()
        return np.flatnonzero(chosen if self.order is None else chosen[self.order])

    def place(self, rows: Numbers | None) -> Any:
        """Where rows of the stack are in the tile."""
        if self.order is None:
            return slice(None) if rows is None else rows
        return self.order if rows is None else self.order[rows]

    def find(self, numbers: Numbers) -> Numbers:
        """Rows of the stack for rows of the tile."""
        if self.order is None:
            return numbers
        back = np.empty_like(self.order)
        back[self.order] = np.arange(len(back))
        return back[numbers]

    def matrix(self, rows: Numbers | None) -> PatchMatrix:
        """The matrix of chosen rows of the stack, None for all."""
        chosen: Rows = range(self.n_rows) if rows is None else rows
        return matrix_of(Selection(self.stack, chosen, self.center, self.scale, self.limits))


def read_region(
    frame: Frame, tile: Tile, block: Array, center: bool, scale: bool, limits: Limits
) -> Region:
    """The patches of a tile, from the block of the image that they reach over."""
    block = ensure_item_strides(block)
    stretches = [
        axis.spacing.stretches(*r) for axis, r in zip(frame.axes, tile.ranges, strict=True)
    ]
    images, order = [], []
    for ranges in itertools.product(*stretches):
        rows = list(zip(frame.axes, ranges, tile.ranges, strict=True))
        place = [_reach(axis, r, whole) for axis, r, whole in rows]
        axes = tuple(axis.part(*r) for axis, r, _ in rows)
        local = Frame(frame.grid, tuple(range(len(axes))), axes, frame.n_batch, frame.channel)
        images.append(GriddedImage(block[tuple(place)], local))
        order.append(_number_rows([(b - w[0], e - w[0]) for _, (b, e), w in rows], tile.counts))
    ndim = len(frame.axes) - (frame.channel is not None)
    found = None if len(images) == 1 else np.concatenate(order)
    return Region(Stack(tuple(images)), found, ndim, center, scale, limits)


def _reach(axis: AxisGrid, part: tuple[int, int], whole: tuple[int, int]) -> slice:
    """The elements that patches ``part`` reach over, among those of patches ``whole``."""
    origin = axis.start(whole[0])
    return slice(axis.start(part[0]) - origin, axis.start(part[1] - 1) + axis.extent - origin)


def _number_rows(ranges: list[tuple[int, int]], counts: tuple[int, ...]) -> Numbers:
    """The numbers of a rectangle's patches in a grid of ``counts``."""
    numbers = np.zeros(1, dtype=np.int64)
    for (begin, end), count in zip(ranges, counts, strict=True):
        numbers = (numbers[:, None] * count + np.arange(begin, end)).ravel()
    return numbers


def spread_rows(
    layout: Chunked, numbers: Numbers
) -> Iterator[tuple[tuple[int, ...], Numbers, Numbers]]:
    """Each tile that has some of the rows ``numbers``: which, where among ``numbers``, and as rows of the tile."""
    at = np.unravel_index(numbers, layout.frame.counts)
    firsts = [np.asarray([b for b, _ in tiles]) for tiles in layout.tiles]
    tile = [np.searchsorted(f, a, side="right") - 1 for f, a in zip(firsts, at, strict=True)]
    flat = np.ravel_multi_index(tile, layout.shape)
    order = np.argsort(flat, kind="stable")
    for place in np.split(order, np.flatnonzero(np.diff(flat[order])) + 1) if len(order) else ():
        index = tuple(int(t[place[0]]) for t in tile)
        inside = [a[place] - f[i] for a, f, i in zip(at, firsts, index, strict=True)]
        yield index, place, np.ravel_multi_index(inside, layout.tile(index).counts)

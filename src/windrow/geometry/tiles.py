"""Tiles of the patch grid, blocks of the output, and who needs whom: plain data before any pixel moves."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from .axis import AxisGrid

__all__ = ["Bounds", "Tile", "Tiling", "choose_lengths", "span_size"]

Bounds = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Tile:
    """A rectangle of patches: its place among the tiles, and its patch indices per axis."""

    index: tuple[int, ...]
    ranges: Bounds

    @property
    def counts(self) -> tuple[int, ...]:
        return tuple(end - begin for begin, end in self.ranges)

    @property
    def n_patches(self) -> int:
        return math.prod(self.counts)

    def span(self, axes: Sequence[AxisGrid]) -> Bounds:
        """The elements its patches reach over, halo included; they may lie outside the image."""
        return tuple(
            (axis.start(begin), axis.start(end - 1) + axis.extent)
            for axis, (begin, end) in zip(axes, self.ranges, strict=True)
        )


@dataclass(frozen=True)
class Tiling:
    """A grid cut into tiles of ``lengths`` patches (the last ones may be smaller)."""

    axes: tuple[AxisGrid, ...]
    lengths: tuple[int, ...]

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """How many tiles along each axis."""
        return tuple(-(-a.count // n) for a, n in zip(self.axes, self.lengths, strict=True))

    def __len__(self) -> int:
        return math.prod(self.shape)

    def __iter__(self) -> Iterator[Tile]:
        """Tiles in C order."""
        for index in itertools.product(*map(range, self.shape)):
            yield self.tile(index)

    def tile(self, index: tuple[int, ...]) -> Tile:
        rows = zip(index, self.lengths, self.axes, strict=True)
        return Tile(index, tuple((i * n, min((i + 1) * n, axis.count)) for i, n, axis in rows))

    def cuts(self, axes: Sequence[AxisGrid]) -> tuple[list[int], ...]:
        """Where the output is cut into blocks, one per tile: block ``t`` begins where tile ``t`` does."""
        return tuple(
            [0, *(min(max(axis.start(t * n), 0), axis.size) for t in range(1, tiles)), axis.size]
            for axis, n, tiles in zip(axes, self.lengths, self.shape, strict=True)
        )

    def contributors(self, axes: Sequence[AxisGrid]) -> tuple[list[tuple[int, int]], ...]:
        """Per axis and block, the range of tiles whose patches may reach into it (its own always)."""
        return tuple(
            [_reaching(axis, n, begin, t) for t, begin in enumerate(cuts[:-1])]
            for axis, n, cuts in zip(axes, self.lengths, self.cuts(axes), strict=True)
        )


def _reaching(axis: AxisGrid, length: int, begin: int, t: int) -> tuple[int, int]:
    low = t
    while low > 0 and axis.start(low * length - 1) + axis.extent > begin:
        low -= 1
    return low, t + 1


def span_size(axes: Sequence[AxisGrid], lengths: Sequence[int]) -> int:
    """Elements that a tile of ``lengths`` patches reaches over, at most."""
    return math.prod((n - 1) * a.longest_gap + a.extent for n, a in zip(lengths, axes, strict=True))


Cost = Callable[[tuple[int, ...]], float]


def choose_lengths(axes: Sequence[AxisGrid], wish: Cost, limit: Cost) -> tuple[int, ...]:
    """Patches per tile along each axis, with ``wish(lengths) <= 1`` if it can be and ``limit(lengths) <= 1`` if at all.

    Axes are halved from the front, so that tiles stay as wide as memory rows. For the wish, no tile
    becomes thinner than half its halo: thinner ones mostly repeat their neighbours' elements. For
    the limit they do.
    """
    lengths = [axis.count for axis in axes]
    thick = [-(-axis.extent // (2 * max(1, axis.longest_gap))) for axis in axes]
    for least, cost in ((thick, wish), (thick, limit), ([1] * len(axes), limit)):
        for k in range(len(axes)):
            while cost(tuple(lengths)) > 1 and lengths[k] > least[k]:
                lengths[k] = max(least[k], -(-lengths[k] // 2))
    return tuple(lengths)

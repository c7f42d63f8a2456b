"""Tiles of the patch grid, blocks of the output, and who needs whom: plain data before any pixel moves."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from .axis import AxisGrid

__all__ = ["Bounds", "Tile", "Tiling", "choose_lengths"]

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


def choose_lengths(
    axes: Sequence[AxisGrid], cost: Callable[[tuple[int, ...]], float], budget: float
) -> tuple[int, ...]:
    """Patches per tile along each axis, so that ``cost(lengths)`` fits the budget where it can.

    Axes are halved from the front, so that tiles stay as wide as memory rows; an axis first stops where a tile would be
    narrower than its own halo, since thinner tiles mostly repeat their neighbours' elements.
    """
    lengths = [axis.count for axis in axes]
    thick = [-(-axis.extent // max(1, axis.longest_gap)) for axis in axes]
    for least in (thick, [1] * len(axes)):
        for k in range(len(axes)):
            while cost(tuple(lengths)) > budget and lengths[k] > least[k]:
                lengths[k] = max(least[k], -(-lengths[k] // 2))
    return tuple(lengths)

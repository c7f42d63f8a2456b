"""Tiles of the patch grid, blocks of the output, and who needs whom: plain data before any pixel moves."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from .axis import AxisGrid

__all__ = ["Blocks", "Bounds", "Index", "Tile", "Tiling", "choose_lengths", "span_size"]

Index = tuple[int, ...]
Ranges = tuple[tuple[int, int], ...]
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

    def ends(self, k: int, axis: AxisGrid) -> tuple[list[int], list[int]]:
        """Where the tiles along axis ``k`` begin to reach, and where they end, on ``axis``."""
        n, count = self.lengths[k], axis.count
        firsts = range(0, count, n)
        lasts = (min(i + n, count) - 1 for i in firsts)
        return [axis.start(i) for i in firsts], [axis.start(i) + axis.extent for i in lasts]

    def blocks(
        self,
        axes: Sequence[AxisGrid],
        unit: Sequence[int] | None = None,
        most: int | None = None,
    ) -> Blocks:
        """The output cut where tiles begin, but only between units (chunks) of ``unit`` elements.

        Cuts are moved down, so that a block is never finished later than the tile that begins in
        it; where tiles are smaller than a unit, a block takes as many as it needs. Blocks of more
        than ``most`` elements are cut further, if they are more than one unit.
        """
        sizes = [max(1, n) for n in unit or (1,) * len(axes)]
        rows = [self._row(k, axis, sizes[k], axis.size) for k, axis in enumerate(axes)]
        if most is not None:
            limits = _limits([_longest(cuts) for cuts, _ in rows], sizes, most)
            rows = [self._row(k, axis, sizes[k], limits[k]) for k, axis in enumerate(axes)]
        return Blocks(
            tuple(cuts for cuts, _ in rows), tuple(needs for _, needs in rows), self.shape
        )

    def _row(self, k: int, axis: AxisGrid, unit: int, limit: int) -> tuple[tuple[int, ...], Ranges]:
        begins, ends = self.ends(k, axis)
        inner = {min(max(begin, 0), axis.size) // unit * unit for begin in begins[1:]}
        coarse = (0, *sorted(inner - {0, axis.size}), axis.size)
        finer = (range(b, e, max(limit, 1)) for b, e in itertools.pairwise(coarse))
        cuts = (*(itertools.chain(*finer) if axis.size else (0,)), axis.size)
        needs = []
        for begin, end in itertools.pairwise(cuts):
            low = min(bisect_right(ends, begin), len(ends) - 1)  # one at least, to finish a hole
            needs.append((low, max(bisect_left(begins, end), low + 1)))
        return cuts, tuple(needs)


@dataclass(frozen=True)
class Blocks:
    """The output in disjoint blocks, and which tiles reach into each: per axis, then the product."""

    cuts: tuple[tuple[int, ...], ...]
    needs: tuple[Ranges, ...]
    tiles: tuple[int, ...]

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """How many blocks along each axis."""
        return tuple(map(len, self.needs))

    def __len__(self) -> int:
        return math.prod(self.shape)

    def __iter__(self) -> Iterator[Index]:
        """Blocks in C order."""
        return itertools.product(*map(range, self.shape))

    def bounds(self, block: Index) -> Bounds:
        return tuple((cuts[b], cuts[b + 1]) for cuts, b in zip(self.cuts, block, strict=True))

    def owners(self, block: Index) -> list[Index]:
        """The tiles that reach into a block, in C order."""
        return list(
            itertools.product(*(range(*n[b]) for n, b in zip(self.needs, block, strict=True)))
        )

    def served(self, tile: Index) -> list[Index]:
        """The blocks a tile reaches into, in C order."""
        found = []
        for needs, t in zip(self.needs, tile, strict=True):
            low = bisect_right(needs, t, key=lambda need: need[1])
            high = bisect_right(needs, t, key=lambda need: need[0])
            found.append(range(low, high))
        return list(itertools.product(*found))

    @cached_property
    def reach(self) -> int:
        """How many tiles later (C order), at most, the last tile comes that shares a block with a tile."""
        total = 0
        for needs, tiles in zip(self.needs, self.tiles, strict=True):
            total = total * tiles + max(high - 1 - low for low, high in needs)
        return total

    @cached_property
    def largest(self) -> tuple[int, ...]:
        """The most elements of a block along each axis."""
        return tuple(map(_longest, self.cuts))


def _longest(cuts: Sequence[int]) -> int:
    return max(e - b for b, e in itertools.pairwise(cuts))


def _limits(longest: list[int], units: Sequence[int], most: int) -> list[int]:
    """Lengths of blocks, whole units, of which the product is at most ``most`` if it can be."""
    limits = list(longest)
    while math.prod(limits) > most:
        counts = [-(-n // u) for n, u in zip(limits, units, strict=True)]
        # the front axis first where elements are free: rows of memory stay whole
        k = max(range(len(limits)), key=lambda k: counts[k] - 1 if units[k] > 1 else counts[k] > 1)
        if counts[k] < 2:
            break
        limits[k] = -(-counts[k] // 2) * units[k]
    return limits


def span_size(axes: Sequence[AxisGrid], lengths: Sequence[int]) -> int:
    """Elements that a tile of ``lengths`` patches reaches over, at most."""
    return math.prod((n - 1) * a.longest_gap + a.extent for n, a in zip(lengths, axes, strict=True))


Cost = Callable[[tuple[int, ...]], float]


def choose_lengths(
    axes: Sequence[AxisGrid], wish: Cost, limit: Cost, unit: Sequence[int] | None = None
) -> tuple[int, ...]:
    """Patches per tile along each axis, with ``wish(lengths) <= 1`` if it can be and ``limit(lengths) <= 1`` if at all.

    Axes are halved from the front, so that tiles stay as wide as memory rows; with ``unit`` (chunks
    that are read or written at once) the axis that spans most units is, so that tiles cross few.
    For the wish, no tile becomes thinner than half its halo: thinner ones mostly repeat their
    neighbours' elements. For the limit they do.
    """
    lengths = [axis.count for axis in axes]
    thick = [-(-axis.extent // (2 * max(1, axis.longest_gap))) for axis in axes]
    for least, cost in ((thick, wish), (thick, limit), ([1] * len(axes), limit)):
        while cost(tuple(lengths)) > 1:
            free = [k for k, n in enumerate(lengths) if n > least[k]]
            if not free:
                break
            k = (
                free[0]
                if unit is None
                else max(free, key=lambda k: _units(axes[k], lengths[k], unit[k]))
            )
            lengths[k] = max(least[k], -(-lengths[k] // 2))
    return tuple(lengths)


def _units(axis: AxisGrid, length: int, unit: int) -> float:
    return span_size((axis,), (length,)) / unit

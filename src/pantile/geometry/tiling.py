"""A patch grid cut into tiles, each a rectangle of patches that one task works on."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from .axis import AxisGrid
from .rect import Index, Rect, shape_of

__all__ = ["Tile", "Tiling", "choose_lengths", "grouped", "in_groups", "span_size"]


@dataclass(frozen=True, slots=True)
class Tile:
    """A rectangle of patches: its place among the tiles, and its patch indices per axis."""

    index: Index
    ranges: Rect

    @property
    def counts(self) -> Index:
        """How many patches along each axis."""
        return shape_of(self.ranges)

    @property
    def n_patches(self) -> int:
        return math.prod(self.counts)

    def span(self, axes: Sequence[AxisGrid]) -> Rect:
        """The elements its patches reach over, halo included; they may lie outside the image."""
        return tuple([axis.span(*r) for axis, r in zip(axes, self.ranges, strict=True)])


@dataclass(frozen=True)
class Tiling:
    """A grid cut into tiles of ``lengths`` patches (the last ones may be smaller).

    Tiles come in C order of *groups*, and in C order within one. Along each axis a group is a tile,
    but for the last two where they overlap deeper than others do, as those of a grid do whose last
    patch is shifted: what they share would have to be held as long as a whole layer of tiles takes.
    """

    axes: tuple[AxisGrid, ...]
    lengths: tuple[int, ...]

    @cached_property
    def shape(self) -> Index:
        """How many tiles along each axis."""
        return tuple([-(-a.count // n) for a, n in zip(self.axes, self.lengths, strict=True)])

    def __len__(self) -> int:
        return math.prod(self.shape)

    @cached_property
    def paired(self) -> tuple[bool, ...]:
        """Along which axes the last two tiles are one group."""
        found = []
        for k, (n, axis) in enumerate(zip(self.shape, self.axes, strict=True)):
            spans = self.spans(k, axis) if n > _PAIR else ()
            shared = [end - begin for (_, end), (begin, _) in itertools.pairwise(spans)]
            found.append(bool(shared) and shared[-1] > max(shared[:-1]))
        return tuple(found)

    def __iter__(self) -> Iterator[Tile]:
        """Tiles, group by group."""
        groups = [
            grouped(range(n), n, pair) for n, pair in zip(self.shape, self.paired, strict=True)
        ]
        return map(self.tile, in_groups(groups))

    def number(self, index: Index) -> int:
        """How many tiles come before a tile."""
        before, size, inside = 0, 1, 0
        for k, (i, n, paired) in enumerate(zip(index, self.shape, self.paired, strict=True)):
            begin = min(i, n - _PAIR) if paired else i
            length = _PAIR if paired and begin == n - _PAIR else 1
            before += size * begin * math.prod(self.shape[k + 1 :])
            size *= length
            inside = inside * length + i - begin
        return before + inside

    def tile(self, index: Index) -> Tile:
        rows = zip(index, self.lengths, self.axes, strict=True)
        return Tile(index, tuple([(i * n, min((i + 1) * n, axis.count)) for i, n, axis in rows]))

    def spans(self, k: int, axis: AxisGrid) -> Rect:
        """What each tile along axis ``k`` reaches over, in elements of ``axis``."""
        n, count = self.lengths[k], axis.count
        return tuple([axis.span(i, min(i + n, count)) for i in range(0, count, n)])


def grouped(tiles: range, count: int, paired: bool) -> Sequence[range]:
    """Some of ``count`` tiles along an axis in groups: each is one, but for the last two where these are ``paired``."""
    single = len(tiles)
    if paired and tiles.stop == count:
        single = max(0, single - _PAIR)
    rest = tiles[single:]
    return [range(i, i + 1) for i in tiles[:single]] + ([rest] if rest else [])


def in_groups(groups: Sequence[Sequence[range]]) -> Iterator[Index]:
    """Tiles of groups along each axis: in C order of groups, and in C order within one."""
    for group in itertools.product(*groups):
        yield from itertools.product(*group)


def span_size(axes: Sequence[AxisGrid], lengths: Sequence[int]) -> int:
    """Elements that a tile of ``lengths`` patches reaches over, at most."""
    sizes = [(n - 1) * a.longest_gap + a.extent for n, a in zip(lengths, axes, strict=True)]
    return math.prod(sizes)


_PAIR = 2
_ENOUGH = 8  # tiles, to share out among a few workers
_ROW = 32  # halves of a halo that a row of patches is long, at least
Cost = Callable[[tuple[int, ...]], float]


def choose_lengths(
    axes: Sequence[AxisGrid], wish: Cost, limit: Cost, unit: Sequence[int] | None = None
) -> tuple[int, ...]:
    """Patches per tile along each axis, with ``wish(lengths) <= 1`` if it can be and ``limit(lengths) <= 1`` if at all.

    Axes are halved from the front, so that tiles stay as wide as memory rows; with ``unit`` (chunks
    that are read or written at once) the axis that spans most units is, so that tiles cross few.
    For the wish, no tile becomes thinner than its halo, or half of it where there would be fewer than
    ``_ENOUGH``: thinner ones mostly repeat their neighbours' elements; and rows of patches stay at
    least ``_ROW`` times as long, since each costs what its patches reach over, too. For the limit
    they do.
    """
    lengths = [axis.count for axis in axes]
    thick = [-(-axis.extent // (2 * max(1, axis.longest_gap))) for axis in axes]
    last = max([k for k, n in enumerate(lengths) if n > 1], default=0)
    row = 1 if unit is not None else _ROW

    def widened(times: int) -> list[int]:
        return [n * (row if k == last else times) for k, n in enumerate(thick)]

    def few(lengths: tuple[int, ...]) -> float:
        tiles = math.prod([-(-axis.count // n) for axis, n in zip(axes, lengths, strict=True)])
        return wish(lengths) if tiles < _ENOUGH else 0.0

    for least, cost in (
        (widened(2), wish),
        (widened(1), few),
        (thick, limit),
        ([1] * len(axes), limit),
    ):
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

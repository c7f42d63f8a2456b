"""What is done in which order: tile tasks, then block tasks, and who needs whom. Plain data, no I/O, no threads.

Each tile of the patch grid is one task, which gives a piece: what its patches add up to. Each block
of a result is one task, which takes the pieces of the tiles that reach into it, its *owners*. A
`Schedule` says so for one result; a `Ledger` counts down while the tasks are done, and says which
blocks can be made and which pieces nobody needs any more. Whoever runs the tasks (threads,
processes, a cluster, dask) asks here and counts nothing.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from .advance import Advance, most_pending
from .axis import AxisGrid
from .rect import Index, Rect
from .tiling import Tiling, grouped, in_groups

__all__ = ["Ledger", "Schedule", "along"]

T = TypeVar("T")


def along(follows: Sequence[int | None], items: Sequence[T], other: T) -> tuple[T, ...]:
    """Things per axis of the tiling as things per axis of a result: ``other`` where that follows none."""
    return tuple([other if k is None else items[k] for k in follows])


@dataclass(frozen=True)
class Schedule:
    """The blocks of one result, disjoint and in C order, and which tiles reach into each.

    ``spans`` are what tiles reach over and ``cuts`` where blocks begin (and the size), per axis of
    the result; ``follows`` is the axis of the tiling that an axis of the result goes along with,
    None for one that no tile is cut along. Tiles come in the order of `Tiling`, which takes the last
    two along ``paired`` axes together.
    """

    spans: tuple[Rect, ...]
    cuts: tuple[tuple[int, ...], ...]
    follows: tuple[int | None, ...]
    ndim: int  # axes of the tiling
    paired: tuple[bool, ...]

    @classmethod
    def of(
        cls,
        tiling: Tiling,
        axes: Sequence[AxisGrid],
        follows: Sequence[int | None] | None = None,
        unit: Sequence[int] | None = None,
        most: int | None = None,
    ) -> Schedule:
        """A result cut where tiles begin, but only between units (chunks) of ``unit`` elements.

        Cuts are moved down, so that a block is never finished later than the tile that begins in
        it; where tiles are smaller than a unit, a block takes as many as it needs. Blocks of more
        than ``most`` elements are cut further, if they are more than one unit.
        """
        follows = tuple(range(len(axes)) if follows is None else follows)
        units = [max(1, n) for n in unit or (1,) * len(axes)]
        spans = tuple(
            [
                (axis.span(0, axis.count),) if k is None else tiling.spans(k, axis)
                for k, axis in zip(follows, axes, strict=True)
            ]
        )
        cuts = [_cut(s, a.size, u) for s, a, u in zip(spans, axes, units, strict=True)]
        if most is not None:
            limits = _limits([_longest(c) for c in cuts], units, most)
            cuts = [_cut_again(c, limit) for c, limit in zip(cuts, limits, strict=True)]
        paired = along(follows, tiling.paired, False)
        return cls(spans, tuple(cuts), follows, len(tiling.lengths), paired)

    @cached_property
    def needs(self) -> tuple[Rect, ...]:
        """Per axis and block, the range of tiles that reach into it; one at least, to finish a hole."""
        return tuple([_needs(s, c) for s, c in zip(self.spans, self.cuts, strict=True)])

    @cached_property
    def shape(self) -> Index:
        """How many blocks along each axis."""
        return tuple([len(cuts) - 1 for cuts in self.cuts])

    def __len__(self) -> int:
        return math.prod(self.shape)

    def __iter__(self) -> Iterator[Index]:
        """Blocks in C order."""
        return itertools.product(*map(range, self.shape))

    def __str__(self) -> str:
        rows = (
            f"block {block} {self.bounds(block)} of tiles {self.owners(block)}" for block in self
        )
        return "\n".join(rows)

    def bounds(self, block: Index) -> Rect:
        """The elements of a block."""
        return tuple([(cuts[b], cuts[b + 1]) for cuts, b in zip(self.cuts, block, strict=True)])

    def span(self, tile: Index) -> Rect:
        """What a tile reaches over on the axes of the result."""
        at = along(self.follows, tile, 0)
        return tuple([spans[t] for spans, t in zip(self.spans, at, strict=True)])

    def owners(self, block: Index) -> list[Index]:
        """The tiles that reach into a block, in their order."""
        found = [grouped(range(1), 1, False)] * self.ndim
        rows = zip(self.follows, self.needs, self.spans, self.paired, block, strict=True)
        for k, needs, spans, paired, b in rows:
            if k is not None:
                found[k] = grouped(range(*needs[b]), len(spans), paired)
        return list(in_groups(found))

    def served(self, tile: Index) -> list[Index]:
        """The blocks a tile reaches into, in C order."""
        found = []
        for needs, t in zip(self.needs, along(self.follows, tile, 0), strict=True):
            low = bisect_right(needs, t, key=lambda need: need[1])
            high = bisect_right(needs, t, key=lambda need: need[0])
            found.append(range(low, high))
        return list(itertools.product(*found))

    @cached_property
    def reach(self) -> int:
        """How many tiles later, at most, the last tile comes that shares a block with a tile."""
        total = 0
        for spans, needs, paired in zip(self.spans, self.needs, self.paired, strict=True):
            total = total * len(spans) + max(high - 1 - low for low, high in needs) + paired
        return total

    @cached_property
    def front(self) -> int:
        """Elements, at most, that tiles which come in order have reached of blocks that lack a tile still."""
        rows = zip(self.spans, self.needs, self.cuts, self.paired, strict=True)
        return most_pending([Advance.of(*row) for row in rows])

    @cached_property
    def largest(self) -> Index:
        """The most elements of a block along each axis."""
        return tuple([_longest(cuts) for cuts in self.cuts])


class Ledger:
    """Counts who still needs whom, for one or several results that come from the same tiles.

    Blocks that are ``done`` already are left out. Not for several threads at once.
    """

    def __init__(
        self, schedules: Sequence[Schedule], done: Sequence[Collection[Index]] | None = None
    ) -> None:
        self.schedules = list(schedules)
        self.done = [frozenset(d) for d in done or [()] * len(self.schedules)]
        self._missing: dict[tuple[int, Index], int] = {}  # tiles that a block waits for
        self._owed: dict[tuple[int, Index], int] = {}  # blocks that wait for a tile's piece

    def awaits(self, tile: Index) -> bool:
        """Whether a block that is not done needs a tile, or no block could: its patches lie in padding."""
        for k, schedule in enumerate(self.schedules):
            served = schedule.served(tile)
            if not served or not self.done[k].issuperset(served):
                return True
        return False

    def deliver(self, tile: Index) -> list[tuple[int, Index]]:
        """A tile's piece is there (or on its way): the blocks, ``(result, block)``, that lack no other now."""
        ready = []
        for k, schedule in enumerate(self.schedules):
            served = self.awaiting(k, tile)
            if served:
                self._owed[k, tile] = len(served)
            for block in served:
                left = self._missing.pop((k, block), None) or len(schedule.owners(block))
                if left == 1:
                    ready.append((k, block))
                else:
                    self._missing[k, block] = left - 1
        return ready

    def keeps(self, k: int, tile: Index) -> bool:
        """Whether a block of result ``k`` still needs a tile that was delivered."""
        return (k, tile) in self._owed

    def awaiting(self, k: int, tile: Index) -> list[Index]:
        """The blocks of result ``k`` that a tile reaches into and that are not done already, in C order."""
        return [block for block in self.schedules[k].served(tile) if block not in self.done[k]]

    def finish(self, k: int, block: Index) -> list[Index]:
        """A block of result ``k`` is made: the tiles whose pieces no block of that result needs any more."""
        free = []
        for tile in self.schedules[k].owners(block):
            self._owed[k, tile] -= 1
            if not self._owed[k, tile]:
                del self._owed[k, tile]
                free.append(tile)
        return free


def _cut(spans: Rect, size: int, unit: int) -> tuple[int, ...]:
    """Where blocks begin along one axis: where tiles do, moved down to where units begin."""
    inner = {min(max(begin, 0), size) // unit * unit for begin, _ in spans[1:]}
    return (0, *sorted(inner - {0, size}), size)


def _cut_again(cuts: Sequence[int], limit: int) -> tuple[int, ...]:
    """The same cuts, and others ``limit`` apart behind each."""
    if not cuts[-1]:
        return tuple(cuts)
    finer = [range(begin, end, max(limit, 1)) for begin, end in itertools.pairwise(cuts)]
    return (*itertools.chain(*finer), cuts[-1])


def _needs(spans: Rect, cuts: Sequence[int]) -> Rect:
    found = []
    for begin, end in itertools.pairwise(cuts):
        low = min(bisect_right(spans, begin, key=lambda s: s[1]), len(spans) - 1)
        found.append((low, max(bisect_left(spans, end, key=lambda s: s[0]), low + 1)))
    return tuple(found)


def _longest(cuts: Sequence[int]) -> int:
    return max([e - b for b, e in itertools.pairwise(cuts)])


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

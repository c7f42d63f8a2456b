"""Which patches, in which order, and where their samples lie: tables for the loops of `loops`.

An operand (an image block, a batch, an accumulator) is flat memory, with where each patch lies in
it and a stride per axis of the patch. `Runs` are stretches of patches that follow each other along
one axis with an even step; they are all that kernels know of a selection, be it a whole tile, a
mask, or a list of indices.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import inf
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..geometry import AxisGrid
from ..geometry.rect import Rect
from .memory import Flat, sum_outer

__all__ = [
    "AtTables",
    "FeatureTables",
    "LineTables",
    "Operand",
    "RunTable",
    "Runs",
    "TargetLines",
    "Weights",
    "find_all_runs",
    "find_runs",
    "lies_by_feature",
    "lines_along",
    "place_in_list",
    "place_in_stack",
    "place_on_grid",
    "place_on_image",
    "tabulate_features",
    "tabulate_lines",
    "tabulate_samples",
    "tabulate_target",
]

Vector = NDArray[np.int64]


@dataclass(frozen=True)
class Runs:
    """Runs of patches: the position of each run's first patch per axis, and how many follow along ``along``.

    ``sequence`` counts patches before each run in the selection as a whole.
    """

    at: tuple[Vector, ...]
    lengths: Vector
    sequence: Vector
    along: int
    whole: Runs | None = None  # what these runs are a part of, so that tables are made once
    part: slice | None = None

    @cached_property
    def n(self) -> int:
        return int(self.lengths.sum())

    @cached_property
    def begins(self) -> Vector:
        """How many of these patches come before each run."""
        counted: Vector = self.sequence - self.sequence[0]
        return counted

    def offsets(self, places: Sequence[Vector]) -> Vector:
        """Offset of each run's first patch, given where patches lie along each axis."""
        total = np.zeros(len(self.lengths), dtype=np.int64)
        for at, place in zip(self.at, places, strict=True):
            if len(place) > 1 or place[0]:
                total += place[at]
        return total

    def each(self) -> Runs:
        """The same patches as runs of length 1."""
        if len(self.lengths) == self.n:
            return self
        ends = np.cumsum(self.lengths)
        steps = np.arange(ends[-1]) - np.repeat(ends - self.lengths, self.lengths)
        at = [np.repeat(a, self.lengths) for a in self.at]
        at[self.along] = at[self.along] + steps
        sequence = np.repeat(self.sequence, self.lengths) + steps
        return Runs(tuple(at), np.ones(len(steps), dtype=np.int64), sequence, self.along)

    def parted(self, ranges: Rect) -> tuple[Runs, Runs]:
        """The patches whose positions are within ``ranges`` along every axis, and the others."""
        begin = self.at[self.along]
        end = begin + self.lengths
        among = np.ones(len(begin), dtype=bool)
        for k, (at, (low, high)) in enumerate(zip(self.at, ranges, strict=True)):
            if k != self.along:
                among &= (at >= low) & (at < high)
        low, high = ranges[self.along]
        first = np.where(among, np.clip(low, begin, end), end)
        last = np.where(among, np.clip(high, first, end), end)
        return self._between([(first, last)]), self._between([(begin, first), (last, end)])

    def _between(self, parts: Sequence[tuple[Vector, Vector]]) -> Runs:
        """Parts of each run, ``first`` to ``last`` along the axis of runs, without those that are empty."""
        taken, lengths, sequence = [], [], []
        for first, last in parts:
            some = last > first
            at = [a[some] for a in self.at]
            sequence.append(self.sequence[some] + first[some] - at[self.along])
            at[self.along] = first[some]
            taken.append(at)
            lengths.append(last[some] - first[some])
        places = tuple([np.concatenate(each) for each in zip(*taken, strict=True)])
        return Runs(places, np.concatenate(lengths), np.concatenate(sequence), self.along)

    def split(self, most: int) -> list[Runs]:
        """Consecutive groups of at most ``most`` patches; long runs are cut into equal parts."""
        runs = self._shortened(most)
        groups, begin, done = [], 0, 0
        ends = np.cumsum(runs.lengths).tolist()
        while begin < len(ends):
            end = max(begin + 1, bisect_right(ends, done + most, begin))
            group = runs[begin:end]
            group.__dict__["n"] = ends[end - 1] - done  # need not be added up again
            groups.append(group)
            begin, done = end, ends[end - 1]
        return groups

    def filled(self, most: int, first: int | None = None) -> list[Runs]:
        """Consecutive groups of exactly ``most`` patches: the first of ``first``, the last of what is left.

        Runs are cut where a group ends.
        """
        begins = self.begins
        ends = np.arange(most if first is None else first, self.n, most, dtype=np.int64)
        starts = np.union1d(begins, ends)
        k = np.searchsorted(begins, starts, side="right") - 1
        within = starts - begins[k]
        at = [a[k] for a in self.at]
        at[self.along] = at[self.along] + within
        runs = Runs(
            tuple(at), np.diff(np.append(starts, self.n)), self.sequence[k] + within, self.along
        )
        cuts = [0, *np.searchsorted(starts, ends).tolist(), len(starts)]
        return [runs[a:b] for a, b in itertools.pairwise(cuts)]

    def leaves(self, features: int, most: int) -> list[Runs]:
        """Parts for the threads, of about ``most`` elements; all in one where there are no more."""
        if self.n * features <= most:
            return [self]
        return self.split(max(1, min(most // features, -(-self.n // 2))))

    def _shortened(self, most: int) -> Runs:
        parts = -(-self.lengths // most)
        if (parts == 1).all():
            return self
        whole = np.repeat(self.lengths, parts)
        pieces = np.repeat(parts, parts)
        k = np.arange(len(whole)) - np.repeat(np.cumsum(parts) - parts, parts)
        begin, end = whole * k // pieces, whole * (k + 1) // pieces
        at = [np.repeat(a, parts) for a in self.at]
        at[self.along] = at[self.along] + begin
        return Runs(tuple(at), end - begin, np.repeat(self.sequence, parts) + begin, self.along)

    def __getitem__(self, part: slice | NDArray[np.intp]) -> Runs:
        taken = tuple(a[part] for a in self.at), self.lengths[part], self.sequence[part], self.along
        return Runs(*taken, self, part) if isinstance(part, slice) else Runs(*taken)

    def on_axes(self, arrange: Callable[[Sequence[Vector]], Sequence[Vector]], along: int) -> Runs:
        """The same runs with their positions on other axes."""
        return Runs(tuple(arrange(self.at)), self.lengths, self.sequence, along)


def find_all_runs(counts: Sequence[int], breaks: Sequence[int], along: int) -> Runs:
    """Every patch of a grid (or tile) in C order; ``breaks`` are positions along the axis where runs must start."""
    begins = np.asarray([0, *breaks], dtype=np.int64)
    lengths = np.diff(np.append(begins, counts[along]))
    axes = [np.arange(n, dtype=np.int64) for n in counts]
    axes[along] = begins
    at = np.meshgrid(*axes, indexing="ij")
    rows = at[0].size // len(begins)
    inner = int(np.prod(list(counts[along + 1 :]), dtype=np.int64))
    assert inner == 1, "axes behind the run axis hold one patch"
    return _sequenced(tuple(a.ravel() for a in at), np.tile(lengths, rows), along)


def find_runs(rows: Vector, counts: Sequence[int], breaks: Sequence[int], along: int) -> Runs:
    """Flat indices in the caller's order, grouped where they follow each other evenly."""
    at = np.unravel_index(rows, tuple(counts))
    here = at[along][1:]
    new = np.ones(len(rows), dtype=bool)
    new[1:] = (rows[1:] != rows[:-1] + 1) | (here == 0)
    if len(breaks):
        new[1:] |= np.isin(here, np.asarray(breaks, dtype=np.int64))
    begins = new.nonzero()[0]
    ends = np.empty_like(begins)  # np.diff and np.append cost small adds three times as much
    ends[:-1], ends[-1:] = begins[1:], len(rows)
    places = tuple(a[begins].astype(np.int64, copy=False) for a in at)
    return _sequenced(places, ends - begins, along)


def _sequenced(at: tuple[Vector, ...], lengths: Vector, along: int) -> Runs:
    return Runs(at, lengths, np.cumsum(lengths) - lengths, along)


class RunTable:
    """Where runs begin in an operand; for the same runs, or the parts of one whole, worked out once."""

    __slots__ = ("_known", "place")

    def __init__(self, place: Callable[[Runs], Vector]) -> None:
        self.place = place
        self._known: tuple[Runs, Vector] | None = None

    def __call__(self, runs: Runs) -> Vector:
        whole, known = runs.whole or runs, self._known
        if known is None or known[0] is not whole:
            self._known = known = whole, self.place(whole)
        return known[1] if runs.whole is None else known[1][runs.part]


class Operand(NamedTuple):
    """Flat memory, how to find a run's first patch in it, the stride of each patch axis, and of a run."""

    memory: NDArray[Any]
    table: Callable[[Runs], Vector]
    strides: tuple[int, ...]
    along: int


def lies_by_feature(operand: Operand, patch: tuple[int, ...]) -> bool:
    """Whether neighbouring patches lie closer than neighbouring samples, so that loops in feature order read well.

    A single patch has no neighbour (a stride of 0): it is walked line by line.
    """
    closest = min([s for s, p in zip(operand.strides, patch, strict=True) if p > 1], default=inf)
    return 0 < operand.along < closest


@lru_cache(maxsize=64)
def tabulate_samples(patch: tuple[int, ...], strides: tuple[int, ...], backwards: bool) -> Vector:
    """Offset of every sample of a patch, in C order or backwards; shared, so not to be written to."""
    steps = zip(patch, strides, strict=True)
    table = sum_outer([np.arange(p, dtype=np.int64) * s for p, s in steps])
    return np.ascontiguousarray(table[::-1]) if backwards else table


def place_on_image(
    array: Flat,
    axes: Sequence[AxisGrid],
    origin: Sequence[int],
    ranges: Rect,
    gap: int,
    along: int,
) -> Operand:
    """An operand in which patches lie where the grid says: an image block or an accumulator.

    Element ``origin`` of the image is the array's first; ``ranges`` are the patches that positions
    count from.
    """
    lines = list(zip(axes, ranges, origin, array.strides, strict=True))

    def place(runs: Runs) -> Vector:
        # only where runs begin: an axis may have far more patches than there are runs
        offsets = (
            (axis.starts_at(at + begin) - o) * s
            for at, (axis, (begin, _), o, s) in zip(runs.at, lines, strict=True)
        )
        return np.asarray(sum(offsets), dtype=np.int64)

    strides = tuple(axis.dilation * s for axis, s in zip(axes, array.strides, strict=True))
    return Operand(
        array.memory,
        RunTable(place),
        strides,
        gap * array.strides[along],
    )


def place_in_stack(array: Flat, per_image: int, n_batch: int, first: int = 0) -> Operand:
    """An operand in which patches lie one after the other: axes ``(images, n, *patch)``.

    ``first`` is the place in the sequence of the array's first patch; ``n_batch`` the batch axes a
    patch has none of.
    """
    image, patch, *samples = array.strides

    def table(runs: Runs) -> Vector:
        at = runs.sequence - first
        if image == patch * per_image:
            return at * patch
        return at // per_image * image + at % per_image * patch

    return Operand(array.memory, table, (0,) * n_batch + tuple(samples), patch)


def place_in_list(array: Flat, n_batch: int) -> Operand:
    """An operand that holds the patches of just these runs, one after the other: axes ``(n, *patch)``."""
    step, *samples = array.strides
    table = _begins if step == 1 else lambda runs: runs.begins * step
    return Operand(array.memory, table, (0,) * n_batch + tuple(samples), step)


def _begins(runs: Runs) -> Vector:
    return runs.begins


def place_on_grid(array: Flat, ranges: Rect, n_batch: int, along: int) -> Operand:
    """An operand whose first axes are the grid's counts, and whose last ones a patch without batch axes."""
    n_grid = len(ranges)
    places = [
        np.arange(*r, dtype=np.int64) * s for r, s in zip(ranges, array.strides, strict=False)
    ]
    return Operand(
        array.memory,
        RunTable(lambda runs: runs.offsets(places)),
        (0,) * n_batch + array.strides[n_grid:],
        array.strides[along],
    )


class FeatureTables(NamedTuple):
    """What a loop goes by that takes a sample (the last first), then the runs, then the patches of a run.

    Of both operands, ``dst`` and ``src``: where samples lie in a patch, where the first patch of
    each run lies, and how far a run's next patch is; ``lengths`` are patches per run.
    """

    dst_samples: Vector
    src_samples: Vector
    dst_runs: Vector
    src_runs: Vector
    lengths: Vector
    dst_along: int
    src_along: int


class LineTables(NamedTuple):
    """What a loop goes by that takes a run, then its patches, then the lines of a patch, then the samples of a line.

    Of both operands, ``dst`` and ``src``: where the first patch of each run lies, how far a run's
    next patch is, where lines begin in a patch, and how far a line's next sample is; ``lengths``
    are patches per run, ``length`` is samples per line.
    """

    dst_runs: Vector
    src_runs: Vector
    lengths: Vector
    dst_along: int
    src_along: int
    dst_lines: Vector
    src_lines: Vector
    length: int
    dst_step: int
    src_step: int


class AtTables(NamedTuple):
    """What a loop goes by that finds patches by flat index, in sums that are as dense as the patches.

    A row of ``axes`` is the number of patches along an axis and, in elements of memory, where the
    first one starts, the distance between two, and where the last one starts. ``taper`` is empty
    where nothing weighs.
    """

    axes: Vector
    lines: Vector
    length: int
    taper: NDArray[np.float64]


class TargetLines(NamedTuple):
    """Of `LineTables` what concerns one operand alone."""

    runs: Vector
    lengths: Vector
    along: int
    lines: Vector
    length: int
    step: int


class Weights(NamedTuple):
    """What a loop multiplies by: a number per sample and a number per patch.

    ``first`` is where the numbers of each run begin among ``patch_weights``. Loops in feature order
    take the last sample first, so their ``taper`` runs backwards.
    """

    taper: NDArray[np.float64]
    patch_weights: NDArray[np.float64]
    first: Vector


def tabulate_features(
    dst: Operand, src: Operand, runs: Runs, patch: tuple[int, ...]
) -> FeatureTables:
    """Where a loop in feature order finds ``runs`` of patches in two operands."""
    return FeatureTables(
        tabulate_samples(patch, dst.strides, True),
        tabulate_samples(patch, src.strides, True),
        dst.table(runs),
        src.table(runs),
        runs.lengths,
        dst.along,
        src.along,
    )


def tabulate_lines(dst: Operand, src: Operand, runs: Runs, patch: tuple[int, ...]) -> LineTables:
    """Where a loop in patch order finds ``runs`` of patches in two operands."""
    length, (dst_step, src_step), sizes, (dst_rows, src_rows) = lines_along(
        patch, (dst.strides, src.strides)
    )
    return LineTables(
        dst.table(runs),
        src.table(runs),
        runs.lengths,
        dst.along,
        src.along,
        tabulate_samples(sizes, dst_rows, False),
        tabulate_samples(sizes, src_rows, False),
        length,
        dst_step,
        src_step,
    )


def tabulate_target(operand: Operand, runs: Runs, patch: tuple[int, ...]) -> TargetLines:
    """Where a loop in patch order finds ``runs`` of patches in one operand."""
    length, (step,), sizes, (strides,) = lines_along(patch, (operand.strides,))
    lines = tabulate_samples(sizes, strides, False)
    return TargetLines(operand.table(runs), runs.lengths, operand.along, lines, length, step)


@lru_cache(maxsize=64)
def lines_along(
    patch: tuple[int, ...], strides: tuple[tuple[int, ...], ...]
) -> tuple[int, tuple[int, ...], tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """The longest line of samples that is evenly strided in every operand, and the axes left over."""
    axes = [(p, tuple(row[k] for row in strides)) for k, p in enumerate(patch) if p > 1]
    length, steps = axes.pop() if axes else (1, (1,) * len(strides))
    while axes and all(
        outer == length * inner for outer, inner in zip(axes[-1][1], steps, strict=True)
    ):
        length *= axes.pop()[0]
    sizes = tuple(p for p, _ in axes)
    return (
        length,
        steps,
        sizes,
        tuple(tuple(row[k] for _, row in axes) for k in range(len(strides))),
    )

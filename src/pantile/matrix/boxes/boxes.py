"""Evenly spaced rectangles of patches: what FFTs and lags can work on.

A `Box` is a rectangle of patches with one step per axis. Dilation is taken out by looking at every
``dilation``-th element, which makes several boxes; a step is taken out by looking at its phases
(polyphase components) as if they were channels. What is left is a stack ``(Z, *N)`` in which patch
``w`` holds ``stack[:, w : w + lags]``: every step is 1, and channels, phases and thin axes are ``Z``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...geometry import AxisGrid
from ...geometry.tiles import Bounds
from ..selection.selection import Table
from ..selection.stack import Array, Part

__all__ = ["Area", "AxisBox", "Box", "areas_of", "rectangles"]

_MOST_BOXES = 512


@dataclass(frozen=True)
class AxisBox:
    """``count`` patches of ``patch`` samples on every ``unit``-th element from ``begin`` on.

    Patch ``t`` starts ``t * step`` of these samples behind the first; it is the grid's patch ``row
    + t * row_step``.
    """

    begin: int
    unit: int
    step: int
    count: int
    patch: int
    row: int
    row_step: int

    @property
    def lags(self) -> int:
        """Length of a patch in each phase."""
        return -(-self.patch // self.step)

    @property
    def length(self) -> int:
        """Samples that the patches reach over."""
        return (self.count - 1) * self.step + self.patch

    @property
    def size(self) -> int:
        """Length of the stack."""
        return self.count + self.lags - 1

    def samples(self, t0: int, t1: int) -> tuple[int, int]:
        """The elements that stack positions ``t0`` to ``t1`` are read from, as bounds."""
        last = min(self.step * t1, self.length) - 1
        return self.begin + self.unit * self.step * t0, self.begin + self.unit * last + 1

    def rows(self, t0: int, t1: int) -> slice:
        """Patches ``t0`` to ``t1`` as a slice of the grid's."""
        return slice(
            self.row + t0 * self.row_step, self.row + (t1 - 1) * self.row_step + 1, self.row_step
        )


@dataclass(frozen=True)
class Box:
    """One `AxisBox` per canonical axis of an area."""

    part: Part
    within: tuple[int, ...]  # counts of the area it is a part of
    axes: tuple[AxisBox, ...]

    @cached_property
    def counts(self) -> tuple[int, ...]:
        return tuple(axis.count for axis in self.axes)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        return tuple(axis.size for axis in self.axes)

    @cached_property
    def lags(self) -> tuple[int, ...]:
        return tuple(axis.lags for axis in self.axes)

    @cached_property
    def lag_axes(self) -> tuple[int, ...]:
        """Axes along which patches overlap; along the others they are only summed over."""
        return tuple(k for k, n in enumerate(self.lags) if n > 1)

    @cached_property
    def depth(self) -> int:
        """Length of the stack's first axis."""
        return math.prod(axis.step for axis in self.axes)

    @property
    def n_rows(self) -> int:
        return math.prod(self.counts)

    @cached_property
    def slots(self) -> NDArray[np.int64]:
        """Where in ``(depth, *lags)``, flattened, each feature lies."""
        depth = np.zeros(1, dtype=np.int64)
        lag = np.zeros(1, dtype=np.int64)
        for axis in self.axes:
            sample = np.arange(axis.patch)
            depth = (depth[:, None] * axis.step + sample % axis.step).ravel()
            lag = (lag[:, None] * axis.lags + sample // axis.step).ravel()
        return depth * math.prod(self.lags) + lag

    def read(self, ranges: Bounds, shift: Any, dtype: Any) -> Array:
        """Positions ``ranges`` of the stack, less ``shift``: a new array ``(depth, *lengths)``."""
        bounds = tuple(axis.samples(*r) for axis, r in zip(self.axes, ranges, strict=True))
        found = self.part.read(bounds)[tuple(slice(None, None, axis.unit) for axis in self.axes)]
        values: Array = np.subtract(found, shift, dtype=dtype)
        if self.depth == 1:
            return values[None]
        return self._phases(values, tuple(end - begin for begin, end in ranges))

    def _phases(self, values: Array, lengths: tuple[int, ...]) -> Array:
        steps = [axis.step for axis in self.axes]
        whole = np.zeros([n * s for n, s in zip(lengths, steps, strict=True)], values.dtype)
        whole[tuple(slice(0, n) for n in values.shape)] = values
        split = whole.reshape([n for pair in zip(lengths, steps, strict=True) for n in pair])
        split = split.transpose(*range(1, split.ndim, 2), *range(0, split.ndim, 2))
        return np.ascontiguousarray(split.reshape(self.depth, *lengths))

    def rows(self) -> NDArray[np.int64]:
        """Numbers of the patches in their area, in C order."""
        numbers = np.zeros(1, dtype=np.int64)
        for axis, total in zip(self.axes, self.within, strict=True):
            numbers = (
                numbers[:, None] * total + np.arange(total)[axis.rows(0, axis.count)]
            ).ravel()
        return numbers


@dataclass(frozen=True)
class Area:
    """A rectangle of a part's patches whose rows follow each other, from ``first`` on in the part.

    ``begin`` is where they stand in the selection.
    """

    part: Part
    ranges: Bounds
    first: int
    begin: int

    @cached_property
    def counts(self) -> tuple[int, ...]:
        return tuple(end - begin for begin, end in self.ranges)

    @property
    def n_rows(self) -> int:
        return math.prod(self.counts)

    @cached_property
    def boxes(self) -> list[Box]:
        """Evenly spaced boxes, each patch in one of them; none where there would be too many."""
        axes = [
            [box for begin, end in _even(axis, *r) for box in _undilated(axis, begin, end, r[0])]
            for axis, r in zip(self.part.frame.axes, self.ranges, strict=True)
        ]
        if math.prod(len(found) for found in axes) > _MOST_BOXES:
            return []
        return [Box(self.part, self.counts, chosen) for chosen in itertools.product(*axes)]


def areas_of(table: Table) -> list[Area]:
    """Areas whose rows are the selection, in order; none where it has gaps."""
    if table.contiguous is None:
        return []
    begin, end = table.contiguous
    found = []
    for k, part in enumerate(table.stack.parts):
        before = table.stack.begin(k)
        low, high = max(begin, before), min(end, before + part.n_rows)
        for ranges in rectangles(low - before, high - before, part.frame.counts):
            found.append(Area(part, ranges, low - before, low - begin))
            low += found[-1].n_rows
    return found


def _even(axis: AxisGrid, begin: int, end: int) -> list[tuple[int, int]]:
    """Stretches of patches with even steps, as long as can be."""
    if axis.uniform or end - begin < 3:
        return [(begin, end)]
    gaps = np.diff(axis.starts(begin, end))
    found, at = [], begin
    while at < end:
        here = at - begin
        same = gaps[here:] == gaps[here] if here < len(gaps) else np.zeros(0, dtype=bool)
        stop = end if same.all() else at + 1 + int(np.argmin(same))
        found.append((at, stop))
        at = stop
    return found


def _undilated(axis: AxisGrid, begin: int, end: int, origin: int) -> list[AxisBox]:
    """Patches ``begin`` to ``end``, evenly spaced, as boxes without dilation; rows count from ``origin``."""
    n, p, d, first = end - begin, axis.patch, axis.dilation, axis.start(begin)
    gap = axis.start(begin + 1) - first if n > 1 else 1
    if p == 1:
        return [AxisBox(first, gap, 1, n, 1, begin - origin, 1)]
    if n == 1:
        return [AxisBox(first, d, p, 1, p, begin - origin, 1)]
    common = math.gcd(gap, d)
    stride, step = d // common, gap // common
    if n <= stride:
        return [AxisBox(axis.start(i), d, p, 1, p, i - origin, 1) for i in range(begin, end)]
    return [
        AxisBox(first + i * gap, d, step, -(-(n - i) // stride), p, begin - origin + i, stride)
        for i in range(stride)
    ]


def rectangles(begin: int, end: int, counts: Sequence[int]) -> list[Bounds]:
    """Rows ``begin`` to ``end`` of a grid of ``counts``, in C order, as rectangles of patches.

    >>> rectangles(1, 6, (3, 3))
    [((0, 1), (1, 3)), ((1, 2), (0, 3))]
    """
    if end <= begin:
        return []
    if len(counts) == 1:
        return [((begin, end),)]
    inner = math.prod(counts[1:])
    first, last = -(-begin // inner), end // inner
    if first > last:
        return _below(first - 1, begin, end, counts)
    found = _below(first - 1, begin, first * inner, counts)
    if last > first:
        found.append(((first, last), *((0, n) for n in counts[1:])))
    return found + _below(last, last * inner, end, counts)


def _below(index: int, begin: int, end: int, counts: Sequence[int]) -> list[Bounds]:
    """The rectangles of rows that lie in one ``index`` of the first axis."""
    before = index * math.prod(counts[1:])
    return [
        ((index, index + 1), *rest) for rest in rectangles(begin - before, end - before, counts[1:])
    ]

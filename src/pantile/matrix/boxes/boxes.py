"""Evenly spaced boxes of patches: what Fourier transforms and lags can work on.

A `Box` is a box of patches with one step per axis. Dilation is removed by looking at every
``dilation``-th element only, which makes several boxes. A step is removed by sorting the elements into
phases (polyphase components), which are then treated like channels. What is left is a stack ``(depth,
*sizes)`` in which patch ``w`` holds ``stack[:, w : w + lags]``: every step is 1, and phases and thin
axes make up the ``depth``.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...geometry import AxisGrid
from ...geometry.rect import Rect
from ..selection.rectangles import Rectangle
from ..selection.stack import Array, GriddedImage

__all__ = ["AxisBox", "Box", "split_into_boxes"]


@dataclass(frozen=True)
class AxisBox:
    """One axis of a box: ``count`` patches of ``patch`` samples, ``step`` samples between two of them.

    The samples are every ``unit``-th element from ``begin`` on. Patch ``t`` of the box is patch ``row +
    t * row_step`` of its rectangle.
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
        """How many samples of a patch are in one phase, at most."""
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
        """First element and end of what stack positions ``t0`` to ``t1`` are read from."""
        last = min(self.step * t1, self.length) - 1
        return self.begin + self.unit * self.step * t0, self.begin + self.unit * last + 1

    def rows(self, t0: int, t1: int) -> slice:
        """Patches ``t0`` to ``t1`` as a slice of the rectangle's."""
        return slice(
            self.row + t0 * self.row_step, self.row + (t1 - 1) * self.row_step + 1, self.row_step
        )


@dataclass(frozen=True)
class Box:
    """A box of patches of a rectangle: one `AxisBox` per canonical axis."""

    rectangle: Rectangle
    axes: tuple[AxisBox, ...]

    @property
    def image(self) -> GriddedImage:
        return self.rectangle.image

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
        """Axes along which a patch has more than one sample in a phase; the others are only summed over."""
        return tuple(k for k, n in enumerate(self.lags) if n > 1)

    @cached_property
    def depth(self) -> int:
        """Length of the stack's first axis: the number of phases."""
        return math.prod(axis.step for axis in self.axes)

    @property
    def lag_pairs(self) -> int:
        """Pairs of lags ``(a, b)`` with ``min(a, b) = 0`` on every axis, and ``a = 0`` on the first lag axis."""
        first = self.lag_axes[0]
        return math.prod(
            self.lags[k] if k == first else 2 * self.lags[k] - 1 for k in self.lag_axes
        )

    @property
    def n_rows(self) -> int:
        return math.prod(self.counts)

    @cached_property
    def slots(self) -> NDArray[np.int64]:
        """Where each feature lies in ``(depth, *lags)``, flattened."""
        depth = np.zeros(1, dtype=np.int64)
        lag = np.zeros(1, dtype=np.int64)
        for axis in self.axes:
            sample = np.arange(axis.patch)
            depth = (depth[:, None] * axis.step + sample % axis.step).ravel()
            lag = (lag[:, None] * axis.lags + sample // axis.step).ravel()
        return depth * math.prod(self.lags) + lag

    def read(self, ranges: Rect, shift: Any, dtype: Any) -> Array:
        """The stack at positions ``ranges``, less ``shift``: a new array ``(depth, *lengths)``."""
        bounds = tuple(axis.samples(*r) for axis, r in zip(self.axes, ranges, strict=True))
        found = self.image.read(bounds)[tuple(slice(None, None, axis.unit) for axis in self.axes)]
        values: Array = np.subtract(found, shift, dtype=dtype)
        if self.depth == 1:
            return values[None]
        return self._split_phases(values, tuple(end - begin for begin, end in ranges))

    def _split_phases(self, values: Array, lengths: tuple[int, ...]) -> Array:
        """Samples sorted into phases: every ``step``-th one along each axis."""
        steps = [axis.step for axis in self.axes]
        whole = np.zeros([n * s for n, s in zip(lengths, steps, strict=True)], values.dtype)
        whole[tuple(slice(0, n) for n in values.shape)] = values
        split = whole.reshape([n for pair in zip(lengths, steps, strict=True) for n in pair])
        split = split.transpose(*range(1, split.ndim, 2), *range(0, split.ndim, 2))
        return np.ascontiguousarray(split.reshape(self.depth, *lengths))

    def rows(self) -> NDArray[np.int64]:
        """The numbers of its patches in the rectangle, in C order."""
        numbers = np.zeros(1, dtype=np.int64)
        for axis, total in zip(self.axes, self.rectangle.counts, strict=True):
            numbers = (
                numbers[:, None] * total + np.arange(total)[axis.rows(0, axis.count)]
            ).ravel()
        return numbers


def split_into_boxes(rectangle: Rectangle, most: int) -> list[Box]:
    """Boxes that hold each patch of a rectangle once; none where they would be more than ``most``."""
    axes = [
        [
            box
            for begin, end in _split_uneven(axis, *r)
            for box in _split_dilated(axis, begin, end, r[0])
        ]
        for axis, r in zip(rectangle.image.frame.axes, rectangle.ranges, strict=True)
    ]
    if math.prod(len(found) for found in axes) > most:
        return []
    return [Box(rectangle, chosen) for chosen in itertools.product(*axes)]


def _split_uneven(axis: AxisGrid, begin: int, end: int) -> list[tuple[int, int]]:
    """Patches ``begin`` to ``end`` in stretches of equal steps, each as long as it can be."""
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


def _split_dilated(axis: AxisGrid, begin: int, end: int, origin: int) -> list[AxisBox]:
    """Evenly spaced patches ``begin`` to ``end`` as boxes without dilation; rows count from ``origin``."""
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

"""A batch of patches on its way into accumulators: where each lies, and what it weighs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import AxisGrid
from ..geometry.frame import Frame
from ..geometry.rect import Index, Rect, shape_of, span, whole
from ..kernels.loops import copy_by_patch
from ..kernels.memory import flatten
from ..kernels.offsets import (
    FeatureTables,
    LineTables,
    Operand,
    Runs,
    Weights,
    place_in_stack,
    place_on_image,
    tabulate_features,
    tabulate_lines,
)

__all__ = ["Area", "PatchBatch", "State", "one_patch"]

State = tuple[NDArray[Any], ...]


@dataclass(frozen=True)
class Area:
    """The part of the image that accumulators stand for: ``reach``, the elements that patches ``ranges`` reach over."""

    axes: tuple[AxisGrid, ...]
    ranges: Rect
    reach: Rect
    gap: int
    along: int
    known: dict[int, tuple[NDArray[Any], Operand]] = field(default_factory=dict)

    def operand(self, array: NDArray[Any], bits: str | None = None) -> Operand:
        """Accumulators of the area's shape as a target of the loops; the same few are asked for again and again,
        and live as long as the area does."""
        kept = self.known.get(id(array))
        if kept is None or kept[0] is not array:
            memory = flatten(array, bits)
            made = place_on_image(memory, self.axes, self.origin, self.ranges, self.gap, self.along)
            for other, alike in self.known.values():
                if (other.strides, other.itemsize) == (array.strides, array.itemsize):
                    made = made._replace(table=alike.table)  # worked out once for all
            self.known[id(array)] = kept = array, made
        return kept[1]

    @classmethod
    def of(cls, frame: Frame, ranges: Rect, *, with_image: bool = False) -> Area:
        """What the patches of ``ranges`` reach over (``with_image``, and the image)."""
        reach = tuple([axis.span(*r) for axis, r in zip(frame.axes, ranges, strict=True)])
        if with_image:
            reach = span(reach, whole(frame.shape))
        return cls(frame.axes, ranges, reach, frame.gap, frame.along)

    @property
    def origin(self) -> Index:
        """The element that an accumulator's first one stands for."""
        return tuple([begin for begin, _ in self.reach])

    @property
    def shape(self) -> Index:
        """The shape of the accumulators."""
        return shape_of(self.reach)

    def rank(self, runs: Runs) -> NDArray[np.int64]:
        """Flat index of each run's first patch in the whole grid."""
        at = (a + begin for a, (begin, _) in zip(runs.at, self.ranges, strict=True))
        counts = tuple(axis.count for axis in self.axes)
        return np.ravel_multi_index(tuple(at), counts).astype(np.int64)


@dataclass(frozen=True, slots=True)
class PatchBatch:
    """Patches (``runs`` of ``source``) on their way into accumulators over ``area``.

    ``patch_weights`` are one number per patch in the order of the runs' sequence, from ``first``
    on.
    """

    area: Area
    source: Operand
    runs: Runs
    patch: tuple[int, ...]
    feature: bool
    patch_weights: NDArray[np.float64] | None = None
    first: int = 0
    sample_weights: Operand | None = None  # with which the patches are multiplied already

    def tabulate_lines(self, target: Operand, source: Operand | None = None) -> LineTables:
        """Where loops in patch order find the patches, and what they go into."""
        return tabulate_lines(target, source or self.source, self.runs, self.patch)

    def tabulate_features(self, target: Operand, source: Operand | None = None) -> FeatureTables:
        """Where loops in feature order find the patches, and what they go into."""
        return tabulate_features(target, source or self.source, self.runs, self.patch)

    def weights(self, taper: NDArray[np.float64] | None) -> Weights | None:
        """The weights in the order of the loops, None where nothing is weighted."""
        if taper is None and self.patch_weights is None:
            return None
        taper, each, first = self.all_weights(taper)
        return Weights(np.ascontiguousarray(taper[::-1]) if self.feature else taper, each, first)

    def all_weights(self, taper: NDArray[np.float64] | None) -> Weights:
        """The weights in patch order, with ones for what is not weighted."""
        first, each = self.runs.sequence - self.first, self.patch_weights
        if taper is None:
            taper = np.ones(math.prod(self.patch))
        if each is None:
            each = np.ones(int((first + self.runs.lengths).max()))
        return Weights(taper, each, first)

    def gathered(self) -> NDArray[Any]:
        """The patches as a contiguous array ``(n, *patch)`` of the memory's type."""
        whole = np.empty((1, self.runs.n, *self.patch), dtype=self.source.memory.dtype)
        goal = place_in_stack(flatten(whole), self.runs.n, 0, int(self.runs.sequence[0]))
        copy_by_patch(goal, self.source, self.runs, self.patch)
        patches: NDArray[Any] = whole[0]
        return patches


def one_patch(patch: NDArray[Any]) -> Operand:
    """A contiguous patch that every patch of a batch is."""
    memory, strides = flatten(patch)
    return Operand(memory, lambda runs: np.zeros(len(runs.lengths), dtype=np.int64), strides, 0)

"""A batch of patches on its way into accumulators: where each lies, and what it weighs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import AxisGrid
from ..geometry.tiles import Bounds
from ..kernels.flat import flat
from ..kernels.walk import Operand, Runs, feature_tables, line_tables, placed, stacked

__all__ = ["Deposit", "Region", "constant_operand"]


@dataclass(frozen=True, slots=True)
class Region:
    """The part of the image that accumulators stand for: they begin at ``origin`` and take patches of ``ranges``."""

    axes: tuple[AxisGrid, ...]
    ranges: Bounds
    origin: tuple[int, ...]
    gap: int
    along: int

    def operand(self, array: NDArray[Any], bits: str | None = None) -> Operand:
        """Accumulators of the region's shape as a target of the loops."""
        return placed(flat(array, bits), self.axes, self.origin, self.ranges, self.gap, self.along)

    def rank(self, runs: Runs) -> NDArray[np.int64]:
        """Flat index of each patch of runs of length 1 in the whole grid."""
        at = (a + begin for a, (begin, _) in zip(runs.at, self.ranges, strict=True))
        counts = tuple(axis.count for axis in self.axes)
        return np.ravel_multi_index(tuple(at), counts).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Deposit:
    """Patches (``runs`` of ``source``) to be merged into accumulators over ``region``.

    ``patch_weights`` are one number per patch in the order of the runs' sequence, from ``first`` on.
    """

    region: Region
    source: Operand
    runs: Runs
    patch: tuple[int, ...]
    feature: bool
    patch_weights: NDArray[np.float64] | None = None
    first: int = 0

    def tables(self, target: Operand, source: Operand | None = None, feature: bool | None = None) -> Any:
        """What the loops take after their memory arguments."""
        feature = self.feature if feature is None else feature
        order = feature_tables if feature else line_tables
        return order((target, source or self.source), self.runs, self.patch)

    def weights(self, taper: NDArray[np.float64] | None, lengths: NDArray[np.int64]) -> tuple[Any, ...]:
        """``scalar, vector, weight_at`` for the loops, given the taper over all samples, flattened."""
        votes = self.patch_weights
        if self.feature:
            scalar = None if taper is None else np.ascontiguousarray(taper[::-1])
            if votes is not None and scalar is None:
                scalar = np.ones(int(np.prod(self.patch)))
            return scalar, votes, self.runs.sequence - self.first
        scalar = None if votes is None else votes[self.runs.each().sequence - self.first]
        if taper is not None and scalar is None:
            scalar = np.ones(self.runs.n)
        return scalar, taper, np.cumsum(lengths) - lengths

    def both_weights(self, taper: NDArray[np.float64] | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """One number per patch and one per sample, ones where nothing was given (patch order)."""
        votes = self.patch_weights
        per_patch = np.ones(self.runs.n) if votes is None else votes[self.runs.each().sequence - self.first]
        return per_patch, np.ones(int(np.prod(self.patch))) if taper is None else taper

    def gathered(self, dtype: np.dtype[Any], copy: Callable[..., None]) -> NDArray[Any]:
        """The patches as a contiguous array ``(n, *patch)`` of the memory's type."""
        whole = np.empty((1, self.runs.n, *self.patch), dtype=self.source.memory.dtype)
        goal = stacked(flat(whole), self.runs.n, 0, int(self.runs.sequence[0]))
        copy(goal.memory, self.source.memory, *line_tables((goal, self.source), self.runs, self.patch))
        return whole[0].view(dtype)


def constant_operand(value: NDArray[Any], patch: Sequence[int]) -> Operand:
    """One number, wherever it is read."""
    zeros = (0,) * len(patch)
    return Operand(value, lambda runs: np.zeros(len(runs.lengths), dtype=np.int64), zeros, 0)

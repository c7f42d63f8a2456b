"""Mean, variance, number and effective number of the patches that meet, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.rect import Rect
from ..kernels.collect import Kept
from ..kernels.lanes import find_spread
from ..kernels.loops import add_by_patch
from ..kernels.offsets import Weights, tabulate_target
from ..kernels.select import count
from .batch import PatchBatch, one_patch
from .reduction import Collecting, State
from .variance import Variance

__all__ = ["MeanVarianceCount"]

_SUMS = 6  # arrays of the variance's state


@dataclass(frozen=True)
class MeanVarianceCount(Variance):
    """Four images: the weighted mean, the population variance around it, how many patches there were, and how
    many of equal weight would tell as much: (sum of w)^2 / (sum of w^2) (Kish, Survey Sampling, 1965).

    The state is that of the variance, with the patches counted behind it and, where they are
    ``weighted``, the squares of the weights.
    """

    weighted: bool = False

    def init(self, shape: tuple[int, ...]) -> State:
        squares = (np.zeros(shape),) if self.weighted else ()
        return (*super().init(shape), np.zeros(shape, dtype=np.int64), *squares)

    @cached_property
    def _ones(self) -> NDArray[np.float64]:
        return np.ones(self.patch)

    def collecting(self) -> Collecting | None:
        return Collecting(_images_of_kept, self.taper)

    def add(self, state: State, batch: PatchBatch) -> None:
        super().add(state[:_SUMS], batch)
        target = batch.area.operand(state[_SUMS])
        count(target.memory, tabulate_target(target, batch.runs, batch.patch), 1)
        if self.weighted:
            target = batch.area.operand(state[_SUMS + 1])
            lines = batch.tabulate_lines(target, one_patch(self._ones))
            taper, each, first = batch.all_weights(self.taper)
            add_by_patch(
                target.memory, self._ones.ravel(), lines, Weights(taper**2, each**2, first)
            )

    def combine(self, states: Sequence[State]) -> State:
        sums = super().combine([state[:_SUMS] for state in states])
        rest = zip(*(state[_SUMS:] for state in states), strict=True)
        return (*sums, *(np.sum(each, axis=0) for each in rest))

    def images(self, state: State, bounds: Rect, dtypes: Sequence[np.dtype[Any]]) -> State:
        sums, counts = state[:_SUMS], state[_SUMS]
        effective = counts.astype(float)
        if self.weighted:
            with np.errstate(divide="ignore", invalid="ignore"):
                effective = (sums[4] + sums[5]) ** 2 / state[_SUMS + 1]
        return *self.spread(sums), counts, effective


def _images_of_kept(kept: Kept) -> State:
    _, used, weights = kept
    effective = used.astype(float)
    if weights is not None:
        there = np.where(np.arange(len(weights))[:, None] < used, weights, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            # one after the other: sum() has another order where there is one element
            effective = reduce(np.add, there) ** 2 / reduce(np.add, there**2)
    return (*find_spread(kept), used, effective)

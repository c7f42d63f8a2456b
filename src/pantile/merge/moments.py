"""Mean, variance and number of the patches that meet, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..geometry.rect import Rect
from ..kernels.lanes import find_spread
from ..kernels.offsets import tabulate_target
from ..kernels.select import count
from .batch import PatchBatch
from .reduction import Collecting, State
from .variance import Variance

__all__ = ["MeanVarianceCount"]


@dataclass(frozen=True)
class MeanVarianceCount(Variance):
    """Three images: the weighted mean, the population variance around it, and how many patches there were.

    The state is that of the variance, with the patches counted behind it.
    """

    def init(self, shape: tuple[int, ...]) -> State:
        return (*super().init(shape), np.zeros(shape, dtype=np.int64))

    def collecting(self) -> Collecting | None:
        return Collecting(lambda kept: (*find_spread(kept), kept[1]), self.taper)

    def add(self, state: State, batch: PatchBatch) -> None:
        *sums, counts = state
        super().add(tuple(sums), batch)
        target = batch.area.operand(counts)
        count(target.memory, tabulate_target(target, batch.runs, batch.patch), 1)

    def combine(self, states: Sequence[State]) -> State:
        sums = super().combine([state[:-1] for state in states])
        return (*sums, np.sum([state[-1] for state in states], axis=0))

    def images(self, state: State, bounds: Rect, dtypes: Sequence[np.dtype[Any]]) -> State:
        *sums, counts = state
        return *self.spread(tuple(sums)), counts

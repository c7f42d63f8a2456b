"""The variance of the values that meet, from exact sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.rect import Rect
from ..kernels.lanes import find_spread
from ..kernels.moments import add_moments, find_moments, join_moments
from .batch import PatchBatch
from .reduction import Collecting, Reduction, State

__all__ = ["Variance"]


@dataclass(frozen=True)
class Variance(Reduction):
    """Population variance from sums of w, w x and w x^2 in double-double, so that a large mean costs nothing."""

    taper: NDArray[np.float64] | None = None

    def init(self, shape: tuple[int, ...]) -> State:
        return tuple(np.zeros(shape) for _ in range(6))

    def collecting(self) -> Collecting | None:
        return Collecting(lambda kept: find_spread(kept)[1:], self.taper)

    def add(self, state: State, batch: PatchBatch) -> None:
        targets = [batch.area.operand(a) for a in state]
        sums = tuple([target.memory for target in targets])
        tables, weights = batch.tabulate_lines(targets[0]), batch.all_weights(self.taper)
        add_moments(sums, batch.source.memory, tables, weights)

    def combine(self, states: Sequence[State]) -> State:
        whole = tuple([a.copy() for a in states[0]])
        for state in states[1:]:
            join_moments(_flat(whole), _flat(state))
        return whole

    def finalize(self, state: State, bounds: Rect, dtype: np.dtype[Any]) -> NDArray[Any]:
        return self.spread(state)[1]

    def spread(self, state: State) -> tuple[NDArray[Any], NDArray[Any]]:
        """The mean, and the variance around it."""
        mean, variance = find_moments(_flat(state))
        return mean.reshape(state[0].shape), variance.reshape(state[0].shape)

    def empty(self, state: State) -> NDArray[np.bool_] | None:
        return np.asarray(state[4] == 0)


def _flat(state: State) -> State:
    return tuple([a.reshape(-1) for a in state])

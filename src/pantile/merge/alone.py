"""Patches of which no two meet: to merge them is to put each in its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import AxisGrid
from ..geometry.rect import Rect
from ..kernels.loops import copy_by_feature, copy_by_patch
from ..kernels.memory import Flat, as_bits, flatten
from .batch import PatchBatch
from .reduction import Meeting, Reduction, State

__all__ = ["Alone", "never_meet"]


def never_meet(axes: Sequence[AxisGrid]) -> bool:
    """Whether each patch begins behind the end of the one before, along every axis."""
    return all(axis.count < 2 or (axis.dilation == 1 and axis.most == 1) for axis in axes)


@dataclass(frozen=True)
class Alone(Reduction):
    """The values themselves. The state is nowhere set where no patch lies."""

    def memory(self, patches: NDArray[Any]) -> Flat:
        return flatten(patches, as_bits(patches.dtype))

    def readable(self, patches: NDArray[Any]) -> NDArray[Any]:
        return patches.astype(patches.dtype.newbyteorder("="), copy=False)

    def init(self, shape: tuple[int, ...]) -> State:
        return (np.empty(shape, dtype=self.dtype),)

    def lasting(self, image: NDArray[Any]) -> State | None:
        return (image,)

    def add(self, state: State, batch: PatchBatch) -> None:
        copy = copy_by_feature if batch.feature else copy_by_patch
        goal = batch.area.operand(state[0], as_bits(self.dtype))
        copy(goal, batch.source, batch.runs, batch.patch)

    def meeting(self) -> Meeting | None:
        return Meeting("first", self.dtype)

    def combine(self, states: Sequence[State]) -> State:
        return tuple([a.copy() for a in states[0]])  # no two patches meet, and so no two states

    def join(self, state: State, place: tuple[slice, ...], part: State) -> State:
        state[0][place] = part[0]
        return state

    def finalize(self, state: State, bounds: Rect, dtype: np.dtype[Any]) -> NDArray[Any]:
        return state[0]

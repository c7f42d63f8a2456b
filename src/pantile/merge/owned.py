"""One of the patches that meet, where all are there: each puts the box of elements that are its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import AxisGrid
from ..geometry.rect import Rect
from ..kernels.memory import Flat, as_bits, flatten
from ..kernels.select import put_owned
from .batch import PatchBatch
from .reduction import Meeting, Reduction, State

__all__ = ["Owned", "are_boxes"]

Vector = NDArray[np.int64]


def are_boxes(axes: Sequence[AxisGrid]) -> bool:
    """Whether the elements that belong to a patch are a box: not where others lie between its samples."""
    return all(axis.dilation == 1 or axis.count == 1 for axis in axes)


@dataclass(frozen=True)
class Owned(Reduction):
    """The value of the first patch, the last, or the one whose centre is nearest, where every patch takes part.

    Which patch that is, is known before: along each axis a patch owns an interval of its samples.
    The state is the values, and where they are set; of values that last, no more than these.
    """

    by: str = "center"

    def memory(self, patches: NDArray[Any]) -> Flat:
        return flatten(patches, as_bits(patches.dtype))

    def readable(self, patches: NDArray[Any]) -> NDArray[Any]:
        return patches.astype(patches.dtype.newbyteorder("="), copy=False)

    def meeting(self) -> Meeting | None:
        return Meeting(self.by, self.dtype)

    def init(self, shape: tuple[int, ...]) -> State:
        return np.zeros(shape, dtype=self.dtype), np.zeros(shape, dtype=np.uint8)

    def lasting(self, image: NDArray[Any]) -> State | None:
        return (image,)

    @cached_property
    def intervals(self) -> tuple[Vector, Vector, Vector]:
        """The first sample that is each patch's own and the one behind the last, axis after axis; where axes begin."""
        found = [axis.owned(self.by) for axis in self.axes]
        begins = np.cumsum([0, *(axis.count for axis in self.axes[:-1])], dtype=np.int64)
        return np.concatenate([a for a, _ in found]), np.concatenate([b for _, b in found]), begins

    def add(self, state: State, batch: PatchBatch) -> None:
        values = batch.area.operand(state[0], as_bits(state[0].dtype))
        owned = batch.area.operand(state[1]) if len(state) > 1 else None
        low, high, begins = self.intervals
        first = [begin for begin, _ in batch.area.ranges]
        at = np.stack(batch.runs.at) + (begins + first)[:, None]
        put_owned(values, owned, batch.source, batch.runs, at, low, high)

    def combine(self, states: Sequence[State]) -> State:
        total: State = tuple([a.copy() for a in states[0]])
        for state in states[1:]:
            self.join(total, (), state)
        return total

    def join(self, state: State, place: tuple[slice, ...], part: State) -> State:
        values, owned = part
        np.copyto(state[0][place], values, where=owned.view(bool))
        state[1][place] |= owned
        return state

    def finalize(self, state: State, bounds: Rect, dtype: np.dtype[Any]) -> NDArray[Any]:
        return state[0]

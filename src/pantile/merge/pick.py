"""One of the patches that meet: the first, the last, or the one whose centre is nearest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.rect import Rect
from ..kernels.memory import Flat, as_bits, flatten
from ..kernels.select import pick
from .batch import PatchBatch
from .reduction import Meeting, Reduction, State

__all__ = ["PickOne"]

_FAR = np.iinfo(np.int64).max


@dataclass(frozen=True)
class PickOne(Reduction):
    """One patch's value per element: of the first, the last, or the patch whose centre is nearest."""

    by: str = "center"

    def memory(self, patches: NDArray[Any]) -> Flat:
        return flatten(patches, as_bits(patches.dtype))

    def readable(self, patches: NDArray[Any]) -> NDArray[Any]:
        return patches.astype(patches.dtype.newbyteorder("="), copy=False)

    def meeting(self) -> Meeting | None:
        return Meeting(self.by, self.dtype)

    def init(self, shape: tuple[int, ...]) -> State:
        far = [np.full(shape, _FAR, dtype=np.int64) for _ in range(2)]
        return np.zeros(shape, dtype=self.dtype), *far

    @cached_property
    def reach(self) -> NDArray[np.int64]:
        """Squared distance of each sample from the middle of the patch, in half elements."""
        total = np.zeros((1,) * len(self.axes), dtype=np.int64)
        if self.by == "center":
            for k, axis in enumerate(self.axes):
                if axis.count > 1:
                    middle = (2 * np.arange(axis.patch) - (axis.patch - 1)) * axis.dilation
                    total = total + (middle**2).reshape(
                        [-1 if j == k else 1 for j in range(len(self.axes))]
                    )
        return np.ascontiguousarray(np.broadcast_to(total, self.patch)).ravel()

    def add(self, state: State, batch: PatchBatch) -> None:
        value, distance, owner = (
            batch.area.operand(a, as_bits(a.dtype) if k == 0 else None) for k, a in enumerate(state)
        )
        tables, rank = batch.tabulate_lines(value), batch.area.rank(batch.runs)
        sign = -1 if self.by == "last" else 1
        pick(
            value.memory,
            distance.memory,
            owner.memory,
            batch.source.memory,
            tables,
            rank,
            sign,
            self.reach,
        )

    def combine(self, states: Sequence[State]) -> State:
        value, distance, owner = (a.copy() for a in states[0])
        for v, d, o in states[1:]:
            better = (d < distance) | ((d == distance) & (o < owner))
            value[better], distance[better], owner[better] = v[better], d[better], o[better]
        return value, distance, owner

    def finalize(self, state: State, bounds: Rect, dtype: np.dtype[Any]) -> NDArray[Any]:
        return state[0]

"""The largest or the smallest of the values that meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.rect import Rect
from ..kernels.loops import keep_largest, keep_smallest
from ..kernels.memory import to_native
from .batch import PatchBatch
from .reduction import Meeting, Reduction, State

__all__ = ["Extremum"]


@dataclass(frozen=True)
class Extremum(Reduction):
    """The largest or smallest value; NaN wins over both."""

    largest: bool = True

    def init(self, shape: tuple[int, ...]) -> State:
        dtype = to_native(np.zeros(1, dtype=self.dtype)).dtype
        return (np.full(shape, self._start(dtype), dtype=dtype),)

    def _start(self, dtype: np.dtype[Any]) -> Any:
        if dtype.kind == "f":
            return -np.inf if self.largest else np.inf
        return np.iinfo(dtype).min if self.largest else np.iinfo(dtype).max

    def meeting(self) -> Meeting | None:
        dtype = to_native(np.zeros(1, dtype=self.dtype)).dtype
        return Meeting("larger" if self.largest else "smaller", dtype, self._start(dtype))

    def add(self, state: State, batch: PatchBatch) -> None:
        target = batch.area.operand(state[0])
        keep = keep_largest if self.largest else keep_smallest
        keep(target.memory, batch.source.memory, batch.tabulate_lines(target))

    def combine(self, states: Sequence[State]) -> State:
        total = states[0][0].copy()
        for (other,) in states[1:]:
            (np.maximum if self.largest else np.minimum)(total, other, out=total)
        return (total,)

    def join(self, state: State, place: tuple[slice, ...], part: State) -> State:
        view = state[0][place]
        (np.maximum if self.largest else np.minimum)(view, part[0], out=view)
        return state

    def finalize(self, state: State, bounds: Rect, dtype: np.dtype[Any]) -> NDArray[Any]:
        return state[0]

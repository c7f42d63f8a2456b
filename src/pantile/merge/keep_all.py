"""Merges that must see all the values of an element: the median and the majority vote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.arrays import strides_of
from ..geometry.rect import Rect
from ..kernels.collect import append
from ..kernels.lanes import find_majority, find_median
from ..kernels.memory import sum_outer, to_native
from ..kernels.select import keep_all
from .batch import PatchBatch
from .reduction import Collecting, Reduction, State

__all__ = ["KeepAll"]


@dataclass(frozen=True)
class KeepAll(Reduction):
    """Median or majority vote: every value an element receives is kept until the end.

    The state takes as many values per element as patches can meet there, so it is as large as the
    expanded patches of its region; streams make tiles small enough for that.
    """

    vote: bool = False
    taper: NDArray[np.float64] | None = None
    patch_weights: bool = False
    shallow: bool = False  # begin with room for one value, and grow

    @property
    def weighted(self) -> bool:
        return self.vote and (self.taper is not None or self.patch_weights)

    def init(self, shape: tuple[int, ...]) -> State:
        return self._init(shape, 1 if self.shallow else self.depth)

    def collecting(self) -> Collecting:
        find = find_majority if self.vote else find_median
        return Collecting(lambda kept: (find(kept),), self.taper)

    def piecemeal(self) -> Reduction:
        return replace(self, shallow=True)

    def _init(self, shape: tuple[int, ...], depth: int) -> State:
        dtype = to_native(np.zeros(1, dtype=self.dtype)).dtype
        values = np.zeros((*shape, depth), dtype=dtype)
        used = np.zeros(shape, dtype=np.int64)
        return (values, used, np.zeros(values.shape)) if self.weighted else (values, used)

    def add(self, state: State, batch: PatchBatch) -> None:
        values, used = state[:2]
        depth = values.shape[-1]
        target = batch.area.operand(used)
        weights = state[2].reshape(-1, depth) if self.weighted else None
        keep_all(
            values.reshape(-1, depth),
            weights,
            target.memory,
            batch.source.memory,
            batch.tabulate_lines(target),
            batch.all_weights(self.taper),
        )

    def combine(self, states: Sequence[State]) -> State:
        shape = states[0][1].shape
        used = sum((s[1] for s in states), np.zeros(shape, dtype=np.int64))
        whole = self._init(shape, max(1, int(used.max(initial=0))))
        rows = np.arange(used.size)
        for state in states:
            append(_flat(whole), rows, _flat(state))
        return whole

    def join(self, state: State, place: tuple[slice, ...], part: State) -> State:
        used = state[1]
        most = int((used[place] + part[1]).max(initial=0))
        # a part of another state does not lie closely: what is appended to its flat copy would be lost
        state = tuple([np.ascontiguousarray(a) for a in _grown(state, most)])
        steps = zip(used.shape, place, strides_of(used.shape), strict=True)
        rows = sum_outer([np.arange(n)[s] * step for n, s, step in steps])
        append(_flat(state), rows, _flat(part))
        return state

    def grown(self, state: State, most: int) -> State:
        return _grown(state, most, self.depth)

    def finalize(self, state: State, bounds: Rect, dtype: np.dtype[Any]) -> NDArray[Any]:
        most = max(1, int(state[1].max(initial=0)))
        values, used, *weights = _flat(state)
        columns = [np.ascontiguousarray(a[:, :most].T) for a in (values, *weights)]
        kept = columns[0], np.ascontiguousarray(used), columns[1] if weights else None
        (found,) = self.collecting().become(kept)
        return found.reshape(state[1].shape)

    def empty(self, state: State) -> NDArray[np.bool_] | None:
        if not self.weighted:
            return None
        return np.asarray(~state[2].any(axis=-1))


def _grown(state: State, depth: int, spare: int = 0) -> State:
    """A state of `KeepAll` with room for ``depth`` values per element; where it must grow, for twice as
    many as there was, up to ``spare``, so that growing again and again costs little."""
    here = state[0].shape[-1]
    if depth <= here:
        return state
    extra = max(depth, min(2 * here, spare)) - here
    width = [(0, 0)] * state[1].ndim + [(0, extra)]
    values, used, *weights = state
    return np.pad(values, width), used, *(np.pad(w, width) for w in weights)


def _flat(state: State) -> State:
    """A state with its elements along one axis; a view of one that lies closely."""
    n = state[1].size
    return tuple([a.reshape(n, *a.shape[state[1].ndim :]) for a in state])

"""Merges that must see all the values of an element: the median and the majority vote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.rect import Rect
from ..kernels.lanes import find_majority, find_median
from ..kernels.memory import to_native
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

    def collecting(self) -> Collecting | None:
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
        for state in states:
            depth = state[0].shape[-1]
            cell, slot = np.nonzero(np.arange(depth) < state[1].reshape(-1, 1))
            at = whole[1].reshape(-1)[cell] + slot
            for k in (0, 2)[: 1 + self.weighted]:
                target = whole[k].reshape(-1, whole[k].shape[-1])
                target[cell, at] = state[k].reshape(-1, depth)[cell, slot]
            whole[1][...] += state[1]
        return whole

    def join(self, state: State, place: tuple[slice, ...], part: State) -> State:
        joined = self.combine([tuple(a[place] for a in state), part])
        depth = joined[0].shape[-1]
        state = _grown(state, depth)
        state[1][place] = joined[1]
        for k in (0, 2)[: 1 + self.weighted]:
            state[k][place][..., :depth] = joined[k]
        return state

    def grown(self, state: State, most: int) -> State:
        return _grown(state, most, self.depth)

    def finalize(self, state: State, bounds: Rect, dtype: np.dtype[Any]) -> NDArray[Any]:
        values, used = state[:2]
        free = np.arange(values.shape[-1]) >= used[..., None]
        if not self.vote:
            return _median(values, used, free)
        weights = state[2] if self.weighted else np.ones(values.shape)
        return _majority(values, np.where(free, 0.0, weights), free)

    def empty(self, state: State) -> NDArray[np.bool_] | None:
        if not self.weighted:
            return None
        return np.asarray(state[2].sum(axis=-1) == 0)


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


def _median(values: NDArray[Any], used: NDArray[np.int64], free: NDArray[np.bool_]) -> NDArray[Any]:
    real = values.dtype.kind == "f"
    last: Any = np.inf if real else np.iinfo(values.dtype).max
    ordered = np.sort(np.where(free, values.dtype.type(last), values), axis=-1)
    low = np.take_along_axis(ordered, np.maximum(used - 1, 0)[..., None] // 2, axis=-1)[..., 0]
    high = np.take_along_axis(ordered, used[..., None] // 2 % values.shape[-1], axis=-1)[..., 0]
    low, high = low.astype(np.float64), high.astype(np.float64)
    with np.errstate(invalid="ignore"):
        # halves first, so that large values do not overflow; equal ones (infinite too) stay as they
        # are
        middle = np.where(low == high, low, low / 2 + high / 2)
    if real:
        middle = np.where((np.isnan(values) & ~free).any(axis=-1), np.nan, middle)
    return middle


def _majority(
    values: NDArray[Any], weights: NDArray[np.float64], free: NDArray[np.bool_]
) -> NDArray[Any]:
    """The label with most votes, the smallest of equals; the order of arrival does not matter."""
    order = np.lexsort((weights, values, free), axis=-1)
    values, weights = (np.take_along_axis(a, order, axis=-1) for a in (values, weights))
    best, votes = values[..., 0].copy(), weights[..., 0].copy()
    running = weights[..., 0].copy()
    for k in range(1, values.shape[-1]):
        same = values[..., k] == values[..., k - 1]
        running = np.where(same, running, 0.0) + weights[..., k]
        better = running > votes
        best = np.where(better, values[..., k], best)
        votes = np.where(better, running, votes)
    return best

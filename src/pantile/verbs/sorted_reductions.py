"""Merges that must see all the values of an element, and variances, which need exact sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.tiles import Bounds
from ..kernels.flat import native
from .deposit import Deposit
from .reductions import Reduction, State

__all__ = ["Moments", "Slots", "grown"]


@dataclass(frozen=True)
class Slots(Reduction):
    """Median or majority vote: every value an element receives is kept until the end.

    The state takes as many values per element as patches can meet there, so it is as large as the
    expanded patches of its region; the engine makes tiles small enough for that.
    """

    vote: bool = False
    taper: NDArray[np.float64] | None = None
    patch_weights: bool = False

    @property
    def weighted(self) -> bool:
        return self.vote and (self.taper is not None or self.patch_weights)

    def init(self, shape: tuple[int, ...]) -> State:
        return self.init_deep(shape, self.depth)

    def init_deep(self, shape: tuple[int, ...], depth: int) -> State:
        dtype = native(np.zeros(1, dtype=self.dtype)).dtype
        values = np.zeros((*shape, depth), dtype=dtype)
        used = np.zeros(shape, dtype=np.int64)
        return (values, used, np.zeros(values.shape)) if self.weighted else (values, used)

    def add(self, state: State, deposit: Deposit) -> None:
        from ..kernels.loops import keep

        values, used = state[:2]
        depth = values.shape[-1]
        target = deposit.region.operand(used)
        weights = state[2].reshape(-1, depth) if self.weighted else None
        memories = (values.reshape(-1, depth), weights, target.memory, deposit.source.memory)
        keep(*memories, *deposit.line_tables(target), *deposit.all_weights(self.taper))

    def combine(self, states: Sequence[State]) -> State:
        shape = states[0][1].shape
        used = sum((s[1] for s in states), np.zeros(shape, dtype=np.int64))
        whole = self.init_deep(shape, max(1, int(used.max(initial=0))))
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
        state = grown(state, depth)
        state[1][place] = joined[1]
        for k in (0, 2)[: 1 + self.weighted]:
            state[k][place][..., :depth] = joined[k]
        return state

    def finalize(self, state: State, bounds: Bounds, dtype: np.dtype[Any]) -> NDArray[Any]:
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


def grown(state: State, depth: int, spare: int = 0) -> State:
    """A state of `Slots` with room for ``depth`` values per element; where it must grow, for twice as
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


@dataclass(frozen=True)
class Moments(Reduction):
    """Population variance from sums of w, w x and w x^2 in double-double, so that a large mean costs nothing."""

    taper: NDArray[np.float64] | None = None

    def init(self, shape: tuple[int, ...]) -> State:
        return tuple(np.zeros(shape) for _ in range(6))

    def add(self, state: State, deposit: Deposit) -> None:
        from ..kernels.loops import moments

        targets = [deposit.region.operand(a) for a in state]
        memories = (*(t.memory for t in targets), deposit.source.memory)
        moments(*memories, *deposit.line_tables(targets[0]), *deposit.all_weights(self.taper))

    def combine(self, states: Sequence[State]) -> State:
        whole = [a.copy() for a in states[0]]
        for state in states[1:]:
            for k in (0, 2, 4):
                whole[k], lost = _two_sum(whole[k], state[k])
                whole[k + 1] += state[k + 1] + lost
        return tuple(whole)

    def finalize(self, state: State, bounds: Bounds, dtype: np.dtype[Any]) -> NDArray[Any]:
        total, total_low, square, square_low, weight, weight_low = state
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            n = weight + weight_low
            mean = (total + total_low) / n
            # sum of w (x - mean)^2 = square - mean (2 total - mean n), the large parts cancelling
            # exactly
            p, p_low = _two_product(mean, 2 * total)
            q, q_low = _two_product(mean, mean)
            r, r_low = _two_product(q, n)
            high, lost = _two_sum(square, -p)
            high, more = _two_sum(high, r)
            low = square_low - 2 * mean * total_low - p_low + r_low + q_low * n + lost + more
            spread = np.maximum((high + low) / n, 0)
        return np.asarray(spread)

    def empty(self, state: State) -> NDArray[np.bool_] | None:
        return np.asarray(state[4] == 0)


Pair = tuple[NDArray[np.float64], NDArray[np.float64]]


def _two_sum(a: NDArray[np.float64], b: NDArray[np.float64]) -> Pair:
    """The rounded sum and what rounding lost (Knuth, TAOCP 2, 4.2.2)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _two_product(a: NDArray[np.float64], b: NDArray[np.float64]) -> Pair:
    """The rounded product and what rounding lost (Dekker 1971)."""
    product = a * b
    high_a, high_b = _head(a), _head(b)
    rest_a, rest_b = a - high_a, b - high_b
    lost = rest_a * rest_b - (((product - high_a * high_b) - rest_a * high_b) - high_a * rest_b)
    return product, lost


def _head(a: NDArray[np.float64]) -> NDArray[np.float64]:
    scaled = 134217729.0 * a
    return scaled - (scaled - a)

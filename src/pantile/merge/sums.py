"""Sums and means, weighted or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.rect import Rect
from ..kernels.exact import add_exactly, rests_of
from ..kernels.loops import add_by_feature, add_by_patch
from ..kernels.offsets import LineTables, Operand
from .batch import PatchBatch, one_patch
from .finishing import finish_of, finish_sums
from .reduction import Meeting, Reduction, State
from .weights import Profile

__all__ = ["Mean", "Sum", "block_product", "keeps_one"]


def keeps_one(dtype: np.dtype[Any], weighted: bool, exact: bool = False) -> bool:
    """Whether a patch that meets no other is its own sum, in fewer bytes than sums have."""
    exact_sums = exact and dtype.kind not in "iu"
    return not weighted and not exact_sums and dtype.kind in "iuf" and dtype.itemsize < 8


@dataclass(frozen=True)
class Sum(Reduction):
    """Weighted sums: int64 for integers, else float64 or complex128; with ``exact``, with a rest beside each."""

    taper: NDArray[np.float64] | None = None
    patch_weights: bool = False
    exact: bool = False
    vectors: tuple[NDArray[np.float64], ...] | None = None  # of which the taper is the product

    @cached_property
    def accumulator(self) -> np.dtype[Any]:
        weighted = self.taper is not None or self.patch_weights
        if self.dtype.kind == "c":
            return np.dtype(np.complex128)
        if self.dtype.kind == "f" or weighted:
            return np.dtype(np.float64)
        return np.dtype(np.uint64 if self.dtype == np.uint64 else np.int64)

    @property
    def compensated(self) -> bool:
        return self.exact and self.accumulator.kind in "fc"

    def init(self, shape: tuple[int, ...]) -> State:
        sums = np.zeros(shape, dtype=self.accumulator)
        return (sums, np.zeros(shape, rests_of(sums.dtype))) if self.compensated else (sums,)

    def add(self, state: State, batch: PatchBatch) -> None:
        self._add(state[: 1 + self.compensated], batch)

    def of_one(self, patch: NDArray[Any]) -> State | None:
        if not keeps_one(self.dtype, self.taper is not None or self.patch_weights, self.exact):
            return None
        return (patch + self.dtype.type(0),)  # as added to 0, which makes 0.0 of -0.0

    def _add(self, arrays: State, batch: PatchBatch, source: Operand | None = None) -> None:
        target, *rest = [batch.area.operand(a) for a in arrays]
        values = (source or batch.source).memory
        weights = batch.weights(self.taper)
        if rest:
            lines = batch.tabulate_lines(target, source)
            add_exactly(target.memory, rest[0].memory, values, lines, weights)
        elif batch.feature:
            samples = batch.tabulate_features(target, source)
            add_by_feature(target.memory, values, samples, weights)
        else:
            lines = batch.tabulate_lines(target, source)
            add_by_patch(target.memory, values, lines, weights)

    def combine(self, states: Sequence[State]) -> State:
        total = tuple(a.copy() for a in states[0])
        for state in states[1:]:
            for a, b in zip(total, state, strict=True):
                a += b
        return total

    def join(self, state: State, place: tuple[slice, ...], part: State) -> State:
        for a, b in zip(state, part, strict=True):
            a[place] += b
        return state

    def finalize(self, state: State, bounds: Rect, dtype: np.dtype[Any]) -> NDArray[Any]:
        return state[0]

    def finished(
        self, state: State, bounds: Rect, dtype: np.dtype[Any], fill: Any, untouched: bool
    ) -> NDArray[Any] | None:
        how = finish_of(self.accumulator, False, self.dtype, dtype, self.depth, fill)
        if how is None or untouched:
            return None
        return finish_sums(state[0], None, None, bounds, how, fill is not None)

    def meeting(self) -> Meeting | None:
        if self.exact:
            return None
        return Meeting("add", self._row_dtype(), taper=self.taper, vectors=self.vectors)

    def _row_dtype(self) -> np.dtype[Any]:
        """Small integers are added up in 32 bits, where their sums fit."""
        sums = self.accumulator
        if sums.kind not in "iu" or self.dtype.itemsize > 2:
            return sums
        largest = 1 if self.dtype.kind == "b" else int(np.iinfo(self.dtype).max) + 1
        return np.dtype(np.int32) if largest * self.depth < 1 << 31 else sums

    def piecemeal(self) -> Reduction:
        return replace(self, exact=True)

    def check(self, patches: NDArray[Any], times: int | None = None, known: int = 0) -> int:
        """Refuse 64-bit integers whose sums might wrap; ``known`` is the largest that came before."""
        if patches.dtype.kind not in "iu" or patches.dtype.itemsize < 8 or not patches.size:
            return known
        if self.accumulator.kind not in "iu":
            return known
        times = self.depth if times is None else times
        largest = max(known, int(patches.max()), -int(patches.min()))
        if largest * times > int(np.iinfo(self.accumulator).max):
            raise OverflowError(
                f"values up to {largest} that meet {times} times may not fit 64-bit sums:"
                " merge patches.astype(float) instead, or scale them down"
            )
        return largest


@dataclass(frozen=True)
class Mean(Sum):
    """Weighted means. Where every patch of the grid takes part, the weight sum is a product of one
    vector per axis (``profiles``); otherwise (``profiles`` None) it is accumulated beside the sum,
    or, where patches are ``counted`` elsewhere, comes with the state when that is finalized."""

    profiles: tuple[Profile, ...] | None = None
    counted: bool = False

    @property
    def _parts(self) -> int:
        return 1 + self.compensated

    @cached_property
    def _ones(self) -> NDArray[np.float64]:
        return np.ones(self.patch)

    def init(self, shape: tuple[int, ...]) -> State:
        sums = super().init(shape)
        if self.profiles is not None or self.counted:
            return sums
        weights = np.zeros(shape)
        rests = (np.zeros(shape, rests_of(weights.dtype)),) if self.exact else ()
        return (*sums, weights, *rests)

    def of_one(self, patch: NDArray[Any]) -> State | None:
        return None if self.profiles is None and not self.counted else super().of_one(patch)

    def add(self, state: State, batch: PatchBatch) -> None:
        if self.compensated and self.profiles is None and not self.counted:
            self._add_exactly(state, batch)
            return
        self._add(state[: self._parts], batch)
        if self.profiles is None and not self.counted:
            ones = batch.sample_weights or one_patch(self._ones)
            self._add(state[self._parts :], batch, ones)

    def _add_exactly(self, state: State, batch: PatchBatch) -> None:
        """Sums and weights by the same tables (small adds: a quarter of the time), the weights as a line of ones."""
        sums, rests, weight, weight_rests = (batch.area.operand(a).memory for a in state)
        tables = batch.tabulate_lines(batch.area.operand(state[0]))
        weights = batch.weights(self.taper)
        add_exactly(sums, rests, batch.source.memory, tables, weights)
        add_exactly(weight, weight_rests, np.ones(tables.length), _from_one_line(tables), weights)

    def divisor(self, state: State, bounds: Rect) -> NDArray[np.float64]:
        if self.profiles is not None:
            return block_product(self.profiles, bounds)
        return state[self._parts]

    def empty(self, state: State) -> NDArray[np.bool_] | None:
        return np.asarray(state[self._parts] == 0) if self.profiles is None else None

    def finalize(self, state: State, bounds: Rect, dtype: np.dtype[Any]) -> NDArray[Any]:
        total, divisor = state[0], self.divisor(state, bounds)
        if dtype.kind in "biu" and total.dtype.kind in "iu":
            return _rounded_quotient(total, np.maximum(divisor, 1).astype(total.dtype))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(total / divisor)

    def finished(
        self, state: State, bounds: Rect, dtype: np.dtype[Any], fill: Any, untouched: bool
    ) -> NDArray[Any] | None:
        how = finish_of(self.accumulator, True, self.dtype, dtype, self.depth, fill)
        if how is None:
            return None
        weights = None if self.profiles is not None else state[self._parts]
        return finish_sums(state[0], weights, self.profiles, bounds, how, fill is not None)

    def meeting(self) -> Meeting | None:
        found = super().meeting()
        return None if found is None else found._replace(divides=True, profiles=self.profiles)

    def piecemeal(self) -> Reduction:
        unweighted = self.taper is None and not self.patch_weights
        return replace(self, exact=True, counted=unweighted)


def _from_one_line(tables: LineTables) -> LineTables:
    """The same places to add to, and a line of samples that every line of every patch is."""
    places, runs, lengths, along, _, lines, starts, length, step, _ = tables
    nowhere = np.zeros(max(len(runs), len(starts)), dtype=np.int64)
    origins, starts = nowhere[: len(runs)], nowhere[: len(starts)]
    return LineTables(places, origins, lengths, along, 0, lines, starts, length, step, 1)


def block_product(profiles: Sequence[Profile], bounds: Rect) -> NDArray[np.float64]:
    """The outer product of the sums along each axis over a block; axes on which it is constant stay of length 1."""
    total = np.ones((1,) * len(profiles))
    for k, (profile, (begin, end)) in enumerate(zip(profiles, bounds, strict=True)):
        part = profile.part(begin, end)
        part = part[:1] if len(part) and (part == part[0]).all() else part
        total = total * part.reshape([-1 if j == k else 1 for j in range(len(profiles))])
    return total


def _rounded_quotient(total: NDArray[Any], divisor: NDArray[Any]) -> NDArray[Any]:
    """Integer division rounded half to even, exact in 64 bits."""
    quotient, rest = np.divmod(total, divisor)
    gap = divisor - rest  # compared instead of 2 * rest, which might not fit
    up = (rest > gap) | ((rest == gap) & (quotient % 2 == 1))
    result: NDArray[Any] = quotient + up.astype(quotient.dtype)
    return result

"""What a merge does: accumulate, combine, finalize, once for memory, streams and clusters.

A state is a tuple of arrays whose first axes are those of a region of the image. `Reduction.add`
puts patches into it, `combine` joins the states that pieces of the same block have, in a fixed
order, `finalize` makes values of it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import AxisGrid
from ..geometry.tiles import Bounds
from ..kernels.flat import Flat, as_bits, flat, native
from ..kernels.walk import Operand
from .deposit import Deposit, Region, one_patch

__all__ = ["Claim", "Extremum", "Mean", "Reduction", "State", "Sum", "block_product", "region_of"]

State = tuple[NDArray[Any], ...]
_FAR = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Reduction(ABC):
    """A merge of patches of one dtype into a region."""

    axes: tuple[AxisGrid, ...]
    patch: tuple[int, ...]
    dtype: np.dtype[Any]

    def memory(self, patches: NDArray[Any]) -> Flat:
        """Patches as the loops of this merge read them."""
        return flat(patches)

    def readable(self, patches: NDArray[Any]) -> NDArray[Any]:
        """Patches in a dtype the loops know."""
        return native(patches)

    @abstractmethod
    def init(self, shape: tuple[int, ...]) -> State:
        """A state into which nothing has been added."""

    @abstractmethod
    def add(self, state: State, deposit: Deposit) -> None:
        """Add patches to a state, in place."""

    @abstractmethod
    def combine(self, states: Sequence[State]) -> State:
        """One new state from several of the same region, in the order given."""

    def join(self, state: State, place: tuple[slice, ...], part: State) -> State:
        """``state`` with another state joined into a part of its region, in place where it can be."""
        views = tuple(a[place] for a in state)
        for view, joined in zip(views, self.combine([views, part]), strict=True):
            view[...] = joined
        return state

    @abstractmethod
    def finalize(self, state: State, bounds: Bounds, dtype: np.dtype[Any]) -> NDArray[Any]:
        """The merged values of a region whose elements lie in ``bounds``, on the way to ``dtype``."""

    def empty(self, state: State) -> NDArray[np.bool_] | None:
        """Where weights add up to 0, so that there is no value; None for nowhere."""
        return None

    @cached_property
    def depth(self) -> int:
        """How often patches can meet in one position, padding included."""
        return math.prod(axis.most for axis in self.axes)

    @property
    def itemsize(self) -> float:
        """Bytes of state per element."""
        return float(sum(a.nbytes for a in self.init((1,) * len(self.axes))))


@dataclass(frozen=True)
class Sum(Reduction):
    """Weighted sums: int64 for integers, else float64 or complex128; with ``exact``, in double-double."""

    taper: NDArray[np.float64] | None = None
    patch_weights: bool = False
    exact: bool = False

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
        return tuple(np.zeros(shape, dtype=self.accumulator) for _ in range(1 + self.compensated))

    def add(self, state: State, deposit: Deposit) -> None:
        self._add(state[: 1 + self.compensated], deposit)

    def _add(self, arrays: State, deposit: Deposit, source: Operand | None = None) -> None:
        from ..kernels.loops import add_by_feature, add_by_patch, add_exactly

        targets = [deposit.region.operand(a) for a in arrays]
        memories = [t.memory for t in targets] + [(source or deposit.source).memory]
        if len(arrays) == 2:
            tables = deposit.line_tables(targets[0], source)
            add_exactly(*memories, *tables, *deposit.weights(self.taper))
        elif deposit.feature:
            tables = deposit.feature_tables(targets[0], source)
            add_by_feature(*memories, *tables, *deposit.weights(self.taper))
        else:
            tables = deposit.line_tables(targets[0], source)
            add_by_patch(*memories, *tables, *deposit.weights(self.taper))

    def combine(self, states: Sequence[State]) -> State:
        total = tuple(a.copy() for a in states[0])
        for state in states[1:]:
            for a, b in zip(total, state, strict=True):
                a += b
        return total

    def total(self, state: State) -> NDArray[Any]:
        if not self.compensated:
            return state[0]
        # past the finite numbers there is nothing to make up for: inf - inf has left NaN in the rest
        return np.where(np.isfinite(state[0]), state[0] + state[1], state[0])

    def finalize(self, state: State, bounds: Bounds, dtype: np.dtype[Any]) -> NDArray[Any]:
        return self.total(state)


@dataclass(frozen=True)
class Mean(Sum):
    """Weighted means. Where every patch of the grid takes part, the weight sum is a product of one
    vector per axis (``profiles``); otherwise (``profiles`` None) it is accumulated beside the sum,
    or, where patches are ``counted`` elsewhere, comes with the state when that is finalized."""

    profiles: tuple[NDArray[np.float64], ...] | None = None
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
        return sums + tuple(np.zeros(shape) for _ in range(1 + self.exact))

    def add(self, state: State, deposit: Deposit) -> None:
        if self.compensated and self.profiles is None and not self.counted:
            self._add_exactly(state, deposit)
            return
        self._add(state[: self._parts], deposit)
        if self.profiles is None and not self.counted:
            self._add(state[self._parts :], deposit, one_patch(self._ones))

    def _add_exactly(self, state: State, deposit: Deposit) -> None:
        """Sums and weights by the same tables (small adds: a quarter of the time), the weights as a line of ones."""
        from ..kernels.loops import add_exactly

        high, low, weight, weight_low = (deposit.region.operand(a).memory for a in state)
        tables = deposit.line_tables(deposit.region.operand(state[0]))
        weights = deposit.weights(self.taper)
        add_exactly(high, low, deposit.source.memory, *tables, *weights)
        places, origins, lengths, along, _, lines, starts, length, step, _ = tables
        ones, nowhere = np.ones(length), np.zeros(max(len(origins), len(starts)), dtype=np.int64)
        alike = (places, nowhere[: len(origins)], lengths, along, 0, lines, nowhere[: len(starts)])
        add_exactly(weight, weight_low, ones, *alike, length, step, 1, *weights)

    def divisor(self, state: State, bounds: Bounds) -> NDArray[np.float64]:
        if self.profiles is not None:
            return block_product(self.profiles, bounds)
        parts = state[self._parts :]
        total: NDArray[np.float64] = parts[0] + parts[1] if len(parts) == 2 else parts[0]
        return total

    def empty(self, state: State) -> NDArray[np.bool_] | None:
        return np.asarray(state[self._parts] == 0) if self.profiles is None else None

    def finalize(self, state: State, bounds: Bounds, dtype: np.dtype[Any]) -> NDArray[Any]:
        total, divisor = self.total(state), self.divisor(state, bounds)
        if dtype.kind in "biu" and total.dtype.kind in "iu":
            return _rounded_quotient(total, np.maximum(divisor, 1).astype(total.dtype))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(total / divisor)


def block_product(profiles: Sequence[NDArray[Any]], bounds: Bounds) -> NDArray[Any]:
    """The outer product of one vector per axis over a block; axes on which it is constant stay of length 1."""
    total = np.ones((1,) * len(profiles), dtype=profiles[0].dtype)
    for k, (profile, (begin, end)) in enumerate(zip(profiles, bounds, strict=True)):
        part = profile[begin:end]
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


@dataclass(frozen=True)
class Extremum(Reduction):
    """The largest or smallest value; NaN wins over both."""

    largest: bool = True

    def init(self, shape: tuple[int, ...]) -> State:
        dtype = native(np.zeros(1, dtype=self.dtype)).dtype
        if dtype.kind == "f":
            start: Any = -np.inf if self.largest else np.inf
        else:
            start = np.iinfo(dtype).min if self.largest else np.iinfo(dtype).max
        return (np.full(shape, start, dtype=dtype),)

    def add(self, state: State, deposit: Deposit) -> None:
        from ..kernels.loops import maximum, minimum

        target = deposit.region.operand(state[0])
        kernel = maximum if self.largest else minimum
        kernel(target.memory, deposit.source.memory, *deposit.line_tables(target))

    def combine(self, states: Sequence[State]) -> State:
        total = states[0][0].copy()
        for (other,) in states[1:]:
            (np.maximum if self.largest else np.minimum)(total, other, out=total)
        return (total,)

    def finalize(self, state: State, bounds: Bounds, dtype: np.dtype[Any]) -> NDArray[Any]:
        return state[0]


@dataclass(frozen=True)
class Claim(Reduction):
    """One patch's value per element: of the first, the last, or the patch whose centre is nearest."""

    by: str = "center"

    def memory(self, patches: NDArray[Any]) -> Flat:
        return flat(patches, as_bits(patches.dtype))

    def readable(self, patches: NDArray[Any]) -> NDArray[Any]:
        return patches.astype(patches.dtype.newbyteorder("="), copy=False)

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

    def add(self, state: State, deposit: Deposit) -> None:
        from ..kernels.loops import claim

        value, distance, owner = (
            deposit.region.operand(a, as_bits(a.dtype) if k == 0 else None)
            for k, a in enumerate(state)
        )
        memories = (value.memory, distance.memory, owner.memory, deposit.source.memory)
        ranking = deposit.region.rank(deposit.runs), -1 if self.by == "last" else 1
        claim(*memories, *deposit.line_tables(value), *ranking, self.reach)

    def combine(self, states: Sequence[State]) -> State:
        value, distance, owner = (a.copy() for a in states[0])
        for v, d, o in states[1:]:
            better = (d < distance) | ((d == distance) & (o < owner))
            value[better], distance[better], owner[better] = v[better], d[better], o[better]
        return value, distance, owner

    def finalize(self, state: State, bounds: Bounds, dtype: np.dtype[Any]) -> NDArray[Any]:
        return state[0]


def region_of(
    axes: tuple[AxisGrid, ...], ranges: Bounds, gap: int, along: int, *, with_image: bool = False
) -> tuple[Region, tuple[int, ...]]:
    """The region that the patches of ``ranges`` span (``with_image``, the image too), and its shape."""
    spans = []
    for axis, (begin, end) in zip(axes, ranges, strict=True):
        low, high = axis.start(begin), axis.start(end - 1) + axis.extent
        spans.append((min(low, 0), max(high, axis.size)) if with_image else (low, high))
    origin = tuple(low for low, _ in spans)
    return Region(axes, ranges, origin, gap, along), tuple(high - low for low, high in spans)

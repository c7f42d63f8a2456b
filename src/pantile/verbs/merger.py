"""A merge fed piecemeal, in any order."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ..geometry import PatchGrid
from ..geometry.tiles import Bounds
from ..kernels.flat import strided_by_items
from ..kernels.walk import stacked
from .custom import Merge
from .deposit import Deposit, Region, constant_operand
from .extract import selected_runs
from .forms import recognise_some
from .frame import Frame, as_array, frame_of
from .merges import MergeName, apply_fill, cast, check_sums, resolve_rule
from .reductions import Reduction, State, Sum, region_of
from .sorted_reductions import Slots, grown

__all__ = ["Merger"]


class Merger:
    """The image that patches merge into, fed batch by batch.

    Parameters
    ----------
    grid : PatchGrid
        Where the patches lie.
    merge, weights, fill, dtype, axes, channel_axis
        As in `unpatchify`.

    Notes
    -----
    The order of `add` does not reach the result: sums are kept in double-double, which is exact as
    long as the values that meet in one element span less than 2^40 in magnitude. A patch added
    twice counts twice. `add` may be called from several threads.

    Examples
    --------
    >>> import numpy as np
    >>> import pantile as pt
    >>> image = np.arange(12.0).reshape(3, 4)
    >>> grid = pt.PatchGrid(image.shape, 2)
    >>> merger = pt.Merger(grid)
    >>> for rows in ([5, 4, 3], [0, 1, 2]):
    ...     merger.add(pt.extract(image, grid, indices=rows), rows)
    >>> bool((merger.result() == image).all())
    True
    """

    def __init__(
        self,
        grid: PatchGrid,
        *,
        merge: MergeName | Merge = "mean",
        weights: Any = None,
        axes: int | Sequence[int] | None = None,
        channel_axis: int | None = None,
        fill: Any = None,
        dtype: DTypeLike | None = None,
    ) -> None:
        if not isinstance(grid, PatchGrid):
            raise TypeError(
                f"grid must be a PatchGrid, got {type(grid).__name__}: PatchGrid(image.shape, patch)"
            )
        self.grid = grid
        self._rule = resolve_rule(merge, weights, False, fill, dtype)
        self._places = axes, channel_axis
        self._lock = threading.Lock()
        self._target: _Target | None = None
        self._counting = frame_of(grid.shape, grid)
        self._counter = Sum(self._counting.axes, self._counting.patch, np.dtype(np.int64))
        region, shape = _whole_region(self._counting)
        self._count_region, self._counts = region, self._counter.init(shape)

    def add(
        self, patches: ArrayLike, indices: ArrayLike, patch_weights: ArrayLike | None = None
    ) -> None:
        """Merge patches ``(*batch, n, *patch)`` that stand at flat ``indices`` of the grid.

        ``patch_weights`` are ``n`` numbers, in every call or in none. What does not fit raises a
        `ValueError`, `TypeError` or `IndexError`, and nothing has been added then.
        """
        rows = self.grid.as_rows(indices)
        if not len(rows):
            return
        array = as_array(patches, "patches")
        stack, frame = recognise_some(array, self.grid, len(rows), *self._places)
        votes = None if patch_weights is None else _checked(patch_weights, len(rows))
        with self._lock:
            target = self._target or self._first(frame, array.dtype, votes is not None)
            target.check(frame, array.dtype, votes is not None)
            counts = tuple(a.copy() for a in self._counts)
            self._count(counts, rows)
            most = int(counts[0].max())
            check_sums(target.reduction, array, most)
            target.add(stack, rows, votes, most)
            self._target, self._counts = target, counts

    def _first(self, frame: Frame, dtype: np.dtype[Any], weighted: bool) -> _Target:
        rule = resolve_rule(
            self._rule.merge, self._rule.weights, weighted, self._rule.fill, self._rule.dtype
        )
        rule.check(frame, dtype)
        reduction = rule.reduction(frame, dtype, whole=False, exact=True)
        return _Target(frame, dtype, reduction, rule.result_dtype(dtype), weighted)

    def _count(self, counts: State, rows: NDArray[np.int64]) -> None:
        frame = self._counting
        one = constant_operand(np.ones(1, dtype=np.int64), frame.patch)
        runs = selected_runs(frame, rows)
        self._counter.add(counts, Deposit(self._count_region, one, runs, frame.patch, False))

    def coverage(self) -> NDArray[np.int64]:
        """How many patches have been added to each element: an int64 array of the grid's shape."""
        with self._lock:
            return self._counts[0][_inside(self._counting, self._count_region)].copy()

    def result(self) -> NDArray[Any]:
        """The image merged so far; more patches can be added afterwards.

        Raises `ValueError` when an element has no patch yet (or weights of 0) and there is no
        ``fill``.
        """
        if self._target is None:
            raise ValueError("nothing was merged: add() patches before asking for the result()")
        covered = self.coverage() > 0
        with self._lock:
            return self._target.result(covered, self._rule.fill)


class _Target:
    """The accumulators of a `Merger`, made when the first patches tell dtype, channels and batch."""

    def __init__(
        self,
        frame: Frame,
        dtype: np.dtype[Any],
        reduction: Reduction,
        result: np.dtype[Any],
        weighted: bool,
    ) -> None:
        self.frame, self.dtype, self.reduction = frame, dtype, reduction
        self.result_dtype, self.weighted = result, weighted
        self.region, shape = _whole_region(frame)
        self.state = (
            reduction.init_deep(shape, 1) if isinstance(reduction, Slots) else reduction.init(shape)
        )

    def check(self, frame: Frame, dtype: np.dtype[Any], weighted: bool) -> None:
        if (frame.shape, frame.order) != (self.frame.shape, self.frame.order):
            raise ValueError(
                f"these patches belong to an image of shape {frame.shape}, the first ones to {self.frame.shape}"
            )
        if dtype != self.dtype:
            raise TypeError(
                f"these patches have dtype {dtype}, the first ones {self.dtype}: convert them"
            )
        if weighted != self.weighted:
            raise ValueError("give patch_weights in every add() or in none")

    def add(
        self,
        stack: NDArray[Any],
        rows: NDArray[np.int64],
        votes: NDArray[np.float64] | None,
        most: int,
    ) -> None:
        if isinstance(self.reduction, Slots):
            self.state = grown(self.state, most)
        readable = strided_by_items(self.reduction.readable(stack))
        source = stacked(self.reduction.memory(readable), len(rows), self.frame.n_batch)
        runs = selected_runs(self.frame, rows)
        every = None if votes is None else np.tile(votes, stack.shape[0])
        self.reduction.add(
            self.state, Deposit(self.region, source, runs, self.frame.patch, False, every)
        )

    def result(self, covered: NDArray[np.bool_], fill: Any) -> NDArray[Any]:
        frame, place = self.frame, _inside(self.frame, self.region)
        state = tuple(a[place] for a in self.state)
        bounds: Bounds = tuple((0, n) for n in frame.shape)
        values = self.reduction.finalize(state, bounds, self.result_dtype)
        grid_axes = [
            n if k >= frame.n_batch and k != frame.channel else 1 for k, n in enumerate(frame.shape)
        ]
        holes = np.broadcast_to(~covered.reshape(grid_axes), frame.shape)
        empty = self.reduction.empty(state)
        holes = holes if empty is None else holes | empty
        if holes.any() and fill is not None:
            values = np.where(holes, np.zeros((), values.dtype), values)
        if holes.any() and fill is None:
            apply_fill(values, holes, fill, bounds)
        merged = cast(np.array(values), self.result_dtype)
        return np.ascontiguousarray(frame.restored(apply_fill(merged, holes, fill, bounds)))


def _whole_region(frame: Frame) -> tuple[Region, tuple[int, ...]]:
    ranges = tuple((0, n) for n in frame.counts)
    return region_of(frame.axes, ranges, frame.gap, frame.along, with_image=True)


def _inside(frame: Frame, region: Region) -> tuple[slice, ...]:
    """Where the image lies in accumulators that reach into its padding."""
    return tuple(slice(-o, n - o) for o, n in zip(region.origin, frame.shape, strict=True))


def _checked(patch_weights: ArrayLike, n: int) -> NDArray[np.float64]:
    votes = np.asarray(patch_weights)
    if votes.shape != (n,) or votes.dtype.kind not in "biuf":
        raise ValueError(
            f"patch_weights must be {n} real numbers, got shape {votes.shape}, dtype {votes.dtype}"
        )
    votes = votes.astype(np.float64)
    if not (np.isfinite(votes).all() and (votes >= 0).all()):
        raise ValueError("patch_weights must be finite and not negative")
    return votes

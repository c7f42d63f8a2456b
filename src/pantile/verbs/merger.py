"""A merge fed piecemeal, in any order."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ..geometry import PatchGrid
from ..geometry.tiles import Bounds
from ..kernels.flat import strided_by_items
from ..kernels.walk import Runs, lines_of, stacked
from .custom import Custom, Merge
from .deposit import Deposit, Region
from .extract import selected_runs
from .forms import recognise_some
from .frame import Frame, as_array, frame_of
from .merges import MergeName, apply_fill, cast, check_sums, refuse_holes, resolve_rule
from .reductions import Mean, Reduction, State, region_of
from .sorted_reductions import Slots, grown

__all__ = ["Merger"]

_BAND = 1 << 17  # elements of a result that are finalized at a time: they stay in cache


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
        region, shape = _whole_region(self._counting)
        self._count_region, self._counts = region, np.zeros(shape, dtype=np.int64)
        self._added = 0  # patches

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
        votes = None if patch_weights is None else _checked(patch_weights, len(rows))
        with self._lock:
            target = self._target
            if target is None or not target.fits(array, len(rows)):
                stack, frame = recognise_some(array, self.grid, len(rows), *self._places)
                target = target or self._first(frame, array.dtype, votes is not None)
                target.check_frame(frame)
            else:
                stack = array.reshape(-1, len(rows), *target.frame.patch_shape)
            target.check(array.dtype, votes is not None)
            runs = selected_runs(self._counting, rows)
            most = self._count(runs, 1)
            try:
                alike = target.region is self._count_region
                mine = runs if alike else selected_runs(target.frame, rows)
                target.add(stack, mine, votes, most)
            except BaseException:
                self._count(runs, -1)
                raise
            self._target, self._added = target, self._added + len(rows)

    def _first(self, frame: Frame, dtype: np.dtype[Any], weighted: bool) -> _Target:
        rule = resolve_rule(
            self._rule.merge, self._rule.weights, weighted, self._rule.fill, self._rule.dtype
        )
        rule.check(frame, dtype)
        reduction = rule.reduction(frame, dtype, whole=False, exact=True)
        if isinstance(reduction, Mean) and reduction.taper is None and not weighted:
            reduction = replace(reduction, counted=True)
        elif isinstance(reduction, Custom):
            reduction = replace(reduction, undone=True)
        # without axes beside the grid's, patches lie in the sums where they do in the counts
        alike = frame.axes == self._counting.axes
        region = self._count_region if alike else _whole_region(frame)[0]
        return _Target(frame, region, dtype, reduction, rule.result_dtype(dtype), weighted)

    def _count(self, runs: Runs, change: int) -> int:
        """Count patches in, or out again; returns the largest number of patches in one of their elements."""
        from ..kernels.loops import count

        target = self._count_region.operand(self._counts)
        return int(count(target.memory, *lines_of(target, runs, self._counting.patch), change))

    def __repr__(self) -> str:
        with self._lock:
            dtype = "" if self._target is None else f" of {self._target.dtype}"
            added = self._added
        merge = self._rule.merge if isinstance(self._rule.merge, str) else "custom"
        return (
            f"<Merger {self.grid!r}; merge={merge!r}; {added:,} patches{dtype} added,"
            f" the grid has {self.grid.n_patches:,}>"
        )

    def coverage(self) -> NDArray[np.int64]:
        """How many patches have been added to each element: an int64 array of the grid's shape."""
        with self._lock:
            return self._covered().copy()

    def _covered(self) -> NDArray[np.int64]:
        return self._counts[_inside(self._counting, self._count_region)]

    def result(self) -> NDArray[Any]:
        """The image merged so far; more patches can be added afterwards.

        Raises `ValueError` when an element has no patch yet (or weights of 0) and there is no
        ``fill``.
        """
        if self._target is None:
            raise ValueError("nothing was merged: add() patches before asking for the result()")
        with self._lock:
            return self._target.result(self._covered(), self._rule.fill)


class _Target:
    """The accumulators of a `Merger`, made when the first patches tell dtype, channels and batch."""

    def __init__(
        self,
        frame: Frame,
        region: Region,
        dtype: np.dtype[Any],
        reduction: Reduction,
        result: np.dtype[Any],
        weighted: bool,
    ) -> None:
        self.frame, self.dtype, self.reduction = frame, dtype, reduction
        self.result_dtype, self.weighted = result, weighted
        self.region, shape = region, _whole_region(frame)[1]
        self.largest = 0  # whole number that was added, where sums of them might wrap
        self.state = (
            reduction.init_deep(shape, 1) if isinstance(reduction, Slots) else reduction.init(shape)
        )

    def fits(self, patches: NDArray[Any], n: int) -> bool:
        """Whether ``n`` patches come in the same form as the first ones."""
        return patches.shape == (*self.frame.batch_shape, n, *self.frame.patch_shape)

    def check_frame(self, frame: Frame) -> None:
        if (frame.shape, frame.order) != (self.frame.shape, self.frame.order):
            raise ValueError(
                f"these patches belong to an image of shape {frame.shape}, the first ones to {self.frame.shape}"
            )

    def check(self, dtype: np.dtype[Any], weighted: bool) -> None:
        if dtype != self.dtype:
            raise TypeError(
                f"these patches have dtype {dtype}, the first ones {self.dtype}: convert them"
            )
        if weighted != self.weighted:
            raise ValueError("give patch_weights in every add() or in none")

    def add(
        self,
        stack: NDArray[Any],
        runs: Runs,
        votes: NDArray[np.float64] | None,
        most: int,
    ) -> None:
        """Merge patches; ``most`` of them meet in one element, with those that came before."""
        reduction, frame = self.reduction, self.frame
        largest = check_sums(reduction, stack, most, self.largest)
        if isinstance(reduction, Slots):
            self.state = grown(self.state, most, reduction.depth)
        readable = strided_by_items(reduction.readable(stack))
        source = stacked(reduction.memory(readable), stack.shape[1], frame.n_batch)
        every = votes if votes is None or len(stack) == 1 else np.tile(votes, len(stack))
        reduction.add(self.state, Deposit(self.region, source, runs, frame.patch, False, every))
        self.largest = largest

    def result(self, counts: NDArray[np.int64], fill: Any) -> NDArray[Any]:
        """The merged image, made a band at a time, so that what lies between sums and image stays small."""
        frame, place = self.frame, _inside(self.frame, self.region)
        state = tuple(a[place] for a in self.state)
        grid_axes = [
            n if k >= frame.n_batch and k != frame.channel else 1 for k, n in enumerate(frame.shape)
        ]
        counts = counts.reshape(grid_axes)
        whole: Bounds = tuple((0, n) for n in frame.shape)
        merged, missing = np.empty(frame.shape, dtype=self.result_dtype), 0
        for bounds in [whole] if isinstance(self.reduction, Custom) else _bands(frame.shape):
            part = tuple(slice(*b) for b in bounds)
            here = counts[
                tuple(p if n > 1 else slice(None) for p, n in zip(part, grid_axes, strict=True))
            ]
            values, holes = self._finalized(tuple(a[part] for a in state), here, bounds)
            if fill is None and holes.any():
                missing += int(np.count_nonzero(holes))
            elif not missing:
                if holes.any():
                    values = np.where(holes, np.zeros((), values.dtype), values)
                merged[part] = apply_fill(cast(values, self.result_dtype), holes, fill, bounds)
        if missing:
            refuse_holes(missing, whole)
        return np.ascontiguousarray(frame.restored(merged))

    def _finalized(
        self, state: State, counts: NDArray[np.int64], bounds: Bounds
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Values of a part of the image, and where it has none."""
        if isinstance(self.reduction, Mean) and self.reduction.counted:
            state = (*state, counts)
        values = self.reduction.finalize(state, bounds, self.result_dtype)
        holes = np.broadcast_to(counts == 0, tuple(end - begin for begin, end in bounds))
        empty = self.reduction.empty(state)
        return values, holes if empty is None else holes | empty


def _bands(shape: tuple[int, ...]) -> Iterator[Bounds]:
    """Bounds of parts of about `_BAND` elements, side by side along the longest axis."""
    axis = max(range(len(shape)), key=shape.__getitem__)
    many = max(1, shape[axis] * _BAND // max(1, math.prod(shape)))
    for begin in range(0, shape[axis], many):
        band = begin, min(begin + many, shape[axis])
        yield tuple(band if k == axis else (0, n) for k, n in enumerate(shape))


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
    if n and not (votes.min() >= 0 and votes.max() < np.inf):  # NaN is neither
        raise ValueError("patch_weights must be finite and not negative")
    return votes

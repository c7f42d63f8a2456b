"""A merge fed piecemeal, in any order."""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ..geometry import PatchGrid
from ..geometry.arrays import to_array
from ..geometry.frame import Frame, frame_of
from ..geometry.limits import current_limits
from ..geometry.rect import Rect, slices, whole
from ..geometry.tensors import refuse_mixed, tensor_verbs
from ..kernels.memory import ensure_item_strides
from ..kernels.offsets import Runs, place_in_stack, tabulate_target
from ..kernels.select import count
from ..merge.batch import Area, PatchBatch
from ..merge.casts import refuse_holes
from ..merge.compiled import CompiledMerge
from ..merge.custom import Merge
from ..merge.quick import QuickAdds, quick_adds
from ..merge.spec import MergeName, resolve_rule
from ..merge.sums import Sum
from ..merge.weights import check_patch_weights
from .arrays import as_array
from .extract import selected_runs
from .forms import recognise_some

__all__ = ["Merger"]

_HELD_AT_ONCE = 1 << 30  # bytes
_COUNTED_IN = np.uint16, np.uint32, np.uint64  # the next when an element may have more patches


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
    The order of `add` does not reach the result: sums are kept with what rounding takes from them,
    84 bits in all, which is exact as long as the values that meet in one element add up to less than
    2^31 times the smallest of them. A patch added twice counts twice. `add` may be called from
    several threads. Fed with tensors of another library it gives such a tensor.

    Beside its patches it holds 26 bytes per element for a weighted mean, 14 without weights: from the
    first patches on, or, above 1 GiB, as elements are touched.

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
        self._asked = merge, weights, fill, dtype
        self._tensors: Any = None  # the merger of another library's arrays, if those came first
        self._lock = threading.Lock()
        self._target: _Target | None = None
        self._counting = frame_of(grid.shape, grid)
        self._count_area = _whole_area(self._counting)
        self._counts: NDArray[Any] = np.zeros(self._count_area.shape, _COUNTED_IN[0])
        self._countable = np.iinfo(_COUNTED_IN[0]).max  # patches, even if all meet in one element
        self._added = 0  # patches

    def __copy__(self) -> Merger:
        """Another one with what was added so far; neither sees what is added to the other."""
        other = object.__new__(type(self))
        with self._lock:  # not between the sums and the counts of an add()
            state = {k: v for k, v in self.__dict__.items() if k != "_lock"}
            other.__dict__.update(copy.deepcopy(state), _lock=threading.Lock())
        return other

    def __deepcopy__(self, memo: dict[int, Any]) -> Merger:
        return self.__copy__()

    def __reduce__(self) -> Any:
        raise TypeError("a Merger cannot be pickled: send it patches, or send its result()")

    def add(
        self, patches: ArrayLike, indices: ArrayLike, patch_weights: ArrayLike | None = None
    ) -> None:
        """Merge patches ``(*batch, n, *patch)`` that stand at flat ``indices`` of the grid.

        ``patch_weights`` are ``n`` numbers, in every call or in none. What does not fit raises a
        `ValueError`, `TypeError` or `IndexError`, and nothing has been added then.
        """
        if type(patches) is not np.ndarray and self._added_tensors(patches, indices, patch_weights):
            return
        with self._lock:
            if self._target is not None and self._added_quickly(
                self._target, patches, indices, patch_weights
            ):
                return
        self._add(patches, indices, patch_weights)

    def _added_tensors(self, patches: Any, indices: Any, patch_weights: Any) -> bool:
        """Whether patches were arrays of another library, and have been added."""
        tensors = tensor_verbs(patches)
        if tensors is None:
            return False
        with self._lock:
            if self._target is not None:
                refuse_mixed(patches, "patches", {"what came before": np.empty(0)})
            if self._tensors is None:
                self._tensors = tensors.TensorMerger(self.grid, *self._asked, *self._places)
            self._tensors.add(patches, indices, patch_weights)
        return True

    def _add(self, patches: ArrayLike, indices: ArrayLike, patch_weights: ArrayLike | None) -> None:
        rows = self.grid.as_rows(indices)
        if not len(rows):
            return
        if self._tensors is not None:
            refuse_mixed(np.empty(0), "patches", {"what came before": self._tensors.last})
        array = as_array(patches, "patches")
        each = None if patch_weights is None else _as_patch_weights(patch_weights, len(rows))
        with self._lock:
            target = self._target
            if target is None or not target.fits(array, len(rows)):
                stack, frame = recognise_some(array, self.grid, len(rows), *self._places)
                target = target or self._first(frame, array.dtype, each is not None)
                target.check_frame(frame)
            else:
                stack = array.reshape(-1, len(rows), *target.frame.patch_shape)
            target.check(array.dtype, each is not None)
            self._make_room(len(rows))
            if not self._added_quickly(target, array, rows, each):
                self._add_runs(target, stack, rows, each)
            self._target = target

    def _make_room(self, n: int) -> None:
        """Have the counts hold ``n`` patches more, even if all meet in one element.

        The counts are looked at once for every half of what they hold, so that each patch costs the same
        in an image of any size.
        """
        if self._added + n <= self._countable:
            return
        most, room = int(self._counts.max(initial=0)), [int(np.iinfo(d).max) for d in _COUNTED_IN]
        now = _COUNTED_IN.index(self._counts.dtype.type)
        if most + n > room[now] // 2:
            now = next(k for k, holds in enumerate(room) if most + n <= holds // 2)
            self._counts = self._counts.astype(_COUNTED_IN[now])
        self._countable = self._added + room[now] - most

    def _added_quickly(self, target: _Target, patches: Any, indices: Any, each: Any) -> bool:
        """Whether patches were in the common form, and have been added."""
        if target.quick is None:
            return False
        given = patches, indices, each
        n = target.quick.add(target.state, self._counts, *given, self._countable - self._added)
        self._added += n
        return n > 0

    def _add_runs(
        self,
        target: _Target,
        stack: NDArray[Any],
        rows: NDArray[np.int64],
        each: NDArray[np.float64] | None,
    ) -> None:
        """Add patches of any form that was checked, as runs."""
        runs = selected_runs(self._counting, rows)
        most = self._count(runs, 1)
        try:
            alike = target.area is self._count_area
            mine = runs if alike else selected_runs(target.frame, rows)
            target.add(stack, mine, each, most)
        except BaseException:
            self._count(runs, -1)
            raise
        self._added += len(rows)

    def _first(self, frame: Frame, dtype: np.dtype[Any], weighted: bool) -> _Target:
        rule = self._rule.with_patch_weights() if weighted else self._rule
        merged = rule.compile(frame, dtype, whole=False)
        merged = replace(merged, reduction=merged.reduction.piecemeal())
        # without axes beside the grid's, patches lie in the sums where they do in the counts
        alike = frame.axes == self._counting.axes
        area = self._count_area if alike else _whole_area(frame)
        quick = quick_adds(merged.reduction, frame, area, dtype, weighted) if alike else None
        target = _Target(merged, area, dtype, weighted, quick)
        if isinstance(merged.reduction, Sum):
            _hold([self._counts, *target.state])
        return target

    def _count(self, runs: Runs, change: int) -> int:
        """Count patches in, or out again; returns the largest number of patches in one of their elements."""
        target = self._count_area.operand(self._counts)
        return count(target.memory, tabulate_target(target, runs, self._counting.patch), change)

    def __repr__(self) -> str:
        with self._lock:
            dtype = "" if self._target is None else f" of {self._target.dtype}"
            added = self._added
        merge = self._rule.merge if not isinstance(self._rule.merge, Merge) else "custom"
        return (
            f"<Merger {self.grid!r}; merge={merge!r}; {added:,} patches{dtype} added,"
            f" the grid has {self.grid.n_patches:,}>"
        )

    def coverage(self) -> NDArray[np.int64]:
        """How many patches have been added to each element: an int64 array of the grid's shape."""
        with self._lock:
            if self._tensors is not None:
                found: NDArray[np.int64] = self._tensors.coverage()
                return found
            return self._covered().astype(np.int64)

    def _covered(self) -> NDArray[Any]:
        return self._counts[slices(whole(self.grid.shape), self._count_area.reach)]

    def result(self) -> NDArray[Any]:
        """The image merged so far (a tuple of four with ``merge="moments"``); more can be added afterwards.

        Raises `ValueError` when an element has no patch yet (or weights of 0) and there is no
        ``fill``.
        """
        if self._tensors is not None:
            with self._lock:
                merged: NDArray[Any] = self._tensors.result()
                return merged
        if self._target is None:
            raise ValueError("nothing was merged: add() patches before asking for the result()")
        with self._lock:
            found: NDArray[Any] = self._target.result(self._covered())
            return found


class _Target:
    """The accumulators of a `Merger`, made when the first patches tell dtype, channels and batch."""

    def __init__(
        self,
        merged: CompiledMerge,
        area: Area,
        dtype: np.dtype[Any],
        weighted: bool,
        quick: QuickAdds | None,
    ) -> None:
        self.merged, self.area, self.dtype, self.weighted = merged, area, dtype, weighted
        self.quick = quick
        self.frame, self.reduction = merged.frame, merged.reduction
        self.known: int = 0  # what the reduction knows of the patches that came before
        self.state = self.reduction.init(area.shape)

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
        patch_weights: NDArray[np.float64] | None,
        most: int,
    ) -> None:
        """Merge patches; ``most`` of them meet in one element, with those that came before."""
        reduction, frame = self.reduction, self.frame
        known = reduction.check(stack, most, self.known)
        self.state = reduction.grown(self.state, most)
        readable = ensure_item_strides(reduction.readable(stack))
        source = place_in_stack(reduction.memory(readable), stack.shape[1], frame.n_batch)
        each = patch_weights
        if each is not None and len(stack) > 1:
            each = np.tile(each, len(stack))
        reduction.add(self.state, PatchBatch(self.area, source, runs, frame.patch, False, each))
        self.known = known

    def result(self, counts: NDArray[Any]) -> Any:
        """The merged image, or images, made a band at a time, so that what lies between sums and images stays small."""
        frame, merged, bounds = self.frame, self.merged, whole(self.frame.shape)
        place = slices(bounds, self.area.reach)
        state = tuple([a[place] for a in self.state])
        sizes = [n if cut else 1 for n, cut in zip(frame.shape, frame.patched, strict=True)]
        counts = np.broadcast_to(counts.reshape(sizes), frame.shape)
        images = tuple([np.empty(frame.shape, dtype=dtype) for dtype in merged.dtypes])
        missing = 0
        for band in _bands(frame.shape) if self.reduction.elementwise else [bounds]:
            part = slices(band)
            here = tuple([a[part] for a in state])
            if self.reduction.counted:
                here = (*here, counts[part])
            holes = merged.holes(here, counts[part] == 0)
            missing += 0 if holes is None or merged.fillable else int(np.count_nonzero(holes))
            if not missing:
                for image, values in zip(images, merged.finish(here, band, holes), strict=True):
                    image[part] = values
        if missing:
            refuse_holes(missing, bounds)
        found = tuple([np.ascontiguousarray(frame.restored(image)) for image in images])
        return found if len(found) > 1 else found[0]


def _bands(shape: tuple[int, ...]) -> Iterator[Rect]:
    """Parts of about ``band_elements``, side by side along the longest axis."""
    axis = max(range(len(shape)), key=shape.__getitem__)
    band = current_limits().band_elements
    many = max(1, shape[axis] * band // max(1, math.prod(shape)))
    for begin in range(0, shape[axis], many):
        rows = begin, min(begin + many, shape[axis])
        yield tuple([rows if k == axis else (0, n) for k, n in enumerate(shape)])


def _hold(zeros: Sequence[NDArray[Any]]) -> None:
    """Have the memory of new arrays now, if it is not too much: adds would get it page by page, at twice the time."""
    if sum([array.nbytes for array in zeros]) <= _HELD_AT_ONCE:
        for array in zeros:
            array.fill(0)


def _whole_area(frame: Frame) -> Area:
    return Area.of(frame, whole(frame.counts), with_image=True)


def _as_patch_weights(patch_weights: ArrayLike, n: int) -> NDArray[np.float64]:
    found = to_array(
        patch_weights, "patch_weights", "give .filled(0) for patches that do not count"
    )
    if found.shape != (n,) or found.dtype.kind not in "biuf":
        raise ValueError(
            f"patch_weights must be {n} real numbers, got shape {found.shape}, dtype {found.dtype}"
        )
    found = found.astype(np.float64)
    check_patch_weights(found)
    return found

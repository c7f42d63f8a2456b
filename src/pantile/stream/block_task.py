"""One block's work: the pieces that reach into it become values, which are finalized and have their place."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..geometry import single_axis, whole_axis
from ..geometry.arrays import to_array
from ..geometry.frame import Frame
from ..geometry.limits import Limits
from ..geometry.rect import Rect, intersect, shape_of, slices, whole
from ..geometry.schedule import Schedule, along
from ..geometry.tiling import Tile, Tiling
from ..merge.batch import PatchBatch
from ..merge.casts import cast, check_fill
from ..merge.compiled import CompiledMerge
from ..merge.pieces import Piece
from ..merge.reduction import Reduction, State
from ..ops.selection import touched
from .argmax import finalize_slab
from .job import FILLED, Job, Kind

__all__ = [
    "Form",
    "Result",
    "canonical_unit",
    "cut_result",
    "finalized",
    "grid_frame",
    "make_result",
    "turned_mask",
]


class Form(NamedTuple):
    """What is asked of the place that an image goes to."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Result:
    """What results of one kind become: one image, or as many as the merge makes.

    ``forms`` are those of the images. ``touched`` says which elements a patch touches, where not
    all patches take part.
    """

    job: Job
    kind: Kind
    merged: CompiledMerge
    follows: tuple[int | None, ...]  # the axes of the job that its axes go along with
    forms: tuple[Form, ...]
    touched: NDArray[np.bool_] | None = None

    @property
    def frame(self) -> Frame:
        return self.merged.frame

    @property
    def channel(self) -> int | None:
        """The channel axis of what is merged, as images have it."""
        return None if self.frame.channel is None else self.frame.order[self.frame.channel]

    def schedule(
        self, tiling: Tiling, units: Sequence[Sequence[int] | None], limits: Limits
    ) -> Schedule:
        """Where the images are cut; every unit of the places written to lies in one block."""
        return cut_result(self.job, self.frame, self.follows, tiling, units, limits)

    def piece(self, tile: Tile, state: State | None) -> State | None:
        """What a tile made of its patches, as the state of a piece."""
        if self.job.rule is not None or state is None:
            return state
        shape = along(self.follows[: -len(self.kind.shape) or None], tile.counts, 1)
        values = cast(state[0], self.forms[0].dtype)
        mask = self.job.selection(tile)
        if mask is None:
            return (values.reshape(*shape, *self.kind.shape),)
        fill = 0 if self.job.fill is None else self.job.fill
        whole = np.full((*shape, *self.kind.shape), fill, dtype=self.forms[0].dtype)
        whole[mask.reshape(shape)] = values
        return (whole,)

    def block(
        self, bounds: Rect, pieces: Sequence[Piece], limits: Limits, ours: bool = False
    ) -> tuple[tuple[slice, ...], tuple[Any, ...]]:
        """A finished block: its place in the images, and its values in each, in their dtypes.

        Pieces are joined in place where they are ``ours``, and nobody reads them after.
        """
        images = [self.frame.restored(v) for v in self._values(bounds, pieces, limits, ours)]
        place = [slice(*bounds[k]) for k in self.frame.back]
        if self.job.finalize is None:
            return tuple(place), tuple(images)
        shape = list(self.frame.image_shape)
        values = finalized(self.job.finalize, images[0], place, shape, self.channel)
        form = self.forms[0]
        if tuple(shape) != form.shape:
            raise ValueError(f"out must have the result's shape {tuple(shape)}, got {form.shape}")
        return tuple(place), (cast(values, form.dtype),)

    def final(self, place: Any) -> NDArray[Any] | None:
        """``place`` with its axes in canonical order, if tiles may put values there themselves.

        They may where every element is one patch's, as it is, and no tile reaches out of the image.
        """
        merged = self.merged
        if self.job.finalize is not None or self.touched is not None:
            return None
        if not isinstance(place, np.ndarray) or merged.reduction.lasting(place[:0]) is None:
            return None
        alike = merged.reduction.dtype == merged.dtype == place.dtype
        if not (alike and self.frame.inside and self.frame.covers):
            return None
        image: NDArray[Any] = self.frame.canonical(place)
        return image

    def strips(self, bounds: Rect, limits: Limits) -> list[Rect]:
        """A block in the parts that may be finished by themselves."""
        return [bounds] if self.job.finalize is not None else strips_of(bounds, limits)

    def _values(self, bounds: Rect, pieces: Sequence[Piece], limits: Limits, ours: bool) -> State:
        """The merged values of a block, a strip at a time: sums take many times the bytes of what they become."""
        strips = strips_of(bounds, limits)
        if len(strips) == 1:
            return self.merged.block(bounds, pieces, self._touched(bounds), ours)
        shape = shape_of(bounds)
        images = tuple([np.empty(shape, dtype=dtype) for dtype in self.merged.dtypes])
        for strip in strips:
            found = self.merged.block(strip, pieces, self._touched(strip), ours)
            for image, values in zip(images, found, strict=True):
                image[slices(strip, bounds)] = values
        return images

    def _touched(self, bounds: Rect) -> NDArray[np.bool_] | None:
        return None if self.touched is None else self.touched[slices(bounds)]


def strips_of(bounds: Rect, limits: Limits) -> list[Rect]:
    """A block in parts along its longest axis, so that what a part is made of stays in cache."""
    shape = shape_of(bounds)
    k = shape.index(max(shape))
    rows = max(1, limits.strip_elements * shape[k] // max(1, math.prod(shape)))
    low, high = bounds[k]
    return [
        (*bounds[:k], (begin, min(begin + rows, high)), *bounds[k + 1 :])
        for begin in range(low, high, rows)
    ]


def cut_result(
    job: Job,
    frame: Frame,
    follows: tuple[int | None, ...],
    tiling: Tiling,
    units: Sequence[Sequence[int] | None],
    limits: Limits,
) -> Schedule:
    """Where the images of a result are cut: no unit of the places written to, nor what ``finalize`` reduces."""
    known = [canonical_unit(unit, frame) for unit in units if unit is not None]
    found = tuple([math.lcm(*sizes) for sizes in zip(*known, strict=True)]) if known else None
    unit = _uncut_unit(found, frame, job.finalize)
    return Schedule.of(tiling, frame.axes, follows, unit, limits.block_elements)


def canonical_unit(unit: Sequence[int], frame: Frame) -> tuple[int, ...]:
    """The unit of a place, per axis of what lies there, per canonical axis of a result."""
    sizes = list(unit)
    if len(sizes) < len(frame.order):  # finalize drops the channel axis
        assert frame.channel is not None
        sizes.insert(frame.order[frame.channel], 1)
    return tuple([sizes[a] for a in frame.order])


def _uncut_unit(
    unit: Sequence[int] | None, frame: Frame, finalize: Callable[[NDArray[Any]], Any] | None
) -> tuple[int, ...] | None:
    """What blocks must not cut, per canonical axis: what is written at once, and channels that ``finalize`` reduces."""
    if finalize is None or frame.channel is None:
        return None if unit is None else tuple(unit)
    uncut = list(unit or (1,) * len(frame.axes))
    uncut[frame.channel] = frame.axes[frame.channel].size
    return tuple(uncut)


def make_result(
    job: Job, kind: Kind, forms: Sequence[Form | None], trial: tuple[Tile, State] | None = None
) -> Result:
    """The result of one kind; raises what is wrong with it.

    ``forms`` are those of the places it goes to, where they are there already; else ``finalize``,
    where there is one, is tried on what the first tile made, since only its result tells.
    """
    first = next(iter(forms), None)
    wanted = job.result_dtype or (None if first is None else first.dtype)
    if job.rule is None:
        return _on_grid(job, kind, first, wanted)
    merged = job.merged(kind)
    if job.finalize is None and wanted is not None and wanted != job.rule.dtype:
        rule = replace(job.rule, dtype=wanted)  # that only the place tells
        merged = rule.compile(merged.frame, kind.dtype, job.whole)
    frame = merged.frame
    mask = None if job.mask is None else touched(turned_mask(job, frame), frame.axes)
    shape = frame.image_shape
    mine = tuple([Form(shape, dtype) for dtype in merged.dtypes])
    result = Result(job, kind, merged, frame.follows(job.frame), mine, mask)
    if job.finalize is not None:
        found = first or _try_finalize(result, trial)
        return replace(result, forms=(Form(found.shape, wanted or found.dtype),))
    for form in forms:
        _check_shape(form, shape)
    return result


def _check_shape(form: Form | None, shape: tuple[int, ...]) -> None:
    if form is not None and form.shape != shape:
        raise ValueError(f"out must have the result's shape {shape}, got {form.shape}")


def turned_mask(job: Job, frame: Frame) -> NDArray[np.bool_]:
    """The mask of patches on the axes of a result, whose channel axis may have come or gone."""
    assert job.mask is not None
    old, new = job.frame.channel, frame.channel
    mask = job.mask if old is None else job.mask.squeeze(old)
    return mask if new is None else np.expand_dims(mask, new)


# results on the grid


@dataclass(frozen=True)
class _Placed(Reduction):
    """Results that stand on the grid: every entry comes from one tile, the others hold ``fill``."""

    fill: Any = None

    def init(self, shape: tuple[int, ...]) -> State:
        return (np.full(shape, 0 if self.fill is None else self.fill, dtype=self.dtype),)

    def add(self, state: State, batch: PatchBatch) -> None:
        raise AssertionError("results on the grid are not merged")

    def combine(self, states: Sequence[State]) -> State:
        return (states[-1][0].copy(),)

    def finalize(self, state: State, bounds: Rect, dtype: np.dtype[Any]) -> NDArray[Any]:
        return state[0]


def _on_grid(job: Job, kind: Kind, form: Form | None, dtype: np.dtype[Any] | None) -> Result:
    """Results on the grid: ``(*batch, *counts, ...)``."""
    dtype = dtype or kind.dtype
    if kind.dtype.kind == "c" and dtype.kind != "c":
        raise TypeError(f"dtype={dtype} cannot hold complex results: use complex64 or complex128")
    if job.mask is not None and job.fill is not None:
        check_fill(job.fill, dtype)
    frame, follows = grid_frame(job, kind)
    _check_shape(form, frame.shape)
    merged = CompiledMerge(frame, _Placed(frame.axes, frame.patch, dtype, job.fill), (dtype,))
    return Result(job, kind, merged, follows, (Form(frame.shape, dtype),))


def grid_frame(job: Job, kind: Kind) -> tuple[Frame, tuple[int | None, ...]]:
    """The frame of results that stand on the grid, and the axes of the job that its axes go along with."""
    kept = [k for k in range(len(job.frame.axes)) if k != job.frame.channel]
    counts = [job.frame.counts[k] for k in kept]
    axes = (*map(single_axis, counts), *map(whole_axis, kind.shape))
    frame = Frame(job.frame.grid, tuple(range(len(axes))), axes, len(counts), None)
    return frame, (*kept, *(None for _ in kind.shape))


# finalize


def _try_finalize(result: Result, trial: tuple[Tile, State] | None) -> Form:
    """What ``finalize`` makes of values as they come: a tile's own, its neighbours' share not yet added."""
    finalize, frame = result.job.finalize, result.frame
    assert finalize is not None
    pieces: list[Piece] = []
    bounds = tuple((0, n if k == frame.channel else 1) for k, n in enumerate(frame.shape))
    if trial is not None:
        tile, state = trial
        mine = Tile(tile.index, along(result.follows, tile.ranges, (0, 1)))
        span = mine.span(frame.axes)
        inside = intersect(span, whole(frame.shape))
        if inside is not None:  # else the tile is in the padding
            bounds, pieces = inside, [(span, state)]
    merged = replace(result.merged, fills=(0,))
    with np.errstate(all="ignore"):
        (values,) = merged.block(bounds, pieces)
    shape = list(frame.image_shape)
    place = [slice(*bounds[k]) for k in frame.back]
    values = finalized(finalize, frame.restored(values), place, shape, result.channel)
    return Form(tuple(shape), values.dtype)


def finalized(
    finalize: Callable[[NDArray[Any]], Any],
    slab: NDArray[Any],
    place: list[slice],
    shape: list[int],
    channel: int | None,
) -> NDArray[Any]:
    """``finalize(slab)``, with ``place`` and ``shape`` changed where it drops or resizes the channel axis."""
    where = ", ".join(f"{s.start}:{s.stop}" for s in place)
    try:
        result = to_array(finalize_slab(finalize, slab, channel), "what finalize returned", FILLED)
    except Exception as error:
        error.add_note(f"pantile: in finalize, for image region [{where}]")
        raise
    if result.dtype == object:
        raise TypeError("finalize must return an array of numbers, got objects or None")
    expected = list(slab.shape)
    if channel is not None and result.ndim == slab.ndim:
        expected[channel] = shape[channel] = result.shape[channel]
        place[channel] = slice(0, shape[channel])
    elif channel is not None and result.ndim == slab.ndim - 1:
        del expected[channel], shape[channel], place[channel]
    if list(result.shape) != expected:
        raise ValueError(
            f"finalize may drop or resize the channel axis only: it made {result.shape} of a slab {slab.shape}"
        )
    return result

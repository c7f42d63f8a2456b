"""A result before it is there: its shape and dtype, and how blocks of it are made from pieces."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..geometry.arrays import to_array
from ..geometry.tiles import Blocks, Bounds, Index, Tile, Tiling
from ..verbs.assembly import Joiner, Piece
from ..verbs.frame import Frame, exchanged
from ..verbs.merges import Rule, cast, check_fill
from ..verbs.reductions import State
from ..verbs.selection import touched
from .outputs import FILLED, Kind, Placed, listed_frame, output_of
from .plan import BLOCK, STRIP, Plan, uncut_unit

__all__ = ["Form", "Result", "make_result"]


class Form(NamedTuple):
    """What is asked of the place that a result goes to."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Result:
    """One image or array to come. Small but for a mask, and picklable if ``finalize`` is."""

    kind: Kind
    joiner: Joiner
    finalize: Callable[[NDArray[Any]], Any] | None
    form: Form
    source: Frame  # of the job, whose tiles deliver
    listed: bool
    fill: Any = None

    @property
    def frame(self) -> Frame:
        return self.joiner.frame

    @cached_property
    def channel(self) -> int | None:
        """The channel axis of what is merged."""
        return None if self.frame.channel is None else self.frame.order[self.frame.channel]

    def unit(self, unit: Sequence[int] | None) -> tuple[int, ...] | None:
        """What must not be cut, per canonical axis, given the unit of the place written to."""
        canonical = None
        if unit is not None:
            sizes = list(unit)
            if len(sizes) < len(self.frame.order):  # finalize drops the channel axis
                assert self.channel is not None
                sizes.insert(self.channel, 1)
            canonical = tuple(sizes[a] for a in self.frame.order)
        return uncut_unit(canonical, self.frame, self.finalize)

    def blocks(self, tiling: Tiling, unit: Sequence[int] | None) -> Blocks:
        """Where the result is cut; every unit of the place written to lies in one block."""
        if self.listed:
            mine = self._listed(tiling.lengths, self.kind.shape)
        else:
            mine = exchanged(tiling.lengths, self.source, self.frame, 1)
        return Tiling(self.frame.axes, mine).blocks(self.frame.axes, self.unit(unit), BLOCK)

    def _listed(self, items: Sequence[Any], inner: Sequence[Any]) -> tuple[Any, ...]:
        """Things per axis of the grid, then per axis of one entry."""
        kept = [item for k, item in enumerate(items) if k != self.source.channel]
        return (*kept, *inner)

    def tile(self, tile: Tile) -> Tile:
        """A tile of the job as a tile of this result."""
        if self.listed:
            inner = self.kind.shape
            return Tile(
                self._listed(tile.index, (0,) * len(inner)),
                self._listed(tile.ranges, [(0, 1)] * len(inner)),
            )
        return Tile(
            exchanged(tile.index, self.source, self.frame, 0),
            exchanged(tile.ranges, self.source, self.frame, (0, 1)),
        )

    def job_index(self, index: Index) -> Index:
        """Where a tile of this result stands among the tiles of the job."""
        if not self.listed:
            return exchanged(index, self.frame, self.source, 0)
        kept = list(index[: len(index) - len(self.kind.shape)])
        if self.source.channel is not None:
            kept.insert(self.source.channel, 0)
        return tuple(kept)

    def state(
        self, tile: Tile, state: State | None, mask: NDArray[np.bool_] | None
    ) -> State | None:
        """What a tile made of its patches, as the state of a piece."""
        if not self.listed or state is None:
            return state
        shape = self._listed(tile.counts, self.kind.shape)
        values = cast(state[0], self.form.dtype)
        if mask is None:
            return (values.reshape(shape),)
        whole = np.full(shape, 0 if self.fill is None else self.fill, dtype=self.form.dtype)
        whole[mask.reshape(self._listed(tile.counts, ()))] = values
        return (whole,)

    def slab(self, bounds: Bounds, pieces: Sequence[Piece]) -> tuple[tuple[slice, ...], Any]:
        """A finished block: its place in the result, and its values in the result's dtype."""
        values = self.frame.restored(self._values(bounds, pieces))
        back = [int(k) for k in np.argsort(self.frame.order)]
        place = [slice(*bounds[k]) for k in back]
        if self.finalize is None:
            return tuple(place), values
        shape = [self.frame.shape[k] for k in back]
        values = finalized(self.finalize, values, place, shape, self.channel)
        if tuple(shape) != self.form.shape:
            raise ValueError(
                f"out must have the result's shape {tuple(shape)}, got {self.form.shape}"
            )
        return tuple(place), cast(values, self.form.dtype)

    def _values(self, bounds: Bounds, pieces: Sequence[Piece]) -> NDArray[Any]:
        """The merged values of a block, a strip at a time: sums take many times the bytes of what they become."""
        shape = [e - b for b, e in bounds]
        k = shape.index(max(shape))
        rows = max(1, STRIP * shape[k] // math.prod(shape))
        if rows >= shape[k]:
            return self.joiner.values(bounds, pieces)
        whole = np.empty(shape, dtype=self.joiner.dtype)
        for begin in range(0, shape[k], rows):
            end = min(begin + rows, shape[k])
            strip = (bounds[k][0] + begin, bounds[k][0] + end)
            part = (*bounds[:k], strip, *bounds[k + 1 :])
            whole[(slice(None),) * k + (slice(begin, end),)] = self.joiner.values(part, pieces)
        return whole


def make_result(
    plan: Plan, kind: Kind, form: Form | None, trial: tuple[Tile, State] | None = None
) -> Result:
    """A result of one kind; raises what is wrong with it.

    ``form`` is that of the place it goes to where there is one already; else ``finalize``, where
    there is one, is tried on what the first tile made, since only its result tells.
    """
    dtype = plan.dtype or (None if form is None else form.dtype)
    if plan.job.rule is None:
        return _listed(plan, kind, form, dtype)
    rule = replace(plan.job.rule, dtype=None if plan.finalize else dtype)
    output = output_of(kind, plan.job.frame, rule, plan.job.scale, plan.job.whole)
    frame = output.frame
    mask = None if plan.mask is None else touched(_turned(plan, frame), frame.axes)
    joiner = Joiner(frame, rule, output.reduction, output.dtype, mask)
    shape = tuple(int(frame.shape[a]) for a in np.argsort(frame.order))
    result = Result(kind, joiner, plan.finalize, Form(shape, output.dtype), plan.job.frame, False)
    if plan.finalize is not None:
        found = form or _tried(result, trial)
        return replace(result, form=Form(found.shape, dtype or found.dtype))
    _check_shape(form, shape)
    return result


def _check_shape(form: Form | None, shape: tuple[int, ...]) -> None:
    if form is not None and form.shape != shape:
        raise ValueError(f"out must have the result's shape {shape}, got {form.shape}")


def _listed(plan: Plan, kind: Kind, form: Form | None, dtype: np.dtype[Any] | None) -> Result:
    """Results on the grid: ``(*batch, *counts, ...)``."""
    dtype = dtype or kind.dtype
    if kind.dtype.kind == "c" and dtype.kind != "c":
        raise TypeError(f"dtype={dtype} cannot hold complex results: use complex64 or complex128")
    if plan.mask is not None and plan.fill is not None:
        check_fill(plan.fill, dtype)
    frame = listed_frame(plan.job.frame, kind)
    _check_shape(form, frame.shape)
    placed = Placed(frame.axes, frame.patch, dtype, plan.fill)
    joiner = Joiner(frame, Rule("last"), placed, dtype)
    shape = tuple(frame.shape)
    return Result(kind, joiner, None, Form(shape, dtype), plan.job.frame, True, plan.fill)


def _turned(plan: Plan, frame: Frame) -> NDArray[np.bool_]:
    """The mask of patches on the axes of the result, whose channel axis may have come or gone."""
    assert plan.mask is not None
    old, new = plan.job.frame.channel, frame.channel
    mask = plan.mask if old is None else plan.mask.squeeze(old)
    return mask if new is None else np.expand_dims(mask, new)


def _tried(result: Result, trial: tuple[Tile, State] | None) -> Form:
    """What ``finalize`` makes of values as they come: a tile's own, its neighbours' share not yet added."""
    assert result.finalize is not None
    frame = result.frame
    pieces: list[Piece] = []
    bounds = tuple((0, n if k == frame.channel else 1) for k, n in enumerate(frame.shape))
    if trial is not None:
        span = result.tile(trial[0]).span(frame.axes)
        inside = tuple((max(b, 0), min(e, n)) for (b, e), n in zip(span, frame.shape, strict=True))
        if all(b < e for b, e in inside):  # else the tile is in the padding
            bounds, pieces = inside, [(span, trial[1])]
    joiner = replace(result.joiner, rule=replace(result.joiner.rule, fill=0))
    with np.errstate(all="ignore"):
        values = frame.restored(joiner.values(bounds, pieces))
    back = [int(k) for k in np.argsort(frame.order)]
    shape = [frame.shape[k] for k in back]
    place = [slice(*bounds[k]) for k in back]
    values = finalized(result.finalize, values, place, shape, result.channel)
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
        result = to_array(finalize(slab), "what finalize returned", FILLED)
    except Exception as error:
        error.add_note(f"pantile: in finalize, for image region [{where}]")
        raise
    expected = list(slab.shape)
    if result.dtype == object:
        raise TypeError("finalize must return an array of numbers, got objects or None")
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

"""Merging patches that are all there: which axis lines go along, and the tables that loops gather by.

`kernels.gather` makes the image line by line. What it needs to know of the patches, wherever they
lie in memory, of the weights and of the grid, is worked out here, once for a merge (`Gathering.of`)
and once for each part of it that a thread makes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import AxisGrid
from ..geometry.arrays import strides_of
from ..geometry.frame import Frame
from ..geometry.limits import Limits
from ..kernels.gather import (
    OWNERS,
    Finish,
    Leads,
    Row,
    Strips,
    StripWeights,
    clip_strips,
    gather,
    gather_owners,
)
from ..kernels.memory import as_bits, flatten, has_item_strides, is_native
from ..kernels.parallel import cores, each_in_parallel
from .casts import refuse_holes, refuse_nan
from .compiled import CompiledMerge
from .finishing import limits_of, store_of, value_in_holes
from .reduction import Meeting
from .weights import Profile

__all__ = [
    "Lines",
    "arrange",
    "gather_patches",
    "strip_weights",
    "tabulate_leads",
    "tabulate_strips",
]

Vector = NDArray[np.int64]
Numbers = NDArray[np.float64]

_GATHERED = (
    "fdFDBHhi"  # the dtypes of images; each takes seconds to compile, others have the way of tiles
)
_FEW = 16  # samples that are too few for a line, where another axis has more
_EXACT_DEPTH = (
    1 << 16
)  # with sums of 32-bit integers, quotients are rounded right by way of float64


def gather_patches(
    patches: NDArray[Any],
    merged: CompiledMerge,
    views: Sequence[NDArray[Any]],
    patch_weights: Numbers | None,
    limits: Limits,
) -> bool:
    """Merge patches ``(*counts, *patch)`` into ``views`` by gathering; False, with nothing done, where
    that is not possible or does not pay."""
    meeting, view = merged.reduction.meeting(), views[0]
    known = patches.dtype.isnative and patches.dtype.char in _GATHERED and is_native(view.dtype)
    if meeting is None or not known or not all(map(has_item_strides, (patches, view))):
        return False
    if meeting.body in OWNERS:
        return _own(patches, merged, view, meeting, limits)
    sums, depth = meeting.accumulator, merged.reduction.depth
    store = store_of(sums, meeting.divides, patches.dtype, view.dtype, depth)
    if store is None:
        return False
    lines = arrange(patches, merged.frame, view, meeting, patch_weights)
    if lines.row.grid.size < limits.gather_least_elements < view.size:
        return False
    finish = _finish(meeting, store, view.dtype, merged.fills[0])
    _make(patches, view, lines, finish, merged.fills[0], limits)
    return True


def _own(
    patches: NDArray[Any], merged: CompiledMerge, view: NDArray[Any], meeting: Meeting, limits: Limits
) -> bool:  # fmt: skip
    """Each element from the one patch that owns it: who that is, is a question of each axis by itself."""
    bits = as_bits(view.dtype)
    if patches.dtype != view.dtype or bits is None:
        return False
    lines = arrange(patches, merged.frame, view, meeting, None)
    if lines.row.grid.size < limits.gather_least_elements < view.size:
        return False
    by, fill = meeting.body, np.asarray(merged.fills[0] or 0).astype(view.dtype).view(bits)[()]
    out, src = flatten(view, bits).memory, flatten(patches, bits).memory
    places = [axis.owned(by, 0, axis.grid.size) for axis in lines.leads]
    sizes = [len(each) for each in places]
    begins = np.cumsum([0, *sizes])[:-1]
    axes = np.array(
        [*zip(sizes, begins, [a.step for a in lines.leads], strict=True)], dtype=np.int64
    )
    axes = axes.reshape(len(sizes), 3)
    flat = np.concatenate(places) if places else np.zeros(0, dtype=np.int64)
    n, size = math.prod(sizes), lines.row.grid.size
    width = min(size, limits.gather_elements)
    rows = max(1, limits.gather_leaf_elements // width)

    def make(part: tuple[int, int]) -> None:
        begin, first = part
        held = lines.row.owned(by, begin, min(begin + width, size))
        strips = _even_strips(held, begin, (lines.row.sample_step, lines.row.patch_step))
        last = min(first + rows, n)
        gather_owners(out, src, (first, last), axes, flat, strips, lines.row.step, fill)

    each_in_parallel(make, [(b, f) for b in range(0, size, width) for f in range(0, n, rows)])
    return True


def _even_strips(held: Vector, begin: int, steps: Sequence[int]) -> Strips:
    """Places as strips of the one of ``steps`` that makes fewer."""
    apart = np.diff(held)
    hole = (held[1:] < 0) | (held[:-1] < 0)
    breaks = [(apart != step) | hole for step in steps]
    breaks = [b & ~((held[1:] < 0) & (held[:-1] < 0)) for b in breaks]
    best = min(range(len(steps)), key=lambda k: int(breaks[k].sum()))
    first = np.append(0, np.flatnonzero(breaks[best]) + 1)
    lengths = np.diff(np.append(first, len(held)))
    table = np.stack([first + begin, held[first], lengths], axis=1)
    return Strips(np.ascontiguousarray(table, dtype=np.int64), max(1, steps[best]))


@dataclass(frozen=True)
class _Axis:
    """An axis of the image, and how far the next one is: of patches, of samples, of the image's elements."""

    grid: AxisGrid
    patch_step: int
    sample_step: int
    step: int
    profile: Profile
    vector: Numbers | None = None  # the taper along it, where it is a product
    taper_step: int = 0  # of the whole taper
    number_step: int = 0  # of the weights per patch
    channels: int = 1  # that lie along it

    def weight(self, begin: int, end: int) -> Numbers:
        """The sums of weights over elements ``begin`` to ``end``, or how many patches there are."""
        n = self.channels
        each = self.profile.part(begin // n, -(-end // n))
        return each if n == 1 else np.repeat(each, n)[begin % n :][: end - begin]

    def owned(self, by: str, begin: int, end: int) -> Vector:
        """Where the owners of elements ``begin`` to ``end`` hold them, -1 where there is none."""
        axis, n = self.profile.axis, self.channels
        low, high = begin // n, -(-end // n)
        owner = axis.owners(by, low, high)
        lag = (np.arange(low, high) - axis.starts_at(owner)) // axis.dilation
        held = np.where(owner < 0, -1, owner * self.patch_step + lag * (self.sample_step * n))
        if n == 1:
            return held
        each = held[:, None] + np.arange(n) * self.sample_step
        return np.where(held[:, None] < 0, -1, each).ravel()[begin % n :][: end - begin]


@dataclass(frozen=True)
class Lines:
    """The axes sorted out: the one that lines go along, and those that lead to it."""

    row: _Axis
    leads: tuple[_Axis, ...]
    by_feature: bool  # strips are runs of patches, not samples of one
    breaks: Sequence[int]
    counted: bool  # weights are added up, for they are no product
    covered: bool  # every element has a value, which is not divided
    taper: Numbers | None  # over all samples, where it is no product
    patch_weights: Numbers | None


def arrange(
    patches: NDArray[Any],
    frame: Frame,
    view: NDArray[Any],
    meeting: Meeting,
    patch_weights: Numbers | None,
    in_order: bool = False,
) -> Lines:
    """The axes of a merge; ``in_order`` where the patches of an element must come in C order."""
    n = len(frame.axes)
    of, into = flatten(patches).strides, flatten(view).strides
    profiles = meeting.profiles or map(Profile, frame.axes)
    vectors = meeting.vectors or (None,) * n
    samples = (0,) * frame.n_batch + of[n:]  # patches have no batch axes
    taper_steps, number_steps = strides_of(frame.patch), strides_of(frame.counts)
    axes = [
        _Axis(*each)
        for each in zip(
            frame.axes, of[:n], samples, into, profiles, vectors, taper_steps, number_steps, strict=True
        )
    ]  # fmt: skip
    along, breaks, by_feature = frame.along, frame.all_breaks, _runs_lie_closer(axes, frame.along)
    channel = frame.channel
    if channel is not None and channel == along + 1 and _one_line(axes[along], axes[channel]):
        axes[along] = _joined(axes[along], axes.pop(channel))
    row = along if by_feature or in_order else _closest(axes, along)
    leads = tuple([axis for k, axis in enumerate(axes) if k != row])
    taper = None if meeting.vectors is not None else meeting.taper
    counted = meeting.divides and meeting.profiles is None
    covered = frame.covers and not meeting.divides
    return Lines(axes[row], leads, by_feature, breaks, counted, covered, taper, patch_weights)


def _runs_lie_closer(axes: Sequence[_Axis], along: int) -> bool:
    samples = [axis.sample_step for axis in axes if axis.grid.patch > 1]
    return bool(samples) and 0 < axes[along].patch_step < min(samples)


def _one_line(axis: _Axis, channels: _Axis) -> bool:
    """Whether the channels of neighbouring samples follow each other, in the patches and in the image."""
    n = channels.grid.size
    steps = (axis.sample_step, channels.sample_step), (axis.step, channels.step)
    return axis.grid.dilation == 1 and all(a == n * c or axis.grid.size == 1 for a, c in steps)


def _joined(axis: _Axis, channels: _Axis) -> _Axis:
    """Both as one axis, as long as an image line with its channels."""
    grid, n = axis.grid, channels.grid.size
    if n == 1:
        return axis
    whole = replace(
        grid, size=grid.size * n, patch=grid.patch * n, scale=grid.scale * n, offset=grid.offset * n
    )
    vector = None if axis.vector is None else np.repeat(axis.vector, n)
    return _Axis(
        whole, axis.patch_step, channels.sample_step, channels.step, axis.profile, vector, channels.taper_step,
        axis.number_step, n,
    )  # fmt: skip


def _closest(axes: Sequence[_Axis], along: int) -> int:
    """The axis whose samples lie closest together, if it has more than a few."""
    able = [k for k, axis in enumerate(axes) if axis.grid.patch > 1]
    if not able:
        return along
    found = min(reversed(able), key=lambda k: axes[k].sample_step)
    few = axes[found].grid.patch < _FEW and axes[along].grid.patch > axes[found].grid.patch
    return along if few else found


def _finish(meeting: Meeting, store: str, dtype: np.dtype[Any], fill: Any) -> Finish:
    start = meeting.accumulator.type(meeting.start)
    bounds = limits_of(store, meeting.accumulator, dtype)
    return Finish(meeting.body, store, start, *bounds, value_in_holes(fill, dtype))


def _make(
    patches: NDArray[Any], view: NDArray[Any], lines: Lines, finish: Finish, fill: Any, limits: Limits
) -> None:  # fmt: skip
    """All lines, in parts for the threads."""
    out, src = flatten(view).memory, flatten(patches).memory
    leads = tabulate_leads(lines)
    weights = strip_weights(lines)
    unneeded = lines.counted or (lines.covered and weights is None)
    n, size = leads.lines, lines.row.grid.size
    width, some, rows = _parts(n, size, patches.size, limits)
    found: list[tuple[int, int]] = []

    def make(part: tuple[int, int]) -> None:
        begin, first = part
        end = min(begin + width, size)
        strips, phases = tabulate_strips(lines, begin, end)
        profile = None if unneeded else lines.row.weight(begin, end)
        row = Row(begin, end - begin, phases, profile, lines.row.step)
        found.append(
            gather(
                out, src, (first, min(first + rows, n)), some, leads, strips, weights, row, finish
            )
        )

    each_in_parallel(make, [(b, f) for b in range(0, size, width) for f in range(0, n, rows)])
    holes, unknown = (sum(numbers) for numbers in zip(*found, strict=True))
    if holes and fill is None:
        refuse_holes(holes, tuple([(0, s) for s in view.shape]))
    if unknown:
        refuse_nan(view.dtype)


def _parts(lines: int, size: int, total: int, limits: Limits) -> tuple[int, int, int]:
    """How many elements of a line, and how many lines, have their sums in cache together, and how many lines a
    thread makes at a time."""
    tall = min(lines, limits.gather_together_rows)
    width = min(size, max(1, limits.gather_elements // tall))
    some = max(1, min(lines, limits.gather_elements // width))
    parts = -(-total // (limits.gather_leaf_elements * -(-size // width)))
    parts = min(parts, max(-(-lines // some), cores()))
    rows = max(1, -(-lines // parts))
    return width, min(some, rows), rows


def tabulate_leads(lines: Lines) -> Leads:
    rows, low, high, starts, profile = [], [], [], [], []
    at = begun = 0
    samples = strides_of([axis.grid.patch for axis in lines.leads])
    keys = samples if lines.by_feature else strides_of([a.grid.count for a in lines.leads])
    outer = iter(zip(samples, keys, strict=True))
    product = lines.row.vector is not None
    for axis in lines.leads:
        grid = axis.grid
        each, elements = grid.starts(), np.arange(grid.size)
        low.append(np.searchsorted(each, elements - grid.extent, side="right"))
        high.append(np.searchsorted(each, elements, side="right"))
        starts.append(each)
        profile.append(axis.weight(0, grid.size))
        taper, (leading, key) = 0 if product else axis.taper_step, next(outer)
        numbers = axis.number_step * (lines.patch_weights is not None)
        most = int((high[-1] - low[-1]).max())
        patch_steps = (
            (axis.patch_step, 0, 0, numbers, 0)
            if lines.by_feature
            else (axis.patch_step, 0, numbers, 0, key)
        )
        taper = taper * (lines.taper is not None)
        taper_steps = (taper, 0, key) if lines.by_feature else (0, taper, 0)
        sample_steps = axis.sample_step, leading * product, *taper_steps
        rows.append(
            [grid.size, at, begun, most, grid.dilation, axis.step, *patch_steps, *sample_steps]
        )
        at, begun = at + grid.size, begun + grid.count
    table = np.array(rows, dtype=np.int64).reshape(len(rows), 16)
    columns = [np.concatenate([*a, np.zeros(0, np.int64)]) for a in (low, high, starts)]
    return Leads(table, columns[0], columns[1], columns[2], np.concatenate([*profile, np.zeros(0)]))


def strip_weights(lines: Lines) -> StripWeights | None:
    row, each = lines.row, lines.patch_weights
    taper = row.vector if row.vector is not None else lines.taper
    if taper is None and each is None:
        return None
    leading = np.ones(())
    if row.vector is not None:
        for axis in lines.leads:
            assert axis.vector is not None, "a product has a vector for each axis"
            leading = leading[..., None] * axis.vector
    longest = row.grid.count if lines.by_feature else row.grid.patch
    ones = np.ones(longest)
    if lines.by_feature:
        numbers, along = ones[:1] if taper is None else taper, ones if each is None else each
    else:
        numbers, along = ones[:1] if each is None else each, ones if taper is None else taper
    return StripWeights(np.ascontiguousarray(leading).ravel(), numbers, along)


def tabulate_strips(
    lines: Lines, begin: int, end: int, in_order: bool = False
) -> tuple[Strips, int]:
    """What lies in ``begin`` to ``end`` of a line, strip by strip, and the phases these are kept in."""
    axis, grid = lines.row, lines.row.grid
    number_step = 0 if lines.patch_weights is None else axis.number_step
    taper_step = 0 if lines.taper is None else axis.taper_step
    taper_step = taper_step if axis.vector is None else 1
    if lines.by_feature:
        begins = np.array([0, *lines.breaks], dtype=np.int64)
        lengths = np.diff(np.append(begins, grid.count))
        samples = np.arange(grid.patch)
        i = np.repeat(begins, grid.patch)
        a = np.tile(samples[::-1] if in_order else samples, len(begins))
        places, longest = grid.starts_at(i) + a * grid.dilation, np.repeat(lengths, grid.patch)
        phases, step = grid.gap, axis.patch_step
        numbers, along, next_along = a * taper_step, i * number_step, number_step
    else:
        low, high = grid.reaching(begin, end)
        i, places = np.arange(low, high), grid.starts(low, high)
        longest, phases, step = np.full_like(i, grid.patch), grid.dilation, axis.sample_step
        numbers, along, next_along = i * number_step, np.zeros_like(i), taper_step
    of = i * axis.patch_step + (a * axis.sample_step if lines.by_feature else 0)
    table = clip_strips(
        places - begin, of, longest, numbers, along, end - begin, phases, step, next_along
    )
    return Strips(table, step), phases

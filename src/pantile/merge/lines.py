"""The axes of a merge sorted out, and the tables that `kernels.gather` and `kernels.finish` go by.

Which axis lines go along, where patches, samples and weights lie from there, wherever they are in
memory: worked out once for a merge (`arrange`, `tabulate_leads`, `strip_weights`), and once for each
part of it that a thread makes (`tabulate_strips`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import AxisGrid
from ..geometry.arrays import strides_of
from ..geometry.frame import Frame
from ..geometry.limits import Limits
from ..kernels.finish import LineTable, place_lines
from ..kernels.gather import Leads, Strips, StripWeights, clip_strips
from ..kernels.memory import flatten
from ..kernels.parallel import cores
from .reduction import Meeting
from .weights import Profile

__all__ = [
    "Lines",
    "arrange",
    "parts_of",
    "place_rows",
    "share_lines",
    "strip_weights",
    "tabulate_leads",
    "tabulate_strips",
    "weigh_leads",
]

Vector = NDArray[np.int64]
Numbers = NDArray[np.float64]

_FEW = 16  # samples that are too few for a line, where another axis has more


@dataclass(frozen=True)
class _Axis:
    """An axis of the image, and how far the next one is: of patches, of samples, of the image's elements."""

    grid: AxisGrid
    patch_step: int
    sample_step: int
    step: int
    profile: Profile
    vector: Numbers | None = None  # the taper along it, where it is a product
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

    def owner_strips(self, by: str, begin: int, end: int, limits: Limits) -> Strips:
        """The same as runs of elements: where each begins, where its owner holds it, and how many there are.

        Patches far apart are asked for what they own, which takes no number per element; at small steps, elements are
        asked for their owners.
        """
        axis, n, step = self.profile.axis, self.channels, self.sample_step
        if _is_cut_up(axis) and self.patch_step == axis.patch * n * step:
            return Strips(np.array([[begin, begin * step, end - begin]]), step)
        if axis.dilation > 1 or axis.count * limits.long_line_elements > axis.size:
            return _even_strips(self.owned(by, begin, end), begin, (step, self.patch_step))
        low, high = axis.reaching(begin // n, -(-end // n))
        first, last = axis.owned(by, low, high)
        starts = axis.starts(low, high)
        table = np.stack([(starts + first) * n, (starts + last) * n, first], axis=1)
        table[:, 2] = np.arange(low, high) * self.patch_step + first * (step * n)
        return _tile_strips(table, begin, end, step)


@dataclass(frozen=True)
class Lines:
    """The axes sorted out: the one that lines go along, and those that lead to it."""

    row: _Axis
    leads: tuple[_Axis, ...]
    by_feature: bool  # strips are runs of patches, not samples of one
    breaks: Sequence[int]
    counted: bool  # weights are added up, for they are no product
    covered: bool  # every element has a value, which is not divided
    taper: (
        Numbers | None
    )  # where it is no product: of all samples, those of a line behind each other
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
    number_steps = strides_of(frame.counts)
    axes = [
        _Axis(*each)
        for each in zip(
            frame.axes, of[:n], samples, into, profiles, vectors, number_steps, strict=True
        )
    ]  # fmt: skip
    along, breaks, by_feature = frame.along, frame.all_breaks, _runs_lie_closer(axes, frame.along)
    channel = frame.channel
    if channel is not None and channel == along + 1 and _one_line(axes[along], axes[channel]):
        axes[along] = _joined(axes[along], axes.pop(channel))
    row = along if by_feature or in_order else _closest(axes, along)
    leads = tuple([axis for k, axis in enumerate(axes) if k != row])
    taper = None if meeting.vectors is not None else meeting.taper
    if taper is not None:
        weights = taper.reshape([axis.grid.patch for axis in axes])
        taper = np.ascontiguousarray(np.moveaxis(weights, row, -1)).reshape(-1)
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
        whole, axis.patch_step, channels.sample_step, channels.step, axis.profile, vector,
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


def tabulate_leads(lines: Lines) -> Leads:
    """The leading axes as `find_bases` takes them."""
    rows, low, high, starts = [], [], [], []
    at = begun = 0
    for axis, steps in zip(lines.leads, _lead_steps(lines), strict=True):
        grid = axis.grid
        each, elements = grid.starts(), np.arange(grid.size)
        low.append(np.searchsorted(each, elements - grid.extent, side="right"))
        high.append(np.searchsorted(each, elements, side="right"))
        starts.append(each)
        most = int((high[-1] - low[-1]).max())
        rows.append([grid.size, at, begun, most, grid.dilation, *steps])
        at, begun = at + grid.size, begun + grid.count
    table = np.array(rows, dtype=np.int64).reshape(len(rows), 15)
    return Leads(table, *[_concatenated(each) for each in (low, high, starts)])


def _lead_steps(lines: Lines) -> Iterator[tuple[int, ...]]:
    """How far the next patch, and the next sample, of each leading axis is: see `Leads`."""
    by_feature, product = lines.by_feature, lines.row.vector is not None
    tapered, each = lines.taper is not None and not product, lines.patch_weights is not None
    samples, length = strides_of([axis.grid.patch for axis in lines.leads]), lines.row.grid.patch
    keys = samples if by_feature else strides_of([axis.grid.count for axis in lines.leads])
    for axis, leading, key in zip(lines.leads, samples, keys, strict=True):
        taper, number, lead = leading * length * tapered, axis.number_step * each, leading * product
        if by_feature:
            patch, sample = (0, 0, number, 0), (lead, taper, 0, key)
        else:
            patch, sample = (0, number, 0, key), (lead, 0, taper, 0)
        yield (axis.patch_step, *patch, axis.sample_step, *sample)


def weigh_leads(lines: Lines) -> tuple[Vector, Numbers]:
    """The leading axes as `place_lines` takes them, and what elements weigh along each."""
    sizes = [axis.grid.size for axis in lines.leads]
    begins = np.cumsum([0, *sizes])[:-1]
    rows = [(n, a.step, 0, 0, b) for n, a, b in zip(sizes, lines.leads, begins, strict=True)]
    weights = [axis.weight(0, axis.grid.size) for axis in lines.leads]
    return np.array(rows, dtype=np.int64).reshape(len(rows), 5), _concatenated(weights)


def place_rows(
    span: tuple[int, int], leads: tuple[Vector, Numbers], begin: int, some: int, width: int
) -> LineTable:
    """Where lines lie, from element ``begin`` of each on in the image, and in rows of ``width``, ``some`` at a time;
    ``leads`` are those of `weigh_leads`."""
    table = place_lines(span, *leads)
    table.places[:, 0] += begin
    table.places[:, 1:] = (np.arange(len(table.leads)) % some * width)[:, None]
    return table


def _concatenated(vectors: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(vectors) if vectors else np.zeros(0, dtype=np.int64)


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
    taper_step = int(lines.taper is not None or axis.vector is not None)
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


def share_lines(
    n: int, size: int, most: int, tall: int, total: int, limits: Limits
) -> tuple[int, int, int]:
    """Of ``n`` lines of ``size`` elements: how much of a line, and of how many lines, is at most ``most`` elements, of
    ``tall`` lines if it can be; and how many a thread makes at a time, where the patches hold ``total`` elements."""
    width = min(size, max(1, most // min(n, tall)))
    some = max(1, min(n, most // width))
    parts = -(-total // (limits.gather_leaf_elements * -(-size // width)))
    parts = min(parts, max(-(-n // some), cores()))
    rows = max(1, -(-n // parts))
    return width, min(some, rows), rows


def parts_of(size: int, width: int, n: int, rows: int) -> list[tuple[int, int]]:
    """Where the parts of ``n`` lines of ``size`` elements begin: along the line, and among lines."""
    return [(begin, first) for begin in range(0, size, width) for first in range(0, n, rows)]


def _is_cut_up(axis: AxisGrid) -> bool:
    """Whether patches lie side by side, from the first element to the last."""
    whole = axis.count * axis.patch == axis.size and axis.dilation == 1
    return whole and axis.regular and axis.step == axis.patch and int(axis.starts(0, 1)[0]) == 0


def _tile_strips(owned: Vector, begin: int, end: int, step: int) -> Strips:
    """Intervals of elements, each with where its first one is held, as strips from ``begin`` to ``end`` without gaps:
    what follows on its neighbour is one strip with it, what nobody owns is held at -1."""
    first, behind, held = (column[owned[:, 0] < owned[:, 1]] for column in owned.T)
    late = np.maximum(begin - first, 0)
    first, behind, held = first + late, np.minimum(behind, end), held + late * step
    first, behind, held = (each[first < behind] for each in (first, behind, held))
    gaps = np.append(first, end) - np.append(begin, behind)
    follows = (gaps[1:-1] == 0) & (held[1:] == held[:-1] + (first[1:] - first[:-1]) * step)
    starts = np.append(True, ~follows)[: len(first)]
    rows = np.stack([first[starts], held[starts]], axis=1)
    holes = np.stack([np.append(begin, behind), np.full(len(gaps), -1)], axis=1)[gaps > 0]
    rows = np.concatenate([rows, holes])
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    lengths = np.diff(np.append(rows[:, 0], end))
    return Strips(np.column_stack([rows, lengths]), step)


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
    return Strips(np.ascontiguousarray(table, dtype=np.int64), steps[best])

"""Merging patches that are all there: the image is made some lines at a time, by one thread each, and written once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.limits import Limits
from ..geometry.rect import whole
from ..kernels.finish import Divisor, Finish, LineTable, Row, finish
from ..kernels.gather import (
    OWNERS,
    find_bases,
    gather,
    gather_owners,
    gather_weighted,
)
from ..kernels.memory import as_bits, flatten, has_item_strides, is_native
from ..kernels.parallel import each_in_parallel
from .casts import refuse_holes, refuse_nan
from .compiled import CompiledMerge
from .finishing import finish_of
from .lines import (
    Lines,
    arrange,
    parts_of,
    place_rows,
    share_lines,
    strip_weights,
    tabulate_leads,
    tabulate_strips,
    weigh_leads,
)
from .reduction import Meeting

__all__ = ["gather_patches"]

Vector = NDArray[np.int64]
Numbers = NDArray[np.float64]
Span = tuple[int, int]

_GATHERED = (
    "fdFDBHhi"  # the dtypes of images; each takes a second to compile, others have the way of tiles
)


def gather_patches(
    patches: NDArray[Any],
    merged: CompiledMerge,
    views: Sequence[NDArray[Any]],
    patch_weights: Numbers | None,
    limits: Limits,
) -> bool:
    """Merge patches ``(*counts, *patch)`` into ``views`` by gathering; False, with nothing done, where
    that is not possible or does not pay."""
    meeting, view, how = merged.reduction.meeting(), views[0], None
    if meeting is None or not all(map(has_item_strides, (patches, view))):
        return False
    if meeting.body in OWNERS:
        if not _copied(patches.dtype, view.dtype):
            return False
    elif (how := _finish_of(patches.dtype, merged, meeting)) is None:
        return False
    lines = arrange(patches, merged.frame, view, meeting, patch_weights)
    if lines.row.grid.size < limits.gather_least_elements < view.size:
        return False
    if how is None:
        _own(patches, view, lines, meeting.body, merged.fills[0], limits)
        return True
    holes, unknown = _add(patches, view, lines, meeting, how, limits)
    if holes and not merged.fillable:
        refuse_holes(holes, whole(view.shape))
    if unknown:
        refuse_nan(view.dtype)
    return True


def _copied(dtype: np.dtype[Any], result: np.dtype[Any]) -> bool:
    """Whether a loop copies values of ``dtype`` to ``result``: as bits, or in the few ways that keep each value."""
    if dtype == result:
        return as_bits(result) is not None
    known = dtype.isnative and dtype.char in _GATHERED and is_native(result)
    wide = result.kind in "fiu" and result.itemsize == 8
    return known and wide and np.can_cast(dtype, result, "safe")


def _finish_of(dtype: np.dtype[Any], merged: CompiledMerge, meeting: Meeting) -> Finish | None:
    """How sums of patches of ``dtype`` become values; None where no loop adds them up, or none makes values of them."""
    if not (dtype.isnative and dtype.char in _GATHERED and is_native(merged.dtype)):
        return None
    return finish_of(
        meeting.accumulator,
        meeting.divides,
        dtype,
        merged.dtype,
        merged.reduction.depth,
        merged.fills[0],
    )


def _add(
    patches: NDArray[Any], view: NDArray[Any], lines: Lines, meeting: Meeting, how: Finish, limits: Limits
) -> Span:  # fmt: skip
    """All lines by sums; returns how many elements have no value, and how many are NaN where they cannot be."""
    out, src = flatten(view).memory, flatten(patches).memory
    leads, weights = tabulate_leads(lines), strip_weights(lines)
    axes = weigh_leads(lines)
    n, size = leads.lines, lines.row.grid.size
    width, some, rows = share_lines(
        n, size, limits.gather_elements, limits.gather_together_rows, patches.size, limits
    )
    found: list[Span] = []

    def make(part: Span) -> None:
        begin, first = part
        end, last = min(begin + width, size), min(first + rows, n)
        strips, phases = tabulate_strips(lines, begin, end)
        row = Row(end - begin, phases, lines.row.step)
        wide = row.width
        sums = np.empty(some * wide, meeting.accumulator)
        weight_sums = np.empty(len(sums) * lines.counted)
        divisor = _divisor(lines, begin, row, weight_sums)
        table = place_rows((first, last), axes, begin * row.step, some, wide)
        for one in range(first, last, some):
            two = min(one + some, last)
            sums[:], weight_sums[:] = meeting.start, 0
            bases = find_bases((one, two), leads)
            if weights is None:
                gather(sums, wide, src, bases, strips, meeting.body)
            else:
                gather_weighted(sums, weight_sums, wide, src, bases, strips, weights)
            here = LineTable(table.places[one - first :], table.leads[one - first : two - first])
            found.append(finish(out, sums, divisor, here, row, how))

    each_in_parallel(make, parts_of(size, width, n, rows))
    holes, unknown = zip(*found, strict=True)
    return sum(holes), sum(unknown)


def _divisor(lines: Lines, begin: int, row: Row, weight_sums: Numbers) -> Divisor:
    """What each element of a row weighs; nothing where none can weigh 0 and sums are not divided."""
    if lines.counted:
        return Divisor(weight_sums)
    if lines.covered:
        return Divisor()
    profile = lines.row.weight(begin, begin + row.size)
    by_phase = np.zeros((row.width // row.phases, row.phases))
    by_phase.reshape(-1)[: row.size] = profile
    return Divisor(profile=np.ascontiguousarray(by_phase.T).reshape(-1))


def _own(
    patches: NDArray[Any], view: NDArray[Any], lines: Lines, by: str, fill: Any, limits: Limits
) -> None:
    """Each element from the one patch that owns it: who that is, is a question of each axis by itself."""
    bits = as_bits(view.dtype) if patches.dtype == view.dtype else None
    fill = np.asarray(fill or 0).astype(view.dtype).view(bits or view.dtype)[()]
    out, src = flatten(view, bits).memory, flatten(patches, bits).memory
    places = [axis.owned(by, 0, axis.grid.size) for axis in lines.leads]
    sizes = [len(each) for each in places]
    begins, steps = np.cumsum([0, *sizes])[:-1], [axis.step for axis in lines.leads]
    axes = np.array([sizes, begins, steps], dtype=np.int64).T.copy()
    flat = np.concatenate(places) if places else np.zeros(0, dtype=np.int64)
    n, size = math.prod(sizes), lines.row.grid.size
    line = 0 if lines.by_feature else lines.row.grid.patch
    leaf = limits.copy_leaf(limits.gather_leaf_elements, line)
    width = min(size, leaf)
    rows = max(1, leaf // width)

    def make(part: Span) -> None:
        begin, first = part
        strips = lines.row.owner_strips(by, begin, min(begin + width, size), limits)
        last = min(first + rows, n)
        gather_owners(out, src, (first, last), axes, flat, strips, lines.row.step, fill)

    each_in_parallel(make, parts_of(size, width, n, rows))

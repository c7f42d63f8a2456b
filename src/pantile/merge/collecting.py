"""Merging patches that are all there by collecting: all values of a few lines are held together, and become values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.limits import Limits
from ..geometry.rect import whole
from ..kernels.collect import Kept, collect, find_empty
from ..kernels.finish import Divisor, Finish, Row, finish
from ..kernels.gather import Leads, StripWeights, find_bases
from ..kernels.memory import as_bits, flatten, has_item_strides, is_native
from ..kernels.parallel import each_in_parallel
from .casts import filled, refuse_holes
from .compiled import CompiledMerge
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
from .reduction import Collecting, Meeting, State

__all__ = ["collect_patches"]


def collect_patches(
    patches: NDArray[Any],
    merged: CompiledMerge,
    views: Sequence[NDArray[Any]],
    patch_weights: NDArray[np.float64] | None,
    limits: Limits,
) -> bool:
    """Merge patches ``(*counts, *patch)`` into ``views`` by collecting; False, with nothing done, where that is not
    possible."""
    collecting = merged.reduction.collecting()
    patches = patches.view("u1") if patches.dtype == bool else patches
    moved = all([has_item_strides(a) and as_bits(a.dtype) for a in (patches, *views)])  # noqa: C419
    if collecting is None or not moved or not is_native(patches.dtype):
        return False
    meeting = Meeting("", patches.dtype, taper=collecting.taper)
    lines = [
        arrange(patches, merged.frame, view, meeting, patch_weights, in_order=True)
        for view in views
    ]
    _Collection(patches, merged, tuple(views), collecting, tuple(lines), limits).make()
    return True


@dataclass(frozen=True)
class _Collection:
    """A merge on its way; ``lines`` are the axes of each image, which differ in where elements lie."""

    patches: NDArray[Any]
    merged: CompiledMerge
    views: tuple[NDArray[Any], ...]
    collecting: Collecting
    lines: tuple[Lines, ...]
    limits: Limits

    @cached_property
    def leads(self) -> Leads:
        return tabulate_leads(self.lines[0])

    @cached_property
    def weights(self) -> StripWeights | None:
        return strip_weights(self.lines[0])

    @cached_property
    def source(self) -> NDArray[Any]:
        return flatten(self.patches).memory

    @cached_property
    def targets(self) -> list[tuple[NDArray[Any], tuple[NDArray[Any], NDArray[Any]]]]:
        """The memory of each image, and its leading axes as `place_rows` takes them."""
        return [
            (flatten(view, as_bits(view.dtype)).memory, weigh_leads(lines))
            for view, lines in zip(self.views, self.lines, strict=True)
        ]

    def make(self) -> None:
        """All lines, in parts for the threads."""
        n, size = self.leads.lines, self.lines[0].row.grid.size
        most = self.limits.gather_elements // self.merged.reduction.depth
        width, some, rows = share_lines(n, size, max(1, most), 1, self.patches.size, self.limits)
        missing: list[int] = []
        _ = self.leads, self.weights, self.source, self.targets  # before threads ask for them

        def make(part: tuple[int, int]) -> None:
            begin, first = part
            end, last = min(begin + width, size), min(first + rows, n)
            missing.append(self._part((begin, end), (first, last), some))

        each_in_parallel(make, parts_of(size, width, n, rows))
        if any(missing):
            refuse_holes(sum(missing), whole(self.views[0].shape))

    def _part(self, along: tuple[int, int], lines: tuple[int, int], some: int) -> int:
        """The elements ``along`` of ``lines``, ``some`` at a time; returns how many have no value."""
        begin, end = along
        strips, phases = tabulate_strips(self.lines[0], begin, end, in_order=True)
        row = Row(end - begin, phases)
        width = row.width
        inside = np.tile(_inside(end - begin, phases), some)
        room = self._room(some * width)
        missing = 0
        for first in range(lines[0], lines[1], some):
            last = min(first + some, lines[1])
            n = (last - first) * width
            values, used, weights = room
            kept = _first(values, n), used[:n], None if weights is None else _first(weights, n)
            bases = find_bases((first, last), self.leads, in_order=True)
            collect(kept, self.source, bases.table, width, strips, self.weights)
            empty = find_empty(kept)
            missing += 0 if self.merged.fillable else int(np.count_nonzero(empty & inside[:n]))
            for k, made in enumerate(self._values(kept, empty)):
                self._put(k, made, (first, last), row, begin)
        return missing

    def _put(self, k: int, made: NDArray[Any], span: tuple[int, int], row: Row, begin: int) -> None:
        """Write rows of image ``k``, which start at element ``begin`` of lines, where they belong."""
        out, leads = self.targets[k]
        step = self.lines[k].row.step
        table = place_rows(span, leads, begin * step, span[1] - span[0], row.width)
        as_it_is = Finish("value", 0.0, 0.0, out.dtype.type(0))
        finish(out, made.view(out.dtype), Divisor(), table, row._replace(step=step), as_it_is)

    def _room(self, n: int) -> Kept:
        depth = self.merged.reduction.depth
        weights = None if self.weights is None else np.empty((depth, n))
        return np.empty((depth, n), self.patches.dtype), np.empty(n, dtype=np.int64), weights

    def _values(self, kept: Kept, empty: NDArray[np.bool_]) -> State:
        merged = self.merged
        images = self.collecting.become(kept)
        fills = [0 if fill is None else fill for fill in merged.fills]
        each = zip(images, merged.dtypes, fills, strict=True)
        return tuple([filled(image, dtype, empty, fill, ()) for image, dtype, fill in each])


def _first(room: NDArray[Any], n: int) -> NDArray[Any]:
    """Room for the values of ``n`` elements."""
    return room.reshape(-1)[: len(room) * n].reshape(len(room), n)


def _inside(size: int, phases: int) -> NDArray[np.bool_]:
    """Which elements of a row, kept phase by phase, are there."""
    x = np.arange(phases)[:, None] + np.arange(-(-size // phases)) * phases
    inside: NDArray[np.bool_] = (x < size).ravel()
    return inside

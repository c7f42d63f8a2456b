"""Sums over rows and over features, one axis after the other, without cutting a patch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..geometry import AxisGrid
from ..geometry.tiles import Bounds
from .boxes import Area, areas_of
from .parts import Array
from .table import BLOCK, Table

__all__ = ["area_sums", "column_sums", "near_mean", "row_squares", "shift_of"]

_SOME = 256  # rows whose mean is near enough to the mean of all


def shift_of(table: Table) -> tuple[Any, Array]:
    """A constant near the image's mean, one per channel, to take out before squaring.

    Returns it as something that broadcasts against canonical blocks, and as one number per feature.
    0 where rows are centred or scaled, or the image holds NaN or infinity. Whole numbers for
    integers, so that nothing is rounded.
    """
    frame = table.stack.parts[0].frame
    elements = sum(part.image.size for part in table.stack.parts)
    if table.plain and elements > table.n_rows * table.features > 0:
        return near_mean(table)  # patches far apart: most of the image is in none
    shape = [1] * len(frame.axes)
    if frame.channel is not None:
        shape[frame.channel] = frame.axes[frame.channel].size
    total: Array = np.zeros(shape, table.work)
    for part in table.stack.parts if table.plain else ():
        others = tuple(k for k in range(len(shape)) if k != part.frame.channel)
        total += part.image.sum(axis=others, dtype=table.work, keepdims=True)
    size = sum(part.image.size for part in table.stack.parts) / math.prod(shape)
    shift = np.rint(total / size) if table.stack.dtype.kind in "biu" else total / size
    if not np.isfinite(shift).all():
        return near_mean(table)
    return shift, np.broadcast_to(shift, frame.patch).ravel()


def near_mean(table: Table) -> tuple[Any, Array]:
    """The mean of some rows, one number per channel; whole numbers for integers. 0 where it is not finite."""
    frame = table.stack.parts[0].frame
    at = np.unique(np.linspace(0, max(table.n_rows - 1, 0), _SOME).astype(np.int64))[: table.n_rows]
    rows = table.taken(at).astype(table.work).reshape(len(at), *frame.patch)
    others = tuple(k for k in range(rows.ndim) if k - 1 != frame.channel or k == 0)
    mean = rows.mean(axis=others, keepdims=True)[0] if len(at) else np.zeros((1,) * (rows.ndim - 1))
    mean = np.rint(mean) if table.stack.dtype.kind in "biu" else mean
    mean = mean if np.isfinite(mean).all() else np.zeros_like(mean)
    return mean, np.broadcast_to(mean, frame.patch).ravel()


def column_sums(table: Table, shift: Any, squares: bool = False) -> tuple[Array, Array]:
    """Sums of ``y`` and of ``|y|**2`` over all rows, per feature, for ``y = x - shift``.

    Where the selection has gaps, or rows are centred or scaled, it is streamed; and where something
    is not finite, which weights of 0 would spread over all features, from elements in no patch too.
    """
    areas = areas_of(table) if table.plain else []
    if areas:
        found = area_sums(areas, shift, table.work, squares)
        if all(np.isfinite(part).all() for part in found):
            return found
    return _streamed(table, shift)


def area_sums(
    areas: list[Area], shift: Any, dtype: Any, squares: bool = False
) -> tuple[Array, Array]:
    """The same over the rows of some areas."""
    found = [_area_sums(area, shift, dtype, squares) for area in areas]
    return np.sum([s for s, _ in found], axis=0), np.sum([q for _, q in found], axis=0)


def _streamed(table: Table, shift: Any) -> tuple[Array, Array]:
    features = np.broadcast_to(shift, table.stack.parts[0].frame.patch).reshape(-1, 1)
    total = np.zeros(table.features, table.work)
    squares = np.zeros(table.features)
    for _, columns in table.blocks(BLOCK, table.work):
        columns -= features
        total += columns.sum(axis=1)
        squares += np.einsum("ij,ij->i", columns, columns.conj()).real
    return total, squares


def _area_sums(area: Area, shift: Any, dtype: Any, squares: bool) -> tuple[Array, Array]:
    """Sums of an area as products with one matrix per axis, bands of the image at a time."""
    axes = area.part.frame.axes
    weights = [_touched(axis, *r) for axis, r in zip(axes, area.ranges, strict=True)]
    total = np.zeros([axis.patch for axis in axes], dtype)
    square = np.zeros(total.shape)
    for k, bounds in _bands(axes, area.ranges):
        values = np.subtract(area.part.read(bounds), shift, dtype=dtype)
        first = axes[k].start(area.ranges[k][0])
        here = list(weights)
        here[k] = weights[k][:, bounds[k][0] - first : bounds[k][1] - first]
        total += _contracted(values, here)
        if squares:
            square += _contracted((values * values.conj()).real, here)
    return total.ravel(), square.ravel()


def _contracted(values: Array, weights: list[Array]) -> Array:
    values = values @ weights[-1].T
    for k, matrix in reversed(list(enumerate(weights[:-1]))):
        values = np.moveaxis(np.tensordot(matrix, values, (1, k)), 0, k)
    return values


def _touched(axis: AxisGrid, begin: int, end: int) -> Array:
    """How often sample ``a`` of a patch falls on each element, ``(patch, span)``."""
    starts = axis.starts(begin, end) - axis.start(begin)
    counts = np.zeros((axis.patch, int(starts[-1]) + axis.extent))
    for a in range(axis.patch):
        counts[a, starts + a * axis.dilation] = 1
    return counts


def _bands(axes: tuple[AxisGrid, ...], ranges: Bounds) -> Iterator[tuple[int, Bounds]]:
    """The elements of an area in bands across its longest axis."""
    spans = [
        (a.start(b), a.start(e - 1) + a.extent) for a, (b, e) in zip(axes, ranges, strict=True)
    ]
    sizes = [end - begin for begin, end in spans]
    k = int(np.argmax(sizes))
    thick = max(1, BLOCK // (8 * math.prod(sizes) // sizes[k]))
    for begin in range(*spans[k], thick):
        yield k, (*spans[:k], (begin, min(begin + thick, spans[k][1])), *spans[k + 1 :])


def row_squares(table: Table, shift: Any = 0) -> Array | None:
    """Sum of ``|x - shift|**2`` of each row, None where the selection has gaps.

    Windows one axis after the other; ``shift`` is as `shift_of` gives it first.
    """
    areas = areas_of(table) if table.plain else []
    if not areas:
        return None
    out = np.empty(table.n_rows)
    for area in areas:
        target = out[area.begin : area.begin + area.n_rows].reshape(area.counts)
        longest = int(np.argmax(area.counts))
        halo = math.prod(
            a.longest_gap * n + a.extent
            for a, n in zip(area.part.frame.axes, area.counts, strict=True)
        )
        thick = max(1, 4 * BLOCK // 8 * area.counts[longest] // halo)
        for begin in range(0, area.counts[longest], thick):
            part = slice(begin, begin + thick)
            ranges = list(area.ranges)
            origin = ranges[longest][0]
            ranges[longest] = (origin + begin, min(origin + begin + thick, ranges[longest][1]))
            target[(*[slice(None)] * longest, part)] = _windows(area, tuple(ranges), shift)
    return out


def _windows(area: Area, ranges: Bounds, shift: Any) -> Array:
    axes = area.part.frame.axes
    bounds = tuple(
        (a.start(b), a.start(e - 1) + a.extent) for a, (b, e) in zip(axes, ranges, strict=True)
    )
    values = area.part.read(bounds)
    values = np.subtract(values, shift, dtype=np.result_type(values.dtype, np.float64))
    sums: Array = np.square(values.real)
    if values.dtype.kind == "c":
        sums += np.square(values.imag)
    for k, (axis, (begin, end)) in enumerate(zip(axes, ranges, strict=True)):
        starts = axis.starts(begin, end) - axis.start(begin)
        sums = _moving_sum(sums, axis.patch, axis.dilation, k)
        if len(starts) < sums.shape[k]:
            sums = sums.take(starts, axis=k)
    return sums


def _moving_sum(values: Array, patch: int, dilation: int, axis: int) -> Array:
    """Sums of ``patch`` elements, by sums of 1, 2, 4, ... of them: no difference, so no cancellation."""
    n = values.shape[axis] - (patch - 1) * dilation
    before = (slice(None),) * axis
    total: Any = 0
    done, width, power = 0, 1, values
    while done < patch:
        if (patch - done) & width:
            total = total + power[(*before, slice(done * dilation, done * dilation + n))]
            done += width
        if done < patch:
            power = (
                power[(*before, slice(None, -width * dilation))]
                + power[(*before, slice(width * dilation, None))]
            )
            width *= 2
    return np.asarray(total)

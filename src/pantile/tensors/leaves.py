"""Cutting and merging for any library of arrays, one axis at a time: gather, overlap-add, division.

A grid is a product of axes, so cutting is to gather along one axis after the other, and merging, its
adjoint, to add along one axis after the other. Along an axis, sample ``a`` of every patch is one
strided slice, and no two of its elements meet: a merge is ``patch`` shifted dense adds per axis, in
a fixed order, without atomics, and after the first axis the array is ``patch`` times smaller.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import AxisGrid
from ..geometry.boundary import MAPPED_MODES, mapped
from ..geometry.rect import whole
from ..geometry.tensors import library_of
from ..merge.casts import refuse_holes
from .linear import Linear
from .namespaces import (
    constant,
    convert,
    dtype_name,
    float_name,
    is_float,
    put,
    working_name,
    zeros,
)

__all__ = [
    "add",
    "cast",
    "cut",
    "divide",
    "fill_holes",
    "join",
    "merged",
    "move",
    "padded",
    "times_taper",
    "weight_of_rows",
]

Tensor = Any
Combine = Callable[[Any, Any], Any]
_MOST_STRETCHES = 3  # of even starts along an axis, that are added slice by slice


def move(xp: Any, array: Tensor, source: int, target: int) -> Tensor:
    """``array`` with an axis moved, a view where the library has views."""
    order = [k for k in range(array.ndim) if k != source]
    order.insert(target, source)
    return array if order == list(range(array.ndim)) else xp.permute_dims(array, tuple(order))


# gather


def cut(xp: Any, image: Tensor, linear: Linear, rows: NDArray[np.int64] | None = None) -> Tensor:
    """All patches of canonical images, ``(*batch, *counts, *patch)``, or chosen ones, ``(*batch, n, *patch)``."""
    if rows is not None:
        return _cut_rows(xp, image, linear, rows)
    return cut_axes(xp, image, linear.grid.axis_grids, linear.channel, linear.grid)


def cut_axes(
    xp: Any, image: Tensor, axes: Sequence[AxisGrid], channel: int | None, grid: Any
) -> Tensor:
    """Patches along ``axes``; ``grid`` says what lies outside the image."""
    n_batch = image.ndim - len(axes) - (channel is not None)
    for k, axis in enumerate(axes):
        at = n_batch + beside(k, channel) + k  # counts of those before it have come
        image = _gather(xp, image, n_batch + k, at, axis, grid)
    return image


def beside(k: int, channel: int | None) -> int:
    """Where the ``k``-th patched axis stands among the axes of a patch."""
    return k + (channel is not None and k >= channel)


def _gather(xp: Any, array: Tensor, count: int, at: int, axis: AxisGrid, grid: Any) -> Tensor:
    """Axis ``at`` cut into patches: how many there are becomes axis ``count``, their samples stay there."""
    if library_of(array) == "jax" and axis.regular:  # the transpose of slices is no scatter
        samples = [_slice(array, at, *_strided(axis, a)) for a in range(axis.patch)]
        stacked = xp.stack(samples, axis=at + 1)
    else:
        table = axis.starts()[:, None] + np.arange(axis.patch) * axis.dilation
        array, table = _within(xp, array, at, table.ravel(), axis.size, grid)
        taken = xp.take(array, constant(xp, table, array), axis=at)
        shape = (*taken.shape[:at], axis.count, axis.patch, *taken.shape[at + 1 :])
        stacked = xp.reshape(taken, shape)
    return move(xp, stacked, at, count)


def _strided(axis: AxisGrid, a: int) -> tuple[int, int, int]:
    begin = axis.start(0) + a * axis.dilation
    return begin, begin + (axis.count - 1) * axis.gap + 1, axis.gap


def _slice(array: Tensor, axis: int, begin: int, end: int, step: int) -> Tensor:
    place = [slice(None)] * array.ndim
    place[axis] = slice(begin, end, step)
    return array[tuple(place)]


def _within(
    xp: Any, array: Tensor, at: int, table: NDArray[np.int64], size: int, grid: Any
) -> tuple[Tensor, NDArray[np.int64]]:
    """Positions along an axis as elements that are there, with one more that holds the padding where needed."""
    outside = (table < 0) | (table >= size)
    if not outside.any():
        return array, table
    if grid.pad_mode in MAPPED_MODES:
        return array, mapped(table, size, grid.pad_mode)
    shape = (*array.shape[:at], 1, *array.shape[at + 1 :])
    value = None if grid.pad_value == 0 else grid.pad_value
    array = xp.concat([array, zeros(xp, shape, array, value)], axis=at)
    return array, np.where(outside, size, table)


def padded(xp: Any, image: Tensor, linear: Linear) -> Tensor:
    """Canonical images with what lies around them, for modes that repeat the image."""
    n_batch = image.ndim - linear.n_axes
    for k, ((before, after), n) in enumerate(
        zip(linear.grid.margins, linear.grid.shape, strict=True)
    ):
        if before or after:
            table = mapped(np.arange(-before, n + after), n, linear.grid.pad_mode)
            image = xp.take(image, constant(xp, table, image), axis=n_batch + linear.axis(k))
    return image


def _cut_rows(xp: Any, image: Tensor, linear: Linear, rows: NDArray[np.int64]) -> Tensor:
    n_batch, grid = image.ndim - linear.n_axes, linear.grid
    flat, image = _flat_image(xp, image, linear)
    samples, nowhere = linear.samples(rows)
    if (samples == nowhere).any():
        value = None if grid.pad_value == 0 else grid.pad_value
        more = zeros(xp, (*flat.shape[:-1], 1), flat, value)
        flat = xp.concat([flat, more], axis=flat.ndim - 1)
    taken = xp.take(flat, constant(xp, samples.ravel(), flat), axis=flat.ndim - 1)
    shaped = xp.reshape(taken, (*flat.shape[:-1], len(rows), *grid.patch))
    if linear.channel is None:
        return shaped
    shaped = move(xp, shaped, n_batch, n_batch + 1)  # from behind the number of patches
    return move(xp, shaped, n_batch + 1, n_batch + 1 + linear.channel)


def _flat_image(xp: Any, image: Tensor, linear: Linear) -> tuple[Tensor, Tensor]:
    """Images with channels first and their patched axes as one."""
    n_batch = image.ndim - linear.n_axes
    if linear.channel is not None:
        image = move(xp, image, n_batch + linear.channel, n_batch)
    first = image.ndim - linear.grid.ndim
    return xp.reshape(image, (*image.shape[:first], math.prod(linear.grid.shape))), image


# overlap-add


def add(
    xp: Any,
    patches: Tensor,
    linear: Linear,
    rows: NDArray[np.int64] | None = None,
    combine: Combine = operator.add,
    empty: float | None = None,
) -> Tensor:
    """Patches summed where they meet (or combined, from ``empty`` on): the adjoint of `cut`."""
    if rows is not None:
        return _add_rows(xp, patches, linear, rows)
    return add_axes(xp, patches, linear.grid.axis_grids, linear.channel, combine, empty)


def add_axes(
    xp: Any,
    patches: Tensor,
    axes: Sequence[AxisGrid],
    channel: int | None,
    combine: Combine = operator.add,
    empty: float | None = None,
) -> Tensor:
    """Patches merged along ``axes``, one after the other."""
    n = len(axes)
    n_batch = patches.ndim - 2 * n - (channel is not None)
    for k, axis in enumerate(axes):
        at = n_batch + n - k + beside(k, channel)  # counts before it have gone
        patches = _overlap(xp, patches, n_batch, at, axis, combine, empty)
        patches = move(xp, patches, n_batch, at - 1)
    return patches


def _overlap(
    xp: Any, array: Tensor, count: int, at: int, axis: AxisGrid, combine: Combine, empty: Any
) -> Tensor:
    """Axes ``count`` and ``at`` (samples) merged into the axis they were cut from, at ``count``."""
    shape = [n for k, n in enumerate(array.shape) if k != at]
    shape[count] = axis.size
    if library_of(array) == "jax" and combine is operator.add and axis.uniform:
        return _sum_of_pads(xp, array, count, at, axis)
    stretches = _stretches(axis)
    if len(stretches) > _MOST_STRETCHES:
        return _overlap_by_tables(xp, array, count, at, axis, combine, empty)
    out = zeros(xp, tuple(shape), array, empty)
    for a in range(axis.patch):
        samples = _sample(array, at, a)
        for begin, end in stretches:
            for source, goal in _slices(axis, begin, end, a):
                part = _slice(samples, count, *source)
                place = (*[slice(None)] * count, slice(*goal), ...)
                out = put(out, place, part, combine)
    return out


def _stretches(axis: AxisGrid) -> list[tuple[int, int]]:
    """Ranges of patches whose starts are evenly spaced."""
    edges = [0, *axis.breaks(0, axis.count), axis.count]
    cuts = [0]
    for begin in edges[1:-1]:
        cuts += [begin, begin + 1] if begin + 1 < axis.count else [begin]
    return list(itertools.pairwise([*dict.fromkeys(cuts), axis.count]))


def _sum_of_pads(xp: Any, array: Tensor, count: int, at: int, axis: AxisGrid) -> Tensor:
    """The same as sums of whole arrays with zeros between the elements, which JAX makes one loop of."""
    from jax.lax import pad

    zero, total = xp.zeros((), dtype=array.dtype), None
    for a in range(axis.patch):
        first = axis.start(0) + a * axis.dilation
        behind = axis.size - (first + (axis.count - 1) * axis.gap + 1)
        samples = _sample(array, at, a)
        widths = [(0, 0, 0)] * samples.ndim
        widths[count] = (first, behind, axis.gap - 1)
        found = pad(samples, zero, widths)
        total = found if total is None else total + found
    return total


def _sample(array: Tensor, at: int, a: int) -> Tensor:
    return array[(*[slice(None)] * at, a, ...)]


def _slices(
    axis: AxisGrid, begin: int, end: int, a: int
) -> Iterator[tuple[tuple[int, int, int], tuple[int, int, int]]]:
    """Where sample ``a`` of evenly spaced patches comes from and goes to, without what falls into the padding."""
    gap = axis.start(begin + 1) - axis.start(begin) if end - begin > 1 else 1
    first = axis.start(begin) + a * axis.dilation
    low = max(0, -(first // gap))
    high = min(end - begin, (axis.size - 1 - first) // gap + 1)
    if low < high:
        start = first + low * gap
        yield (begin + low, begin + high, 1), (start, start + (high - low - 1) * gap + 1, gap)


def _overlap_by_tables(
    xp: Any, array: Tensor, count: int, at: int, axis: AxisGrid, combine: Combine, empty: Any
) -> Tensor:
    """The same for uneven starts: which patch has its sample ``a`` there, and one that is empty where none has."""
    starts, out = axis.starts(), None
    for a in range(axis.patch):
        goals = starts + a * axis.dilation
        inside = (goals >= 0) & (goals < axis.size)
        table = np.full(axis.size, axis.count)
        table[goals[inside]] = np.flatnonzero(inside)
        samples = _sample(array, at, a)
        one = tuple(1 if k == count else n for k, n in enumerate(samples.shape))
        nothing = zeros(xp, one, samples, empty)
        samples = xp.concat([samples, nothing], axis=count)
        found = xp.take(samples, constant(xp, table, samples), axis=count)
        out = found if out is None else combine(out, found)
    return out


def _add_rows(xp: Any, patches: Tensor, linear: Linear, rows: NDArray[np.int64]) -> Tensor:
    """Chosen patches summed, those that meet one after the other: per round a gather."""
    n_batch, grid = patches.ndim - linear.n_axes - 1, linear.grid
    if linear.channel is not None:
        patches = move(xp, patches, n_batch + 1 + linear.channel, n_batch)
    first = patches.ndim - 1 - grid.ndim
    flat = xp.reshape(patches, (*patches.shape[:first], len(rows) * grid.features))
    flat = xp.concat([flat, zeros(xp, (*flat.shape[:-1], 1), flat)], axis=flat.ndim - 1)
    total = None
    for table in _rounds(*linear.samples(rows, merging=True)):
        found = xp.take(flat, constant(xp, table, flat), axis=flat.ndim - 1)
        total = found if total is None else total + found
    if total is None:
        total = zeros(xp, (*flat.shape[:-1], math.prod(grid.shape)), flat)
    image = xp.reshape(total, (*total.shape[:-1], *grid.shape))
    return image if linear.channel is None else move(xp, image, n_batch, n_batch + linear.channel)


def _rounds(samples: NDArray[np.int64], nowhere: int) -> Iterator[NDArray[np.int64]]:
    """For each round, which sample every element of the image gets: one past the last where none is left."""
    flat = samples.ravel()
    order = np.argsort(flat, kind="stable")
    order = order[flat[order] < nowhere]
    goals = flat[order]
    new = np.flatnonzero(np.diff(goals, prepend=-1))
    rank = np.arange(len(goals)) - np.repeat(new, np.diff(np.append(new, len(goals))))
    for k in range(int(rank.max(initial=-1)) + 1):
        table = np.full(nowhere, len(flat))
        mine = rank == k
        table[goals[mine]] = order[mine]
        yield table


# division and weights


def divide(xp: Any, total: Tensor, divisor: NDArray[np.float64], fill: Any = 0) -> Tensor:
    """``total / divisor``, and ``fill`` where that is 0."""
    holes = divisor == 0
    safe = constant(xp, np.where(holes, 1.0, divisor), total)
    return fill_holes(xp, total / convert(xp, safe, _real(total)), holes, fill)


def fill_holes(xp: Any, image: Tensor, holes: NDArray[np.bool_], fill: Any = 0) -> Tensor:
    """``image`` with ``fill`` where there are holes, which broadcast against it."""
    if not holes.any():
        return image
    shape = np.broadcast_shapes(holes.shape, tuple(image.shape))
    mask = constant(xp, np.broadcast_to(holes, shape), image)
    return xp.where(mask, zeros(xp, tuple(image.shape), image, fill), image)


def _real(array: Tensor) -> str:
    """The dtype of the real part."""
    name = dtype_name(array.dtype)
    return {"complex64": "float32", "complex128": "float64"}.get(name, name)


def times_taper(xp: Any, patches: Tensor, linear: Linear) -> Tensor:
    """Patches times the weights of their samples."""
    if linear.taper is None:
        return patches
    return patches * convert(xp, constant(xp, linear.taper, patches), _real(patches))


def join(
    xp: Any,
    patches: Tensor,
    linear: Linear,
    rows: NDArray[np.int64] | None = None,
    patch_weights: NDArray[np.float64] | None = None,
) -> Tensor:
    """The merge that ``linear`` says, in the dtype that sums run in."""
    name = dtype_name(patches.dtype)
    whole_numbers = patch_weights is None and linear.weights is None
    known = is_float(name) or whole_numbers
    work = convert(xp, patches, working_name(name) if known else float_name(xp))
    weighted = times_taper(xp, work, linear)
    if patch_weights is not None:
        shape = (*patch_weights.shape, *[1] * linear.n_axes)
        each = constant(xp, patch_weights.reshape(shape), weighted)
        weighted = weighted * convert(xp, each, dtype_name(weighted.dtype))
    return add(xp, weighted, linear, rows)


def merged(
    xp: Any,
    patches: Tensor,
    linear: Linear,
    rows: NDArray[np.int64] | None = None,
    patch_weights: NDArray[np.float64] | None = None,
) -> Tensor:
    """The mean or the sum that ``linear`` says; elements without weight are filled or refused."""
    total = join(xp, patches, linear, rows, patch_weights)
    if rows is not None:
        divisor = weight_of_rows(linear, rows, patch_weights)
    elif not linear.mean and linear.frame(()).covers:
        return total
    else:
        divisor = linear.divisor(patch_weights)
    if linear.fill is None and not divisor.all():
        refuse_holes(int((divisor == 0).sum()), whole(linear.grid.shape))
    if not linear.mean:
        return fill_holes(xp, total, divisor == 0, linear.fill or 0)
    if not is_float(dtype_name(total.dtype)):
        total = convert(xp, total, float_name(xp))
    return divide(xp, total, divisor, linear.fill or 0)


def weight_of_rows(
    linear: Linear, rows: NDArray[np.int64], patch_weights: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """The sum of the weights of chosen patches, over images without batch axes."""
    taper = np.ones(linear.grid.patch) if linear.taper is None else linear.taper
    each = np.ones(len(rows)) if patch_weights is None else patch_weights
    samples, nowhere = linear.samples(rows, merging=True)
    values = each[:, None] * taper.reshape(1, -1)
    sums: Any = np.bincount(samples.ravel(), values.ravel(), nowhere + 1)
    found: NDArray[np.float64] = sums[:nowhere]
    shaped = found.reshape(linear.grid.shape)
    return shaped if linear.channel is None else np.expand_dims(shaped, linear.channel)


def cast(xp: Any, values: Tensor, name: str) -> Tensor:
    """``values`` in the dtype of that name: for integers rounded half to even and saturated."""
    if is_float(name) or dtype_name(values.dtype) == name:
        return convert(xp, values, name)
    if name == "bool":
        return xp.round(values) >= 1 if is_float(dtype_name(values.dtype)) else values >= 1
    info = xp.iinfo(getattr(xp, name))
    if not is_float(dtype_name(values.dtype)):
        held = xp.iinfo(values.dtype)
        low, high = max(info.min, held.min), min(info.max, held.max)
        return convert(xp, xp.clip(values, int(low), int(high)), name)
    rounded = xp.round(values)
    found = convert(xp, xp.clip(rounded, float(info.min), float(info.max)), name)
    top, bottom = (zeros(xp, found.shape, found, int(v)) for v in (info.max, info.min))
    found = xp.where(rounded >= float(info.max), top, found)  # the nearest float may be past it
    return xp.where(rounded <= float(info.min), bottom, found)

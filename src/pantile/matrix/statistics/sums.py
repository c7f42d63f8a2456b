"""Sums over rows and over features, one axis after the other, without cutting a patch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...geometry import AxisGrid
from ...geometry.limits import Limits
from ...geometry.rect import Rect
from ...kernels.memory import to_native
from ...kernels.products import sum_image
from ..selection.rectangles import Rectangle
from ..selection.selection import Selection
from ..selection.stack import Array

__all__ = [
    "compute_shift",
    "mean_of_some",
    "sum_all",
    "sum_columns",
    "sum_rectangles",
    "sum_row_squares",
]


def compute_shift(selection: Selection) -> tuple[Any, Array]:
    """A constant near the images' mean, one per channel, to take out before squaring.

    It is returned in two forms: broadcastable against blocks of an image, and as one number per
    feature. It is 0 where rows are centred or scaled, a whole number for integers, so that nothing is
    rounded, and the mean of some rows where patches lie far apart or an image holds NaN or infinity.
    """
    frame = selection.stack.images[0].frame
    elements = sum(image.values.size for image in selection.stack.images)
    if selection.plain and elements > selection.n_rows * selection.features > 0:
        return mean_of_some(selection)  # patches far apart: most of the image is in none
    shape = [1] * len(frame.axes)
    if frame.channel is not None:
        shape[frame.channel] = frame.axes[frame.channel].size
    total: Array = np.zeros(shape, selection.work)
    for image in selection.stack.images if selection.plain else ():
        others = tuple(k for k in range(len(shape)) if k != image.frame.channel)
        total += image.values.sum(axis=others, dtype=selection.work, keepdims=True)
    size = elements / math.prod(shape)
    shift = np.rint(total / size) if selection.stack.dtype.kind in "biu" else total / size
    if not np.isfinite(shift).all():
        return mean_of_some(selection)
    return shift, np.broadcast_to(shift, frame.patch).ravel()


def mean_of_some(selection: Selection) -> tuple[Any, Array]:
    """The mean of some rows, one number per channel.

    It is a whole number for integers, and 0 where it would not be finite.
    """
    frame = selection.stack.images[0].frame
    n, most = selection.n_rows, selection.limits.shift_rows
    at = np.unique(np.linspace(0, max(n - 1, 0), most).astype(np.int64))[:n]
    rows = selection.take(at).astype(selection.work).reshape(len(at), *frame.patch)
    others = tuple(k for k in range(rows.ndim) if k - 1 != frame.channel or k == 0)
    mean = rows.mean(axis=others, keepdims=True)[0] if len(at) else np.zeros((1,) * (rows.ndim - 1))
    mean = np.rint(mean) if selection.stack.dtype.kind in "biu" else mean
    mean = mean if np.isfinite(mean).all() else np.zeros_like(mean)
    return mean, np.broadcast_to(mean, frame.patch).ravel()


def sum_columns(selection: Selection, shift: Any, squares: bool = False) -> tuple[Array, Array]:
    """Sums of ``y`` and (if asked for) of ``|y|**2`` over all rows, per feature, for ``y = x - shift``.

    Where the selection has gaps, or rows are centred or scaled, rows are cut, a block at a time; and where
    something is not finite, which weights of 0 would spread over all features, from elements in no patch too.
    """
    rectangles = selection.rectangles if selection.plain else []
    if rectangles:
        found = sum_rectangles(rectangles, shift, selection.work, selection.limits, squares)
        if all(np.isfinite(part).all() for part in found):
            return found
    return _sum_blocks(selection, shift)


def sum_rectangles(
    rectangles: list[Rectangle], shift: Any, dtype: Any, limits: Limits, squares: bool = False
) -> tuple[Array, Array]:
    """The same over the rows of some rectangles."""
    found = [_sum_rectangle(each, shift, dtype, limits, squares) for each in rectangles]
    return np.sum([s for s, _ in found], axis=0), np.sum([q for _, q in found], axis=0)


def _sum_blocks(selection: Selection, shift: Any) -> tuple[Array, Array]:
    features = np.broadcast_to(shift, selection.stack.images[0].frame.patch).reshape(-1, 1)
    total = np.zeros(selection.features, selection.work)
    squares = np.zeros(selection.features)
    for _, columns in selection.blocks(dtype=selection.work):
        columns -= features
        total += columns.sum(axis=1)
        squares += np.einsum("ij,ij->i", columns, columns.conj()).real
    return total, squares


def _sum_rectangle(
    rectangle: Rectangle, shift: Any, dtype: Any, limits: Limits, squares: bool
) -> tuple[Array, Array]:
    """Sums of a rectangle as products with one matrix per axis, a band of the image at a time."""
    axes = rectangle.image.frame.axes
    longest = int(np.argmax(rectangle.counts))
    total = np.zeros([axis.patch for axis in axes], dtype)
    square = np.zeros(total.shape)
    for _, ranges in _split_ranges(rectangle, longest, limits.row_block_bytes):
        values = rectangle.image.read(_span(axes, ranges))
        values = np.subtract(values, shift, dtype=dtype)
        total += _sum_patches(values, axes, ranges)
        if squares:
            square += _sum_patches((values * values.conj()).real, axes, ranges)
    return total.ravel(), square.ravel()


def _sum_patches(values: Array, axes: tuple[AxisGrid, ...], ranges: Rect) -> Array:
    """The sum of the patches of ``ranges``, from the elements they reach over: one axis after the other."""
    for k, (axis, (begin, end)) in enumerate(zip(axes, ranges, strict=True)):
        starts = axis.starts(begin, end) - axis.start(begin)
        others = values.size // values.shape[k]
        dense = axis.patch * values.shape[k] * (_DENSE + others * _MULTIPLY)
        if len(starts) * axis.patch * others * _ADD < dense:
            values = _sum_shifted(values, k, axis, starts)
        else:
            hits = np.zeros((axis.patch, values.shape[k]))
            for a in range(axis.patch):
                hits[a, starts + a * axis.dilation] = 1
            values = np.moveaxis(np.tensordot(hits, values, (1, k)), 0, k)
    return values


# seconds to make an element of a matrix of zeros and ones, to multiply by it, and to add an element
_DENSE, _MULTIPLY, _ADD = 2e-9, 6e-11, 5e-10


def _sum_shifted(values: Array, k: int, axis: AxisGrid, starts: Array) -> Array:
    """Sums over the patches along axis ``k``, a view of them where they are evenly apart."""
    gaps = np.diff(starts)
    even = len(starts) if (gaps == gaps[:1]).all() else int(np.argmax(gaps != gaps[0])) + 1
    windows = np.lib.stride_tricks.sliding_window_view(values, axis.extent, axis=k)
    at: list[slice | int] = [slice(None)] * windows.ndim
    at[-1] = slice(None, None, axis.dilation)
    at[k] = slice(int(starts[0]), int(starts[even - 1]) + 1, int(gaps[0]) if even > 1 else 1)
    total = windows[tuple(at)].sum(axis=k)
    for start in starts[even:].tolist():
        at[k] = start
        total += windows[tuple(at)]
    return np.moveaxis(total, -1, k)


def sum_all(selection: Selection) -> Any:
    """The sum over all rows and features, each element counted as often as patches cover it; None where the
    selection has gaps, or something is not finite."""
    rectangles = selection.rectangles if selection.plain else []
    if not rectangles:
        return None
    total = selection.work.type(0)
    for rectangle in rectangles:
        axes = rectangle.image.frame.axes
        longest = int(np.argmax(rectangle.counts))
        for _, ranges in _split_ranges(rectangle, longest, selection.limits.row_block_bytes):
            values = to_native(rectangle.image.read(_span(axes, ranges)))
            total += sum_image(values, list(map(_count_patches, axes, ranges)))
    return total if np.isfinite(total) else None


def _count_patches(axis: AxisGrid, bounds: tuple[int, int]) -> Array:
    """How many of the patches ``bounds`` cover each element that they reach over."""
    starts = axis.starts(*bounds) - axis.start(bounds[0])
    n = int(starts[-1]) + axis.extent
    if axis.dilation == 1:  # one more from each start on, one less behind each end
        steps = np.bincount(starts, minlength=n + 1) - np.bincount(
            starts + axis.patch, minlength=n + 1
        )
        return np.cumsum(steps[:n]).astype(np.float64)
    counts = np.zeros(n)
    for a in range(axis.patch):
        counts[starts + a * axis.dilation] += 1
    return counts


def _span(axes: tuple[AxisGrid, ...], ranges: Rect) -> Rect:
    """The elements that patches ``ranges`` reach over."""
    rows = zip(axes, ranges, strict=True)
    return tuple((axis.start(b), axis.start(e - 1) + axis.extent) for axis, (b, e) in rows)


def sum_row_squares(selection: Selection, shift: Any = 0) -> Array | None:
    """Sum of ``|x - shift|**2`` of each row; None where the selection has gaps.

    Sums of windows, one axis after the other. ``shift`` is what `compute_shift` gives first.
    """

    def square(values: Array) -> Array:
        values = np.subtract(values, shift, dtype=np.result_type(values.dtype, np.float64))
        sums: Array = np.square(values.real)
        if values.dtype.kind == "c":
            sums += np.square(values.imag)
        return sums

    return _sum_each(selection, square, np.dtype(np.float64))


def sum_each_row(selection: Selection) -> Array | None:
    """The sum of each row; None where the selection has gaps."""
    dtype = selection.work
    return _sum_each(selection, lambda values: values.astype(dtype, copy=False), dtype)


def _sum_each(
    selection: Selection, function: Callable[[Array], Array], dtype: np.dtype[Any]
) -> Array | None:
    """The sum over each row of ``function`` of its elements, which is called on parts of the image."""
    rectangles = selection.rectangles if selection.plain else []
    if not rectangles:
        return None
    out = np.empty(selection.n_rows, dtype)
    for rectangle in rectangles:
        target, axes = out[rectangle.rows].reshape(rectangle.counts), rectangle.image.frame.axes
        longest = int(np.argmax(rectangle.counts))
        for part, ranges in _split_ranges(rectangle, longest, selection.limits.row_block_bytes):
            values = function(rectangle.image.read(_span(axes, ranges)))
            target[(*[slice(None)] * longest, part)] = _sum_windows(values, axes, ranges)
    return out


def _split_ranges(rectangle: Rectangle, longest: int, nbytes: int) -> Iterator[tuple[slice, Rect]]:
    """Some patches along the longest axis at a time: which of them, and their ranges on all axes."""
    rows = zip(rectangle.image.frame.axes, rectangle.counts, strict=True)
    reach = math.prod(axis.longest_gap * n + axis.extent for axis, n in rows)
    count = rectangle.counts[longest]
    thick = max(1, 4 * nbytes // 8 * count // reach)
    for begin in range(0, count, thick):
        ranges = list(rectangle.ranges)
        origin = ranges[longest][0]
        ranges[longest] = (origin + begin, min(origin + begin + thick, ranges[longest][1]))
        yield slice(begin, begin + thick), tuple(ranges)


def _sum_windows(sums: Array, axes: tuple[AxisGrid, ...], ranges: Rect) -> Array:
    """Sums over each patch of ``ranges``, of what they reach over."""
    for k, (axis, (begin, end)) in enumerate(zip(axes, ranges, strict=True)):
        starts = axis.starts(begin, end) - axis.start(begin)
        sums = _sum_moving(sums, axis.patch, axis.dilation, k)
        if len(starts) < sums.shape[k]:
            sums = sums.take(starts, axis=k)
    return sums


def _sum_moving(values: Array, patch: int, dilation: int, axis: int) -> Array:
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

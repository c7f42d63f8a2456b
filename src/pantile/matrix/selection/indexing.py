"""What ``X[...]`` gives: a smaller lazy matrix for slices of rows, arrays for everything else."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...geometry.arrays import to_array
from ..guard import check_fits
from .rectangles import Rectangle
from .selection import Selection
from .stack import Array

__all__ = ["INSTEAD", "as_index", "take"]

INSTEAD = (
    "use X @ V, X.gram(), X.blocks(), X.sample(n) or fewer rows, which need no copy of everything,"
    " or X.to_memmap(path), which writes it to disk"
)
"""What messages recommend instead of an array that does not fit."""


def take(selection: Selection, key: Any) -> Selection | Array | Any:
    """What ``key`` names: a selection for slices of rows, else an array."""
    rows, columns = _split_key(key)
    if isinstance(columns, slice) and columns == slice(None):
        return _take_rows(selection, rows)
    features = np.arange(selection.features)[columns] if isinstance(columns, slice) else None
    if features is None:
        features = as_index(columns, selection.features, "feature")
    if isinstance(rows, slice):
        return _take_features(selection[rows], features)
    at = as_index(rows, selection.n_rows, "row")
    if isinstance(columns, slice):
        return _take_product(selection, at, features)
    return _take_elements(selection, at, features)


def _split_key(key: Any) -> tuple[Any, Any]:
    """What ``key`` says of rows, and of features."""
    items = key if isinstance(key, tuple) else (key,)
    items = tuple(slice(None) if item is Ellipsis else item for item in items)
    if len(items) > 2 or any(item is None for item in items):
        raise IndexError(
            f"a matrix is indexed by rows and features, X[rows, features], got {key!r}"
        )
    return items[0] if items else slice(None), items[1] if len(items) > 1 else slice(None)


def _take_rows(selection: Selection, rows: Any) -> Selection | Array:
    if isinstance(rows, slice):
        return selection[rows]
    at = as_index(rows, selection.n_rows, "row")
    return (
        selection.take_row(int(at)) if at.ndim == 0 else _take_product(selection, at, slice(None))
    )


def as_index(value: Any, size: int, name: str) -> NDArray[np.int64]:
    """Whole numbers below ``size``, from numbers (negative ones count from the end) or truth values."""
    index = to_array(value, f"the index of {name}s", "leave out what is masked, .compressed()")
    if index.dtype == bool and index.ndim == 1:
        if len(index) != size:
            raise IndexError(f"a mask of {len(index)} values for {size} {name}s")
        return np.flatnonzero(index)
    if index.size == 0:
        return np.zeros(index.shape, dtype=np.int64)
    if index.dtype.kind not in "iu":
        raise IndexError(f"{name}s must be whole numbers, slices or a boolean mask, got {value!r}")
    low, high = int(index.min()), int(index.max())
    if low < -size or high >= size:
        raise IndexError(
            f"{name} {high if high >= size else low} is out of range for {size} {name}s"
        )
    index = index.astype(np.int64)
    return np.where(index < 0, index + size, index)


def _take_product(selection: Selection, at: NDArray[np.int64], features: Any) -> Array:
    """Each chosen feature of each chosen row: the shape of ``at``, then that of ``features``."""
    whole = isinstance(features, slice)
    shape = (*at.shape, selection.features) if whole else (*at.shape, *np.shape(features))
    nbytes = int(np.prod(shape, dtype=object)) * selection.dtype.itemsize
    check_fits(nbytes, f"{at.size} rows", INSTEAD)
    if whole:
        return selection.take(at.ravel()).reshape(shape)
    out = np.empty((at.size, features.size), selection.dtype)
    for begin, end in _split(at.size, selection):
        out[begin:end] = selection.take(at.ravel()[begin:end])[:, features.ravel()]
    return out.reshape(shape)


def _split(n: int, selection: Selection) -> list[tuple[int, int]]:
    """Ranges of ``n`` rows whose elements take no more than a block each."""
    size = max(1, selection.limits.row_block_bytes // (16 * selection.features))
    return [(begin, min(begin + size, n)) for begin in range(0, n, size)]


def _take_elements(
    selection: Selection, rows: NDArray[np.int64], features: NDArray[np.int64]
) -> Array | Any:
    """One element for each pair of row and feature, the two indices broadcast as in NumPy."""
    if (
        rows.ndim == 2
        and rows.shape[1] == 1
        and features.ndim in (1, 2)
        and features.size == features.shape[-1]
    ):
        return _take_product(selection, rows[:, 0], features.ravel())
    at, which = np.broadcast_arrays(rows, features)
    out = np.empty(at.size, selection.dtype)
    for begin, end in _split(at.size, selection):
        taken = selection.take(at.ravel()[begin:end])
        out[begin:end] = taken[np.arange(end - begin), which.ravel()[begin:end]]
    return out.reshape(at.shape)[()]


def _take_features(selection: Selection, features: NDArray[np.int64]) -> Array:
    """Chosen features of all rows: ``n_rows x len(features)`` and nothing more."""
    flat = features.ravel()
    nbytes = selection.n_rows * flat.size * selection.dtype.itemsize
    check_fits(nbytes, f"{flat.size} features of {selection.n_rows} rows", INSTEAD)
    out = np.empty((flat.size, selection.n_rows), selection.dtype)
    if selection.plain and _are_views(selection.rectangles):
        for rectangle in selection.rectangles:
            places = _place_patches(rectangle)
            for line, feature in zip(out, flat.tolist(), strict=True):
                part = line[rectangle.rows].reshape(rectangle.counts)
                part[...] = _view_feature(rectangle, places, feature)
    elif selection.plain:
        for line, feature in zip(out, flat.tolist(), strict=True):
            _fill_feature(selection, feature, line)
    else:
        for rows, columns in selection.blocks():
            out[:, rows] = columns[flat]
    return out.T.reshape(selection.n_rows, *features.shape)


def _are_views(rectangles: list[Rectangle]) -> bool:
    """Whether features can be seen in the images: there are rectangles, and no patch reaches outside."""
    return bool(rectangles) and all(each.image.frame.inside for each in rectangles)


def _fill_feature(selection: Selection, feature: int, line: Array) -> None:
    """Write one feature of all rows into ``line``, some rows at a time."""
    column = selection.stack.pick_feature(operator.index(feature))
    size = selection.limits.numbered_rows
    for begin in range(0, selection.n_rows, size):
        end = min(begin + size, selection.n_rows)
        column.cut(selection.row_numbers(begin, end), line[None, begin:end])


def _place_patches(rectangle: Rectangle) -> list[tuple[Array, int | None]]:
    """Where the patches of a rectangle start along each axis, and how far apart they are where that is even."""
    places: list[tuple[Array, int | None]] = []
    for axis, ends in zip(rectangle.image.frame.axes, rectangle.ranges, strict=True):
        starts = axis.starts(*ends)
        gaps = np.diff(starts)
        even = bool((gaps == gaps[:1]).all())
        places.append((starts, (int(gaps[0]) if len(gaps) else 1) if even else None))
    return places


def _view_feature(
    rectangle: Rectangle, places: list[tuple[Array, int | None]], feature: int
) -> Array:
    """One sample of every patch of a rectangle, a view where patches are evenly apart."""
    values, frame = rectangle.image.values, rectangle.image.frame
    samples = np.unravel_index(feature, frame.patch)
    for k, (axis, (starts, gap)) in enumerate(zip(frame.axes, places, strict=True)):
        moved = int(samples[k]) * axis.dilation
        if gap is None:
            at: Any = starts + moved
        else:
            at = slice(int(starts[0]) + moved, int(starts[-1]) + moved + 1, gap)
        values = values[(slice(None),) * k + (at,)]
    return values

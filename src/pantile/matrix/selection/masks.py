"""Rows with gaps as rectangles of patches, and the rows that are left over.

Rows that a mask selects have no lag structure, but rectangles of them do. Labels come in regions:
most of such a mask lies in a few large rectangles. They are found by cutting boxes in two (where the
number of selected patches jumps, or else in the middle) until they are full, empty, or too small.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...geometry.rect import Rect
from .rectangles import Rectangle
from .selection import Selection

__all__ = ["find_full", "find_rectangles"]

Mask = NDArray[np.bool_]


def find_rectangles(
    selection: Selection, least: int, wanted: Callable[[Rectangle], bool]
) -> tuple[list[Rectangle], NDArray[np.int64]]:
    """Rectangles that hold selected rows only, and the numbers of all other selected rows.

    Together they are the selection, each row once. Rectangles of fewer than about ``least`` patches
    are not looked for; of those that are found, ``wanted(rectangle)`` says whether to use it.
    """
    mask = _mask_of(selection)
    found = []
    for k, image in enumerate(selection.stack.images):
        begin = selection.stack.begin(k)
        shaped = mask[begin : begin + image.n_rows].reshape(image.frame.counts)
        for ranges in find_full(shaped, least):
            rectangle = Rectangle(image, ranges)
            if wanted(rectangle):
                found.append(rectangle)
                shaped[_slices(ranges)] = False
    return found, np.flatnonzero(mask)


def _mask_of(selection: Selection) -> Mask:
    """Which rows of the stack are selected; not all row numbers are made at once."""
    mask = np.zeros(selection.stack.n_rows, dtype=bool)
    size = selection.limits.numbered_rows
    for begin in range(0, selection.n_rows, size):
        mask[selection.row_numbers(begin, min(begin + size, selection.n_rows))] = True
    return mask


def find_full(mask: Mask, least: int = 1) -> list[Rect]:
    """Disjoint rectangles in which the mask is True throughout, none much smaller than ``least``.

    >>> mask = np.zeros((6, 8), dtype=bool)
    >>> mask[1:3, 2:7] = mask[3:5, 2:4] = True
    >>> find_full(mask)
    [((1, 3), (2, 7)), ((3, 5), (2, 4))]
    """
    found: list[Rect] = []
    side = max(1, round(least ** (1 / mask.ndim)))
    cells = _full_cells(mask, side)
    waiting: list[Rect] = [tuple((0, n) for n in mask.shape)]
    while waiting:
        bounds = waiting.pop()
        if not cells[tuple(slice(b // side, -(-e // side)) for b, e in bounds)].any():
            continue  # what is True here is scattered
        profiles = _count_slices(mask[_slices(bounds)])
        if not profiles[0].any():
            continue
        bounds, profiles = _trim(bounds, profiles)
        size = int(np.prod([end - begin for begin, end in bounds]))
        if profiles[0].sum() == size:
            found.append(bounds)
        elif size > least:
            waiting.extend(reversed(_halve(bounds, profiles, size)))
    return found


def _full_cells(mask: Mask, side: int) -> Mask:
    """Which cells of ``side`` patches along each axis are True throughout."""
    for k, n in enumerate(mask.shape):
        mask = np.logical_and.reduceat(mask, np.arange(0, n, side), axis=k)
    return mask


def _slices(bounds: Rect) -> tuple[slice, ...]:
    return tuple(slice(*b) for b in bounds)


def _count_slices(view: Mask) -> list[NDArray[Any]]:
    """How many are True in each slice, per axis."""
    axes = range(view.ndim)
    return [np.count_nonzero(view, axis=tuple(a for a in axes if a != k)) for k in axes]


def _trim(bounds: Rect, profiles: list[Any]) -> tuple[Rect, list[NDArray[Any]]]:
    """The bounds without empty slices at their ends, and the counts that are left."""
    ends = [np.flatnonzero(profile)[[0, -1]] for profile in profiles]
    tight = tuple(
        (b + int(first), b + int(last) + 1)
        for (b, _), (first, last) in zip(bounds, ends, strict=True)
    )
    kept = [p[first : last + 1] for p, (first, last) in zip(profiles, ends, strict=True)]
    return tight, kept


def _halve(bounds: Rect, profiles: list[Any], size: int) -> list[Rect]:
    """Two parts: cut where a count jumps by half a slice or more, else across the middle."""
    lengths = [end - begin for begin, end in bounds]
    jumps = [
        (float(np.abs(np.diff(p)).max()) * n / size if n > 1 else 0.0)
        for p, n in zip(profiles, lengths, strict=True)
    ]
    k = int(np.argmax(jumps))
    if jumps[k] >= 0.5:
        cut = int(np.argmax(np.abs(np.diff(profiles[k])))) + 1
    else:
        k = int(np.argmax(lengths))
        cut = lengths[k] // 2
    begin, end = bounds[k]
    return [
        (*bounds[:k], half, *bounds[k + 1 :]) for half in ((begin, begin + cut), (begin + cut, end))
    ]

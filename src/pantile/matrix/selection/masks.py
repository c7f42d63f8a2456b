"""A selection of patches as rectangles, and the rows that are left over.

Rows that a mask selects have no lag structure, but rectangles of them do. Labels come in regions:
most of such a mask lies in a few large rectangles, which are found by cutting boxes in two, where
their counts jump or else in the middle, until they are full, empty, or too small to bother.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...geometry.tiles import Bounds
from ..boxes.boxes import Area
from ..selection.selection import Table

__all__ = ["full_boxes", "mosaic"]

Mask = NDArray[np.bool_]

_NUMBERS = 1 << 20  # rows looked up at a time


def mosaic(
    table: Table, least: int, wanted: Callable[[Area], bool]
) -> tuple[list[Area], NDArray[np.int64]]:
    """Rectangles that hold selected rows only, and the numbers of all other selected rows.

    ``least`` is from how many patches on a rectangle is worth looking for, ``wanted(area)`` whether
    to use one that was found. Together they are the selection, each row once.
    """
    mask = _mask(table)
    areas = []
    for k, part in enumerate(table.stack.parts):
        begin = table.stack.begin(k)
        shaped = mask[begin : begin + part.n_rows].reshape(part.frame.counts)
        for ranges in full_boxes(shaped, least):
            area = Area(part, ranges, 0, 0)
            if wanted(area):
                areas.append(area)
                shaped[_at(ranges)] = False
    return areas, np.flatnonzero(mask)


def _mask(table: Table) -> Mask:
    """Which rows of the stack are selected, without all their numbers at once."""
    mask = np.zeros(table.stack.n_rows, dtype=bool)
    for begin in range(0, table.n_rows, _NUMBERS):
        mask[table.numbered(begin, min(begin + _NUMBERS, table.n_rows))] = True
    return mask


def full_boxes(mask: Mask, least: int = 1) -> list[Bounds]:
    """Disjoint rectangles in which the mask is True throughout, none much smaller than ``least``.

    >>> mask = np.zeros((6, 8), dtype=bool)
    >>> mask[1:3, 2:7] = mask[3:5, 2:4] = True
    >>> full_boxes(mask)
    [((1, 3), (2, 7)), ((3, 5), (2, 4))]
    """
    found: list[Bounds] = []
    side = max(1, round(least ** (1 / mask.ndim)))
    cells = _full_cells(mask, side)
    waiting: list[Bounds] = [tuple((0, n) for n in mask.shape)]
    while waiting:
        bounds = waiting.pop()
        if not cells[tuple(slice(b // side, -(-e // side)) for b, e in bounds)].any():
            continue  # what is True here is scattered
        profiles = _profiles(mask[_at(bounds)])
        if not profiles[0].any():
            continue
        bounds, profiles = _trimmed(bounds, profiles)
        size = int(np.prod([end - begin for begin, end in bounds]))
        if profiles[0].sum() == size:
            found.append(bounds)
        elif size > least:
            waiting.extend(reversed(_halves(bounds, profiles, size)))
    return found


def _full_cells(mask: Mask, side: int) -> Mask:
    """Which cells of that side are True throughout."""
    for k, n in enumerate(mask.shape):
        mask = np.logical_and.reduceat(mask, np.arange(0, n, side), axis=k)
    return mask


def _at(bounds: Bounds) -> tuple[slice, ...]:
    return tuple(slice(*b) for b in bounds)


def _profiles(view: Mask) -> list[NDArray[Any]]:
    """How many are True in each slice, per axis."""
    axes = range(view.ndim)
    return [np.count_nonzero(view, axis=tuple(a for a in axes if a != k)) for k in axes]


def _trimmed(bounds: Bounds, profiles: list[Any]) -> tuple[Bounds, list[NDArray[Any]]]:
    """The bounds of what is True, and its profiles."""
    ends = [np.flatnonzero(profile)[[0, -1]] for profile in profiles]
    tight = tuple(
        (b + int(first), b + int(last) + 1)
        for (b, _), (first, last) in zip(bounds, ends, strict=True)
    )
    kept = [p[first : last + 1] for p, (first, last) in zip(profiles, ends, strict=True)]
    return tight, kept


def _halves(bounds: Bounds, profiles: list[Any], size: int) -> list[Bounds]:
    """Two parts: cut where a profile jumps by half a slice or more, else across the middle."""
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

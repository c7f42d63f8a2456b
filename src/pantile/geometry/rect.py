"""Rectangles of elements (or of patches, or of tiles): one ``(begin, end)`` per axis.

Everything that asks how two regions lie to each other asks here. Elements of an array that holds
rectangle ``outer`` are found by `slices`: ``x[slices(outer)][slices(inner, outer)] ==
x[slices(inner)]`` for every ``inner`` that lies in ``outer``, and ``x[slices(a)][slices(b)] ==
x[slices(compose(a, b))]``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = [
    "Index",
    "Rect",
    "compose",
    "contains",
    "intersect",
    "is_empty",
    "shape_of",
    "shift",
    "slices",
    "span",
    "subtract",
    "whole",
]

Index = tuple[int, ...]
Rect = tuple[tuple[int, int], ...]


def whole(shape: Iterable[int]) -> Rect:
    """All of an array.

    >>> whole((3, 4))
    ((0, 3), (0, 4))
    """
    return tuple([(0, n) for n in shape])


def shape_of(rect: Rect) -> Index:
    """How many elements along each axis."""
    return tuple([end - begin for begin, end in rect])


def is_empty(rect: Rect) -> bool:
    """Whether it holds no element."""
    return any(begin >= end for begin, end in rect)


def contains(outer: Rect, inner: Rect) -> bool:
    """Whether all of ``inner`` lies in ``outer``."""
    rows = zip(outer, inner, strict=True)
    return all([low <= begin and end <= high for (low, high), (begin, end) in rows])  # noqa: C419


def intersect(a: Rect, b: Rect) -> Rect | None:
    """What two rectangles share; None where they share nothing.

    >>> intersect(((0, 4), (2, 9)), ((3, 6), (0, 5)))
    ((3, 4), (2, 5))
    """
    shared = tuple([(max(p, q), min(r, s)) for (p, r), (q, s) in zip(a, b, strict=True)])
    return None if is_empty(shared) else shared


def span(a: Rect, b: Rect) -> Rect:
    """The smallest rectangle that holds both."""
    return tuple([(min(p, q), max(r, s)) for (p, r), (q, s) in zip(a, b, strict=True)])


def subtract(rect: Rect, hole: Rect) -> list[Rect]:
    """What of a rectangle lies outside another, as disjoint rectangles.

    >>> subtract(((0, 4), (0, 9)), ((1, 4), (0, 5)))
    [((0, 1), (0, 9)), ((1, 4), (5, 9))]
    """
    shared = intersect(rect, hole)
    if shared is None:
        return [rect]
    found = []
    for k, ((begin, end), (low, high)) in enumerate(zip(rect, shared, strict=True)):
        sides = ((begin, low), (high, end))
        found += [(*shared[:k], side, *rect[k + 1 :]) for side in sides if side[0] < side[1]]
    return found


def shift(rect: Rect, by: Sequence[int]) -> Rect:
    """The rectangle moved by so many elements along each axis."""
    return tuple([(begin + n, end + n) for (begin, end), n in zip(rect, by, strict=True)])


def compose(outer: Rect, inner: Rect) -> Rect:
    """``inner``, counted from where ``outer`` begins and clipped to it, counted from where ``outer`` is."""
    moved = shift(inner, [begin for begin, _ in outer])
    return tuple(
        [(min(p, end), min(q, end)) for (p, q), (_, end) in zip(moved, outer, strict=True)]
    )


def slices(rect: Rect, within: Rect | None = None) -> tuple[slice, ...]:
    """The rectangle as an index of an array; of one that holds the elements ``within``, if that is given.

    >>> slices(((3, 4), (2, 5)), within=((3, 9), (0, 9)))
    (slice(0, 1, None), slice(2, 5, None))
    """
    if within is None:
        return tuple([slice(begin, end) for begin, end in rect])
    rows = zip(rect, within, strict=True)
    return tuple([slice(begin - o, end - o) for (begin, end), (o, _) in rows])

"""Rows that follow each other, as rectangles of patches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...geometry.rect import Rect
from .stack import GriddedImage, Stack

__all__ = ["Rectangle", "rectangles_of_rows", "split_rows", "whole_images"]


@dataclass(frozen=True)
class Rectangle:
    """A rectangle of an image's patches: patch indices from ``begin`` to ``end`` along each axis.

    Its patches are numbered in C order, from 0. ``place`` is where a work on the rectangle finds its
    rows: of `Selection.rectangles`, the first one in the selection; of `whole_images`, the first one
    in the stack.
    """

    image: GriddedImage
    ranges: Rect
    place: int = 0

    @cached_property
    def counts(self) -> tuple[int, ...]:
        return tuple(end - begin for begin, end in self.ranges)

    @property
    def n_rows(self) -> int:
        return math.prod(self.counts)

    @property
    def rows(self) -> slice:
        """Where its rows are, from ``place`` on."""
        return slice(self.place, self.place + self.n_rows)

    def image_rows(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows of the image that its patches ``numbers`` are."""
        whole = self.image.frame.counts
        at = np.unravel_index(numbers, self.counts)
        begins = (begin for begin, _ in self.ranges)
        return np.ravel_multi_index([a + b for a, b in zip(at, begins, strict=True)], whole)


def rectangles_of_rows(stack: Stack, begin: int, end: int) -> list[Rectangle]:
    """Rows ``begin`` to ``end`` of a stack as rectangles, in order; each is placed from ``begin`` on."""
    found = []
    for k, image in enumerate(stack.images):
        before = stack.begin(k)
        low, high = max(begin, before), min(end, before + image.n_rows)
        for ranges in split_rows(low - before, high - before, image.frame.counts):
            found.append(Rectangle(image, ranges, low - begin))
            low += found[-1].n_rows
    return found


def whole_images(stack: Stack) -> list[Rectangle]:
    """All patches of each image as one rectangle."""
    return [
        Rectangle(image, tuple((0, n) for n in image.frame.counts), stack.begin(k))
        for k, image in enumerate(stack.images)
    ]


def split_rows(begin: int, end: int, counts: Sequence[int]) -> list[Rect]:
    """Rows ``begin`` to ``end`` of a grid of ``counts``, in C order, as rectangles of patches.

    >>> split_rows(1, 6, (3, 3))
    [((0, 1), (1, 3)), ((1, 2), (0, 3))]
    """
    if end <= begin:
        return []
    if len(counts) == 1:
        return [((begin, end),)]
    inner = math.prod(counts[1:])
    first, last = -(-begin // inner), end // inner
    if first > last:
        return _split_slice(first - 1, begin, end, counts)
    found = _split_slice(first - 1, begin, first * inner, counts)
    if last > first:
        found.append(((first, last), *((0, n) for n in counts[1:])))
    return found + _split_slice(last, last * inner, end, counts)


def _split_slice(index: int, begin: int, end: int, counts: Sequence[int]) -> list[Rect]:
    """The rectangles of rows that lie at one ``index`` of the first axis."""
    before = index * math.prod(counts[1:])
    return [
        ((index, index + 1), *rest) for rest in split_rows(begin - before, end - before, counts[1:])
    ]

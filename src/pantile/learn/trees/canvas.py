"""Images laid out as one flat array of bytes, in which a sample of a patch is a constant displacement.

Images and batch entries follow each other. All have the same strides, those of the longest lines, so
that one displacement holds for all windows of all images. Channels lie line by line, so that
displacements stay small.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...geometry import PatchGrid
from ...kernels.parallel import each_in_parallel
from ...kernels.read import read_block
from .binning import Binning
from .kernels import Space

__all__ = ["Canvas", "Patch", "Picture", "lay_out"]

Array = NDArray[Any]

_STRIP = 1 << 20  # elements binned at a time


class Picture(NamedTuple):
    """An image and its grid. ``channel`` is the axis of its channels, or None."""

    image: Array
    grid: PatchGrid
    channel: int | None

    def entries(self) -> Iterator[Array]:
        """Each batch entry, as ``(n0, ..., channels, n_last)``."""
        image, d = self.image, self.grid.ndim
        turned = (
            image[..., None, :] if self.channel is None else np.moveaxis(image, self.channel, -2)
        )
        for at in np.ndindex(*turned.shape[: turned.ndim - d - 1]):
            yield turned[at]

    @property
    def channels(self) -> int:
        return 1 if self.channel is None else self.image.shape[self.channel]

    @property
    def bounds(self) -> tuple[tuple[int, int], ...]:
        """The elements that windows reach over, along each patched axis."""
        return tuple(axis.span(0, axis.count) for axis in self.grid.axis_grids)


@dataclass(frozen=True)
class Patch:
    """Where the samples of a patch are: places along the patched axes, and channels; one row per feature."""

    places: NDArray[np.int64]
    channels: NDArray[np.int64]

    @classmethod
    def of(cls, shape: Sequence[int], channel: int | None) -> Patch:
        """That of patches of a shape of which the axis ``channel`` holds channels."""
        at = np.indices(tuple(shape)).reshape(len(shape), -1).T.copy()
        if channel is None:
            return cls(at, np.zeros(len(at), np.int64))
        return cls(np.delete(at, channel, axis=1), at[:, channel].copy())


@dataclass(frozen=True)
class Canvas:
    """The bytes of all images, and how they lie."""

    bins: NDArray[np.uint8]
    sums: NDArray[np.uint32]
    strides: tuple[int, ...]  # of the patched axes
    channel_stride: int
    starts: tuple[tuple[int, ...], ...]  # of the entries of each image
    grids: tuple[PatchGrid, ...]
    margin: int

    def space(self, patch: Patch, base: Array) -> Space:
        """What the loops are given for windows that lie at ``base``."""
        strides = np.array(self.strides, np.int64)
        channel = patch.channels * self.channel_stride
        offsets = patch.places @ strides + channel
        return Space(self.bins, self.sums, base, offsets, patch.places, strides, channel)

    def base(self, masks: Sequence[Array | None] | None = None) -> Array:
        """Where windows start: of all, in their order, or of those that masks (one per image) choose."""
        dtype = np.int32 if self.bins.size <= np.iinfo(np.int32).max else np.int64
        chosen: Sequence[Array | None] = masks or [None] * len(self.grids)
        n = sum(
            len(starts) * grid.n_patches if mask is None else int(np.count_nonzero(mask))
            for starts, grid, mask in zip(self.starts, self.grids, chosen, strict=True)
        )
        found, at = np.empty(n, dtype), 0
        for starts, grid, mask in zip(self.starts, self.grids, chosen, strict=True):
            flat = None if mask is None else mask.reshape(len(starts), grid.counts[0], -1)
            for entry, start in enumerate(starts):
                for rows, some in self._iterate_rows(grid, start, dtype):
                    kept = some if flat is None else some[flat[entry, rows]]
                    found[at : at + kept.size] = kept.ravel()
                    at += kept.size
        return found

    def _iterate_rows(
        self, grid: PatchGrid, start: int, dtype: Any
    ) -> Iterator[tuple[slice, Array]]:
        """Starts of windows, some rows of the first axis at a time: ``(rows, all others)``."""
        first, *others = [
            (axis.starts() - axis.start(0) + self.margin) * stride
            for axis, stride in zip(grid.axis_grids, self.strides, strict=True)
        ]
        inner = np.zeros(1, np.int64)
        for each in others:
            inner = (inner[:, None] + each).ravel()
        rows = max(1, _STRIP // inner.size)
        lines, inner = (first + start).astype(dtype), inner.astype(dtype)
        for begin in range(0, len(first), rows):
            part = slice(begin, min(begin + rows, len(first)))
            yield part, lines[part, None] + inner


def lay_out(pictures: Sequence[Picture], binning: Binning, boxes: bool = False) -> Canvas:
    """The canvas of pictures; with ``boxes`` also its running sums, and an empty element before each line."""
    margin = int(boxes)
    spans = [[e - b + margin for b, e in each.bounds] for each in pictures]
    d, channels = len(spans[0]), pictures[0].channels
    widest = [max(span[k] for span in spans) for k in range(d)]
    strides = [1] * d
    for k in range(d - 2, -1, -1):
        strides[k] = strides[k + 1] * widest[k + 1] * (channels if k == d - 2 else 1)
    starts, size = [], 0
    for picture, span in zip(pictures, spans, strict=True):
        length = span[0] * strides[0] if d > 1 else channels * widest[0]
        n = sum(1 for _ in picture.entries())
        starts.append(tuple(size + k * length for k in range(n)))
        size += n * length
    bins = np.zeros(size, np.uint8)
    places = []
    for picture, span, begins in zip(pictures, spans, starts, strict=True):
        for entry, begin in zip(picture.entries(), begins, strict=True):
            shape = (*([span[0]] if d > 1 else []), *widest[1 : d - 1], channels, widest[-1])
            goal = bins[begin : begin + math.prod(shape)].reshape(shape)
            places.append(goal)
            _write(goal, entry, picture, binning, margin)
    sums = _integrate(places, bins, d) if boxes else np.zeros(0, np.uint32)
    return Canvas(
        bins, sums, tuple(strides), widest[-1], tuple(starts),
        tuple(each.grid for each in pictures), margin,
    )  # fmt: skip


def _write(goal: Array, entry: Array, picture: Picture, binning: Binning, margin: int) -> None:
    """Bin the elements that windows reach over, a strip at a time."""
    grid, bounds = picture.grid, list(picture.bounds)
    bounds.insert(len(bounds) - 1, (0, entry.shape[-2]))
    margins = list(grid.margins)
    margins.insert(len(margins) - 1, (0, 0))
    begin, end = bounds[0]
    rows = max(1, _STRIP * (end - begin) // math.prod(e - b for b, e in bounds))
    front = 0 if len(bounds) == 2 else margin
    inner = [slice(margin, margin + e - b) for b, e in bounds[1:]]
    if len(inner) > 1:
        inner[-2] = slice(0, entry.shape[-2])

    def one(at: int) -> None:
        part = (at, min(at + rows, end))
        block = read_block(
            entry, (part, *bounds[1:]), tuple(margins), grid.pad_mode, grid.pad_value
        )
        where = slice(front + part[0] - begin, front + part[1] - begin)
        binning.apply(block, goal[(where, *inner)])

    each_in_parallel(one, range(begin, end, rows))


def _integrate(places: Sequence[Array], bins: Array, d: int) -> NDArray[np.uint32]:
    """Running sums along the patched axes of each entry, modulo 2**32."""
    sums = bins.astype(np.uint32)
    at = 0
    for place in places:
        block = sums[at : at + place.size].reshape(place.shape)
        at += place.size
        for axis in [*range(d - 1), d]:
            np.add.accumulate(block, axis=axis, out=block)
    return sums

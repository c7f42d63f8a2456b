"""One of the two images of a search: its patches by blocks, in an arithmetic that suits both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.axis import AxisGrid
from ..geometry.frame import Frame
from ..geometry.rect import Rect
from ..kernels.read import read_block

__all__ = ["Arithmetic", "Side", "choose_arithmetic"]


@dataclass(frozen=True)
class Arithmetic:
    """The dtype that squared differences are summed in, and what is taken from all values before."""

    dtype: np.dtype[Any]
    shift: int = 0
    normal: bool = False

    @property
    def packed(self) -> bool:
        """Whether a distance and a place fit into one number."""
        return self.dtype == np.float32

    @property
    def most(self) -> float | int:
        """The largest distance that a candidate may have: an infinite one is none."""
        if self.packed:
            return 2**24 - 1
        if self.normal:  # none is more than 4 times the samples, and products of this stay finite
            return 1e30
        return np.finfo(self.dtype).max if self.dtype.kind == "f" else np.iinfo(self.dtype).max - 1

    @property
    def barred(self) -> float | int:
        """A distance that lets no candidate in."""
        return math.inf if self.dtype.kind == "f" else int(np.iinfo(self.dtype).max)

    def convert(self, block: NDArray[Any]) -> NDArray[Any]:
        """``block`` in this dtype, less the shift: nothing is rounded where distances are exact."""
        if self.shift and block.dtype.kind != "i":
            block = block - block.dtype.type(self.shift)
        elif self.shift:
            block = block.astype(np.int64) - self.shift
        return block.astype(self.dtype)


# Up to which distances, and values, integers are exact.
_EXACT = ((2**24 - 1, np.float32), (2**53, np.float64), (2**63 - 1, np.int64))


def choose_arithmetic(
    images: Sequence[NDArray[Any]], features: int, more: Sequence[int], rounded: bool
) -> Arithmetic:
    """The fastest arithmetic that rounds no distance of these images; float64 where there is none.

    ``more`` are values that stand beside the images (padding); ``rounded``: distances are no integers anyway.
    """
    if rounded or not all(map(_is_whole, images)):
        return Arithmetic(np.dtype(np.float64))
    ends = [int(f(image)) for image in images for f in (np.min, np.max)] + list(more)
    low, high = min(ends), max(ends)
    for most, dtype in _EXACT:
        if (high - low) ** 2 * features <= most:
            return Arithmetic(np.dtype(dtype), low if max(-low, high) > most else 0)
    return Arithmetic(np.dtype(np.float64))


def _is_whole(image: NDArray[Any]) -> bool:
    """Whether all values are integers, in whatever dtype; most floats are told by their first rows."""
    if image.dtype.kind != "f":
        return image.dtype.kind != "c"
    parts = (image[i : i + 16] for i in range(0, len(image), 16))
    return all(bool((np.rint(part) == part).all() and np.isfinite(part).all()) for part in parts)


@dataclass(frozen=True)
class Side:
    """An image in the order of its frame, of which blocks are read."""

    image: NDArray[Any]
    frame: Frame
    arithmetic: Arithmetic

    @cached_property
    def axes(self) -> tuple[AxisGrid, ...]:
        """The patched axes."""
        rows = zip(self.frame.axes, self.frame.patched, strict=True)
        return tuple([axis for axis, cut in rows if cut])

    @property
    def counts(self) -> tuple[int, ...]:
        return tuple([axis.count for axis in self.axes])

    @property
    def channels(self) -> int:
        """Numbers that make an element: those of its channels, real and imaginary parts."""
        channel = self.frame.channel
        n = 1 if channel is None else self.frame.axes[channel].size
        return n * (1 + (self.image.dtype.kind == "c"))

    def block(self, batch: Sequence[int], ranges: Rect) -> NDArray[Any]:
        """The elements that a rectangle of patches reaches over, ``(channels, *span)``, contiguous."""
        frame, grid = self.frame, self.frame.grid
        spans = iter([axis.span(*r) for axis, r in zip(self.axes, ranges, strict=True)])
        bounds = [(b, b + 1) for b in batch]
        bounds += [
            (0, frame.axes[k].size) if k == frame.channel else next(spans)
            for k in range(frame.n_batch, len(frame.axes))
        ]
        found = read_block(self.image, tuple(bounds), frame.margins, grid.pad_mode, grid.pad_value)
        found = found.reshape(found.shape[frame.n_batch :])
        at = None if frame.channel is None else frame.channel - frame.n_batch
        found = found[None] if at is None else np.moveaxis(found, at, 0)
        if found.dtype.kind == "c":
            found = np.concatenate([found.real, found.imag])
        return np.ascontiguousarray(self.arithmetic.convert(found))

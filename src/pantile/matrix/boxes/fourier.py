"""Fourier transforms of a box in blocks: how large the blocks are, and how lanes of blocks are summed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ...geometry.limits import Limits
from ...geometry.rect import Rect
from ...kernels.parallel import cores, each_in_parallel
from ..selection.stack import Array
from .boxes import Box

__all__ = [
    "FourierBlocks",
    "NotFinite",
    "check_finite",
    "cut_blocks",
    "plan_blocks",
    "plan_lag_blocks",
    "run_in_lanes",
]


class NotFinite(ValueError):
    """The image holds NaN or infinity, which a Fourier transform would spread over a whole block."""


def check_finite(value: Any) -> None:
    """Raise `NotFinite` where a block's sum or mean is NaN or infinity."""
    if not np.isfinite(value):
        raise NotFinite("image holds NaN or infinity")


@dataclass(frozen=True)
class FourierBlocks:
    """How a box is cut into blocks: their lengths, and those of their transforms along the lag axes."""

    box: Box
    lengths: tuple[int, ...]  # results per block, one per axis
    shape: tuple[int, ...]  # of the transform, one per lag axis
    real: bool

    @property
    def axes(self) -> tuple[int, ...]:
        """The lag axes of a block ``(depth, *lengths)``."""
        return tuple(k + 1 for k in self.box.lag_axes)

    @property
    def flat_axes(self) -> tuple[int, ...]:
        """The axes of a block that are only summed over."""
        return tuple(a for a in range(1, len(self.box.axes) + 1) if a not in self.axes)

    @property
    def points(self) -> int:
        """Points of one transform."""
        return math.prod(self.shape)

    @property
    def n_blocks(self) -> int:
        return math.prod(-(-n // m) for n, m in zip(self.box.counts, self.lengths, strict=True))

    @property
    def block_points(self) -> int:
        """Points of a block's spectrum."""
        flat = math.prod(n for k, n in enumerate(self.lengths) if k not in self.box.lag_axes)
        return self.points * flat

    def cut(self) -> list[Rect]:
        """The blocks, in C order."""
        return cut_blocks(self.box.counts, self.lengths)

    def transform(self, block: Array, axes: tuple[int, ...] | None = None) -> Array:
        """The spectrum of a block along its lag axes, or along ``axes``."""
        import scipy.fft

        transform = scipy.fft.rfftn if self.real else scipy.fft.fftn
        found: Array = transform(block, self.shape, self.axes if axes is None else axes)
        return found

    def invert(self, spectrum: Array, axes: tuple[int, ...] | None = None) -> Array:
        """What has this spectrum along the lag axes, or along ``axes``."""
        import scipy.fft

        transform = scipy.fft.irfftn if self.real else scipy.fft.ifftn
        found: Array = transform(spectrum, self.shape, self.axes if axes is None else axes)
        return found


def plan_blocks(box: Box, real: bool, points: int, halo: int = 1) -> FourierBlocks:
    """The blocks that cost least per result, each of at most about ``points`` points.

    To give ``n`` results along an axis, a block reads ``n + halo * (lags - 1)`` elements.
    """
    axes = box.lag_axes
    side = points ** (1 / max(1, len(axes)))
    shape = tuple(
        _fft_length(box.counts[k], halo * (box.lags[k] - 1), int(side), real and k == axes[-1])
        for k in axes
    )
    lengths = list(box.counts)
    for k, n in zip(axes, shape, strict=True):
        lengths[k] = min(box.counts[k], n - halo * (box.lags[k] - 1))
    room = max(1, points // (math.prod(shape) * box.depth))
    for k in reversed([k for k in range(len(box.axes)) if k not in axes]):
        lengths[k] = min(lengths[k], room)
        room = max(1, room // lengths[k])
    return FourierBlocks(box, tuple(lengths), shape, real)


def plan_lag_blocks(box: Box, real: bool, limits: Limits) -> FourierBlocks:
    """The same for a correlation of the box with itself: the spectra of all pairs of phases must fit."""
    points = min(4 * limits.fft_points, max(1 << 12, limits.lag_spectra_elements // box.depth**2))
    return plan_blocks(box, real, points, halo=2)


@lru_cache(maxsize=256)
def _fft_length(count: int, halo: int, side: int, real: bool) -> int:
    """A length near ``side``, at least twice the halo, that leaves little over."""
    from scipy.fft import next_fast_len

    least = 2 * halo + 1
    blocks = -(-count // max(side - halo, least - halo))
    return int(next_fast_len(-(-count // blocks) + halo, real))


def cut_blocks(counts: Sequence[int], lengths: Sequence[int]) -> list[Rect]:
    """Ranges per axis of all blocks of ``lengths``, in C order."""
    axes = [
        [(begin, min(begin + n, count)) for begin in range(0, count, n)]
        for count, n in zip(counts, lengths, strict=True)
    ]
    return list(itertools.product(*axes))


def run_in_lanes(task: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """Results of ``task`` for each lane, which is every ``cores()``-th item: sums need one accumulator per lane."""
    lanes = [items[k :: cores()] for k in range(min(cores(), len(items)))]
    found: list[Any] = [None] * len(lanes)

    def run(k: int) -> None:
        found[k] = task(lanes[k])

    each_in_parallel(run, range(len(lanes)))
    return found

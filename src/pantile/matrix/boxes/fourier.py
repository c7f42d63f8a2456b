"""FFTs of blocks: their sizes, and correlations of a stack by overlap-save with bounded memory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ...geometry.tiles import Bounds
from ...kernels.parallel import cores, each_in_parallel
from ..boxes.boxes import Box
from ..selection.stack import Array

__all__ = ["NotFinite", "Plan", "adjoint", "correlate", "in_lanes", "plan_of", "tiles"]

MOST_POINTS = 3 << 17  # points of an FFT: 3 MB of float64, measured fastest by a little

_SPECTRA = 1 << 23  # elements of the spectra of several columns


class NotFinite(ValueError):
    """The image holds NaN or infinity, which an FFT would spread over a whole block."""


@dataclass(frozen=True)
class Plan:
    """Lengths of the blocks of a stack, and of their FFTs along the lag axes."""

    box: Box
    lengths: tuple[int, ...]  # results per block, one per axis
    shape: tuple[int, ...]  # of the FFT, one per lag axis
    real: bool

    @property
    def axes(self) -> tuple[int, ...]:
        """The lag axes of a block ``(depth, *lengths)``."""
        return tuple(k + 1 for k in self.box.lag_axes)

    @property
    def points(self) -> int:
        return math.prod(self.shape)

    def forward(self, block: Array, axes: tuple[int, ...] | None = None) -> Array:
        import scipy.fft

        transform = scipy.fft.rfftn if self.real else scipy.fft.fftn
        found: Array = transform(block, self.shape, self.axes if axes is None else axes)
        return found

    def inverse(self, spectrum: Array, axes: tuple[int, ...] | None = None) -> Array:
        import scipy.fft

        transform = scipy.fft.irfftn if self.real else scipy.fft.ifftn
        found: Array = transform(spectrum, self.shape, self.axes if axes is None else axes)
        return found


def plan_of(box: Box, real: bool, halo: int = 1, points: int | None = None) -> Plan:
    """The blocks that cost least per result; a block reads ``halo`` times ``lags - 1`` more than it gives."""
    axes = box.lag_axes
    points = MOST_POINTS if points is None else points
    side = points ** (1 / max(1, len(axes)))
    shape = tuple(
        _length(box.counts[k], halo * (box.lags[k] - 1), int(side), real and k == axes[-1])
        for k in axes
    )
    lengths = list(box.counts)
    for k, n in zip(axes, shape, strict=True):
        lengths[k] = min(box.counts[k], n - halo * (box.lags[k] - 1))
    room = max(1, points // (math.prod(shape) * box.depth))
    for k in reversed([k for k in range(len(box.axes)) if k not in axes]):
        lengths[k] = min(lengths[k], room)
        room = max(1, room // lengths[k])
    return Plan(box, tuple(lengths), shape, real)


@lru_cache(maxsize=256)
def _length(count: int, halo: int, side: int, real: bool) -> int:
    """An FFT length near ``side``, at least twice the halo, that leaves little over."""
    from scipy.fft import next_fast_len

    least = 2 * halo + 1
    blocks = -(-count // max(side - halo, least - halo))
    return int(next_fast_len(-(-count // blocks) + halo, real))


def tiles(counts: Sequence[int], lengths: Sequence[int]) -> list[Bounds]:
    """Ranges per axis of all blocks, in C order."""
    axes = [
        [(begin, min(begin + n, count)) for begin in range(0, count, n)]
        for count, n in zip(counts, lengths, strict=True)
    ]
    return list(itertools.product(*axes))


def in_lanes(task: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """``task`` of every ``cores()``-th item, lane by lane: for sums with one accumulator per lane."""
    lanes = [items[k :: cores()] for k in range(min(cores(), len(items)))]
    found: list[Any] = [None] * len(lanes)

    def run(k: int) -> None:
        found[k] = task(lanes[k])

    each_in_parallel(run, range(len(lanes)))
    return found


def correlate(box: Box, kernels: Array, out: Array) -> None:
    """``out[w] = sum_a x[w + a] kernels[a]`` for all patches ``w`` of a box.

    ``kernels`` is ``(features, k)`` and ``out`` the part's ``(*counts, k)``. Each block is less its
    own mean while it is transformed.
    """
    plan = plan_of(box, out.dtype.kind != "c")
    for j in _groups(plan, kernels.shape[1]):
        _correlate(plan, kernels[:, j], out[..., j])


def _groups(plan: Plan, columns: int) -> list[slice]:
    """Columns whose spectra fit in memory together."""
    size = max(1, _SPECTRA // (plan.box.depth * plan.points))
    return [slice(j, min(j + size, columns)) for j in range(0, columns, size)]


def _correlate(plan: Plan, kernels: Array, out: Array) -> None:
    box = plan.box
    spectra = [_kernel_spectrum(plan, kernel) for kernel in kernels.T]
    totals = kernels.sum(axis=0)

    def work(ranges: Bounds) -> None:
        block, mean = _read(box, ranges, out.dtype)
        transformed = plan.forward(block)
        place: tuple[Any, ...] = tuple(
            axis.rows(*r) for axis, r in zip(box.axes, ranges, strict=True)
        )
        valid = tuple(slice(0, end - begin) for begin, end in ranges)
        for j, spectrum in enumerate(spectra):
            product = transformed * spectrum
            product = product[0] if box.depth == 1 else product.sum(axis=0)
            found = plan.inverse(product, box.lag_axes)[valid]
            np.add(found, mean * totals[j], out=out[(*place, j)])

    each_in_parallel(work, tiles(box.counts, plan.lengths))


def _kernel_spectrum(plan: Plan, kernel: Array) -> Array:
    box = plan.box
    stack = np.zeros(box.depth * math.prod(box.lags), kernel.dtype)
    stack[box.slots] = kernel.conj()
    return np.conj(plan.forward(stack.reshape(box.depth, *box.lags)))


def _read(box: Box, ranges: Bounds, dtype: Any) -> tuple[Array, Any]:
    """What the patches of ``ranges`` reach over, less its mean."""
    reach = tuple((b, e + n - 1) for (b, e), n in zip(ranges, box.lags, strict=True))
    block = box.read(reach, 0, dtype)
    mean = block.mean()
    if not np.isfinite(mean):
        raise NotFinite("image holds NaN or infinity")
    block -= mean
    return block, mean


def adjoint(box: Box, weights: Array) -> Array:
    """``sum_w weights[w] x[w + a]`` over all patches of a box: ``(features, k)`` from the part's ``(*counts, k)``."""
    plan = plan_of(box, weights.dtype.kind != "c")
    groups = _groups(plan, weights.shape[-1])
    return np.concatenate([_adjoint(plan, weights[..., j]) for j in groups], axis=1)


def _adjoint(plan: Plan, weights: Array) -> Array:
    box = plan.box
    parts = in_lanes(
        lambda lane: _adjoint_lane(plan, weights, lane), tiles(box.counts, plan.lengths)
    )
    total = sum(part[0] for part in parts)
    constant = sum(part[1] for part in parts)
    lags = plan.inverse(total, tuple(a + 1 for a in plan.axes))
    lags = lags[(slice(None), slice(None), *(slice(0, n) for n in box.lags))]
    found: Array = lags.reshape(weights.shape[-1], -1)[:, box.slots].T + constant
    return found


def _adjoint_lane(plan: Plan, weights: Array, lane: Iterator[Bounds]) -> tuple[Array, Array]:
    box, k = plan.box, weights.shape[-1]
    flat = tuple(a for a in range(1, len(box.axes) + 1) if a not in plan.axes)
    total: Any = 0
    constant = np.zeros(k, weights.dtype)
    for ranges in lane:
        block, mean = _read(box, ranges, weights.dtype)
        transformed = plan.forward(block)
        place = tuple(axis.rows(*r) for axis, r in zip(box.axes, ranges, strict=True))
        chosen = weights[place]
        constant += mean * chosen.reshape(-1, k).sum(axis=0)
        found = []
        for j in range(k):
            spectrum = np.conj(plan.forward(chosen[..., j].conj()[None]))
            found.append((transformed * spectrum).sum(axis=flat, keepdims=True))
        total = total + np.stack(found)
    return total, constant

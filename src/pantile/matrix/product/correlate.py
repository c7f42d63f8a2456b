"""Products of a box by Fourier transforms of blocks (overlap-save), with bounded memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...geometry.limits import Limits
from ...geometry.rect import Rect
from ...kernels.parallel import each_in_parallel
from ..boxes.boxes import Box
from ..boxes.fourier import FourierBlocks, check_finite, plan_blocks, run_in_lanes
from ..selection.stack import Array

__all__ = ["correlate", "correlate_transposed"]


def correlate(box: Box, kernels: Array, out: Array, limits: Limits) -> None:
    """Write ``sum_a x[w + a] kernels[a]`` for all patches ``w`` of a box into ``out``.

    ``kernels`` is ``(features, k)`` and ``out`` the rectangle's ``(*counts, k)``. The mean of each
    block is taken out before it is transformed, and added afterwards.
    """
    plan = plan_blocks(box, out.dtype.kind != "c", limits.fft_points)
    for j in _group_columns(plan, kernels.shape[1], limits.spectra_elements):
        _correlate_group(plan, kernels[:, j], out[..., j])


def _group_columns(plan: FourierBlocks, columns: int, elements: int) -> list[slice]:
    """Columns whose spectra take about so many ``elements`` together."""
    size = max(1, elements // (plan.box.depth * plan.points))
    return [slice(j, min(j + size, columns)) for j in range(0, columns, size)]


def _correlate_group(plan: FourierBlocks, kernels: Array, out: Array) -> None:
    box = plan.box
    spectra = [_transform_kernel(plan, kernel) for kernel in kernels.T]
    totals = kernels.sum(axis=0)

    def work(ranges: Rect) -> None:
        block, mean = _read(box, ranges, out.dtype)
        transformed = plan.transform(block)
        place = _rows(box, ranges)
        valid = tuple(slice(0, end - begin) for begin, end in ranges)
        for j, spectrum in enumerate(spectra):
            product = transformed * spectrum
            product = product[0] if box.depth == 1 else product.sum(axis=0)
            found = plan.invert(product, box.lag_axes)[valid]
            np.add(found, mean * totals[j], out=out[(*place, j)])

    each_in_parallel(work, plan.cut())


def _transform_kernel(plan: FourierBlocks, kernel: Array) -> Array:
    box = plan.box
    stack = np.zeros(box.depth * math.prod(box.lags), kernel.dtype)
    stack[box.slots] = kernel.conj()
    return np.conj(plan.transform(stack.reshape(box.depth, *box.lags)))


def _rows(box: Box, ranges: Rect) -> tuple[Any, ...]:
    """Where the patches of ``ranges`` are among the rectangle's."""
    return tuple(axis.rows(*r) for axis, r in zip(box.axes, ranges, strict=True))


def _read(box: Box, ranges: Rect, dtype: Any) -> tuple[Array, Any]:
    """What the patches of ``ranges`` reach over, less its mean; and the mean."""
    reach = tuple((b, e + n - 1) for (b, e), n in zip(ranges, box.lags, strict=True))
    block = box.read(reach, 0, dtype)
    mean = block.mean()
    check_finite(mean)
    block -= mean
    return block, mean


def correlate_transposed(box: Box, weights: Array, limits: Limits) -> Array:
    """``sum_w weights[w] x[w + a]`` over all patches of a box, ``(features, k)``.

    ``weights`` are the rectangle's, ``(*counts, k)``.
    """
    plan = plan_blocks(box, weights.dtype.kind != "c", limits.fft_points)
    groups = _group_columns(plan, weights.shape[-1], limits.spectra_elements)
    return np.concatenate(
        [_correlate_group_transposed(plan, weights[..., j]) for j in groups], axis=1
    )


def _correlate_group_transposed(plan: FourierBlocks, weights: Array) -> Array:
    box = plan.box
    sums = run_in_lanes(lambda lane: _sum_lane(plan, weights, lane), plan.cut())
    total = sum(spectrum for spectrum, _ in sums)
    constant = sum(added for _, added in sums)
    lags = plan.invert(total, tuple(a + 1 for a in plan.axes))
    lags = lags[(slice(None), slice(None), *(slice(0, n) for n in box.lags))]
    found: Array = lags.reshape(weights.shape[-1], -1)[:, box.slots].T + constant
    return found


def _sum_lane(plan: FourierBlocks, weights: Array, lane: Sequence[Rect]) -> tuple[Array, Array]:
    """The spectra of a lane's blocks, summed; and what their means add to every feature."""
    box, k = plan.box, weights.shape[-1]
    total: Any = 0
    constant = np.zeros(k, weights.dtype)
    for ranges in lane:
        block, mean = _read(box, ranges, weights.dtype)
        transformed = plan.transform(block)
        chosen = weights[_rows(box, ranges)]
        constant += mean * chosen.reshape(-1, k).sum(axis=0)
        found = []
        for j in range(k):
            spectrum = np.conj(plan.transform(chosen[..., j].conj()[None]))
            found.append((transformed * spectrum).sum(axis=plan.flat_axes, keepdims=True))
        total = total + np.stack(found)
    return total, constant

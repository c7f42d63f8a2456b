"""The correlation of a box with itself, by Fourier transforms of blocks.

``T[d] = sum_r conj(y[r]) y[r + d]``: the spectra of all blocks are summed and inverted once.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...geometry.limits import Limits
from ...geometry.rect import Rect
from ..boxes.boxes import Box
from ..boxes.fourier import (
    FourierBlocks,
    check_finite,
    cut_blocks,
    plan_lag_blocks,
    run_in_lanes,
)
from ..selection.stack import Array
from .index import index_axes

__all__ = ["add_lags"]


def add_lags(gram: Array, box: Box, shift: Any, limits: Limits) -> None:
    """Add ``sum_w conj(y[w + a]) y[w + b]`` where ``min(a, b) = 0``, for ``y = x - shift``."""
    axes = box.lag_axes[1:]
    for n in range(len(axes) + 1):
        for strips in itertools.combinations(axes, n):
            _place(gram, box, strips, _correlate(box, shift, gram.dtype, strips, limits))


def _correlate(box: Box, shift: Any, dtype: Any, strips: tuple[int, ...], limits: Limits) -> Array:
    """The correlation of every pair of phases, ``(depth, depth, *d)``, ``d`` modulo the transform's lengths.

    ``r`` runs over ``[0, n)``. On the axes of ``strips`` it runs over ``[n, n + lags - 1)`` with ``r +
    d`` below ``n``: that is what lags which are negative there need in addition.
    """
    plan = _plan(box, dtype, strips, limits)
    ranges = [
        [(n, n + box.lags[k] - 1)]
        if k in strips
        else [r for (r,) in cut_blocks((n,), (plan.lengths[k],))]
        for k, n in enumerate(box.counts)
    ]
    blocks = list(itertools.product(*ranges))
    total = sum(run_in_lanes(lambda lane: _sum_spectra(plan, shift, dtype, strips, lane), blocks))
    return plan.invert(total, tuple(k + 2 for k in box.lag_axes))


def _plan(box: Box, dtype: Any, strips: tuple[int, ...], limits: Limits) -> FourierBlocks:
    from scipy.fft import next_fast_len

    plan = plan_lag_blocks(box, np.dtype(dtype).kind != "c", limits)
    shape = [
        int(next_fast_len(3 * box.lags[k], plan.real)) if k in strips else n
        for k, n in zip(box.lag_axes, plan.shape, strict=True)
    ]
    return FourierBlocks(box, plan.lengths, tuple(shape), plan.real)


def _sum_spectra(
    plan: FourierBlocks, shift: Any, dtype: Any, strips: tuple[int, ...], lane: Sequence[Rect]
) -> Array:
    """Sum of ``conj(F(y[r])) F(y[r + d])`` over the blocks of a lane."""
    box, flat = plan.box, plan.flat_axes
    total: Any = 0
    for ranges in lane:
        reach = tuple(_reach(box, k, r, strips) for k, r in enumerate(ranges))
        block = box.read(reach, shift, dtype)
        check_finite(block.sum())
        inner = _clear_outside(block, ranges, reach)
        for k in strips:  # r + d stays below n
            block[index_axes({k + 1: slice(box.counts[k] - reach[k][0], None)})] = 0
        left = np.conj(plan.transform(inner))
        right = plan.transform(block)
        if box.depth == 1:
            total = total + (left * right).sum(axis=flat, keepdims=True)[None]
            continue
        pairs = [(one[None] * right).sum(axis=flat, keepdims=True) for one in left]
        total = total + np.stack(pairs)
    return np.asarray(total)


def _reach(box: Box, k: int, r: tuple[int, int], strips: tuple[int, ...]) -> tuple[int, int]:
    """What a block is correlated with along an axis; the first lag axis has no negative lags."""
    halo = box.lags[k] - 1
    before = 0 if k == box.lag_axes[0] else halo
    return max(0, r[0] - before), r[1] if k in strips else r[1] + halo


def _clear_outside(block: Array, ranges: Rect, reach: Rect) -> Array:
    """A copy of the block with everything outside ``ranges`` set to 0."""
    inner = np.zeros_like(block)
    place = (
        slice(None),
        *(slice(b - c, e - c) for (b, e), (c, _) in zip(ranges, reach, strict=True)),
    )
    inner[place] = block[place]
    return inner


def _place(gram: Array, box: Box, strips: tuple[int, ...], found: Array) -> None:
    """Add lags where ``min(a, b) = 0``: a lag ``d >= 0`` at (0, d), a negative one at (-d, 0)."""
    ndim = len(box.lags)
    for chosen in itertools.product(*_signs(box, strips, found)):
        rows: dict[int, Any] = {0: slice(None)}
        lags: dict[int, Any] = {0: slice(None)}
        for k, (a, b, d) in zip(box.lag_axes, chosen, strict=True):
            rows |= {k + 1: a, ndim + 2 + k: b}
            lags |= {k + 2: d}
        target = gram[index_axes(rows)]
        # (Z, a..., Z, b...) from (Z, Z, d...): one of a, b has length 1 on every axis
        values = found[index_axes(lags)]
        target += _interleave(values, target.shape, ndim)


def _signs(box: Box, strips: tuple[int, ...], found: Array) -> list[list[tuple[slice, ...]]]:
    """For each lag axis the signs that ``d`` can have: where these are in ``a``, in ``b``, and in ``d``."""
    choices: list[list[tuple[slice, ...]]] = []
    for k in box.lag_axes:
        p, n = box.lags[k], found.shape[k + 2]
        forward = (slice(0, 1), slice(0, p), slice(0, p))
        backward = (slice(1, p), slice(0, 1), slice(n - 1, n - p, -1))
        if k == box.lag_axes[0]:
            choices.append([forward])
        else:
            choices.append([backward] if k in strips else [forward, backward])
    return choices


def _interleave(values: Array, shape: tuple[int, ...], ndim: int) -> Array:
    """``(Z, Z, *d)`` as ``(Z, *a, Z, *b)``, where ``a`` or ``b`` has the length of ``d`` and the other 1."""
    wide = values.reshape(*values.shape[:2], *(n for d in values.shape[2:] for n in (d, 1)))
    for k in range(ndim):
        if shape[1 + k] < values.shape[2 + k]:
            wide = wide.swapaxes(2 + 2 * k, 3 + 2 * k)
    order = (0, *range(2, 2 + 2 * ndim, 2), 1, *range(3, 3 + 2 * ndim, 2))
    return wide.transpose(order)

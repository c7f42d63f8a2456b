"""Gram matrices by lags: one correlation of the image with itself, and the patches at its faces.

``G[a, b] = sum_w conj(x[w + a]) x[w + b]`` depends on where ``a`` lies only through the faces of the
box of patches. Moving ``a`` and ``b`` by one along an axis ``k`` (``e`` is one step along it) gives

    G[a + e, b + e] = G[a, b] + D[a, b],    D = (faces at w_k = n_k) - (faces at w_k = 0),

so it is enough to know G where ``min(a_k, b_k) = 0`` on every axis, which is a correlation with
``2 * lags - 1`` values per axis, and the Gram matrices ``D`` of the patches that start on a face.
The correlation is a sum of block spectra, inverted once. Cost grows with the image, not with rows
times features. The scheme is pantile's own; in one axis it is the displacement structure of the
covariance method of linear prediction (Morf, Dickinson, Kailath and Vieira, 1977).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ...geometry.tiles import Bounds
from ..boxes import fourier as spectra
from ..boxes.boxes import Box
from ..boxes.fourier import NotFinite, Plan, in_lanes, plan_of, tiles
from ..selection.selection import conjugate
from ..selection.stack import Array

__all__ = ["lag_gram", "lag_pairs", "lag_points"]

_ACCUMULATOR = 1 << 22  # complex numbers that spectra of all pairs of phases may take
_FACE_BYTES = 16_000_000  # of a block of patches on a face


def lag_gram(box: Box, shift: Any, dtype: Any, direct: bool) -> Array:
    """``sum_w conj(y[w + a]) y[w + b]`` over the patches of a box, for ``y = x - shift``.

    The correlation is summed by products of phases where they are many (``direct``), else by FFT.
    """
    depth, lags, first = box.depth, box.lags, box.lag_axes[0]
    gram = np.zeros((depth, *lags, depth, *lags), dtype)
    if direct:
        _add_products(gram, box, shift, dtype)
    else:
        for subset in _subsets(box.lag_axes[1:]):
            _add_lags(gram, box, subset, _correlation(box, shift, dtype, subset))
    ndim = len(lags)
    for k in reversed(box.lag_axes[1:]):
        corner = gram[_at({first + 1: slice(0, 1)})]
        _expand(corner, _faces(box, shift, dtype, k, first), k + 1, ndim + 2 + k, both=True)
    _expand(gram, _faces(box, shift, dtype, first, None), first + 1, ndim + 2 + first, both=False)
    _mirror(gram, first + 1, ndim + 2 + first)
    size = depth * math.prod(lags)
    found: Array = gram.reshape(size, size)[np.ix_(box.slots, box.slots)]
    return found


def _subsets(axes: Sequence[int]) -> list[tuple[int, ...]]:
    return [s for n in range(len(axes) + 1) for s in itertools.combinations(axes, n)]


def _at(index: dict[int, Any]) -> tuple[Any, ...]:
    """An index that is ``index`` on some axes and everything on those before the last of them."""
    return tuple(index.get(a, slice(None)) for a in range(max(index) + 1))


# lags: T[d] = sum_r conj(y[r]) y[r + d]


def _correlation(box: Box, shift: Any, dtype: Any, strips: tuple[int, ...]) -> Array:
    """Correlation of every pair of phases, ``(Z, Z, *d)`` with ``d`` modulo the FFT's lengths.

    ``r`` runs over ``[0, n)``, but on the axes of ``strips`` over ``[n, n + lags - 1)`` with ``r +
    d`` below ``n``: what lags that are negative there need on top.
    """
    plan = _lag_plan(box, dtype, strips)
    ranges = [
        [(n, n + box.lags[k] - 1)] if k in strips else _cut(n, plan.lengths[k])
        for k, n in enumerate(box.counts)
    ]
    blocks = list(itertools.product(*ranges))
    total = sum(in_lanes(lambda lane: _spectra(plan, shift, dtype, strips, lane), blocks))
    return plan.inverse(total, tuple(k + 2 for k in box.lag_axes))


def _cut(n: int, length: int) -> list[tuple[int, int]]:
    return [r for (r,) in tiles((n,), (length,))]


def lag_points(box: Box) -> int:
    """Points of an FFT: spectra of all pairs of phases must fit."""
    return min(4 * spectra.MOST_POINTS, max(1 << 12, _ACCUMULATOR // box.depth**2))


def _lag_plan(box: Box, dtype: Any, strips: tuple[int, ...]) -> Plan:
    from scipy.fft import next_fast_len

    points = lag_points(box)
    plan = plan_of(box, np.dtype(dtype).kind != "c", 2, points)
    shape = [
        int(next_fast_len(3 * box.lags[k], plan.real)) if k in strips else n
        for k, n in zip(box.lag_axes, plan.shape, strict=True)
    ]
    return Plan(box, plan.lengths, tuple(shape), plan.real)


def _spectra(
    plan: Plan, shift: Any, dtype: Any, strips: tuple[int, ...], lane: Iterator[Bounds]
) -> Array:
    """Sum of ``conj(F(y[r])) F(y[r + d])`` over the blocks of a lane."""
    box = plan.box
    flat = tuple(a for a in range(1, len(box.axes) + 1) if a not in plan.axes)
    total: Any = 0
    for ranges in lane:
        reach = tuple(_reach(box, k, r, strips) for k, r in enumerate(ranges))
        block = box.read(reach, shift, dtype)
        if not np.isfinite(block.sum()):
            raise NotFinite("image holds NaN or infinity")
        inner = _only(block, ranges, reach)
        for k in strips:  # r + d stays below n
            block[_at({k + 1: slice(box.counts[k] - reach[k][0], None)})] = 0
        left = np.conj(plan.forward(inner))
        right = plan.forward(block)
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


def _only(block: Array, ranges: Bounds, reach: Bounds) -> Array:
    """The block with everything outside ``ranges`` set to 0, a copy."""
    inner = np.zeros_like(block)
    place = (
        slice(None),
        *(slice(b - c, e - c) for (b, e), (c, _) in zip(ranges, reach, strict=True)),
    )
    inner[place] = block[place]
    return inner


def _add_lags(gram: Array, box: Box, strips: tuple[int, ...], found: Array) -> None:
    """Put lags where ``min(a, b) = 0``: a lag ``d >= 0`` at (0, d), a negative one at (-d, 0)."""
    ndim = len(box.lags)
    choices = []
    for k in box.lag_axes:
        p, n = box.lags[k], found.shape[k + 2]
        forward = (slice(0, 1), slice(0, p), slice(0, p))
        backward = (slice(1, p), slice(0, 1), slice(n - 1, n - p, -1))
        if k == box.lag_axes[0]:
            choices.append([forward])
        else:
            choices.append([backward] if k in strips else [forward, backward])
    for chosen in itertools.product(*choices):
        rows: dict[int, Any] = {0: slice(None)}
        lags: dict[int, Any] = {0: slice(None)}
        for k, (a, b, d) in zip(box.lag_axes, chosen, strict=True):
            rows |= {k + 1: a, ndim + 2 + k: b}
            lags |= {k + 2: d}
        target = gram[_at(rows)]
        # (Z, a..., Z, b...) from (Z, Z, d...): one of a, b has length 1 on every axis
        values = found[_at(lags)]
        target += _interleaved(values, target.shape, ndim)


def _interleaved(values: Array, shape: tuple[int, ...], ndim: int) -> Array:
    """``(Z, Z, *d)`` as ``(Z, *a, Z, *b)``, where ``a`` or ``b`` has the length of ``d`` and the other 1."""
    wide = values.reshape(*values.shape[:2], *(n for d in values.shape[2:] for n in (d, 1)))
    for k in range(ndim):
        if shape[1 + k] < values.shape[2 + k]:
            wide = wide.swapaxes(2 + 2 * k, 3 + 2 * k)
    order = (0, *range(2, 2 + 2 * ndim, 2), 1, *range(3, 3 + 2 * ndim, 2))
    return wide.transpose(order)


# the same for many phases: a product of matrices for each lag


def lag_pairs(box: Box) -> int:
    """How many ``(a, b)`` with ``min(a, b) = 0`` on every axis, and ``a = 0`` on the first lag axis."""
    return math.prod(
        box.lags[k] if k == box.lag_axes[0] else 2 * box.lags[k] - 1 for k in box.lag_axes
    )


def _add_products(gram: Array, box: Box, shift: Any, dtype: Any) -> None:
    """Add ``sum_w conj(y[w + a]) y[w + b]`` where ``min(a, b) = 0``, some patches at a time."""
    first = box.lag_axes[0]
    starts = [range(1 if k == first else n) for k, n in enumerate(box.lags)]
    items = _FACE_BYTES // (np.dtype(dtype).itemsize * box.depth)
    for ranges in tiles(box.counts, _within(items, box.counts)):
        stretch, mask = _stretches(box, ranges, shift, dtype)
        for a in itertools.product(*starts):
            left = conjugate(stretch(a) * mask)
            ends = [range(1 if n else m) for n, m in zip(a, box.lags, strict=True)]
            for b in itertools.product(*ends):
                at: tuple[Any, ...] = (slice(None), *a, slice(None), *b)
                gram[at] += left @ stretch(b).T


def _stretches(
    box: Box, ranges: Bounds, shift: Any, dtype: Any
) -> tuple[Callable[[tuple[int, ...]], Array], Array]:
    """All ``y[w + a]`` of a block as one stretch of its flattened phases, and where it holds patches ``w``.

    What lies between the patches there, at the ends of lines, is to be masked: no window is cut.
    """
    reach = tuple((b, e + n - 1) for (b, e), n in zip(ranges, box.lags, strict=True))
    block = box.read(reach, shift, dtype)
    if not np.isfinite(block.sum()):
        raise NotFinite("image holds NaN or infinity")
    sizes, lines = block.shape[1:], block.reshape(box.depth, -1)
    mask = np.zeros(sizes, dtype=bool)
    mask[tuple(slice(0, e - b) for b, e in ranges)] = True
    length = int(np.flatnonzero(mask)[-1]) + 1

    def stretch(at: tuple[int, ...]) -> Array:
        begin = int(np.ravel_multi_index(at, sizes))
        return lines[:, begin : begin + length]

    return stretch, mask.ravel()[:length]


# faces: patches that start at 0 and, one behind the last, at n


def _faces(box: Box, shift: Any, dtype: Any, k: int, first: int | None) -> Array:
    """``D``: Gram matrix of the patches with ``w_k = n_k`` less that of those with ``w_k = 0``.

    Only for ``a_k`` and ``b_k`` below ``lags - 1``, and with ``first`` only for ``a_first = 0``.
    """
    lags = tuple(n - (j == k) for j, n in enumerate(box.lags))
    size = box.depth * math.prod(lags)
    kept = np.arange(size).reshape(box.depth, *lags)
    left = kept if first is None else kept[_at({first + 1: slice(0, 1)})]
    total = np.zeros((left.size, size), dtype)
    product = np.empty_like(total)
    for sign, start in ((1, box.counts[k]), (-1, 0)):
        for columns in _face_blocks(box, shift, dtype, k, start, lags):
            chosen = columns if first is None else columns[left.ravel()]
            np.matmul(conjugate(chosen), columns.T, out=product)
            np.add(total, product, out=total) if sign > 0 else np.subtract(
                total, product, out=total
            )
    return total.reshape(*left.shape, *kept.shape)


def _face_blocks(
    box: Box, shift: Any, dtype: Any, k: int, start: int, lags: tuple[int, ...]
) -> Iterator[Array]:
    """Patches of a face as columns ``(features, n)``, some at a time."""
    counts = tuple(1 if j == k else n for j, n in enumerate(box.counts))
    size = box.depth * math.prod(lags)
    room = _FACE_BYTES // (np.dtype(dtype).itemsize * size)
    for ranges in tiles(counts, _within(room, counts)):
        reach = [(b, e + n - 1) for (b, e), n in zip(ranges, lags, strict=True)]
        reach[k] = (start, start + lags[k])
        block = box.read(tuple(reach), shift, dtype)
        axes = tuple(range(1, block.ndim))
        windows = np.lib.stride_tricks.sliding_window_view(block, lags, axis=axes)
        turned = windows.transpose(0, *range(block.ndim, windows.ndim), *axes)
        yield turned.reshape(size, -1)


def _within(room: int, counts: Sequence[int]) -> list[int]:
    """Lengths of blocks of at most so many patches, at least one, whole lines first."""
    lengths = list(counts)
    for j in reversed(range(len(lengths))):
        lengths[j] = max(1, min(lengths[j], room))
        room //= lengths[j]
    return lengths


# from the faces to everything


def _expand(gram: Array, step: Array, a: int, b: int, both: bool) -> None:
    """Fill ``gram[a + 1, b + 1] = gram[a, b] + step[a, b]`` along one axis, from ``min(a, b) = 0``."""
    for t in range(gram.shape[a] - 1):
        row, after = _at({a: t, b: slice(t, -1)}), _at({a: t + 1, b: slice(t + 1, None)})
        gram[after] = gram[row] + step[_at({a: t, b: slice(t, None)})]
        if both:
            column = _at({a: slice(t + 1, -1), b: t})
            after = _at({a: slice(t + 2, None), b: t + 1})
            gram[after] = gram[column] + step[_at({a: slice(t + 1, None), b: t})]


def _mirror(gram: Array, a: int, b: int) -> None:
    """Fill what lies below the diagonal of one axis from what lies above: G is Hermitian."""
    half = gram.ndim // 2
    swapped = gram.transpose(*range(half, gram.ndim), *range(half))
    for t in range(gram.shape[a] - 1):
        below = _at({a: slice(t + 1, None), b: t})
        gram[below] = np.conj(swapped[below])

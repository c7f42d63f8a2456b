"""Gram matrices of the patches on the faces of a box: those that start at 0, and one behind the last."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ...geometry.limits import Limits
from ..boxes.boxes import Box
from ..boxes.fourier import cut_blocks
from ..selection.stack import Array
from ..selection.standardise import conjugate
from .index import fit_lengths, index_axes

__all__ = ["subtract_faces"]


def subtract_faces(
    box: Box, shift: Any, dtype: Any, k: int, first: int | None, limits: Limits
) -> Array:
    """The Gram matrix of the patches with ``w_k = n_k`` less that of those with ``w_k = 0``.

    Only for ``a_k`` and ``b_k`` below ``lags - 1``, and where there is a ``first`` only for ``a_first
    = 0``.
    """
    lags = tuple(n - (j == k) for j, n in enumerate(box.lags))
    size = box.depth * math.prod(lags)
    kept = np.arange(size).reshape(box.depth, *lags)
    left = kept if first is None else kept[index_axes({first + 1: slice(0, 1)})]
    total = np.zeros((left.size, size), dtype)
    product = np.empty_like(total)
    for add, start in ((np.add, box.counts[k]), (np.subtract, 0)):
        for columns in _cut_face(box, shift, dtype, k, start, lags, limits.face_bytes):
            chosen = columns if first is None else columns[left.ravel()]
            np.matmul(conjugate(chosen), columns.T, out=product)
            add(total, product, out=total)
    return total.reshape(*left.shape, *kept.shape)


def _cut_face(
    box: Box, shift: Any, dtype: Any, k: int, start: int, lags: tuple[int, ...], nbytes: int
) -> Iterator[Array]:
    """The patches with ``w_k = start`` as columns ``(features, n)``, about so many ``nbytes`` at a time."""
    counts = tuple(1 if j == k else n for j, n in enumerate(box.counts))
    size = box.depth * math.prod(lags)
    most = nbytes // (np.dtype(dtype).itemsize * size)
    for ranges in cut_blocks(counts, fit_lengths(most, counts)):
        reach = [(b, e + n - 1) for (b, e), n in zip(ranges, lags, strict=True)]
        reach[k] = (start, start + lags[k])
        block = box.read(tuple(reach), shift, dtype)
        axes = tuple(range(1, block.ndim))
        windows = np.lib.stride_tricks.sliding_window_view(block, lags, axis=axes)
        turned = windows.transpose(0, *range(block.ndim, windows.ndim), *axes)
        yield turned.reshape(size, -1)

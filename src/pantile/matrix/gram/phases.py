"""The correlation of a box that has many phases: a product of matrices for each lag."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from ...geometry.limits import Limits
from ...geometry.rect import Rect
from ..boxes.boxes import Box
from ..boxes.fourier import check_finite, cut_blocks
from ..selection.stack import Array
from ..selection.standardise import conjugate
from .index import fit_lengths

__all__ = ["add_phases"]


def add_phases(gram: Array, box: Box, shift: Any, limits: Limits) -> None:
    """Add ``sum_w conj(y[w + a]) y[w + b]`` where ``min(a, b) = 0``, some patches at a time."""
    first = box.lag_axes[0]
    starts = [range(1 if k == first else n) for k, n in enumerate(box.lags)]
    most = limits.face_bytes // (gram.dtype.itemsize * box.depth)
    for ranges in cut_blocks(box.counts, fit_lengths(most, box.counts)):
        stretch, mask = _flatten(box, ranges, shift, gram.dtype)
        for a in itertools.product(*starts):
            left = conjugate(stretch(a) * mask)
            ends = [range(1 if n else m) for n, m in zip(a, box.lags, strict=True)]
            for b in itertools.product(*ends):
                at: tuple[Any, ...] = (slice(None), *a, slice(None), *b)
                gram[at] += left @ stretch(b).T


def _flatten(
    box: Box, ranges: Rect, shift: Any, dtype: Any
) -> tuple[Callable[[tuple[int, ...]], Array], Array]:
    """All ``y[w + a]`` of a block as one stretch of its flattened phases, and where it holds patches.

    So no patch is cut. The elements between the patches, at the ends of lines, are to be masked.
    """
    reach = tuple((b, e + n - 1) for (b, e), n in zip(ranges, box.lags, strict=True))
    block = box.read(reach, shift, dtype)
    check_finite(block.sum())
    sizes, lines = block.shape[1:], block.reshape(box.depth, -1)
    mask = np.zeros(sizes, dtype=bool)
    mask[tuple(slice(0, e - b) for b, e in ranges)] = True
    length = int(np.flatnonzero(mask)[-1]) + 1

    def stretch(at: tuple[int, ...]) -> Array:
        begin = int(np.ravel_multi_index(at, sizes))
        return lines[:, begin : begin + length]

    return stretch, mask.ravel()[:length]

"""Held-out regions: blocks of neighbouring windows, because neighbours share most of their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .canvas import Canvas

__all__ = ["hold_out"]

Array = NDArray[Any]

_WIDE = 4  # sides of a block, in extents of a patch


def hold_out(
    canvas: Canvas, masks: Sequence[Array | None], share: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Which of the windows that take part are held out: those of random blocks, about ``share`` of all.

    The side of a block is four times that of a patch, or less where an image is small.
    """
    blocks = _number_blocks(canvas, masks)
    sizes = np.bincount(blocks)
    order = rng.permutation(np.flatnonzero(sizes))
    if len(order) < 2:
        raise ValueError(
            "early_stopping: all labelled windows lie in one block of 4x4 patches, so none can be held out:"
            " label more, or early_stopping=False"
        )
    reached = np.cumsum(sizes[order])
    n = int(np.searchsorted(reached, share * reached[-1])) + 1
    chosen = np.zeros(len(sizes), np.bool_)
    chosen[order[: min(n, len(order) - 1)]] = True
    return np.asarray(chosen[blocks])


def _number_blocks(canvas: Canvas, masks: Sequence[Array | None]) -> NDArray[np.int32]:
    """The number of the block of each window that takes part."""
    parts, first = [], 0
    for starts, grid, mask in zip(canvas.starts, canvas.grids, masks, strict=True):
        places = np.zeros(1, np.int32)
        n = 1
        for axis in grid.axis_grids:
            low, high = axis.span(0, axis.count)
            side = max(1, min(_WIDE * axis.extent, (high - low) // _WIDE))
            at = (axis.starts() - axis.start(0)) // side
            count = int(at[-1]) + 1
            places = (places[:, None] * count + at).astype(np.int32).ravel()
            n *= count
        for entry in range(len(starts)):
            own = places if mask is None else places[mask.reshape(len(starts), -1)[entry]]
            parts.append(own + np.int32(first))
            first += n
    return np.concatenate(parts)

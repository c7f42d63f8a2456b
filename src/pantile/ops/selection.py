"""Which patches take part, and which elements they touch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import AxisGrid
from ..geometry.arrays import to_array
from ..geometry.frame import Frame

__all__ = ["selected", "touched"]

Mask = NDArray[np.bool_]


def selected(where: Any, frame: Frame, *, empty: bool = False) -> Mask:
    """``where`` as one truth value per patch, of the frame's counts.

    A mask of the counts says exactly which patches; a mask of the image selects the patches that
    touch a True. Either has the patched axes, or the batch axes and the patched ones. Where both
    shapes are the same, it is read as counts. Only with ``empty`` may it select none.
    """
    mask = to_array(where, "where", "say which are meant, where=where.filled(False)")
    if mask.dtype.kind in "OUS":
        raise TypeError(
            f"where must be a boolean array of the image's shape or of the counts, got {type(where).__name__}"
        )
    if mask.dtype != bool:
        raise TypeError(
            f"where must be boolean, got dtype {mask.dtype}: compare it with something, where=labels > 0"
        )
    grid, batch = frame.grid, frame.batch_shape
    if mask.shape in (grid.counts, (*batch, *grid.counts)):
        chosen = mask
    elif mask.shape in (grid.shape, (*batch, *grid.shape)):
        chosen = _any_sample(mask, grid.axis_grids)
    else:
        raise ValueError(
            f"where has shape {mask.shape}; give the image's {grid.shape} (patches that touch a True) or the counts"
            f" {grid.counts} (exactly those)"
        )
    if not (empty or chosen.any()):
        raise ValueError("where selects no patch")
    chosen = np.broadcast_to(chosen, (*batch, *grid.counts))
    if frame.channel is not None:
        chosen = np.expand_dims(chosen, frame.channel)
    return chosen


def _any_sample(mask: Mask, axes: Sequence[AxisGrid]) -> Mask:
    """Whether a patch touches a True, one axis after the other."""
    first = mask.ndim - len(axes)
    for k, axis in enumerate(axes):
        rows = np.moveaxis(mask, first + k, 0)
        starts = axis.starts()
        found = np.zeros((axis.count, *rows.shape[1:]), dtype=bool)
        for a in range(axis.patch):
            at = starts + a * axis.dilation
            inside = (at >= 0) & (at < axis.size)
            found[inside] |= rows[at[inside]]
        mask = np.moveaxis(found, 0, first + k)
    return mask


def touched(mask: Mask, axes: Sequence[AxisGrid]) -> Mask:
    """Which elements of the image the selected patches touch (canonical axes)."""
    for k, axis in enumerate(axes):
        rows = np.ascontiguousarray(np.moveaxis(mask, k, 0))
        found = np.zeros((axis.size, *rows.shape[1:]), dtype=bool)
        for places, reach in _covered(axis):
            found[places] |= rows[reach]
        mask = np.moveaxis(found, 0, k)
    return mask


def _covered(axis: AxisGrid) -> Iterator[tuple[Any, Any]]:
    """Elements along an axis, and the patches that cover them, as indices: a patch or a sample at a time."""
    starts = axis.starts()
    if axis.dilation == 1 and axis.count < axis.patch:
        for i, start in enumerate(starts.tolist()):
            yield slice(max(0, start), max(0, start + axis.patch)), slice(i, i + 1)
        return
    for a in range(axis.patch):
        at = starts + a * axis.dilation
        inside = (at >= 0) & (at < axis.size)
        yield at[inside], inside

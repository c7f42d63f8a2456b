"""The forms patches come in: what `patchify` gives, what `extract` gives, rows of a matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import PatchGrid
from ..geometry.arguments import as_axis, as_shape
from ..geometry.frame import Frame, frame_of, patched_axes, refuse_both
from ..geometry.rect import slices
from ..geometry.tiling import Tile

__all__ = ["PatchStack", "recognise", "recognise_some"]


@dataclass(frozen=True)
class PatchStack:
    """All patches of a grid as a view ``(*counts, *patch)`` in canonical axes."""

    frame: Frame
    patches: NDArray[Any]
    as_view: bool = False  # in the form of `patchify`

    def tile(self, tile: Tile) -> NDArray[Any]:
        """The patches of a tile, a view."""
        return self.patches[slices(tile.ranges)]


def recognise(
    patches: NDArray[Any], shape: Any, step: Any, axes: Any, channel_axis: Any
) -> PatchStack:
    """Which form ``patches`` have, given the grid; a `ValueError` that lists the forms if none fits."""
    grid = _grid(patches, shape, step, channel_axis is not None)
    attempts = [_as_extracted, _as_view] if channel_axis is not None else [_as_view, _as_extracted]
    for attempt in (*attempts, _as_rows):
        found = attempt(patches, grid, axes, channel_axis)
        if found is not None:
            return found
    beside = " and the channel axis among the patch axes" if channel_axis is not None else ""
    dropped = ""
    if not isinstance(shape, PatchGrid) and _shifted(grid).n_patches in patches.shape:
        dropped = (
            "; a shape stands for a grid that drops what the step leaves over, and this looks like one that"
            f" shifts the last patches: give {_shifted(grid)!r} instead"
        )
    elif not isinstance(shape, PatchGrid) and isinstance(step, int) and step == 1:
        dropped = "; were they cut with a step, say step=, or give the PatchGrid they were cut with"
    raise ValueError(
        f"patches of shape {patches.shape} do not fit {grid!r}: expected"
        f" (..., *{grid.counts}, ..., *{grid.patch}) as from patchify,"
        f" (*batch, {grid.n_patches}, *{grid.patch}){beside} as from extract,"
        f" or rows (*batch, {grid.n_patches}, {grid.features}){dropped}"
    )


def _shifted(grid: PatchGrid) -> PatchGrid:
    return PatchGrid(grid.shape, grid.patch, grid.step)


def recognise_some(
    patches: NDArray[Any], grid: PatchGrid, n: int, axes: Any, channel_axis: Any
) -> tuple[NDArray[Any], Frame]:
    """Some ``n`` patches of a grid, ``(*batch, n, *patch)`` or rows, as ``(images, n, *patch)`` with their frame."""
    for form in (patches, *_unflattened(patches, grid, axes, channel_axis)):
        frame = _frame_of_stack(form.shape, form.ndim - 1, grid, axes, channel_axis)
        if frame is not None and form.shape == (*frame.batch_shape, n, *frame.patch_shape):
            return form.reshape(-1, n, *frame.patch_shape), frame
    raise ValueError(
        f"patches of shape {patches.shape} do not fit {n} indices and {grid!r}: expected"
        f" (*batch, {n}, *{grid.patch}){' with the channel axis among the patch axes' * (channel_axis is not None)},"
        f" or rows (*batch, {n}, features)"
    )


def _grid(patches: NDArray[Any], shape: Any, step: Any, channels: bool) -> PatchGrid:
    if isinstance(shape, PatchGrid):
        refuse_both(step, {})
        return shape
    sizes = as_shape(shape)
    n = len(sizes)
    if patches.ndim < n + 1:
        raise ValueError(
            f"the patch cannot be read from patches of shape {patches.shape} for an image of {n} patched axes:"
            " give a PatchGrid instead of a shape"
        )
    tails = [patches.shape[-n:]]
    if channels and patches.ndim > n + 1:
        last = patches.shape[-n - 1 :]
        tails = [tuple(p for j, p in enumerate(last) if j != k) for k in range(n, -1, -1)] + tails
    for patch in tails:
        grid = _fitting(patches, sizes, patch, step)
        if grid is not None:
            return grid
    return PatchGrid(sizes, patches.shape[-n:], step, tail="drop")


def _fitting(patches: NDArray[Any], sizes: Any, patch: Any, step: Any) -> PatchGrid | None:
    try:
        grid = PatchGrid(sizes, patch, step, tail="drop")
    except ValueError:
        return None
    held = patches.size // grid.features
    return grid if held % grid.n_patches == 0 and patches.size % grid.features == 0 else None


def _named_axes(
    ndim: int, grid: PatchGrid, axes: Any, channel_axis: Any
) -> tuple[int | None, tuple[int, ...]] | None:
    """The channel axis and the patched axes of an image of ``ndim`` axes; None where it has none such."""
    try:
        channel = None if channel_axis is None else as_axis(channel_axis, ndim, "channel_axis")
        return channel, patched_axes(ndim, grid.ndim, axes, channel)
    except ValueError:
        return None


def _as_view(
    patches: NDArray[Any], grid: PatchGrid, axes: Any, channel_axis: Any
) -> PatchStack | None:
    ndim = patches.ndim - grid.ndim
    if ndim < grid.ndim + (channel_axis is not None) or patches.shape[ndim:] != grid.patch:
        return None
    named = _named_axes(ndim, grid, axes, channel_axis)
    if named is None:
        return None
    _, places = named
    if tuple(patches.shape[a] for a in places) != grid.counts:
        return None
    sizes = list(patches.shape[:ndim])
    for a, n in zip(places, grid.shape, strict=True):
        sizes[a] = n
    frame = frame_of(tuple(sizes), grid, axes=axes, channel_axis=channel_axis)
    view = patches.transpose(*frame.order, *range(ndim, patches.ndim))
    if (
        frame.channel is not None
    ):  # among the counts it becomes 1, among the patch axes all channels
        view = np.moveaxis(view, frame.channel, ndim - 1 + frame.channel - frame.n_batch)
        view = np.expand_dims(view, frame.channel)
    return PatchStack(frame, view, True)


def _as_extracted(
    patches: NDArray[Any], grid: PatchGrid, axes: Any, channel_axis: Any
) -> PatchStack | None:
    ndim = patches.ndim - 1
    frame = _frame_of_stack(patches.shape, ndim, grid, axes, channel_axis)
    if frame is None or patches.shape != (*frame.batch_shape, grid.n_patches, *frame.patch_shape):
        return None
    return _stacked(patches, frame)


def _frame_of_stack(
    shape: tuple[int, ...], ndim: int, grid: PatchGrid, axes: Any, channel_axis: Any
) -> Frame | None:
    """The frame of the image behind ``(*batch, n, *patch)``, its batch and channel sizes read from there."""
    if ndim < grid.ndim + (channel_axis is not None):
        return None
    named = _named_axes(ndim, grid, axes, channel_axis)
    if named is None:
        return None
    channel, places = named
    sizes = [0] * ndim
    for a, n in zip(places, grid.shape, strict=True):
        sizes[a] = n
    free = [a for a in range(ndim) if a not in places and a != channel]
    for a, n in zip(free, shape, strict=False):
        sizes[a] = n
    if channel is not None:
        sizes[channel] = shape[len(free) + 1 + sum(a < channel for a in places)]
    return frame_of(tuple(sizes), grid, axes=axes, channel_axis=channel_axis)


def _as_rows(
    patches: NDArray[Any], grid: PatchGrid, axes: Any, channel_axis: Any
) -> PatchStack | None:
    for whole in _unflattened(patches, grid, axes, channel_axis):
        found = _as_extracted(whole, grid, axes, channel_axis)
        if found is not None:
            return found
    return None


def _unflattened(
    patches: NDArray[Any], grid: PatchGrid, axes: Any, channel_axis: Any
) -> list[NDArray[Any]]:
    """Rows ``(*batch, n, features)`` as patches, a view where strides allow; nothing if they are no rows."""
    if patches.ndim < 2 or patches.shape[-1] % grid.features:
        return []
    channels, inner = patches.shape[-1] // grid.features, list(grid.patch)
    if channel_axis is not None:
        named = _named_axes(patches.ndim - 1 + grid.ndim, grid, axes, channel_axis)
        if named is None:
            return []
        channel, places = named
        assert channel is not None, "a channel axis was named"
        inner.insert(sum(a < channel for a in places), channels)
    elif channels != 1:
        return []
    return [patches.reshape(*patches.shape[:-1], *inner)]


def _stacked(patches: NDArray[Any], frame: Frame) -> PatchStack:
    # splitting one evenly strided axis into the counts it runs over never copies
    return PatchStack(frame, patches.reshape(*frame.counts, *frame.patch_shape))

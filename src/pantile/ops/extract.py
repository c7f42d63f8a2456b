"""Patches copied out into a new array."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..geometry import PatchGrid
from ..geometry.frame import Frame, frame_of
from ..geometry.limits import current_limits
from ..geometry.rect import Rect, whole
from ..geometry.tensors import tensor_verbs
from ..geometry.tiling import Tiling, choose_lengths, span_size
from ..kernels.loops import copy_by_feature, copy_runs
from ..kernels.memory import Flat, as_bits, ensure_item_strides, flatten, has_item_strides
from ..kernels.offsets import (
    Operand,
    Runs,
    find_all_runs,
    find_runs,
    lies_by_feature,
    place_in_stack,
    place_on_image,
)
from ..kernels.parallel import cores, each_in_parallel
from ..kernels.read import read_block
from .arrays import as_array, check_apart

__all__ = [
    "check_layout",
    "check_pad_value",
    "copy_patches",
    "extract",
    "fill_stack",
    "readable",
    "selected_runs",
    "whole_runs",
]

Layout = Literal["patch", "feature"]


def extract(
    image: ArrayLike,
    patch: int | Sequence[int] | PatchGrid,
    step: int | Sequence[int] = 1,
    *,
    axes: int | Sequence[int] | None = None,
    channel_axis: int | None = None,
    indices: ArrayLike | None = None,
    layout: Layout = "patch",
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """A new array of patches, never an alias of the image.

    Parameters
    ----------
    image : array_like
        Any N-D array of any dtype, however strided; or a tensor of another library, of which
        patches are tensors then.
    patch, step
        The shape of a patch and the elements between patches, or a `PatchGrid`.
    axes : int or sequence of int, optional
        The patched axes; by default the last ones that are not the channel axis.
    channel_axis : int, optional
        An axis that travels inside each patch. All other axes are batch axes.
    indices : array_like of int, optional
        Which patches, as flat indices in any order, repeats allowed; the same for every image of a
        batch. All by default.
    layout : {"patch", "feature"}
        ``"patch"`` is C contiguous. ``"feature"`` has the same shape with the patch index fastest
        in memory: faster at small steps, and as a matrix the transpose of a contiguous one.
    out : ndarray, optional
        Where to put the patches: an array of the result's shape and dtype, in any layout.

    Returns
    -------
    ndarray
        ``(*batch, n, *patch)``, with the channel axis among the patch axes where the image has it.

    Raises
    ------
    ValueError, TypeError, IndexError
        When an argument does not fit; nothing has been written to ``out`` then.

    Examples
    --------
    >>> image = np.arange(16).reshape(4, 4)
    >>> extract(image, 2, 2).shape
    (4, 2, 2)
    >>> extract(image, PatchGrid((4, 4), 2), indices=[-1])
    array([[[10, 11],
            [14, 15]]])
    """
    if (tensors := tensor_verbs(image)) is not None:
        cut: NDArray[Any] = tensors.extract(
            image, patch, step, axes=axes, channel_axis=channel_axis, indices=indices, layout=layout, out=out,
        )  # fmt: skip
        return cut
    array = as_array(image)
    frame = frame_of(array.shape, patch, step, axes=axes, channel_axis=channel_axis)
    check_layout(layout)
    check_pad_value(frame, array.dtype)
    rows = None if indices is None else frame.grid.as_rows(indices)
    per_image = frame.grid.n_patches if rows is None else len(rows)
    shape = (*frame.batch_shape, per_image, *frame.patch_shape)
    target = (
        _new_array(shape, frame, array.dtype, layout)
        if out is None
        else _checked_out(out, shape, array)
    )
    if target.size:
        runs = whole_runs(frame) if rows is None else selected_runs(frame, rows)
        _fill(target, frame.canonical(array), frame, runs, per_image)
    return target


def check_layout(layout: Any) -> str:
    if not isinstance(layout, str) or layout not in ("patch", "feature"):
        raise ValueError(f"layout must be 'patch' or 'feature', got {layout!r}")
    return layout


def check_pad_value(frame: Frame, dtype: np.dtype[Any]) -> None:
    """Refuse a padding value that the image's dtype cannot hold."""
    if frame.inside or frame.grid.pad_mode not in ("constant", "linear_ramp"):
        return
    value = frame.grid.pad_value
    try:
        with np.errstate(all="ignore"):
            held = np.asarray(value).astype(dtype)
            fits = dtype.kind in "fcO" and not (dtype.kind == "f" and np.iscomplexobj(value))
            fits = fits or bool(held == value)
    except (TypeError, ValueError, OverflowError):
        fits = False
    if not fits:
        raise ValueError(
            f"pad_value={value!r} cannot be held by the image's dtype {dtype}:"
            " choose another value or convert the image"
        )


def whole_runs(frame: Frame) -> Runs:
    """All patches of a frame."""
    return find_all_runs(frame.counts, frame.breaks(0, frame.counts[frame.along]), frame.along)


def selected_runs(frame: Frame, rows: NDArray[np.int64]) -> Runs:
    """The same patches of every image of the batch, in the order of ``rows``."""
    images = math.prod(frame.batch_shape)
    every = rows
    if images != 1:
        firsts = np.arange(images, dtype=np.int64) * frame.grid.n_patches
        every = (firsts[:, None] + rows).ravel()
    return find_runs(every, frame.counts, frame.all_breaks, frame.along)


def _new_array(
    shape: tuple[int, ...], frame: Frame, dtype: np.dtype[Any], layout: str
) -> NDArray[Any]:
    if layout == "patch":
        return np.empty(shape, dtype=dtype)
    at = frame.n_batch
    moved = (*shape[:at], *shape[at + 1 :], shape[at])
    return np.moveaxis(np.empty(moved, dtype=dtype), -1, at)


def _checked_out(out: Any, shape: tuple[int, ...], array: NDArray[Any]) -> NDArray[Any]:
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a NumPy array, got {type(out).__name__}")
    if out.shape != shape or out.dtype != array.dtype:
        raise ValueError(
            f"out must have shape {shape} and dtype {array.dtype}, got {out.shape} and {out.dtype}"
        )
    if not out.flags.writeable:
        raise ValueError("out is read-only")
    check_apart(out)
    if np.may_share_memory(out, array) and np.shares_memory(out, array):
        raise ValueError("out shares memory with the image: give another array")
    return out


def _fill(
    target: NDArray[Any], image: NDArray[Any], frame: Frame, runs: Runs, per_image: int
) -> None:
    stack = target.reshape(-1, per_image, *frame.patch_shape)
    if not np.shares_memory(stack, target) or as_bits(target.dtype) is None:
        whole = np.empty(stack.shape, dtype=target.dtype)  # a layout that no strides can stack
        fill_stack(whole, image, frame, runs, per_image)
        target[...] = whole.reshape(target.shape)
    else:
        fill_stack(stack, image, frame, runs, per_image)


def fill_stack(
    stack: NDArray[Any], image: NDArray[Any], frame: Frame, runs: Runs, per_image: int
) -> None:
    if as_bits(image.dtype) is None:
        _fill_objects(stack, image, frame, runs)
        return
    goal = place_in_stack(flatten(stack, as_bits(stack.dtype)), per_image, frame.n_batch)
    walkable = has_item_strides(image) or 2 * runs.n * frame.features >= image.size
    for part, bounds in readable(frame, runs, walkable):
        block = image if bounds is None else read_block(
            image, bounds, frame.margins, frame.grid.pad_mode, frame.grid.pad_value
        )  # fmt: skip
        origin = (0,) * image.ndim if bounds is None else tuple(b for b, _ in bounds)
        copy_patches(goal, block, origin, frame, part)


def copy_patches(
    goal: Operand,
    block: NDArray[Any],
    origin: Sequence[int],
    frame: Frame,
    runs: Runs,
) -> None:
    """Copy ``runs`` of patches from a block of the image, on several threads where there is much to do."""
    block = ensure_item_strides(block)
    memory: Flat = flatten(block, as_bits(block.dtype))
    ranges = whole(frame.counts)
    source = place_on_image(memory, frame.axes, origin, ranges, frame.gap, frame.along)

    limits = current_limits()
    if not lies_by_feature(goal, frame.patch):
        most = limits.copy_leaf(limits.cut_leaf_elements, frame.patch[-1])
        leaves = runs.leaves(frame.features, most)
        each_in_parallel(lambda part: copy_runs(goal, source, part, frame.patch), leaves)
        return

    if runs.n * frame.features <= limits.cut_leaf_elements:
        copy_by_feature(goal, source, runs, frame.patch)
        return

    def move(item: tuple[Runs, slice]) -> None:
        copy_by_feature(goal, source, item[0], frame.patch, item[1])

    # each thread fills features of its own, far from the others': the system hands new memory out by the
    # page, of up to 2 MB, and threads that fill the same one wait for each other
    slabs = min(cores(), frame.features)
    cuts = [frame.features * k // slabs for k in range(slabs + 1)]
    bands = runs.leaves(1, limits.cut_band_patches)
    each_in_parallel(move, [(band, slice(*cut)) for band in bands for cut in pairwise(cuts)])


def readable(frame: Frame, runs: Runs, walkable: bool = True) -> list[tuple[Runs, Rect | None]]:
    """The runs as groups that one block can serve: None where the image itself does.

    Of an image that is not ``walkable``, because its strides would have to be copied away (reversed
    axes), blocks are small: what is copied is what a few patches reach over, however large the image.
    """
    if frame.inside and walkable:
        return [(runs, None)]
    found: list[tuple[Runs, Rect | None]] = []
    if walkable:  # patches that lie in the image whole are in no block
        within, runs = runs.parted(tuple([axis.within for axis in frame.axes]))
        found += [(within, None)] if within.n else []
        if not runs.n:
            return found
    each, limits = runs.each(), current_limits()
    most = limits.padded_block_bytes / 8 if walkable else limits.turned_block_elements

    def cost(lengths: tuple[int, ...]) -> float:
        return span_size(frame.axes, lengths) / most

    lengths = choose_lengths(frame.axes, cost, cost)
    tiling = Tiling(frame.axes, lengths)
    at = tuple(a // n for a, n in zip(each.at, lengths, strict=True))
    tile = np.ravel_multi_index(at, tiling.shape)
    order = np.argsort(tile, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(tile[order])) + 1)
    for group in groups:
        part = each[group]
        # what these patches reach over, not all that their tile does
        bounds = tuple(
            axis.span(int(i.min()), int(i.max()) + 1)
            for axis, i in zip(frame.axes, part.at, strict=True)
        )
        found.append((part, bounds))
    return found


def _fill_objects(stack: NDArray[Any], image: NDArray[Any], frame: Frame, runs: Runs) -> None:
    """Dtypes whose elements cannot be moved as plain bits (objects, records): one patch at a time."""
    each = runs.each()
    flat_stack = stack.reshape(-1, *frame.patch_shape)
    margins, mode, value = frame.margins, frame.grid.pad_mode, frame.grid.pad_value
    for k, at in enumerate(zip(*each.at, strict=True)):
        bounds = tuple(
            [axis.span(int(i), int(i) + 1) for axis, i in zip(frame.axes, at, strict=True)]
        )
        block = read_block(image, bounds, margins, mode, value)
        samples = block[tuple(slice(None, None, a.dilation) for a in frame.axes)]
        flat_stack[k] = samples.reshape(frame.patch_shape)

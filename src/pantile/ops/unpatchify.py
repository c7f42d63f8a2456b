"""Patches merged back into an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ..geometry import PatchGrid
from ..geometry.arrays import to_array
from ..geometry.frame import Frame
from ..geometry.limits import current_limits
from ..geometry.rect import Rect, slices, whole
from ..geometry.schedule import Schedule
from ..geometry.tensors import tensor_verbs
from ..geometry.tiling import Tile, Tiling, choose_lengths, span_size
from ..kernels.memory import ensure_item_strides
from ..kernels.offsets import find_all_runs, lies_by_feature, place_on_grid
from ..kernels.parallel import each_in_parallel
from ..merge.assembly import Assembly
from ..merge.batch import Area, PatchBatch
from ..merge.casts import check_holes
from ..merge.collecting import collect_patches
from ..merge.compiled import CompiledMerge
from ..merge.custom import Merge
from ..merge.gathering import gather_patches
from ..merge.pieces import Piece
from ..merge.reduction import Reduction
from ..merge.spec import MergeName, resolve_rule
from ..merge.weights import check_patch_weights
from .arrays import as_array, check_apart
from .forms import PatchStack, recognise

__all__ = ["as_patch_weights", "merge_stack", "new_output", "unpatchify"]


def unpatchify(
    patches: ArrayLike,
    shape: int | Sequence[int] | PatchGrid,
    step: int | Sequence[int] = 1,
    *,
    axes: int | Sequence[int] | None = None,
    channel_axis: int | None = None,
    merge: MergeName | Merge = "mean",
    weights: Any = None,
    patch_weights: ArrayLike | None = None,
    fill: Any = None,
    dtype: DTypeLike | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """The image that patches merge into: the inverse of `patchify` and `extract`.

    Parameters
    ----------
    patches : array_like
        What `patchify` or `extract` gives, ``(..., *counts, ..., *patch)`` or ``(*batch, n,
        *patch)``, or matrix rows ``(*batch, n, features)``; in any memory layout, never copied as a
        whole. Tensors of another library give a tensor.
    shape : int, sequence of int, or PatchGrid
        The grid the patches stand on; or the sizes of the patched axes, for the grid that the
        shorthand of `patchify` makes with this ``step``.
    axes, channel_axis : optional
        Where the patched axes and the channel axis stand in the image.
    merge : str or Merge
        ``mean``, ``sum``, ``max``, ``min``, ``median``, ``var``, ``vote``, ``first``, ``last``,
        ``center``, ``moments`` (mean, variance and numbers of patches at once), or a `Merge`.
    weights : optional
        One weight per sample: a window's name (``"hann"``, ``"gaussian"``, ``("kaiser", 14.0)``),
        one 1-D array per axis, an array of the patch's shape, or ``"trim"``. None weighs all alike.
    patch_weights : array_like, optional
        One weight per patch, as many as ``n_patches`` (or one set per image of the batch): 0, or
        between 1e-100 and 1e100.
    fill : number, optional
        What elements hold that no patch touches; without it they are an error.
    dtype : dtype, optional
        Of the result. Integers are rounded half to even and saturated.
    out : ndarray, optional
        Where to put the image.

    Returns
    -------
    ndarray
        The image. Floats keep their dtype and are summed in float64; integers are summed exactly,
        their mean is float64. Of ``merge="moments"`` a tuple of four: mean, population variance, the
        number of patches (int64, 0 where there is none), and how many of equal weight would tell as
        much (float64, the sum of weights squared over the sum of their squares); ``out`` is such a
        tuple then. Patches overlap, so this variance is no standard error of the mean.

    Raises
    ------
    ValueError, TypeError, OverflowError
        When shapes do not match, elements are uncovered, or 64-bit sums might wrap.

    Notes
    -----
    ``unpatchify(patchify(x, p), x.shape) == x`` wherever the grid covers. Sums run in a fixed
    order, so the result does not depend on the number of cores.

    Examples
    --------
    >>> import numpy as np
    >>> import pantile as pt
    >>> image = np.arange(12.0).reshape(3, 4)
    >>> pt.unpatchify(pt.patchify(image, 2), image.shape)
    array([[ 0.,  1.,  2.,  3.],
           [ 4.,  5.,  6.,  7.],
           [ 8.,  9., 10., 11.]])
    >>> pt.unpatchify(pt.patchify(np.ones(4), 2), 4, merge="sum")
    array([1., 2., 2., 1.])
    """
    if (tensors := tensor_verbs(patches)) is not None:
        given: NDArray[Any] = tensors.unpatchify(
            patches, shape, step, axes=axes, channel_axis=channel_axis, merge=merge, weights=weights,
            patch_weights=patch_weights, fill=fill, dtype=dtype, out=out,
        )  # fmt: skip
        return given
    array = as_array(patches, "patches")
    stack = recognise(array, shape, step, axes, channel_axis)
    return merge_stack(stack, array, merge, weights, patch_weights, fill, dtype, out)


def merge_stack(
    stack: PatchStack,
    array: NDArray[Any],
    merge: MergeName | Merge = "mean",
    weights: Any = None,
    patch_weights: ArrayLike | None = None,
    fill: Any = None,
    dtype: DTypeLike | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """The image, or images, that a stack merges into; ``array`` is the memory that it shows."""
    frame = stack.frame
    each = None if patch_weights is None else as_patch_weights(patch_weights, frame)
    rule = resolve_rule(merge, weights, each is not None, fill, dtype)
    merged = rule.compile(frame, array.dtype, whole=True)
    check_holes(frame, fill)
    merged.reduction.check(array)
    several = len(merged.dtypes) > 1
    outs: Sequence[Any] = (out,) * len(merged.dtypes)
    if several and isinstance(out, tuple):
        outs = out
    if len(outs) != len(merged.dtypes) or (several and out is not None and outs[0] is outs[1]):
        raise ValueError(
            f"merge={merge!r} makes {len(merged.dtypes)} images, so out must be a tuple of as many arrays"
        )
    made = [
        new_output(place, frame, dtype, array)
        for place, dtype in zip(outs, merged.dtypes, strict=True)
    ]
    targets, views = zip(*made, strict=True)
    if not any(
        way(stack.patches, merged, views, each, current_limits())
        for way in (gather_patches, collect_patches)
    ):
        _merge(stack, merged, views, each)
    found: NDArray[Any] = targets if several else targets[0]
    return found


def as_patch_weights(patch_weights: ArrayLike, frame: Frame) -> NDArray[np.float64]:
    """One weight per patch of every image of the batch, flat."""
    numbers = to_array(
        patch_weights, "patch_weights", "give .filled(0) for patches that do not count"
    )
    if numbers.dtype.kind not in "biuf":
        raise TypeError(f"patch_weights must be real numbers, got dtype {numbers.dtype}")
    numbers = numbers.astype(np.float64)
    n = frame.grid.n_patches
    if numbers.size not in (n, frame.n_patches) or numbers.size == 0:
        raise ValueError(
            f"patch_weights must hold one number for each of {n} patches, got shape {numbers.shape}"
        )
    check_patch_weights(numbers)
    per_image = np.broadcast_to(numbers.reshape(-1, n), (math.prod(frame.batch_shape), n))
    return np.ascontiguousarray(per_image).ravel()


def new_output(
    out: NDArray[Any] | None, frame: Frame, dtype: np.dtype[Any], source: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The array to return, new or the caller's, and its canonical view."""
    shape = frame.image_shape
    if out is None:
        out = np.empty(shape, dtype=dtype)
    elif not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a NumPy array, got {type(out).__name__}")
    elif out.shape != shape or out.dtype != dtype:
        raise ValueError(
            f"out must have shape {shape} and dtype {dtype}, got {out.shape} and {out.dtype}"
        )
    elif not out.flags.writeable:
        raise ValueError("out is read-only")
    elif np.may_share_memory(out, source):
        raise ValueError("out shares memory with the patches: give another array")
    else:
        check_apart(out)
    return out, frame.canonical(out)


def tile_lengths(frame: Frame, reduction: Reduction) -> tuple[int, ...]:
    """Tiles small enough for their accumulators, and enough of them for two threads and more."""
    # a tile costs half a millisecond whatever its size: 8 tiles of 400x400 were 1.2x as fast as 16
    limits = current_limits()
    most = min(frame.n_patches * frame.features / 7, limits.merge_tile_elements)
    share = max(limits.merge_leaf_elements, most)
    return choose_lengths(
        frame.axes,
        lambda lengths: math.prod(lengths) * frame.features / share,
        lambda lengths: (
            span_size(frame.axes, lengths) * reduction.itemsize / limits.merge_state_bytes
        ),
    )


def _merge(
    stack: PatchStack,
    merged: CompiledMerge,
    views: Sequence[NDArray[Any]],
    patch_weights: NDArray[np.float64] | None,
) -> None:
    """Tiles add up their patches on all cores; blocks are written as soon as their tiles are done."""
    frame, reduction = stack.frame, merged.reduction
    tiling = Tiling(frame.axes, tile_lengths(frame, reduction))

    def merge_tile(tile: Tile) -> Piece:
        area = Area.of(frame, tile.ranges)
        state = reduction.init(area.shape)
        reduction.add(state, _batch(stack, reduction, tile, area, patch_weights))
        return area.reach, state

    def write(bounds: Rect, pieces: Sequence[Piece]) -> None:
        for view, values in zip(views, merged.block(bounds, pieces), strict=True):
            view[slices(bounds)] = values

    if len(tiling) == 1:  # one piece, one block: nobody waits for anybody
        write(whole(frame.shape), [merge_tile(next(iter(tiling)))])
        return
    schedule = Schedule.of(tiling, frame.axes)
    assembly = Assembly(
        [schedule], [reduction], lambda _, block, pieces: write(schedule.bounds(block), pieces)
    )

    def deliver(tile: Tile) -> None:
        _, state = merge_tile(tile)
        ready = assembly.deliver(tile.index, [state])
        del state
        for each in ready:
            assembly.flush(*each)
        assembly.settle(tile.index)

    each_in_parallel(deliver, list(tiling))


def _batch(
    stack: PatchStack,
    reduction: Reduction,
    tile: Tile,
    area: Area,
    patch_weights: NDArray[np.float64] | None,
) -> PatchBatch:
    """The patches of a tile, read where they lie."""
    frame = stack.frame
    readable = ensure_item_strides(reduction.readable(stack.tile(tile)))
    memory = reduction.memory(readable)
    source = place_on_grid(memory, whole(tile.counts), frame.n_batch, frame.along)
    runs = find_all_runs(tile.counts, frame.breaks(*tile.ranges[frame.along]), frame.along)
    mine = None
    if patch_weights is not None:
        counted = patch_weights.reshape(frame.counts)[slices(tile.ranges)]
        mine = np.ascontiguousarray(counted).ravel()
    feature = lies_by_feature(source, frame.patch)
    return PatchBatch(area, source, runs, frame.patch, feature, mine)

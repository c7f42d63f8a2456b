"""Patches merged back into an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ..geometry import PatchGrid
from ..geometry.arguments import unmasked
from ..geometry.tiles import Bounds, Tile, Tiling, choose_lengths, span_size
from ..kernels.flat import strided_by_items
from ..kernels.parallel import each_in_parallel
from ..kernels.tapers import check_votes
from ..kernels.walk import full_runs, gridded
from .apart import lie_apart, put
from .assembly import Assembly, Joiner
from .custom import Merge
from .deposit import Deposit
from .forms import PatchStack, recognise
from .frame import Frame, as_array, check_apart
from .merges import MergeName, Rule, check_holes, check_sums, resolve_rule
from .reductions import Reduction, region_of

__all__ = ["new_output", "unpatchify"]

_LEAF = 3 << 20  # patch elements below which a second thread costs more than it brings
_MOST = 1 << 26  # patch elements that keep a thread busy long enough
_STATE = 32e6  # bytes of accumulators of a tile


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
        whole.
    shape : int, sequence of int, or PatchGrid
        The grid the patches stand on; or the sizes of the patched axes, for the grid that the
        shorthand of `patchify` makes with this ``step``.
    axes, channel_axis : optional
        Where the patched axes and the channel axis stand in the image.
    merge : str or Merge
        ``mean``, ``sum``, ``max``, ``min``, ``median``, ``var``, ``vote``, ``first``, ``last``,
        ``center``, or a `Merge`.
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
        their mean is float64.

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
    array = as_array(patches, "patches")
    stack = recognise(array, shape, step, axes, channel_axis)
    frame = stack.frame
    votes = None if patch_weights is None else checked_votes(patch_weights, frame)
    rule = resolve_rule(merge, weights, votes is not None, fill, dtype)
    rule.check(frame, array.dtype)
    check_holes(frame, fill)
    reduction = rule.reduction(frame, array.dtype, whole=True)
    check_sums(reduction, array)
    target, view = new_output(out, frame, rule.result_dtype(array.dtype), array)
    if lie_apart(stack, rule, view):
        put(stack, view, fill)
        return target
    tiling = Tiling(frame.axes, tile_lengths(frame, reduction))
    _merge(stack, rule, reduction, tiling, view, votes)
    return target


def checked_votes(patch_weights: ArrayLike, frame: Frame) -> NDArray[np.float64]:
    """One weight per patch of every image of the batch, flat."""
    votes = unmasked(patch_weights, "patch_weights")
    if votes.dtype.kind not in "biuf":
        raise TypeError(f"patch_weights must be real numbers, got dtype {votes.dtype}")
    votes = votes.astype(np.float64)
    n = frame.grid.n_patches
    if votes.size not in (n, frame.n_patches) or votes.size == 0:
        raise ValueError(
            f"patch_weights must hold one number for each of {n} patches, got shape {votes.shape}"
        )
    check_votes(votes)
    per_image = np.broadcast_to(votes.reshape(-1, n), (math.prod(frame.batch_shape), n))
    return np.ascontiguousarray(per_image).ravel()


def new_output(
    out: NDArray[Any] | None, frame: Frame, dtype: np.dtype[Any], source: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The array to return, new or the caller's, and its canonical view."""
    shape = tuple(np.asarray(frame.shape)[np.argsort(frame.order)].tolist())
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
    share = max(_LEAF, min(frame.n_patches * frame.features / 7, _MOST))
    return choose_lengths(
        frame.axes,
        lambda lengths: math.prod(lengths) * frame.features / share,
        lambda lengths: span_size(frame.axes, lengths) * reduction.itemsize / _STATE,
    )


def _merge(
    stack: PatchStack,
    rule: Rule,
    reduction: Reduction,
    tiling: Tiling,
    view: NDArray[Any],
    votes: NDArray[np.float64] | None,
) -> None:
    def write(bounds: Bounds, values: NDArray[Any]) -> None:
        view[tuple(slice(*b) for b in bounds)] = values

    frame = stack.frame
    assembly = Assembly.of(tiling, Joiner(frame, rule, reduction, view.dtype), write)

    def merge_tile(tile: Tile) -> None:
        region, shape = region_of(frame.axes, tile.ranges, frame.gap, frame.along)
        state = reduction.init(shape)
        for deposit in _deposits(stack, reduction, tile, region, votes):
            reduction.add(state, deposit)
        for block in assembly.deliver(tile, state):
            assembly.flush(block)

    each_in_parallel(merge_tile, list(tiling))


def _deposits(
    stack: PatchStack,
    reduction: Reduction,
    tile: Tile,
    region: Any,
    votes: NDArray[np.float64] | None,
) -> list[Deposit]:
    """The patches of a tile as deposits: one where memory can be read as it is."""
    frame = stack.frame
    part = stack.tile(tile)
    readable = strided_by_items(reduction.readable(part))
    zero = tuple((0, n) for n in tile.counts)
    along = frame.along
    source = gridded(reduction.memory(readable), zero, frame.n_batch, along)
    breaks = frame.breaks(*tile.ranges[along])
    runs = full_runs(tile.counts, breaks, along)
    mine = None
    if votes is not None:
        counted = votes.reshape(frame.counts)[tuple(slice(*r) for r in tile.ranges)]
        mine = np.ascontiguousarray(counted).ravel()
    samples = [s for s, p in zip(source.strides, frame.patch, strict=True) if p > 1]
    feature = bool(samples) and 0 < source.along < min(samples)
    return [Deposit(region, source, runs, frame.patch, feature, mine)]

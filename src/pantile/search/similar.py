"""The k most similar patches of every patch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..geometry import PatchGrid
from ..geometry.arguments import as_count, as_per_axis, is_many
from ..geometry.frame import Frame, frame_of
from ..kernels.parallel import each_in_parallel
from ..ops.arrays import as_array
from ..ops.extract import check_pad_value
from ..ops.selection import selected
from .best import Best, Search
from .cost import check_cost
from .series import best_in_series, is_series
from .side import Side, choose_arithmetic
from .tiles import best_in_tile, cut_of, looking, tiles_of

__all__ = ["Matches", "similar"]

_FAR = 2**61  # farther than any image reaches, and sums of it fit into int64


class Matches(NamedTuple):
    """The most similar patches of every patch, best first: flat indices, and distances (sums of squares)."""

    indices: NDArray[np.int64]
    distances: NDArray[np.float64]


def similar(
    image: ArrayLike,
    patch: int | Sequence[int] | PatchGrid,
    k: int = 1,
    *,
    step: int | Sequence[int] = 1,
    radius: int | Sequence[int] | None = None,
    other: ArrayLike | None = None,
    exclude: int | Sequence[int] | None = None,
    normalize: bool = False,
    where: ArrayLike | None = None,
    among: ArrayLike | None = None,
    channel_axis: int | None = None,
    axes: int | Sequence[int] | None = None,
    hours: float = 24.0,
) -> Matches:
    """The ``k`` most similar patches of every patch, by the sum of squared differences: exact, no sampling.

    Parameters
    ----------
    image : array_like
        Numbers of any dtype, on any number of axes; complex ones as well.
    patch, step
        The shape of a patch and the elements between patches, or a `PatchGrid` (with dilation,
        padding, any tail). Every patch of the grid looks for others of the grid.
    k : int
        How many matches each patch gets, best first.
    radius : int or sequence of int, optional
        How far a match may lie, in elements along each axis: 10 is a window of 21 x 21. Everywhere
        by default, in time that grows with the square of the number of patches: see ``hours``.
    other : array_like, optional
        Where to look instead: an image with the same axes, channels and number of images, of any size.
        It is cut by the same patch and step, and places count from its own first element.
    exclude : int or sequence of int, optional
        Patches as near as this, in elements along every axis, are no matches. By default a patch
        is not its own match, but its neighbours are; with ``other`` nothing is left out, so that
        ``other=image`` has each patch among its matches.
    normalize : bool
        Compare patches that have mean 0 and deviation 1 (over all samples and channels), so that
        brightness and contrast do not matter. A constant patch is 0 everywhere then.
    where : array_like of bool, optional
        Which patches look for matches, in the image's shape (those that touch a True) or in that of
        the counts. The others get none; they can still be matches.
    among : array_like of bool, optional
        Which patches can be matches, likewise, of ``other`` where that is given.
    channel_axis : int, optional
        An axis that travels inside each patch. All other axes are batch axes: each of their images is
        searched by itself.
    axes : int or sequence of int, optional
        The patched axes; by default the last ones that are not the channel axis.
    hours : float
        What is estimated to take longer is refused before it begins.

    Returns
    -------
    Matches
        ``(indices, distances)``, two arrays whose counts stand where the patched axes stood, without
        the channel axis, and with one more axis of ``k`` at the end. ``indices`` are flat indices of
        patches (int64), -1 where there were fewer than ``k``; ``distances`` are sums of squared
        differences (float64), infinite there. Equal distances are ordered by index, lower first.

    Raises
    ------
    ValueError, TypeError
        When an argument does not fit, or the search would take more than ``hours``.

    Notes
    -----
    Distances of integers are exact up to 2^53 (and compared exactly up to 2^63). Floats are summed
    in float64 without subtraction: the relative error is a few roundings, about 1e-15, equal patches
    have distance 0 exactly, and d(a, b) = d(b, a). Normalised distances are between 0 and 4 times the
    samples of a patch, with an error of about 1e-15 d / (s t), where d is the plain distance of two
    patches and s, t are their deviations. Patches that hold NaN have no matches and are none.

    The cost of a pair hardly depends on the patch. The result has the same bits for any number of
    threads. For a normalised series, ``numpy.sqrt(distances)`` is the matrix profile.

    References
    ----------
    M. Yeh et al., "Matrix profile I: all pairs similarity joins for time series", ICDM 2016. J. Darbon
    et al., "Fast nonlocal filtering applied to electron cryomicroscopy", ISBI 2008 (one box sum for
    each displacement). T. Chan, G. Golub and R. LeVeque, "Updating formulae and a pairwise algorithm
    for computing sample variances", 1979.

    Examples
    --------
    >>> image = [3, 1, 4, 1, 5, 9, 3, 1, 4, 2]
    >>> found = similar(image, 3)
    >>> found.indices[0], found.distances[0]
    (array([6]), array([0.]))
    >>> found.indices[:, 0]
    array([6, 7, 0, 2, 7, 2, 0, 1])
    """
    queries, candidates = _sides(image, other, patch, step, axes, channel_axis, bool(normalize))
    n = len(queries.axes)
    search = Search(
        queries,
        candidates,
        as_count(k, "k"),
        tuple([None if r is None else min(r, _FAR) for r in _as_radius(radius, n)]),
        tuple([min(e, _FAR) for e in _as_exclude(exclude, n, other is None)]),
        bool(normalize),
        None if where is None else _as_mask(where, queries.frame),
        None if among is None else _as_mask(among, candidates.frame, "among"),
    )
    if search.k > math.prod(candidates.counts):
        raise ValueError(f"k={k} is more than the {math.prod(candidates.counts)} patches there are")
    check_cost(search, hours)
    return _run(search, same=other is None)


def _sides(
    image: Any, other: Any, patch: Any, step: Any, axes: Any, channel_axis: Any, normalize: bool
) -> tuple[Side, Side]:
    arrays = [as_array(image)] + ([] if other is None else [as_array(other, "other")])
    for array, name in zip(arrays, ("image", "other"), strict=False):
        if array.dtype.kind not in "biufc" or array.dtype.itemsize > 8 * (
            1 + (array.dtype.kind == "c")
        ):
            raise TypeError(f"{name} must hold numbers of at most 64 bits, got dtype {array.dtype}")
        if normalize and array.dtype.kind == "c":
            raise TypeError(
                f"normalize=True needs real numbers, and {name} has dtype {array.dtype}"
            )
    frames = [frame_of(arrays[0].shape, patch, step, axes=axes, channel_axis=channel_axis)]
    if other is not None:
        frames.append(_frame_of_other(arrays[1], frames[0], arrays[0], channel_axis))
        if (arrays[0].dtype.kind == "c") != (arrays[1].dtype.kind == "c"):
            raise TypeError(
                f"image and other must both be complex or both real, got {arrays[0].dtype} and {arrays[1].dtype}"
            )
    more = []
    for array, frame in zip(arrays, frames, strict=True):
        check_pad_value(frame, array.dtype)
        if (
            not frame.inside
            and array.dtype.kind in "biu"
            and frame.grid.pad_mode in ("constant", "linear_ramp")
        ):
            more.append(int(frame.grid.pad_value.real))
    rounded = normalize or not all(
        # of floats, padding may make others
        frame.inside or array.dtype.kind in "biu"
        for array, frame in zip(arrays, frames, strict=True)
    )
    kind = choose_arithmetic(arrays, frames[0].features, more, rounded)
    kind = replace(kind, normal=normalize)
    sides = [Side(f.canonical(a), f, kind) for a, f in zip(arrays, frames, strict=True)]
    return sides[0], sides[-1]


def _frame_of_other(
    other: NDArray[Any], frame: Frame, image: NDArray[Any], channel_axis: Any
) -> Frame:
    """The frame of ``other`` under the grid of the image, as far as that goes."""
    if other.ndim != image.ndim:
        raise ValueError(
            f"other must have as many axes as image, got shapes {other.shape} and {image.shape}"
        )
    patched = [k for k, cut in zip(frame.order, frame.patched, strict=True) if cut]
    for k in range(image.ndim):
        if k not in patched and image.shape[k] != other.shape[k]:
            raise ValueError(
                f"other has {other.shape[k]} entries on axis {k}, which is not patched, and image has"
                f" {image.shape[k]}: they must be the same there"
            )
    grid = frame.grid
    shape = tuple(other.shape[k] for k in patched)
    if shape != grid.shape:
        facts = {**grid.to_dict(), "shape": shape}
        grid = PatchGrid.from_dict(facts)
    return frame_of(other.shape, grid, axes=patched, channel_axis=channel_axis)


def _as_radius(radius: Any, n: int) -> tuple[int | None, ...]:
    if radius is None:
        return (None,) * n
    if is_many(radius) and any(r is None for r in radius):
        if len(tuple(radius)) != n:
            raise ValueError(
                f"radius has {len(tuple(radius))} values for {n} patched axes, got {radius!r}"
            )
        return tuple([None if r is None else as_count(r, "radius", 0) for r in radius])
    return as_per_axis(radius, n, "radius", 0)


def _as_exclude(exclude: Any, n: int, same: bool) -> tuple[int, ...]:
    """Within how many elements candidates are left out; -1 where none is."""
    if exclude is None:
        return (0 if same else -1,) * n
    return as_per_axis(exclude, n, "exclude", 0)


def _as_mask(mask: Any, frame: Frame, name: str = "where") -> NDArray[np.bool_]:
    """A mask as one truth value per patch, without an axis of channels."""
    try:
        found = selected(mask, frame, empty=True)
    except (TypeError, ValueError) as error:
        raise type(error)(str(error).replace("where", name)) from None
    return found if frame.channel is None else found.squeeze(frame.channel)


def _run(search: Search, same: bool) -> Matches:
    frame = search.queries.frame
    shape = (*frame.batch_shape, *search.queries.counts, search.k)
    matches = Matches(np.empty(shape, np.int64), np.empty(shape))
    batches = list(itertools.product(*map(range, frame.batch_shape)))
    if is_series(search):
        for batch in batches:
            for begin, end, best in best_in_series(search, batch, same):
                _put(matches, search, (*batch, slice(begin, end)), best)
        return _restored(matches, frame)

    def work(item: tuple[tuple[int, ...], Any]) -> None:
        batch, tile = item
        rect = looking(search, batch, tile)
        if rect != tile:
            at: tuple[Any, ...] = (*batch, *cut_of(tile))
            matches.indices[at], matches.distances[at] = -1, np.inf
        if rect is not None:
            _put(matches, search, (*batch, *cut_of(rect)), best_in_tile(search, batch, rect))

    tiles = list(tiles_of(search))
    each_in_parallel(work, list(itertools.product(batches, tiles)))
    return _restored(matches, frame)


def _put(matches: Matches, search: Search, at: tuple[Any, ...], best: Best) -> None:
    for goal, found in zip(matches, best.sorted(search.queries.arithmetic), strict=True):
        goal[at] = found.reshape(goal[at].shape)


def _restored(matches: Matches, frame: Frame) -> Matches:
    """Results with the counts where the image has its patched axes."""
    order = [k for n, k in enumerate(frame.order) if n != frame.channel]
    back = [*np.argsort(order).tolist(), len(order)]
    return Matches(matches.indices.transpose(back), matches.distances.transpose(back))

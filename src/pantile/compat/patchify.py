"""The `patchify` package's two functions on pantile's verbs, for any number of axes and any tail."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import PatchGrid
from ..geometry.tails import Tail
from ..merge.spec import MergeName
from ..ops.arrays import as_array
from ..ops.extract import extract
from ..ops.patchify import patchify as windows
from ..ops.unpatchify import unpatchify as merge_patches
from .skimage import view_as_windows

__all__ = ["NonUniformStepSizeError", "patchify", "unpatchify"]


class NonUniformStepSizeError(RuntimeError):
    """No whole step lays so many patches of that size over the image."""

    def __init__(self, imsize: int, n_patches: int, patch_size: int, step_size: float) -> None:
        super().__init__(imsize, n_patches, patch_size, step_size)
        self.imsize, self.n_patches = imsize, n_patches
        self.patch_size, self.step_size = patch_size, step_size

    def __str__(self) -> str:
        return (
            f"{self.n_patches} patches of {self.patch_size} over {self.imsize} elements would be"
            f" {self.step_size:.6g} apart, which is no whole step: the tail was dropped when the image was cut."
            " Give step= and tail= as they were, or cut with tail='shift'"
        )

    __repr__ = __str__


class _WrongAxesError(ValueError, AssertionError):
    """Wrong numbers of axes; also an AssertionError, which is what the original raises."""


def patchify(
    image: NDArray[Any],
    patch_size: int | Sequence[int],
    step: int | Sequence[int] = 1,
    *,
    tail: Tail = "drop",
    writeable: bool | None = None,
) -> NDArray[Any]:
    """Every patch of an image, ``(*counts, *patch_size)``, as `patchify.patchify`.

    Parameters
    ----------
    image : ndarray
        An image of any number of axes, all of them cut.
    patch_size, step : int or sequence of int
        The shape of a patch and the elements between patches; one number, or one per axis.
    tail : {"drop", "shift", "respace", "pad", "error"}
        What happens where the step does not divide. ``"drop"``, as the original: the rest of the image is
        in no patch. The others keep it (see `pantile.PatchGrid`).
    writeable : bool, optional
        As in `pantile.compat.skimage.view_as_windows`.

    Returns
    -------
    ndarray
        A view where strides can express it, which is always so for ``"drop"``; otherwise a new array.

    Raises
    ------
    TypeError, ValueError
        As `view_as_windows`.

    Examples
    --------
    >>> image = np.arange(12).reshape(3, 4)
    >>> patchify(image, (2, 2)).shape
    (2, 3, 2, 2)
    >>> patchify(np.arange(7), 3, step=3, tail="shift")
    array([[0, 1, 2],
           [3, 4, 5],
           [4, 5, 6]])
    """
    if tail == "drop":
        return view_as_windows(image, patch_size, step, writeable=writeable)
    grid = PatchGrid(np.shape(image), patch_size, step, tail=tail)
    if grid.regular:
        return view_as_windows(image, grid.patch, _find_gaps(grid), writeable=writeable)
    return extract(image, grid).reshape(*grid.counts, *grid.patch)


def unpatchify(
    patches: NDArray[Any],
    imsize: Sequence[int],
    *,
    step: int | Sequence[int] | None = None,
    tail: Tail = "drop",
    merge: MergeName | None = None,
    weights: Any = None,
    fill: Any = None,
) -> NDArray[Any]:
    """The image that patches ``(*counts, *patch)`` make, as `patchify.unpatchify`.

    Parameters
    ----------
    patches : ndarray
        What `patchify` gave, or patches of that shape.
    imsize : sequence of int
        The shape of the image.
    step, tail : optional
        How the image was cut. Without ``step`` it is computed, as in the original, as ``(image - patch) /
        (count - 1)``.
    merge : str, optional
        How overlapping patches meet: ``"mean"``, ``"median"`` and the other names of
        `pantile.unpatchify`. By default as in the original: patches lie on top of each other, as few
        as cover the image, and the others are not used.
    weights : optional
        For ``merge="mean"`` and the like, as in `pantile.unpatchify`.
    fill : number, optional
        What elements hold that no patch touches; the original fills in zeros, here they are an error.

    Returns
    -------
    ndarray
        The image, of the patches' dtype (float64 for means of integers).

    Raises
    ------
    NonUniformStepSizeError
        When the computed step is no whole number.
    ValueError
        When elements are uncovered, or the patches are a view cut at another step. Where the original
        asserts the number of axes it is an `AssertionError` too.

    Examples
    --------
    >>> image = np.arange(12).reshape(3, 4)
    >>> bool((unpatchify(patchify(image, (2, 2)), image.shape) == image).all())
    True
    >>> cut = patchify(np.arange(7.0), 3, step=3, tail="shift")
    >>> unpatchify(cut, (7,), step=3, tail="shift", merge="mean")
    array([0., 1., 2., 3., 4., 5., 6.])
    """
    array = as_array(patches, "patches")
    sizes = tuple(imsize)
    if array.ndim != 2 * len(sizes):
        raise _WrongAxesError(
            f"patches of an image with {len(sizes)} axes have {2 * len(sizes)} axes, (*counts, *patch),"
            f" got shape {array.shape} for imsize {sizes}"
        )
    if step is None and tail != "drop":
        raise ValueError(
            f"tail={tail!r} says nothing without step=: give both as patchify had them"
        )
    steps = _compute_steps(array, sizes) if step is None else step
    grid = PatchGrid(sizes, array.shape[len(sizes) :], steps, tail=tail)
    if grid.counts != array.shape[: len(sizes)]:
        raise ValueError(
            f"patches of shape {array.shape} do not fit imsize={sizes!r} with step={step!r} and tail={tail!r},"
            f" which make {grid.counts} patches"
        )
    if merge is not None:
        return merge_patches(array, grid, merge=merge, weights=weights, fill=fill)
    if weights is not None:
        raise ValueError("weights= needs a merge that averages: give merge='mean' too")
    return _lay_in_order(array, grid, fill)


def _find_gaps(grid: PatchGrid) -> tuple[int, ...]:
    return tuple(gap for _, gap, _, _ in grid.rows)


def _compute_steps(patches: NDArray[Any], sizes: tuple[int, ...]) -> tuple[int, ...]:
    n = len(sizes)
    steps = []
    for axis, (size, count, patch) in enumerate(
        zip(sizes, patches.shape[:n], patches.shape[n:], strict=True)
    ):
        # one patch has no neighbour: a step that leaves room for no second one
        exact = (size - patch) / (count - 1) if count > 1 else max(size - patch + 1, 1)
        if exact != int(exact):
            raise NonUniformStepSizeError(size, count, patch, exact)
        if exact < 1:
            raise ValueError(
                f"imsize={sizes!r} is too small on axis {axis} for {count} patches of {patch}"
            )
        _check_strides(patches, axis, axis + n, int(exact))
        steps.append(int(exact))
    return tuple(steps)


def _check_strides(patches: NDArray[Any], axis: int, inner: int, step: int) -> None:
    """Refuse a computed step that the strides of an overlapping view contradict."""
    outer, each = patches.strides[axis], patches.strides[inner]
    if patches.shape[axis] < 2 or patches.shape[inner] < 2 or not each or outer % each:
        return
    cut = outer // each
    # neighbours that share memory can only be windows of one array, `cut` elements apart
    if 0 < cut < patches.shape[inner] and cut != step:
        raise ValueError(
            f"patches were cut {cut} apart on axis {axis}, but imsize needs them {step} apart: the tail was"
            f" dropped when the image was cut. Give step={cut} and fill=, or cut with tail='shift'"
        )


def _lay_in_order(patches: NDArray[Any], grid: PatchGrid, fill: Any) -> NDArray[Any]:
    """The image from the fewest patches that cover it; where they overlap, the later patch counts.

    Of each patch only what the next one leaves is written, so plain views do: 5 to 10 times faster
    here than a merge.
    """
    if not (grid.covers and grid.regular):
        return merge_patches(patches, grid, merge="last", fill=fill)
    image = np.empty(grid.shape, patches.dtype)
    for pieces in itertools.product(*map(_find_pieces, grid.rows)):
        chosen, lengths, places = zip(*pieces, strict=True)
        shown = tuple(slice(0, length) for length in lengths)
        windows(image[places], lengths, lengths, writeable=True)[...] = patches[(*chosen, *shown)]
    return image


def _find_pieces(row: tuple[int, int, int, int]) -> list[tuple[slice, int, slice]]:
    """For all patches of an axis but the last, and for the last: which, how many samples of each, and where they go."""
    count, gap, patch, _ = row
    skip, end = max(patch // gap, 1), (count - 1) * gap
    last = (slice(count - 1, count), patch, slice(end, end + patch))
    n = -(-(count - 1) // skip)
    before = (slice(0, count - 1, skip), skip * gap, slice(0, n * skip * gap))
    return [before, last] if n else [last]

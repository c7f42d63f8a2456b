"""The zero-copy view of every patch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import ArrayLike, NDArray

from ..geometry import PatchGrid
from ..geometry.arguments import as_per_axis
from ..geometry.frame import fewer_axes, patch_ndim, patched_axes, refuse_both
from ..geometry.tensors import tensor_verbs
from .arrays import as_array

__all__ = ["patchify"]


def patchify(
    image: ArrayLike,
    patch: int | Sequence[int] | PatchGrid,
    step: int | Sequence[int] = 1,
    *,
    dilation: int | Sequence[int] = 1,
    axes: int | Sequence[int] | None = None,
    writeable: bool = False,
) -> NDArray[Any]:
    """Every patch of an image as a strided view: no copy, microseconds.

    Parameters
    ----------
    image : array_like
        Any N-D array of any dtype, however strided; or a tensor of another library (of one
        without views, such as JAX, patches are a new array).
    patch : int, sequence of int, or PatchGrid
        The shape of a patch, or a whole grid. With a shape, what the step leaves over at the end of
        an axis is dropped.
    step, dilation : int or sequence of int
        Elements between patches, and between the samples of a patch.
    axes : int or sequence of int, optional
        The axes to cut; by default the last ones, as many as the patch has.
    writeable : bool
        Whether writing to the view may write to the image (each element is in many patches).

    Returns
    -------
    ndarray
        The view: counts stand where the axes stood, the patch axes come last, as in
        `numpy.lib.stride_tricks.sliding_window_view`. An image ``(a, b, X, Y)`` with a 2-D patch
        gives ``(a, b, nX, nY, x, y)``. It is much larger than the memory behind it: ``reshape``,
        ``@``, ``std`` and pickling expand it; see `extract` and `map_patches`.

    Raises
    ------
    ValueError
        When the patch does not fit, or no strides can express the grid (padding, a shifted last
        patch); `extract` can.

    Examples
    --------
    >>> image = np.arange(9).reshape(3, 3)
    >>> patchify(image, 2)[1, 0]
    array([[3, 4],
           [6, 7]])
    """
    if (tensors := tensor_verbs(image)) is not None:
        cut: NDArray[Any] = tensors.patchify(
            image, patch, step, dilation=dilation, axes=axes, writeable=writeable,
        )  # fmt: skip
        return cut
    array = as_array(image)
    if writeable and not array.flags.writeable:
        raise ValueError(
            "image is read-only, so its view cannot be writeable: leave writeable=False, or copy it"
        )
    if isinstance(patch, PatchGrid):
        refuse_both(step, {"dilation": dilation})
        places, rows = _grid_rows(array, patch, axes)
        array = _from_first(array, patch, places)
    else:
        ndim = patch_ndim(patch, array.ndim, axes, None)
        places = patched_axes(array.ndim, ndim, axes, None)
        rows = _dropped_rows(array, places, patch, step, dilation)
    shape, strides = list(array.shape), list(array.strides)
    for axis, (count, gap, length, apart) in zip(places, rows, strict=True):
        size = strides[axis]
        shape[axis], strides[axis] = count, size * gap
        shape.append(length)
        strides.append(size * apart)
    return _view(array, tuple(shape), tuple(strides), writeable)


class _Window:
    """A read-only window on the memory of ``owner``, for `numpy.asarray`; keeps ``owner`` alive."""

    def __init__(
        self, owner: NDArray[Any], shape: tuple[int, ...], strides: tuple[int, ...]
    ) -> None:
        self.owner = owner
        self.__array_interface__ = {
            "data": (owner.ctypes.data, True),
            "shape": shape,
            "strides": strides,
            "typestr": owner.dtype.str,
            "version": 3,
        }


def _view(
    array: NDArray[Any], shape: tuple[int, ...], strides: tuple[int, ...], writeable: bool
) -> NDArray[Any]:
    if writeable or array.dtype.kind not in "biufc":
        return as_strided(array, shape, strides, writeable=writeable)
    if (
        array.flags.c_contiguous
    ):  # the constructor wants a plain buffer; an eighth of as_strided's time
        view: NDArray[Any] = np.ndarray(shape, array.dtype, array, 0, strides)
        view.flags.writeable = False
        return view
    return np.asarray(_Window(array, shape, strides))


Row = tuple[int, int, int, int]  # count, gap, patch, dilation


def _dropped_rows(
    array: NDArray[Any], places: tuple[int, ...], patch: Any, step: Any, dilation: Any
) -> list[Row]:
    n = len(places)
    sizes = as_per_axis(patch, n, "patch")
    steps = as_per_axis(step, n, "step")
    dilations = as_per_axis(dilation, n, "dilation")
    rows = []
    for axis, p, s, d in zip(places, sizes, steps, dilations, strict=True):
        room = array.shape[axis] - (p - 1) * d - 1
        if room < 0:
            hint = fewer_axes(array.shape, patch, places, channels=False)
            raise ValueError(
                hint
                or f"patch spans {(p - 1) * d + 1} elements on axis {axis}, but the image has {array.shape[axis]}"
                " there: use a smaller patch or dilation, or name the patched axes with axes="
            )
        # where nothing is stepped over, a huge step must not overflow a stride
        rows.append((room // s + 1, s if room >= s else 1, p, d if p > 1 else 1))
    return rows


def _from_first(array: NDArray[Any], grid: PatchGrid, places: tuple[int, ...]) -> NDArray[Any]:
    """The array from where the first patch starts."""
    begins = [axis.start(0) for axis in grid.axis_grids]
    if not any(begins):
        return array
    cut = [slice(None)] * array.ndim
    for place, begin in zip(places, begins, strict=True):
        cut[place] = slice(begin, None)
    return array[tuple(cut)]


def _grid_rows(
    array: NDArray[Any], grid: PatchGrid, axes: Any
) -> tuple[tuple[int, ...], Sequence[Row]]:
    places = patched_axes(array.ndim, grid.ndim, axes, None)
    sizes = tuple(array.shape[a] for a in places)
    if sizes != grid.shape:
        raise ValueError(
            f"the grid was made for shape {grid.shape}, but axes {places} of the image have {sizes}:"
            " make the grid from this image, or name its patched axes with axes="
        )
    if not grid.rows:
        raise ValueError(
            f"no strides can express {grid!r}: its steps are uneven or it reaches into padding."
            " Use extract(), which copies, or tail='drop' without pad"
        )
    return places, grid.rows

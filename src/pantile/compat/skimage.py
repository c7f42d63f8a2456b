"""scikit-image's `view_as_windows` and `view_as_blocks` on pantile's `patchify`."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ops.patchify import patchify

__all__ = ["view_as_blocks", "view_as_windows"]


def view_as_windows(
    arr_in: NDArray[Any],
    window_shape: int | Sequence[int],
    step: int | Sequence[int] = 1,
    *,
    writeable: bool | None = None,
) -> NDArray[Any]:
    """Every window of an array as a strided view, as `skimage.util.view_as_windows`.

    Parameters
    ----------
    arr_in : ndarray
        Any array.
    window_shape, step : int or sequence of int
        The shape of a window and the elements between windows: one number, or one per axis. What
        the step leaves over at the end of an axis is in no window.
    writeable : bool, optional
        Whether writing to the view may write to ``arr_in``. By default only where no element is
        in two windows; scikit-image's view can always be written, and one write then shows in
        many windows.

    Returns
    -------
    ndarray
        The view ``(*counts, *window_shape)``.

    Raises
    ------
    TypeError
        For anything but an ndarray, and for masked arrays, whose mask would be dropped.
    ValueError
        When window or step do not fit; also for windows of 2.5 elements and negative steps.

    Examples
    --------
    >>> view_as_windows(np.arange(5), 3)
    array([[0, 1, 2],
           [1, 2, 3],
           [2, 3, 4]])
    """
    array = _check_array(arr_in)
    window = _as_sizes(window_shape, array)
    steps = _as_steps(step, array.ndim)
    if not array.ndim:
        return array.view(np.ndarray)
    if writeable is None:
        disjoint = all(s >= w for s, w in zip(steps, window, strict=True))
        writeable = disjoint and array.flags.writeable
    return patchify(array, window, steps, writeable=writeable)


def view_as_blocks(arr_in: NDArray[Any], block_shape: tuple[int, ...]) -> NDArray[Any]:
    """An array cut into blocks that do not overlap, as `skimage.util.view_as_blocks`.

    Parameters
    ----------
    arr_in : ndarray
        Any array.
    block_shape : tuple of int
        The shape of a block; it must divide the array's.

    Returns
    -------
    ndarray
        The view ``(*counts, *block_shape)``; it can be written if ``arr_in`` can.

    Raises
    ------
    TypeError
        When ``block_shape`` is not a tuple of whole numbers, or ``arr_in`` no plain array.
    ValueError
        When ``block_shape`` does not divide the shape.

    Examples
    --------
    >>> blocks = view_as_blocks(np.arange(16).reshape(4, 4), (2, 2))
    >>> blocks[1, 0]
    array([[ 8,  9],
           [12, 13]])
    """
    array = _check_array(arr_in)
    if not isinstance(block_shape, tuple):
        raise TypeError(f"block_shape must be a tuple, got {block_shape!r}")
    block = tuple(operator.index(b) for b in block_shape)
    if len(block) != array.ndim or any(b < 1 for b in block):
        raise ValueError(
            f"block_shape needs one number of at least 1 for each of {array.ndim} axes, got {block_shape!r}"
        )
    if any(n % b for n, b in zip(array.shape, block, strict=True)):
        raise ValueError(
            f"block_shape={block_shape!r} does not divide the shape {array.shape}: crop or pad the array,"
            " or use view_as_windows with step=block_shape"
        )
    if not array.ndim:
        return array.view(np.ndarray)
    return patchify(array, block, block, writeable=array.flags.writeable)


def _check_array(array: Any) -> NDArray[Any]:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"`arr_in` must be a numpy ndarray, got {type(array).__name__}")
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(
            "arr_in is a masked array, and windows would lose its mask: fill it first (arr_in.filled(...))"
        )
    return array


def _as_per_axis(value: Any, ndim: int, name: str) -> tuple[Any, ...]:
    if np.ndim(value) == 0 and not isinstance(value, str):
        return (value,) * ndim
    if len(value) != ndim:
        raise ValueError(f"{name}={value!r} must have one number for each of {ndim} axes")
    return tuple(value)


def _as_sizes(window_shape: Any, array: NDArray[Any]) -> tuple[int, ...]:
    sizes = []
    for size, room in zip(
        _as_per_axis(window_shape, array.ndim, "window_shape"), array.shape, strict=True
    ):
        if int(size) != size or not 1 <= size <= room:
            raise ValueError(
                f"`window_shape` must be whole numbers from 1 to the size of each axis, {array.shape},"
                f" got {window_shape!r}"
            )
        sizes.append(int(size))
    return tuple(sizes)


def _as_steps(step: Any, ndim: int) -> tuple[int, ...]:
    steps = tuple(operator.index(s) for s in _as_per_axis(step, ndim, "step"))
    if any(s < 1 for s in steps):
        raise ValueError(f"`step` must be at least 1, got {step!r}")
    return steps

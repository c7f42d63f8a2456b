"""NumPy's `sliding_window_view` on pantile's `patchify`."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple
from numpy.typing import ArrayLike, NDArray

from ..ops.patchify import patchify

__all__ = ["sliding_window_view"]


def sliding_window_view(
    x: ArrayLike,
    window_shape: int | Sequence[int],
    axis: int | Sequence[int] | None = None,
    *,
    subok: bool = False,
    writeable: bool = False,
) -> NDArray[Any]:
    """Every window of an array as a strided view, as `numpy.lib.stride_tricks.sliding_window_view`.

    Parameters
    ----------
    x : array_like
        Any array; other libraries' arrays answer for themselves, as with NumPy's function.
    window_shape : int or sequence of int
        The size of the window along each axis of ``axis`` (along all axes without it).
    axis : int or sequence of int, optional
        The axes the window slides along; one named twice is windowed twice.
    subok : bool
        Whether a subclass of ndarray stays one.
    writeable : bool
        Whether the view may write to ``x``, if ``x`` itself can be written.

    Returns
    -------
    ndarray
        The view ``(*trimmed, *window_shape)``.

    Raises
    ------
    ValueError, TypeError, numpy.exceptions.AxisError
        Where NumPy raises them; and `TypeError` for masked arrays, whose mask NumPy drops.

    Notes
    -----
    ``pantile.patchify(x, window_shape)`` is this view with steps and dilation.

    Examples
    --------
    >>> sliding_window_view(np.arange(5), 3)
    array([[0, 1, 2],
           [1, 2, 3],
           [2, 3, 4]])
    """
    if _has_own_answer(x):
        theirs: Any = np.lib.stride_tricks.sliding_window_view
        return theirs(x, window_shape, axis, subok=subok, writeable=writeable)  # type: ignore[no-any-return]
    array = np.asanyarray(x)
    windows = _as_whole_numbers(window_shape)
    axes = _as_axes(axis, array.ndim, windows)
    trimmed = _count_windows(array.shape, windows, axes)
    writeable = bool(writeable) and array.flags.writeable
    if 0 in (*trimmed, *windows):  # nothing to look at, and no strides to get wrong
        view = np.empty((*trimmed, *windows), array.dtype)
        view.flags.writeable = writeable
    else:
        view = _view_windows(array, windows, axes, writeable)
    return _as_subclass(view, array) if subok else view


def _has_own_answer(x: Any) -> bool:
    plain = np.ndarray.__array_function__
    return getattr(type(x), "__array_function__", plain) is not plain


def _as_whole_numbers(window_shape: Any) -> tuple[int, ...]:
    windows = tuple(window_shape) if np.iterable(window_shape) else (window_shape,)
    if any(isinstance(w, bool) for w in windows):
        raise TypeError(f"window_shape must be whole numbers, got {window_shape!r}")
    sizes = tuple(operator.index(w) for w in windows)
    if any(w < 0 for w in sizes):
        raise ValueError(f"`window_shape` cannot contain negative values, got {window_shape!r}")
    return sizes


def _as_axes(axis: Any, ndim: int, windows: tuple[int, ...]) -> tuple[int, ...]:
    if axis is None:
        if len(windows) != ndim:
            raise ValueError(
                f"without axis=, window_shape={windows!r} must provide window_shape for all dimensions of `x`,"
                f" which has {ndim}: name the axes with axis="
            )
        return tuple(range(ndim))
    axes = normalize_axis_tuple(axis, ndim, allow_duplicate=True)
    if len(windows) != len(axes):
        raise ValueError(
            f"Must provide matching length window_shape and axis, got {len(windows)} and {len(axes)}"
        )
    return axes


def _count_windows(
    shape: tuple[int, ...], windows: tuple[int, ...], axes: tuple[int, ...]
) -> tuple[int, ...]:
    """How many windows along each axis."""
    counts = list(shape)
    for axis, window in zip(axes, windows, strict=True):
        if window > counts[axis]:
            raise ValueError(
                f"window shape cannot be larger than input array shape, got {window} for the"
                f" {counts[axis]} positions of axis {axis}"
            )
        counts[axis] -= window - 1
    return tuple(counts)


def _view_windows(
    array: NDArray[Any], windows: tuple[int, ...], axes: tuple[int, ...], writeable: bool
) -> NDArray[Any]:
    if axes and len(set(axes)) == len(axes):
        return patchify(array, windows, axes=axes, writeable=writeable)
    view: NDArray[Any] = array if axes else array.view(np.ndarray)
    for window, axis in zip(windows, axes, strict=True):
        view = patchify(view, (window,), axes=axis, writeable=writeable)
    if not writeable:
        view.flags.writeable = False
    return view


def _as_subclass(view: NDArray[Any], array: NDArray[Any]) -> NDArray[Any]:
    if type(array) is np.ndarray:
        return view
    same = view.view(type(array))
    same.__array_finalize__(array)
    return same

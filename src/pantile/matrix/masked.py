"""Windows as a masked view of the flat buffer: no copy of the data, at the price of a mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import ArrayLike

from ..geometry.arguments import as_per_axis
from ..geometry.arrays import strides_of
from ..ops.arrays import as_array
from .guard import check_fits

__all__ = ["masked_patchify"]


def masked_patchify(image: ArrayLike, patch: int | Sequence[int]) -> np.ma.MaskedArray[Any, Any]:
    """A rolling window over the flat image as a masked array: zero-copy rows that hold every patch.

    Row ``r`` shows the ``span`` elements of ``image.ravel()`` from element ``r`` on. The mask hides
    the columns between the lines of a patch, and the rows whose patch would wrap around the end of
    an axis. What is left, in C order, are all patches at step 1.

    Parameters
    ----------
    image : array_like
        An N-D array, C contiguous. It is not copied, and the result's data is a read-only view.
    patch : int or sequence of int
        The shape of a patch, one number per axis of the image or one for all.

    Returns
    -------
    numpy.ma.MaskedArray
        ``(n, span)`` with ``span = sum((patch - 1) * strides) + 1``, strides in elements, and
        ``n = image.size - span + 1``.

    Raises
    ------
    ValueError
        When the image is not C contiguous or the patch does not fit.
    MemoryError
        When the whole mask is asked for, and would not fit.

    Notes
    -----
    **What it costs.** The data costs nothing, nor does the mask of rows and columns that are taken
    by index or slice beyond what these hold. What asks for all of it (``mask``, sums, printing)
    makes the mask, of ``n * span`` bytes, about as many as the image has elements times patch height
    times image width: 3.8 GB for 39x39 patches of a 1000x1000 image. Code that ignores masks reads
    wrong data, and most of `numpy.ma` copies data *and* mask. To work with all patches,
    `PatchMatrix` needs neither. The rolling window over the flat buffer with a mask is an answer
    given on Stack Overflow to windows of an image as a 2-D matrix.

    Examples
    --------
    >>> windows = masked_patchify(np.arange(9).reshape(3, 3), 2)
    >>> windows.shape, windows.mask[2].all(), windows.mask[:, 2].all()
    ((5, 5), np.True_, np.True_)
    >>> windows.compressed().reshape(-1, 4)
    array([[0, 1, 3, 4],
           [1, 2, 4, 5],
           [3, 4, 6, 7],
           [4, 5, 7, 8]])
    """
    array = as_array(image)
    sizes = as_per_axis(patch, array.ndim, "patch")
    if not array.flags.c_contiguous:
        raise ValueError(
            "image must be C contiguous, since rows run over its flat memory: pass"
            " numpy.ascontiguousarray(image) (a copy), or use PatchMatrix, which takes any strides"
        )
    if any(p > n for p, n in zip(sizes, array.shape, strict=True)):
        raise ValueError(f"patch={patch!r} does not fit in an image of shape {array.shape}")
    span = sum((p - 1) * s for p, s in zip(sizes, strides_of(array.shape), strict=True)) + 1
    data = as_strided(
        array.ravel(), (array.size - span + 1, span), (array.itemsize,) * 2, writeable=False
    )
    found = data.view(_Windows)
    found._lines = array.shape, sizes
    return found


class _Windows(np.ma.MaskedArray[Any, Any]):
    """Windows whose mask is known by rule: what is taken of them gets its part, and all of it is made when asked for.

    Whatever else `numpy.ma` makes of them has a mask of its own, as any masked array.
    """

    _lines: tuple[Sequence[int], Sequence[int]] | None = None  # shapes of the image and of a patch
    _made: Any = np.ma.nomask

    @property
    def _mask(self) -> Any:
        if self._lines is not None:
            use = "take rows of it, or use PatchMatrix, which needs no mask"
            check_fits(self.size, f"the {self.shape} mask", use)
            n, span = self.shape
            self._made, self._lines = _hide(np.arange(n), np.arange(span), *self._lines), None
        return self._made

    @_mask.setter
    def _mask(self, mask: Any) -> None:
        self._made, self._lines = mask, None

    def __getitem__(self, key: Any) -> Any:
        parts = key if isinstance(key, tuple) else (key,)
        if self._lines is None or len(parts) > 2 or not all(map(_is_plain, parts)):
            return super().__getitem__(key)
        rows, columns = (
            np.asarray(range(n)[part])
            for n, part in zip(self.shape, (*parts, slice(None))[:2], strict=True)
        )
        mask = _hide(rows, columns, *self._lines)
        values = self.view(np.ndarray)[key]
        if mask.ndim:
            return np.ma.MaskedArray(values, mask, copy=False)
        return np.ma.masked if mask else values


def _is_plain(part: Any) -> bool:
    return isinstance(part, slice | int | np.integer) and not isinstance(part, bool)


def _hide(rows: Any, columns: Any, shape: Sequence[int], patch: Sequence[int]) -> Any:
    """The mask of these rows and columns: True but where the row begins a patch that holds the column."""
    wrapping = _beyond(rows, shape, [n - p for n, p in zip(shape, patch, strict=True)])
    between = _beyond(columns, shape, [p - 1 for p in patch])
    return np.logical_or.outer(wrapping, between)


def _beyond(flat: Any, shape: Sequence[int], last: Sequence[int]) -> Any:
    """Whether flat places of an image are more than ``last`` along any axis."""
    places = np.unravel_index(flat, tuple(shape))
    return np.logical_or.reduce([at > most for at, most in zip(places, last, strict=True)])

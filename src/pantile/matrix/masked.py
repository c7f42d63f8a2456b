"""Windows as a masked view of the flat buffer: no copy of the data, at the price of a mask."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import ArrayLike

from ..geometry.arguments import as_per_axis
from ..geometry.arrays import strides_of
from ..kernels.memory import sum_outer
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
        When the mask alone would not fit.

    Notes
    -----
    **What it costs.** The data costs nothing; the mask is ``n * span`` bytes, about as many as the
    image has elements times patch height times image width: 3.8 GB for 39x39 patches of a 1000x1000
    image. Code that ignores masks reads wrong data, and most of `numpy.ma` copies data *and* mask.
    To work with all patches, `PatchMatrix` needs neither. The rolling window over the flat buffer
    with a mask is an answer given on Stack Overflow to windows of an image as a 2-D matrix.

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
    strides = strides_of(array.shape)
    span = sum((p - 1) * s for p, s in zip(sizes, strides, strict=True)) + 1
    shape = (array.size - span + 1, span)
    check_fits(math.prod(shape), f"the {shape} mask", "use PatchMatrix, which needs no mask")
    data = as_strided(array.ravel(), shape, (array.itemsize,) * 2, writeable=False)
    mask = np.ones(shape, dtype=bool)
    counts = [n - p + 1 for n, p in zip(array.shape, sizes, strict=True)]
    rows, columns = (
        sum_outer([np.arange(n) * s for n, s in zip(lengths, strides, strict=True)])
        for lengths in (counts, sizes)
    )
    mask[np.ix_(rows, columns)] = False
    return np.ma.MaskedArray(data, mask, copy=False)

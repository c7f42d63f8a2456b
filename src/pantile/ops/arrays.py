"""What callers give as arrays: taken as it is, or refused with what to do instead."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import PatchGrid
from ..geometry.arrays import to_array

__all__ = ["as_array", "check_apart", "refuse_path", "unlabelled"]

# what stands there where arguments are the wrong way round
_NO_IMAGES = (PatchGrid, int, float, type(None))


def as_array(image: Any, name: str = "image") -> NDArray[Any]:
    """``image`` as an array with at least one element, refusing what would lose something."""
    array = image if type(image) is np.ndarray else _as_plain(image, name)
    if array.ndim == 0 or array.size == 0:
        raise ValueError(
            f"{name} must have at least one axis and one element, got shape {array.shape}"
        )
    return array


def _as_plain(image: Any, name: str) -> NDArray[Any]:
    if isinstance(image, np.ma.MaskedArray):
        raise TypeError(
            f"{name} is a masked array, and patches would lose its mask: fill it first ({name}.filled(...)),"
            " or select patches with where="
        )
    refuse_path(image, name)
    image = unlabelled(image)
    if type(image).__module__.partition(".")[0] == "dask":
        raise TypeError(
            f"{name} is a dask array, and all of it would be computed here: map_patches and PatchMatrix"
            f" take it lazily; for this, say {name}.compute()"
        )
    if type(image) in _NO_IMAGES:
        raise TypeError(
            f"{name} must be an array, got {image!r}: {name} {'come' if name == 'patches' else 'comes'} before"
            f" the {'grid' if name == 'patches' else 'patch'}"
        )
    return to_array(image, name)


def unlabelled(image: Any) -> Any:
    """What an `xarray.DataArray` holds, if that is in memory or a dask array; anything else as it is."""
    module = sys.modules.get("xarray")
    if module is None or not isinstance(image, module.DataArray):
        return image
    held = getattr(image.variable, "_in_memory", True) or image.chunks is not None
    return image.data if held else image


def refuse_path(image: Any, name: str = "image") -> None:
    if isinstance(image, str | os.PathLike):
        raise TypeError(
            f"{name} is a path, {os.fspath(image)!r}, where an array is needed: open it first, as in"
            " numpy.asarray(pantile.files.open_image(path)); map_patches takes paths"
        )


def check_apart(out: NDArray[Any]) -> None:
    """Refuse an array of which several elements lie in one place: they cannot all be written."""
    if not out.size:
        return
    reach = out.itemsize
    for stride, n in sorted((abs(s), n) for s, n in zip(out.strides, out.shape, strict=True)):
        if n > 1 and stride < reach:
            raise ValueError(
                f"elements of out lie in the same memory (shape {out.shape}, strides {out.strides}): give an array"
                " of its own, such as out.copy()"
            )
        reach += (n - 1) * stride

"""What callers give as arrays, made arrays without losing anything: no mask, no gradient, no device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["as_dtype", "strides_of", "to_array", "unmasked"]


def to_array(item: Any, name: str, instead: str = "") -> NDArray[Any]:
    """``item`` as an array: of a torch tensor its own memory, or a TypeError that says what keeps it from that.

    A masked array is refused, because its mask would be lost; ``instead`` is the advice then, by
    default to fill it.
    """
    if isinstance(item, np.ma.MaskedArray):
        raise TypeError(
            f"{name} is a masked array, and its mask would be lost: {instead or 'fill it first, .filled(...)'}"
        )
    if not (hasattr(item, "detach") and hasattr(item, "requires_grad")):
        return _plainly(item, name)
    if item.device.type != "cpu":
        raise TypeError(f"{name} is a torch tensor on {item.device}: give its .detach().cpu()")
    if item.requires_grad:
        raise TypeError(
            f"{name} is a torch tensor that requires grad, and gradients would end here: give its .detach(),"
            " or call the network in torch.inference_mode() inside func, as that holds per thread"
        )
    try:
        return np.asarray(item.numpy())
    except (TypeError, RuntimeError) as error:
        raise TypeError(
            f"{name} is a torch tensor of {item.dtype} that NumPy has no array for ({error}):"
            " give its .float(), or another dense tensor"
        ) from None


def _plainly(item: Any, name: str) -> NDArray[Any]:
    try:
        return np.asarray(item)
    except ValueError:
        if not isinstance(item, list | tuple):
            raise
        raise ValueError(
            f"{name} is a {type(item).__name__} of entries of different shapes, which are no one array:"
            " give them one at a time (PatchMatrix and the estimators of pantile.learn take lists of images)"
        ) from None


def as_dtype(dtype: Any, name: str = "dtype") -> np.dtype[Any]:
    """``dtype`` as NumPy's."""
    try:
        found: np.dtype[Any] = np.dtype(dtype)
        return found
    except TypeError as error:
        raise TypeError(
            f"{name}={dtype!r} is no dtype ({error}): give one such as 'float32', 'uint8' or image.dtype"
        ) from None


def strides_of(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides, in elements, of an array of ``shape`` in C order."""
    return tuple([math.prod(shape[k + 1 :]) for k in range(len(shape))])


def unmasked(block: Any) -> NDArray[Any]:
    """What was read, as an array. Stores like netCDF4 give masked arrays always: refused where one hides something."""
    if isinstance(block, np.ma.MaskedArray):
        if np.ma.is_masked(block):
            raise TypeError(
                "reading the image gives a masked array, and patches would lose its mask: fill it first, or have the"
                " reader fill it (netCDF4: variable.set_auto_mask(False))"
            )
        return np.asarray(block.data)
    return np.asarray(block)

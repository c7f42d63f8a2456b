"""What callers give as arrays: taken as it is, or refused with what to do instead."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["as_array", "refuse_path", "to_array"]


def as_array(image: Any, name: str = "image") -> NDArray[Any]:
    """``image`` as an array with at least one element, refusing what would lose something."""
    if isinstance(image, np.ma.MaskedArray):
        raise TypeError(
            f"{name} is a masked array, and patches would lose its mask: fill it first ({name}.filled(...)),"
            " or select patches with where="
        )
    refuse_path(image, name)
    if type(image).__module__.partition(".")[0] == "dask":
        raise TypeError(
            f"{name} is a dask array, and all of it would be computed here: map_patches and PatchMatrix"
            f" take it lazily; for this, say {name}.compute()"
        )
    array = to_array(image, name)
    if array.ndim == 0 or array.size == 0:
        raise ValueError(
            f"{name} must have at least one axis and one element, got shape {array.shape}"
        )
    return array


def to_array(item: Any, name: str) -> NDArray[Any]:
    """``item`` as an array: of a torch tensor its own memory, or a TypeError that says what keeps it from that."""
    if not (hasattr(item, "detach") and hasattr(item, "requires_grad")):
        return np.asarray(item)
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


def refuse_path(image: Any, name: str = "image") -> None:
    if isinstance(image, str | os.PathLike):
        raise TypeError(
            f"{name} is a path, {os.fspath(image)!r}, where an array is needed: open it first, as in"
            " numpy.asarray(pantile.files.open_image(path)); map_patches takes paths"
        )

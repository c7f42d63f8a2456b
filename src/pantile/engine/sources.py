"""Images that are read by slices: what they are, where they lie, and how a tile is read."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.tiles import Bounds
from ..kernels.read import Source, read_block
from ..verbs.frame import Frame, as_array

__all__ = ["as_source", "fingerprint", "in_canonical", "placed_in", "read_tile", "units_of"]


class _Turned:
    """A source whose axes are seen in canonical order."""

    def __init__(self, source: Source, order: tuple[int, ...]) -> None:
        self.source, self.order = source, order
        self.shape = tuple(source.shape[a] for a in order)
        self.dtype = np.dtype(source.dtype)

    def __getitem__(self, key: tuple[slice, ...]) -> NDArray[Any]:
        place = [key[self.order.index(a)] for a in range(len(self.order))]
        block = np.asarray(self.source[tuple(place)])
        if block.shape != (wanted := tuple(k.stop - k.start for k in place)):
            raise ValueError(f"image gave a block of shape {block.shape} where {wanted} was asked")
        return block.transpose(self.order)


def as_source(image: Any) -> Any:
    """A reader of what can be read by slices (a path, a store, any such object), else an array.

    What shows its memory (arrays of other libraries, tensors) is seen as an array, without a copy.
    """
    lazy = all(hasattr(image, name) for name in ("shape", "dtype", "__getitem__"))
    lazy = lazy and not (hasattr(image, "__dlpack__") or hasattr(image, "__array_interface__"))
    if isinstance(image, np.ndarray) or not (lazy or isinstance(image, str | os.PathLike)):
        return as_array(image)
    if hasattr(image, "fingerprint"):
        return image
    from ..files import open_image

    return open_image(image)


def units_of(store: Any) -> tuple[int, ...] | None:
    """What of a store is read or written at once, per axis; None where it does not say."""
    for name in ("unit", "shards", "chunks"):
        sizes = getattr(store, name, None)
        if isinstance(sizes, tuple) and all(isinstance(n, int | np.integer) for n in sizes):
            return tuple(int(n) for n in sizes) if len(sizes) == len(store.shape) else None
    return None


def in_canonical(sizes: tuple[int, ...] | None, frame: Frame) -> tuple[int, ...] | None:
    """Lengths per image axis as lengths per canonical axis."""
    return None if sizes is None else tuple(sizes[a] for a in frame.order)


def read_tile(source: Any, frame: Frame, bounds: Bounds) -> NDArray[Any]:
    """The block of ``bounds`` (canonical axes), padded where it lies outside the image."""
    turned = (
        frame.canonical(source) if isinstance(source, np.ndarray) else _Turned(source, frame.order)
    )
    return read_block(turned, bounds, frame.margins, frame.grid.pad_mode, frame.grid.pad_value)


def fingerprint(source: Any) -> dict[str, Any]:
    """What tells an image from a changed one: its content in memory, its place, size and time on disk."""
    from ..files import open_image

    reader = source if hasattr(source, "fingerprint") else open_image(source)
    return dict(reader.fingerprint())


def placed_in(folder: str, source: Any) -> Any:
    """The source as something that pickles as a place: an array in memory goes to a file in ``folder``, once."""
    if not isinstance(source, np.ndarray):
        return source
    from ..files import open_image

    if isinstance(source, np.memmap):
        reader: Any = open_image(source)
        if getattr(reader, "place", None) is not None:
            return reader
    path = os.path.join(folder, "image.npy")
    np.save(path, source)
    return open_image(path)

"""Images that are read by slices: what they are, where they lie, and how a tile is read."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.arrays import unmasked
from ..geometry.frame import Frame
from ..geometry.rect import Rect
from ..kernels.read import Source, read_block
from ..ops.arrays import as_array

__all__ = [
    "as_source",
    "fingerprint",
    "in_canonical",
    "is_held",
    "load_whole",
    "place_in",
    "read_padded",
    "read_region",
    "units_of",
]

_COPIED = 1 << 24  # bytes copied at once


class _Turned:
    """A source whose axes are seen in canonical order."""

    def __init__(self, source: Source, order: tuple[int, ...]) -> None:
        self.source, self.order = source, order
        self.shape = tuple(source.shape[a] for a in order)
        self.dtype = np.dtype(source.dtype)

    def __getitem__(self, key: tuple[slice, ...]) -> NDArray[Any]:
        place = [key[self.order.index(a)] for a in range(len(self.order))]
        block = unmasked(self.source[tuple(place)])
        if block.shape != (wanted := tuple([k.stop - k.start for k in place])):
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
    from ..files import open_image

    reader = open_image(image)
    return getattr(reader, "array", reader)  # of one in memory, so that all know it as such


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


def read_region(source: Any, frame: Frame, bounds: Rect) -> NDArray[Any]:
    """The block of ``bounds`` (canonical axes), read_padded where it lies outside the image."""
    turned = (
        frame.canonical(source) if isinstance(source, np.ndarray) else _Turned(source, frame.order)
    )
    return read_padded(turned, frame, bounds)


def read_padded(source: Source, frame: Frame, bounds: Rect) -> NDArray[Any]:
    """The block of ``bounds`` of a source whose axes are canonical ones."""
    return read_block(source, bounds, frame.margins, frame.grid.pad_mode, frame.grid.pad_value)


def fingerprint(source: Any) -> dict[str, Any]:
    """What tells an image from a changed one: its content in memory, its place, size and time on disk."""
    from ..files import open_image

    reader = source if hasattr(source, "fingerprint") else open_image(source)
    return dict(reader.fingerprint())


def is_held(source: Any) -> bool:
    """Whether a source has no place that another process could open: an array, or a store in memory."""
    return isinstance(source, np.ndarray) or not getattr(source, "placed", True)


def place_in(folder: str, source: Any) -> Any:
    """The source as something that pickles as a place: what is held here goes to a file in ``folder``, once."""
    from ..files import open_image

    if not is_held(source):
        return source
    reader: Any = open_image(source)
    if getattr(reader, "place", None) is not None:
        return reader
    path = os.path.join(folder, "image.npy")
    if isinstance(source, np.ndarray):
        np.save(path, source)
    else:
        _copy(source, path)
    return open_image(path)


def load_whole(source: Any) -> Any:
    """All of a source that is held here, as an array."""
    whole = tuple(slice(0, n) for n in source.shape)
    return source if isinstance(source, np.ndarray) else np.asarray(source[whole])


def _copy(source: Any, path: str) -> None:
    """Save a store some rows at a time, whole chunks of them."""
    copy = np.lib.format.open_memmap(path, "w+", source.dtype, source.shape)
    rows = (units_of(source) or (1,))[0]
    row_bytes = max(1, copy.nbytes // len(copy))
    rows *= max(1, _COPIED // (rows * row_bytes))
    inner = tuple(slice(0, n) for n in source.shape[1:])
    for begin in range(0, len(copy), rows):
        end = min(begin + rows, len(copy))
        copy[begin:end] = source[(slice(begin, end), *inner)]
    copy.flush()

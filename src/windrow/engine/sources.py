"""Images that are read by slices, and results that are written by slices."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..geometry.tiles import Bounds
from ..kernels.read import Source, read_block
from ..verbs.frame import Frame, as_array

__all__ = ["Sink", "as_source", "read_tile"]


class Sink(Protocol):
    """Anything with a shape, a dtype and slice assignment."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> Any: ...
    def __setitem__(self, key: Any, value: Any, /) -> None: ...


class _Turned:
    """A source whose axes are seen in canonical order."""

    def __init__(self, source: Source, order: tuple[int, ...]) -> None:
        self.source, self.order = source, order
        self.shape = tuple(source.shape[a] for a in order)
        self.dtype = np.dtype(source.dtype)

    def __getitem__(self, key: tuple[slice, ...]) -> NDArray[Any]:
        place = [key[self.order.index(a)] for a in range(len(self.order))]
        return np.asarray(self.source[tuple(place)]).transpose(self.order)


def as_source(image: Any) -> Any:
    """``image`` if it can be read by slices, else as an array."""
    if isinstance(image, np.ndarray) or not all(
        hasattr(image, name) for name in ("shape", "dtype", "__getitem__")
    ):
        return as_array(image)
    if 0 in tuple(image.shape) or not len(image.shape):
        raise ValueError(
            f"image must have at least one axis and one element, got shape {image.shape}"
        )
    return image


def read_tile(source: Any, frame: Frame, bounds: Bounds) -> NDArray[Any]:
    """The block of ``bounds`` (canonical axes), padded where it lies outside the image."""
    turned = (
        frame.canonical(source) if isinstance(source, np.ndarray) else _Turned(source, frame.order)
    )
    return read_block(turned, bounds, frame.margins, frame.grid.pad_mode, frame.grid.pad_value)

"""Readers: images that are opened when needed and pickle as their place."""

from __future__ import annotations

import hashlib
import operator
import os
import threading
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..faults import explain_read_errors
from ..georeference import Georeference

__all__ = ["FileReader", "Handle", "Place", "as_dims", "file_marks", "shape_and_dtype_of"]


class Handle(Protocol):
    """Something open that gives blocks."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> Any: ...
    @property
    def chunks(self) -> tuple[int, ...] | None: ...
    def __getitem__(self, key: Any, /) -> Any: ...


class Place(Protocol):
    """Where an image is: a small value that can be opened again anywhere."""

    @property
    def path(self) -> str: ...

    def open(self) -> Handle:
        """The image, ready to be read from several threads."""

    def inside(self) -> dict[str, Any]:
        """What in the file is meant, as plain JSON values."""


def _as_slices(key: Any, shape: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[int, ...]]:
    """A slice for each axis, and the axes on which one element was asked for by its number."""
    items = list(key) if isinstance(key, tuple) else [key]
    missing = len(shape) - sum(item is not Ellipsis for item in items)
    if missing < 0 or sum(item is Ellipsis for item in items) > 1:
        raise IndexError(f"too many indices for an image of shape {shape}: {key}")
    at = next((k for k, item in enumerate(items) if item is Ellipsis), len(items))
    items[at : at + 1] = [slice(None)] * missing
    slices, numbers = [], []
    for k, (item, size) in enumerate(zip(items, shape, strict=True)):
        if not isinstance(item, slice):
            try:
                number = operator.index(item)
            except TypeError:
                raise TypeError(
                    f"a file is read by slices and whole numbers, got {item!r}: read a block, and index that"
                ) from None
            if not -size <= number < size:
                raise IndexError(f"element {number} of axis {k}, which has {size}")
            numbers.append(k)
            item = slice(number % size, number % size + 1)
        slices.append(item)
    return tuple(slices), tuple(numbers)


class FileReader:
    """An image in a file, read by slices: a `pantile.files.Reader`.

    It pickles as its place and is opened again, when first read, in another process.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self._forget()
        handle = self._open_once()
        self.shape, self.dtype = shape_and_dtype_of(place.path, handle)
        self.chunks = None if handle.chunks is None else tuple(int(n) for n in handle.chunks)

    def __getitem__(self, key: Any, /) -> NDArray[Any]:
        """A block: slices, whole numbers and ``...``, as arrays have them."""
        slices, numbers = _as_slices(key, self.shape)
        handle = self._open_once()
        with explain_read_errors(self.place.path):
            block = np.asarray(handle[slices]).astype(self.dtype, copy=False)
        return block.squeeze(numbers) if numbers else block

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """All of it, in memory."""
        if copy is False:
            raise ValueError(
                f"{self.place.path} has to be read, which makes a copy: leave out copy="
            )
        whole = self[tuple(slice(0, n) for n in self.shape)]
        return whole if dtype is None else whole.astype(dtype, copy=False)

    @property
    def channel_axis(self) -> int | None:
        """The axis that holds colours or channels, by what the file says of it; None where it says of none."""
        ask = getattr(self.place, "channel_axis", None)
        axis: int | None = None if ask is None else ask()
        return axis

    @property
    def dims(self) -> tuple[str, ...] | None:
        """The names of the axes, by what the file says of them; None where it does not name them all."""
        ask = getattr(self.place, "dims", None)
        return None if ask is None else as_dims(ask(), len(self.shape))

    @property
    def georeference(self) -> Georeference | None:
        """Where the pixels of a TIFF lie, None where it does not say."""
        ask = getattr(self.place, "georeference", None)
        found: Georeference | None = None if ask is None else ask()
        return found

    def fingerprint(self) -> dict[str, Any]:
        """Place, size, time, shape and dtype, as plain JSON values."""
        return {
            "path": self.place.path,
            **self.place.inside(),
            **file_marks(self.place.path),
            "shape": list(self.shape),
            "dtype": str(self.dtype),
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.place!r}, shape={self.shape}, dtype={self.dtype})"

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("place", "shape", "dtype", "chunks")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def _forget(self) -> None:
        self._handle: Handle | None = None
        self._owner = os.getpid()
        self._opening = threading.Lock()

    def _open_once(self) -> Handle:
        if self._owner != os.getpid():  # a fork shares file positions with its parent
            self._forget()
        handle = self._handle
        if handle is None:
            with self._opening:
                handle = self._handle = self._handle or self._open_again()
        return handle

    def _open_again(self) -> Handle:
        with explain_read_errors(self.place.path):
            handle = self.place.open()
        known = self.__dict__.get("shape")
        if known is not None and (known, self.dtype) != shape_and_dtype_of(self.place.path, handle):
            raise ValueError(
                f"{self.place.path} changed while it was in use: it was {known} {self.dtype}, "
                f"it is {tuple(handle.shape)} {handle.dtype}"
            )
        return handle


def as_dims(names: Any, ndim: int) -> tuple[str, ...] | None:
    """One name per axis, None where some have none or are alike."""
    found = tuple(names or ())
    good = len(found) == ndim and len(set(found)) == ndim and all(isinstance(n, str) for n in found)
    return found if good and all(found) else None


def shape_and_dtype_of(name: str, handle: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and native dtype, or a ValueError where these are no numbers to cut."""
    shape, dtype = tuple(int(n) for n in handle.shape), np.dtype(handle.dtype)
    if not shape or 0 in shape:
        raise ValueError(f"{name} must have at least one axis and one element, got shape {shape}")
    if dtype.kind not in "biufc":
        raise ValueError(f"{name} must hold numbers, got dtype {dtype}")
    return shape, dtype.newbyteorder("=")


def file_marks(path: str) -> dict[str, Any]:
    """Size and time of a file; of a directory, a digest of the sizes and times inside."""
    found = os.stat(path)
    if not os.path.isdir(path):
        return {"size": found.st_size, "mtime_ns": found.st_mtime_ns}
    marks, size = [], 0
    for folder, _, names in os.walk(path):
        for name in names:
            each = os.stat(os.path.join(folder, name))
            size += each.st_size
            place = os.path.relpath(os.path.join(folder, name), path)
            marks.append(f"{place}\0{each.st_size}\0{each.st_mtime_ns}")
    digest = hashlib.sha256("\n".join(sorted(marks)).encode()).hexdigest()
    return {"size": size, "files": len(marks), "digest": digest}

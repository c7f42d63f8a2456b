"""Images that are already open: arrays, memmaps, Zarr arrays, HDF5 datasets, DataArrays."""

from __future__ import annotations

import hashlib
import os
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...geometry.arrays import unmasked
from ..mapping import mapping_of
from ..protocol import Reader
from .hdf5 import Hdf5Place
from .npy import MappedPlace
from .reader import FileReader, shape_and_dtype_of
from .zarrs import ZarrPlace

__all__ = ["ArrayReader", "ObjectReader", "reader_of"]

_STEP = 2**24  # bytes hashed at once


class ArrayReader:
    """An array in memory; its blocks are views of it, read-only.

    It has no place that another process could open, so it does not pickle.
    """

    chunks, placed = None, False

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array.view()
        self.array.flags.writeable = False
        self.shape, self.dtype = shape_and_dtype_of("image", array)

    def __repr__(self) -> str:
        return f"ArrayReader(shape={self.shape}, dtype={self.dtype})"

    def __getitem__(self, key: tuple[slice, ...], /) -> NDArray[Any]:
        return self.array[key].astype(self.dtype, copy=False)

    def __reduce__(self) -> Any:
        raise _no_place_error(
            "an array in memory", "pickle the array itself, or save it and open its path"
        )

    def fingerprint(self) -> dict[str, Any]:
        """Shape, dtype, and a digest of every element."""
        digest = hashlib.blake2b(digest_size=16)
        rows = max(1, _STEP * len(self.array) // self.array.nbytes)
        for begin in range(0, len(self.array), rows):
            digest.update(np.ascontiguousarray(self.array[begin : begin + rows]).data.cast("B"))
        return {
            "shape": list(self.shape),
            "dtype": self.dtype.str,
            "digest": digest.hexdigest(),
        }


class ObjectReader:
    """Anything with a shape, a dtype and slices, read as it is; it pickles as that object does.

    One that is known to lie nowhere (``placed`` is False), so that its elements would have to go with it,
    does not pickle.
    """

    def __init__(
        self, source: Any, chunks: tuple[int, ...] | None, name: str, placed: bool = True
    ) -> None:
        self.source, self.chunks, self.name, self.placed = source, chunks, name, placed
        self.shape, self.dtype = shape_and_dtype_of("image", source)

    def __getstate__(self) -> dict[str, Any]:
        if not self.placed:
            raise _no_place_error(
                self.name, "save it, or close it if it is being written, and open its path"
            )
        return dict(self.__dict__)

    def __repr__(self) -> str:
        return f"ObjectReader({self.name}, shape={self.shape}, dtype={self.dtype})"

    def __getitem__(self, key: tuple[slice, ...], /) -> NDArray[Any]:
        try:
            found = self.source[key]
        except Exception as error:  # the caller's own object, so the caller's own error
            error.add_note(f"pantile: reading {self.name}")
            raise
        return self._checked(found, key)

    def _checked(self, block: Any, key: tuple[slice, ...]) -> NDArray[Any]:
        """What the object gave for ``key``, if that is what its shape and dtype promise."""
        array = unmasked(block)
        shape = tuple(len(range(*k.indices(n))) for k, n in zip(key, self.shape, strict=True))
        kinds = {"f": "f", "c": "fc"}.get(self.dtype.kind, "")  # floats may be rounded
        if array.shape != shape or not (
            array.dtype.kind in kinds or np.can_cast(array.dtype, self.dtype)
        ):
            raise ValueError(
                f"{self.name} says shape {self.shape} and dtype {self.dtype}, but gave {array.dtype} of shape"
                f" {array.shape} for a slice of shape {shape}"
            )
        return array.astype(self.dtype, copy=False)

    def fingerprint(self) -> dict[str, Any]:
        """Name, shape and dtype; changed elements are not noticed."""
        return {"name": self.name, "shape": list(self.shape), "dtype": str(self.dtype)}


def _no_place_error(name: str, instead: str) -> TypeError:
    return TypeError(f"{name} has no place that another process could open: {instead}")


def reader_of(image: Any) -> Reader:
    """A reader of ``image``: by its place on disk where it has one; a reader is returned as it is."""
    if hasattr(image, "fingerprint"):
        return image  # type: ignore[no-any-return]
    for package, name, make in _KINDS:
        module = sys.modules.get(package)  # an object of a package that is not imported is none
        if module is not None and isinstance(image, getattr(module, name)):
            return make(image)
    if not all(hasattr(image, name) for name in ("shape", "dtype", "__getitem__")):
        raise TypeError(
            f"image must be a path, an array, or have shape, dtype and slices, got {type(image).__name__}"
        )
    return ObjectReader(image, _largest_chunks(getattr(image, "chunks", None)), _name_of(image))


def _of_array(image: NDArray[Any]) -> Reader:
    if isinstance(image, np.ma.MaskedArray):
        raise TypeError("image is a masked array, and blocks would lose its mask: fill it first")
    shape_and_dtype_of("image", image)
    mapping = mapping_of(image)
    if mapping is None or not os.path.isfile(mapping.path):  # a temporary file may have no name
        return ArrayReader(image)
    return FileReader(MappedPlace(mapping))


def _of_zarr(image: Any) -> Reader:
    storage = sys.modules["zarr"].storage
    if type(image.store) is not storage.LocalStore:
        placed = not isinstance(image.store, storage.MemoryStore)
        return ObjectReader(image, tuple(image.chunks), str(image.store_path), placed)
    return FileReader(ZarrPlace(os.path.abspath(os.path.join(image.store.root, image.path))))


def _of_hdf5(image: Any) -> Reader:
    if image.file.mode != "r" or not os.path.isfile(image.file.filename):
        # one that is being written cannot be opened a second time, one in memory has no file
        return ObjectReader(image, image.chunks, f"{image.file.filename}:{image.name}", False)
    return FileReader(Hdf5Place(os.path.abspath(image.file.filename), image.name))


def _of_xarray(image: Any) -> Reader:
    if getattr(image.variable, "_in_memory", False) and isinstance(image.data, np.ndarray):
        return _of_array(image.data)
    return ObjectReader(_Variable(image.variable), _largest_chunks(image.chunks), _name_of(image))


class _Variable:
    """The variable of a DataArray, of which only the slices that are read are computed."""

    def __init__(self, variable: Any) -> None:
        self.variable = variable
        self.shape, self.dtype = variable.shape, variable.dtype

    def __getitem__(self, key: tuple[slice, ...]) -> NDArray[Any]:
        block: NDArray[Any] = self.variable[key].to_numpy()
        return block


def _largest_chunks(chunks: Any) -> tuple[int, ...] | None:
    """One chunk length per axis, the largest where they differ (as Dask's may)."""
    if not chunks:
        return None
    return tuple(int(max(c)) if isinstance(c, tuple) else int(c) for c in chunks)


def _name_of(image: Any) -> str:
    kind, name = type(image), getattr(image, "name", None)
    return f"{kind.__module__}.{kind.__qualname__}" + (f" {name}" if name else "")


_KINDS = (
    ("numpy", "ndarray", _of_array),
    ("zarr", "Array", _of_zarr),
    ("h5py", "Dataset", _of_hdf5),
    ("xarray", "DataArray", _of_xarray),
)

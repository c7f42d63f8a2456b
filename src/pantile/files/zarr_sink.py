"""Results in Zarr arrays."""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .extras import needed
from .faults import reading, writing
from .npy_sink import check_shape, same_array
from .staging import (
    check_directory,
    check_dtype,
    check_space,
    final_path,
    fsync,
    fsync_tree,
    partial_path,
    removed,
    swap,
    tidied,
)
from .zarrs import is_array

__all__ = ["ZarrSink", "ZarrWriter", "default_chunks"]

_CHUNK = 2**22  # bytes in a chunk, at most: seconds of a slow network, hundreds of one disk


@dataclass(frozen=True)
class ZarrSink:
    """A result in a Zarr v3 array; a chunk, or a shard where there are shards, has one writer.

    ``chunks`` and ``shards`` are elements along each axis (default: chunks of up to 4 MB, no
    shards; with shards one file holds several chunks). ``compressors`` goes to
    `zarr.create_array`: "auto", None, or codecs.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sink = ZarrSink(folder + "/a.zarr", chunks=(64, 64), shards=(256, 256))
    ...     writer = sink.create((1000, 800), np.dtype("uint8"))
    ...     writer.unit
    (256, 256)
    """

    path: str
    chunks: tuple[int, ...] | None = None
    shards: tuple[int, ...] | None = None
    compressors: Any = "auto"

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", final_path(self.path))
        for name in ("chunks", "shards"):
            lengths = getattr(self, name)
            if lengths is not None:
                object.__setattr__(self, name, _lengths(name, lengths))

    def check(self) -> None:
        """Raise what can be known to be wrong before shape and dtype are."""
        needed("zarr", f"writing {self.path}")
        check_directory(self.path)
        if os.path.lexists(self.path) and not is_array(self.path) and not _empty(self.path):
            raise FileExistsError(
                f"out={self.path!r} is there and no Zarr array: choose another name"
            )

    def create(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> ZarrWriter:
        """The empty staging array, its metadata written; an OSError where it cannot fit."""
        self.check()
        shape, dtype = check_shape(self.path, shape), np.dtype(dtype).newbyteorder("=")
        check_dtype(self.path, dtype, "biufc", 8, "use numbers of at most 8 bytes (complex: 16)")
        chunks, shards = self._layout(shape, dtype)
        tidied(self.path)
        partial = partial_path(self.path)
        removed(partial)
        if self.compressors is None:
            check_space(self.path, prod(shape) * dtype.itemsize, f"a result of {shape} {dtype}")
        with writing(self.path, partial):
            array = needed("zarr", "writing Zarr").create_array(
                partial,
                shape=shape,
                dtype=dtype,
                chunks=chunks,
                shards=shards,
                compressors=self.compressors,
                fill_value=0,
                zarr_format=3,
            )
            fsync_tree(partial)
            fsync(os.path.dirname(partial))
        return ZarrWriter(self.path, array)

    def reopen(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> ZarrWriter:
        """The staging array that is there; a ValueError where it is of another shape or dtype."""
        tidied(self.path)
        partial = partial_path(self.path)
        if not os.path.isdir(partial):
            raise FileNotFoundError(f"{partial} is not there: start without resume")
        array = _opened(partial)
        same_array(partial, array, shape, dtype)
        return ZarrWriter(self.path, array)

    def unit(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, ...]:
        """What of a result of this shape and dtype will have one writer, before it is made."""
        chunks, shards = self._layout(shape, dtype)
        return shards or chunks

    def _layout(
        self, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
        for name in ("chunks", "shards"):
            lengths = getattr(self, name)
            if lengths is not None and len(lengths) != len(shape):
                raise ValueError(f"{name}={lengths} must have one length per axis of {shape}")
        chunks = self.chunks or default_chunks(self.shards or shape, dtype)
        if self.shards and any(s % c for s, c in zip(self.shards, chunks, strict=True)):
            raise ValueError(f"shards={self.shards} must be multiples of the chunks {chunks}")
        return chunks, self.shards


class ZarrWriter:
    """A result being written to a Zarr array under its staging name."""

    def __init__(self, path: str, array: Any) -> None:
        self.path, self._partial = path, partial_path(path)
        self.shape, self.dtype = tuple(array.shape), np.dtype(array.dtype)
        self.unit = tuple(array.shards or array.chunks)
        self._begin(array)

    def __setitem__(self, key: tuple[slice, ...], values: NDArray[Any], /) -> None:
        with writing(self.path, self._partial):
            self._array[key] = values
        with self._noting:
            self._unsynced.update(self._files(key))

    def sync(self) -> None:
        """Return once everything this process has written would survive a power cut.

        What other processes have written is theirs to sync.
        """
        with self._noting:
            files = set(self._unsynced)
            self._unsynced -= files
        files = {file for file in files if os.path.exists(file)}  # a chunk of zeros has none
        with writing(self.path, self._partial):
            for file in sorted(files):
                fsync(file)
            for folder in sorted(_ancestors(files, self._partial), reverse=True):
                fsync(folder)

    def commit(self) -> None:
        """Give the array its final name; an earlier one stands aside for that moment."""
        for folder, _, names in os.walk(self._partial):
            for name in names:
                if name.endswith(".partial"):  # a chunk that a killed writer had begun
                    os.remove(os.path.join(folder, name))
        if not is_array(self._partial):
            raise FileNotFoundError(
                errno.ENOENT, f"someone took {self._partial} away while it was written", self.path
            )
        with writing(self.path, self._partial):
            fsync_tree(self._partial)
        tidied(self.path)
        swap(self._partial, self.path)

    def discard(self) -> None:
        """Remove the staging array."""
        removed(self._partial)

    def _begin(self, array: Any) -> None:
        self._array = array
        self._noting = threading.Lock()
        self._unsynced: set[str] = set()

    def _files(self, key: tuple[slice, ...]) -> set[str]:
        """The files of the chunks or shards that ``key`` touches."""
        ranges = [range(*part.indices(n)) for part, n in zip(key, self.shape, strict=True)]
        if not all(ranges):
            return set()
        touched = [range(r[0] // u, r[-1] // u + 1) for r, u in zip(ranges, self.unit, strict=True)]
        name = self._array.metadata.encode_chunk_key
        return {os.path.join(self._partial, *name(at).split("/")) for at in product(*touched)}

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: getattr(self, name) for name in ("path", "_partial", "shape", "dtype", "unit")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin(_opened(self._partial))


def default_chunks(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, ...]:
    """Chunks of at most 4 MB: the longest axis is halved, as a power of two, until they fit.

    >>> default_chunks((20000, 20000), np.dtype("uint16"))
    (1024, 2048)
    >>> default_chunks((20000, 20000, 3), np.dtype("float32"))
    (512, 512, 3)
    """
    chunks = list(shape)
    while prod(chunks) * dtype.itemsize > _CHUNK:
        axis = chunks.index(max(chunks))
        chunks[axis] = 1 << ((chunks[axis] - 1).bit_length() - 1)
    return tuple(chunks)


def _lengths(name: str, lengths: Any) -> tuple[int, ...]:
    try:
        found = tuple(int(n) for n in lengths)
    except TypeError:
        raise TypeError(f"{name} must be one length per axis, got {lengths!r}") from None
    if not found or min(found) < 1:
        raise ValueError(f"{name} must be at least 1 along each axis, got {lengths!r}")
    return found


def _opened(partial: str) -> Any:
    with reading(partial):
        return needed("zarr", "writing Zarr").open_array(partial, mode="r+")


def _empty(path: str) -> bool:
    return os.path.isdir(path) and not os.listdir(path)


def _ancestors(files: set[str], root: str) -> set[str]:
    """The directories between ``files`` and ``root``, both ends of each way included."""
    found: set[str] = set()
    for file in files:
        folder = os.path.dirname(file)
        while folder not in found and len(folder) >= len(root):
            found.add(folder)
            folder = os.path.dirname(folder)
    return found

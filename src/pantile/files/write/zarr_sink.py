"""Results in Zarr arrays."""

from __future__ import annotations

import errno
import json
import os
import threading
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..about import About
from ..extras import import_optional
from ..faults import explain_read_errors, explain_write_errors
from ..read.zarrs import holds_only, is_array, is_zarr
from .npy_sink import check_same_array, check_shape
from .staging import (
    check_directory,
    check_dtype,
    check_space,
    describe_foreign,
    final_path,
    finish_swap,
    fsync,
    fsync_tree,
    partial_path,
    remove,
    swap,
)

__all__ = ["ZarrSink", "ZarrWriter", "default_chunks"]

_CHUNK = 2**22  # bytes in a chunk, at most: seconds of a slow network, hundreds of one disk


@dataclass(frozen=True)
class ZarrSink:
    """A result in a Zarr v3 array; a chunk, or a shard where there are shards, has one writer.

    ``chunks`` and ``shards`` are elements along each axis (default: chunks of up to 4 MB, no
    shards; with shards one file holds several chunks). ``compressors`` goes to
    `zarr.create_array`: "auto", None, or codecs.

    The array has a name for each axis: those of the image, else ``dims``, else ``dim_0``, ``dim_1``.
    ``name`` makes the result a group that holds an array of that name, with coordinates beside it where
    the image had some, as ``xarray.open_zarr(path)[name]`` wants it (xarray opens groups alone).

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
    name: str | None = None
    dims: tuple[str, ...] | None = None
    _about: ClassVar[About | None] = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", final_path(self.path))
        for name in ("chunks", "shards"):
            lengths = getattr(self, name)
            if lengths is not None:
                object.__setattr__(self, name, _as_lengths(name, lengths))
        if self.name is not None and not _is_plain_name(self.name):
            raise ValueError(f"name={self.name!r} must be a name of one part, like 'image'")
        if self.dims is not None:
            object.__setattr__(self, "dims", _as_dims(self.dims))

    def about(self, about: About) -> ZarrSink:
        """The same sink, which also notes the names of axes and, in a group, their coordinates."""
        sink = replace(self)
        object.__setattr__(sink, "_about", about)
        return sink

    def check(self) -> None:
        """Raise what can be known to be wrong before shape and dtype are."""
        import_optional("zarr", f"writing {self.path}")
        check_directory(self.path)
        if not _is_left_by_run(partial_path(self.path)):
            raise FileExistsError(describe_foreign(self.path))
        if not os.path.lexists(self.path) or is_array(self.path) or _is_empty_directory(self.path):
            return
        if self.name is None:
            raise FileExistsError(
                f"out={self.path!r} is there and no Zarr array: choose another name"
            )
        if not holds_only(self.path, self.name):
            raise FileExistsError(
                f"out={self.path!r} is there and holds more than {self.name!r}, and a result replaces all of a group:"
                " choose another name"
            )

    def create(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> ZarrWriter:
        """The empty staging array, its metadata written; an OSError where it cannot fit."""
        self.check()
        shape, dtype = check_shape(self.path, shape), np.dtype(dtype).newbyteorder("=")
        check_dtype(self.path, dtype, "biufc", 8, "use numbers of at most 8 bytes (complex: 16)")
        chunks, shards = self._layout(shape, dtype)
        finish_swap(self.path)
        partial = partial_path(self.path)
        remove(partial)
        if self.compressors is None:
            check_space(self.path, prod(shape) * dtype.itemsize, f"a result of {shape} {dtype}")
        with explain_write_errors(self.path, partial):
            dims, attributes = self._labels(len(shape)), self._begin_group(partial)
            array = import_optional("zarr", "writing Zarr").create_array(
                partial,
                name=self.name,
                shape=shape,
                dtype=dtype,
                chunks=chunks,
                shards=shards,
                compressors=self.compressors,
                fill_value=0,
                zarr_format=3,
                dimension_names=dims,
                attributes=attributes,
            )
            if self.name is not None:
                _consolidate(partial)
            fsync_tree(partial)
            fsync(os.path.dirname(partial))
        return ZarrWriter(self.path, array, self.name)

    def _labels(self, ndim: int) -> tuple[str, ...]:
        sink = None if self._about is None else self._about.dims
        dims = self.dims or sink or tuple(f"dim_{k}" for k in range(ndim))
        if len(dims) != ndim:
            raise ValueError(f"dims={dims} must have one name per axis, the result has {ndim}")
        return dims

    def _begin_group(self, partial: str) -> dict[str, Any]:
        """Make the group with its coordinates where the array has a name; returns the array's attributes."""
        if self.name is None:
            return {}
        coords = None if self._about is None or self.dims is not None else self._about.coords
        coords = None if coords is None else _make_storable(coords)
        if coords is None or not coords.variables:
            import_optional("zarr", "writing Zarr").create_group(partial, zarr_format=3)
            return {}
        if self.name in coords.variables or self.name in coords.dims:
            raise ValueError(f"name={self.name!r} is that of a coordinate: choose another one")
        coords.drop_encoding().to_zarr(partial, mode="w", zarr_format=3, consolidated=False)
        others = sorted(str(name) for name in coords.variables if name not in coords.dims)
        return {"coordinates": " ".join(others)} if others else {}

    def reopen(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> ZarrWriter:
        """The staging array that is there; a ValueError where it is of another shape or dtype."""
        finish_swap(self.path)
        partial = partial_path(self.path)
        if not os.path.isdir(partial):
            raise FileNotFoundError(f"{partial} is not there: start without resume")
        array = _open_staged(_root(partial, self.name))
        check_same_array(partial, array, shape, dtype)
        return ZarrWriter(self.path, array, self.name)

    def unit(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, ...]:
        """The chunk, or shard, that a result of this shape and dtype will have."""
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

    def __init__(self, path: str, array: Any, name: str | None = None) -> None:
        self.path, self._partial = path, partial_path(path)
        self._root = _root(self._partial, name)
        self.shape, self.dtype = tuple(array.shape), np.dtype(array.dtype)
        self.unit = tuple(array.shards or array.chunks)
        self._start(array)

    def __setitem__(self, key: tuple[slice, ...], values: NDArray[Any], /) -> None:
        with explain_write_errors(self.path, self._partial):
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
        with explain_write_errors(self.path, self._partial):
            for file in sorted(files):
                fsync(file)
            for folder in sorted(_folders_between(files, self._partial), reverse=True):
                fsync(folder)

    def commit(self) -> None:
        """Give the array its final name; an earlier one stands aside for that moment."""
        for folder, _, names in os.walk(self._partial):
            for name in names:
                if name.endswith(".partial"):  # a chunk that a killed writer had begun
                    os.remove(os.path.join(folder, name))
        if not is_array(self._root):
            raise FileNotFoundError(
                errno.ENOENT, f"someone took {self._partial} away while it was written", self.path
            )
        with explain_write_errors(self.path, self._partial):
            fsync_tree(self._partial)
        finish_swap(self.path)
        swap(self._partial, self.path)

    def discard(self) -> None:
        """Remove the staging array."""
        remove(self._partial)

    def _start(self, array: Any) -> None:
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
        return {os.path.join(self._root, *name(at).split("/")) for at in product(*touched)}

    def __getstate__(self) -> dict[str, Any]:
        names = ("path", "_partial", "_root", "shape", "dtype", "unit")
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start(_open_staged(self._root))


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


def _as_lengths(name: str, lengths: Any) -> tuple[int, ...]:
    try:
        found = tuple(int(n) for n in lengths)
    except TypeError:
        raise TypeError(f"{name} must be one length per axis, got {lengths!r}") from None
    if not found or min(found) < 1:
        raise ValueError(f"{name} must be at least 1 along each axis, got {lengths!r}")
    return found


def _root(partial: str, name: str | None) -> str:
    """The path of the array: ``partial``, or the member ``name`` of that group."""
    return partial if name is None else os.path.join(partial, name)


def _is_plain_name(name: Any) -> bool:
    return isinstance(name, str) and name.strip(".") != "" and not set("/\\") & set(name)


def _as_dims(dims: Any) -> tuple[str, ...]:
    found = (dims,) if isinstance(dims, str) else tuple(dims)
    if not all(isinstance(d, str) and d for d in found) or len(set(found)) != len(found):
        raise ValueError(f"dims must be a name for each axis, each another one, got {dims!r}")
    return found


def _consolidate(path: str) -> None:
    """Copy the metadata of a group's arrays into that of the group: without it xarray warns.

    As `zarr.consolidate_metadata` does, which warns that version 3 does not say how this is done.
    """
    mark = "zarr.json"
    inner = sorted(n for n in os.listdir(path) if os.path.isfile(os.path.join(path, n, mark)))
    group = _load_json(os.path.join(path, mark))
    held = {name: _load_json(os.path.join(path, name, mark)) for name in inner}
    group["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": held}
    with open(os.path.join(path, mark), "w", encoding="utf-8") as file:
        json.dump(group, file, indent=2)


def _load_json(path: str) -> dict[str, Any]:
    with open(path, encoding="utf-8") as file:
        found: dict[str, Any] = json.load(file)
    return found


def _make_storable(coords: Any) -> Any:
    """Coordinates in a form that Zarr stores: combined indices as their parts, text without a fixed length
    (of which Zarr warns)."""
    for dim in list(coords.indexes):
        if dim in coords.dims and coords.indexes[dim].nlevels > 1:
            coords = coords.reset_index(dim).drop_vars(dim, errors="ignore")
    fixed = [name for name, coord in coords.variables.items() if coord.dtype.kind == "U"]
    return coords.assign_coords({name: coords[name].astype(object) for name in fixed})


def _open_staged(partial: str) -> Any:
    with explain_read_errors(partial):
        return import_optional("zarr", "writing Zarr").open_array(partial, mode="r+")


def _is_left_by_run(partial: str) -> bool:
    """Whether a run may have left this: it is missing, holds only the metadata written first, or is Zarr."""
    if not os.path.isdir(partial):
        return not os.path.lexists(partial)
    return is_zarr(partial) or all(name.startswith("zarr.json") for name in os.listdir(partial))


def _is_empty_directory(path: str) -> bool:
    return os.path.isdir(path) and not os.listdir(path)


def _folders_between(files: set[str], root: str) -> set[str]:
    """The directories of ``files`` and those above them up to ``root``."""
    found: set[str] = set()
    for file in files:
        folder = os.path.dirname(file)
        while folder not in found and len(folder) >= len(root):
            found.add(folder)
            folder = os.path.dirname(folder)
    return found

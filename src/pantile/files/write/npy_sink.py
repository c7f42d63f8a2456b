"""Results in `.npy` files."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from math import prod
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..faults import explain_write_errors
from ..mapping import Mapping, byte_strides_of
from ..read.npy import npy_mapping
from .staging import (
    check_directory,
    check_dtype,
    check_space,
    describe_foreign,
    final_path,
    finish_swap,
    fsync,
    partial_path,
    remove,
    swap,
)

__all__ = [
    "EncodedWriter",
    "NpySink",
    "NpyWriter",
    "check_file",
    "check_same_array",
    "check_shape",
    "encoded_path",
    "make_npy",
]

_ZEROS = 2**24  # bytes written at once where the system cannot preallocate


@dataclass(frozen=True)
class NpySink:
    """A result in an `.npy` file, C order, elements independent of each other.

    All of its space is taken when it is created, so that a full disk shows at once.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     writer = NpySink(folder + "/a.npy").create((2, 3), np.dtype("uint8"))
    ...     writer[0:2, 0:3] = np.arange(6, dtype=np.uint8).reshape(2, 3)
    ...     writer.commit()
    ...     np.load(folder + "/a.npy").tolist()
    [[0, 1, 2], [3, 4, 5]]
    """

    path: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", final_path(self.path))

    def check(self) -> None:
        """Raise what can be known to be wrong before shape and dtype are."""
        check_file(self.path)

    def create(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NpyWriter:
        """The empty staging file; an OSError where it does not fit."""
        self.check()
        shape, dtype = check_shape(self.path, shape), np.dtype(dtype).newbyteorder("=")
        check_dtype(self.path, dtype, "biufc", 16, "use numbers")
        return NpyWriter(self.path, make_npy(self.path, partial_path(self.path), shape, dtype))

    def reopen(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NpyWriter:
        """The staging file that is there; a ValueError where it is of another shape or dtype."""
        mapping = npy_mapping(partial_path(self.path))
        check_same_array(partial_path(self.path), mapping, shape, dtype)
        return NpyWriter(self.path, mapping)


class NpyWriter:
    """A result being written to an `.npy` file under its staging name."""

    unit = None

    def __init__(self, path: str, mapping: Mapping) -> None:
        self.path, self._mapping = path, mapping
        self.shape, self.dtype = mapping.shape, mapping.dtype

    def __setitem__(self, key: tuple[slice, ...], values: NDArray[Any], /) -> None:
        with explain_write_errors(self.path, self._mapping.path):
            self._mapping[key] = values

    def sync(self) -> None:
        """Return once everything written so far, by any process here, would survive a power cut."""
        with explain_write_errors(self.path, self._mapping.path):
            fsync(self._mapping.path)

    def commit(self) -> None:
        """Give the file its final name, in one step."""
        self.sync()
        swap(self._mapping.path, self.path)

    def discard(self) -> None:
        """Remove the staging file."""
        remove(self._mapping.path)


class EncodedWriter(NpyWriter):
    """A result staged as plain elements, which `encode` turns into the file once all are there."""

    def encode(self, path: str) -> None:
        """Write all elements to ``path`` in the format of the file."""
        raise NotImplementedError

    def commit(self) -> None:
        """Write the file under a second staging name, and give it its final one in one step."""
        encoded = encoded_path(self.path)
        with explain_write_errors(self.path, self._mapping.path):
            try:
                self.encode(encoded)
            except BaseException:
                remove(encoded)
                raise
            fsync(encoded)
        swap(encoded, self.path)
        remove(self._mapping.path)

    def discard(self) -> None:
        """Remove the staging files."""
        remove(encoded_path(self.path))
        super().discard()


def encoded_path(path: str) -> str:
    """The staging name of a file that is encoded from the staged elements."""
    return partial_path(path) + (os.path.splitext(path)[1] or ".encoded")


def check_file(path: str) -> None:
    """Raise where no file can be made at ``path``."""
    check_directory(path)
    if os.path.lexists(path) and not os.path.isfile(path):
        raise FileExistsError(f"out={path!r} is there and no file: choose another name")
    if os.path.isdir(partial_path(path)):  # of somebody else: a run leaves a file there
        raise FileExistsError(describe_foreign(path))


def check_shape(path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """``shape`` as plain integers, or a ValueError where it holds nothing."""
    if not shape or min(shape) < 1:
        raise ValueError(f"out={path!r}: the result has no elements, its shape is {tuple(shape)}")
    return tuple(int(n) for n in shape)


def check_same_array(path: str, found: Any, shape: tuple[int, ...], dtype: Any) -> None:
    """Raise where what an earlier run left at ``path`` is another array."""
    dtype = np.dtype(dtype).newbyteorder("=")
    if (tuple(found.shape), np.dtype(found.dtype)) != (tuple(shape), dtype):
        raise ValueError(
            f"{path} was left by another run: it is {tuple(found.shape)} {found.dtype}, "
            f"the result is {tuple(shape)} {dtype}: remove it or start without resume"
        )


def make_npy(path: str, partial: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Mapping:
    """A file of that shape at ``partial``, its space taken; nothing there where that fails."""
    finish_swap(path)
    remove(partial)
    nbytes = prod(shape) * dtype.itemsize
    check_space(path, nbytes, f"a result of {shape} {dtype}")
    try:
        with open(partial, "xb") as file:
            header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_2_0(file, header)
            offset = file.tell()
            _extend(file, offset + nbytes)
            os.fsync(file.fileno())
        fsync(os.path.dirname(path))
    except OSError as error:
        with contextlib.suppress(OSError):
            remove(partial)
        raise OSError(
            error.errno,
            f"{error.strerror}: a result of {shape} {dtype} needs {nbytes:,} bytes",
            path,
        ) from error
    return Mapping(partial, offset, dtype, shape, byte_strides_of(shape, dtype))


def _extend(file: IO[bytes], length: int) -> None:
    """Make the file ``length`` bytes long, with blocks of the disk behind all of them."""
    file.flush()
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, length)
        return
    zeros = bytes(_ZEROS)
    for begin in range(file.tell(), length, _ZEROS):
        file.write(zeros[: length - begin])
    file.flush()

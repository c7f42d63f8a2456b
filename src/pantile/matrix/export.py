"""The matrix for others: on disk, and as a linear operator."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from .guard import format_bytes
from .product.multiply import multiply, multiply_transposed
from .selection.selection import Selection
from .selection.stack import Array

__all__ = ["make_operator", "write_memmap"]


def write_memmap(selection: Selection, path: str | os.PathLike[str]) -> Array:
    """Write all rows to a ``.npy`` file, a block at a time; the file as a read-only memory map.

    The file has another name until it is complete.
    """
    target = Path(path)
    nbytes = selection.n_rows * selection.features * selection.dtype.itemsize
    free = shutil.disk_usage(target.parent).free
    if nbytes > free:
        message = f"{format_bytes(nbytes)} for {target}, and {format_bytes(free)} are free"
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {message}")
    name = tempfile.mktemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    try:
        _write(selection, name)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return np.load(target, mmap_mode="r")  # type: ignore[no-any-return]


def _write(selection: Selection, name: str) -> None:
    with open(name, "xb") as file:  # of the usual mode: a temporary file is its owner's alone
        header = {
            "descr": np.lib.format.dtype_to_descr(selection.dtype),
            "fortran_order": False,
            "shape": (selection.n_rows, selection.features),
        }
        np.lib.format.write_array_header_1_0(file, header)
        for _, columns in selection.blocks():
            file.write(np.ascontiguousarray(columns.T).data)


def make_operator(selection: Selection) -> Any:
    """A `scipy.sparse.linalg.LinearOperator` of the matrix."""
    from scipy.sparse.linalg import LinearOperator

    def times(right: Array) -> Array:
        return multiply(selection, right.reshape(selection.features, -1)).reshape(
            -1, *right.shape[1:]
        )

    def adjoint_times(right: Array) -> Array:
        flat = right.reshape(selection.n_rows, -1).conj()
        return multiply_transposed(selection, flat).conj().reshape(-1, *right.shape[1:])

    return LinearOperator(
        shape=(selection.n_rows, selection.features),
        dtype=selection.work,
        matvec=times,
        rmatvec=adjoint_times,
        matmat=times,
        rmatmat=adjoint_times,
    )

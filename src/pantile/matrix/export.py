"""The matrix for others: on disk, and as a linear operator."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from .guard import readable_bytes
from .parts import Array
from .products import multiply, multiply_transposed
from .table import BLOCK, Table

__all__ = ["operator_of", "write_memmap"]


def write_memmap(table: Table, path: str | os.PathLike[str]) -> Array:
    """Write all rows to a ``.npy`` file, some at a time, and give it back mapped and read-only.

    The file has another name until it is complete.
    """
    target = Path(path)
    nbytes = table.n_rows * table.features * table.dtype.itemsize
    free = shutil.disk_usage(target.parent).free
    if nbytes > free:
        said = f"{readable_bytes(nbytes)} for {target}, and {readable_bytes(free)} are free"
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {said}")
    name = tempfile.mktemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    try:
        _write(table, name)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return np.load(target, mmap_mode="r")  # type: ignore[no-any-return]


def _write(table: Table, name: str) -> None:
    with open(name, "xb") as file:  # of the usual mode: a temporary file is its owner's alone
        header = {
            "descr": np.lib.format.dtype_to_descr(table.dtype),
            "fortran_order": False,
            "shape": (table.n_rows, table.features),
        }
        np.lib.format.write_array_header_1_0(file, header)
        for _, columns in table.blocks(BLOCK):
            file.write(np.ascontiguousarray(columns.T).data)


def operator_of(table: Table) -> Any:
    """A `scipy.sparse.linalg.LinearOperator` of the matrix."""
    from scipy.sparse.linalg import LinearOperator

    def times(right: Array) -> Array:
        return multiply(table, right.reshape(table.features, -1)).reshape(-1, *right.shape[1:])

    def adjoint_times(right: Array) -> Array:
        flat = right.reshape(table.n_rows, -1).conj()
        return multiply_transposed(table, flat).conj().reshape(-1, *right.shape[1:])

    return LinearOperator(
        shape=(table.n_rows, table.features),
        dtype=table.work,
        matvec=times,
        rmatvec=adjoint_times,
        matmat=times,
        rmatmat=adjoint_times,
    )

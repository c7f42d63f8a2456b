"""Any function of rows, applied to all rows of a matrix a block at a time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from ..geometry.arrays import to_array
from ..geometry.limits import LIMITS
from ..kernels.libraries import limit_libraries, limit_thread, share_of
from .guard import check_fits
from .selection.stack import Array

if TYPE_CHECKING:
    from .matrix import PatchMatrix

__all__ = ["apply_rows"]


def apply_rows(
    func: Callable[[Array], Any],
    matrix: PatchMatrix,
    *,
    rows: Array | None = None,
    nbytes: int = LIMITS.row_block_bytes,
    dtype: Any = None,
    by_feature: bool = False,
    workers: int = 1,
) -> Array:
    """``func`` of all rows, called on blocks of them: ``(n_rows, ...)``.

    Parameters
    ----------
    func : callable
        Takes ``(n, features)``, C contiguous (``by_feature``: in Fortran order) and its own, and gives
        one result per row.
    rows : array of int, optional
        Only these rows, in this order.
    nbytes : int
        Bytes of a block.
    dtype : dtype, optional
        What ``func`` is given; the matrix's by default.
    workers : int
        Threads that cut and call at the same time. Blocks do not depend on it.
    """
    dtype = np.dtype(matrix.dtype if dtype is None else dtype)
    n_rows, features = matrix.shape
    n_rows = n_rows if rows is None else len(rows)
    size = max(1, nbytes // (max(dtype.itemsize, matrix.dtype.itemsize) * features))

    def cut(begin: int) -> Array:
        end = min(begin + size, n_rows)
        chosen = np.arange(begin, end) if rows is None else rows[begin:end]
        taken = matrix.selection.take(chosen, by_feature=True) if by_feature else matrix[chosen]
        return np.asarray(taken, dtype)

    def compute(block: Array) -> Array:
        n = len(block)
        found = to_array(func(block), "what was returned for rows")
        if found.shape[:1] != (n,):
            raise ValueError(
                f"func must give one result for each of {n} rows, got shape {found.shape}"
            )
        return found

    first = compute(cut(0))
    if len(first) == n_rows:
        return first.copy()
    row = first[:1]
    check_fits(row.nbytes * n_rows, f"{n_rows} results of {row.nbytes} bytes", "take fewer rows")
    out = np.empty((n_rows, *first.shape[1:]), first.dtype)
    out[: len(first)] = first

    def put(begin: int, block: Array) -> None:
        out[begin : begin + len(block)] = compute(block)

    _for_each(cut, put, range(size, n_rows, size), workers)
    return out


def _for_each(
    cut: Callable[[int], Array], put: Callable[[int, Array], None], begins: range, workers: int
) -> None:
    """``put`` what is cut: by several threads, or by this one, while another cuts the next block."""
    if workers <= 1:
        with ThreadPoolExecutor(1) as ahead:
            coming = ahead.submit(cut, begins.start)
            for begin in begins:
                block = coming.result()
                if begin + begins.step in begins:
                    coming = ahead.submit(cut, begin + begins.step)
                put(begin, block)
                del block  # before the next but one is cut
        return
    share = share_of(workers)
    with (
        limit_libraries(workers),
        ThreadPoolExecutor(workers, initializer=limit_thread, initargs=(share,)) as pool,
    ):
        for _ in pool.map(lambda begin: put(begin, cut(begin)), begins):
            pass  # an exception cancels what has not begun

"""One pass over all rows of a patch matrix for two products: ``X @ V``, then ``X.T @ U`` with ``U`` made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry.limits import LIMITS, Limits
from ..kernels.parallel import each_in_parallel
from ..matrix import PatchMatrix
from ..matrix.estimate import estimate_product
from ..matrix.guard import free_bytes
from .base import iterate_slabs
from .rows import select_rows

__all__ = [
    "LabelledRows",
    "cutting_is_cheaper",
    "prepare_labelled",
    "split_pieces",
    "sum_in_chunks",
]

Array = NDArray[Any]


@dataclass(frozen=True)
class LabelledRows:
    """Labelled rows of a matrix, with their codes; rows of code -1 take no part.

    ``matrix`` is lazy, or the rows themselves as float64.
    """

    matrix: PatchMatrix | Array
    codes: Array
    cut: bool  # products on blocks of cut rows, not by FFT
    limits: Limits = LIMITS

    def pieces(self, columns: int) -> Iterator[tuple[slice, Any]]:
        """Consecutive rows, as ``(rows, matrix)``: a lazy matrix or an array."""
        if isinstance(self.matrix, PatchMatrix):
            yield from split_pieces(self.matrix, columns, self.cut)
            return
        size = max(1, (self.limits.gathered_bytes >> 3) // (8 * columns))
        for begin in range(0, len(self.matrix), size):
            rows = slice(begin, min(begin + size, len(self.matrix)))
            yield rows, self.matrix[rows]


def split_pieces(matrix: PatchMatrix, columns: int, cut: bool) -> Iterator[tuple[slice, Any]]:
    """Consecutive rows as float64 arrays that are used again, or as lazy slabs."""
    if not cut:
        yield from iterate_slabs(matrix, columns)
        return
    for rows, block in matrix.selection.blocks(dtype=np.float64):
        yield rows, block.T


def prepare_labelled(matrix: PatchMatrix, codes: Array, columns: int) -> LabelledRows:
    """The labelled rows in the form that makes a pass cheapest: gathered, cut in blocks, or by FFT."""
    labelled, limits = codes >= 0, matrix.selection.limits
    n = int(np.count_nonzero(labelled))
    if n < len(matrix):
        some, own = select_rows(matrix, labelled), codes[labelled]
    else:
        some, own = matrix, codes
    if n * matrix.shape[1] * 8 <= min(limits.gathered_bytes, free_bytes() // 4):
        return LabelledRows(_gather(some), own, True, limits)
    if cutting_is_cheaper(matrix, columns, n / len(matrix)):
        return LabelledRows(some, own, True, limits)
    return LabelledRows(matrix, codes, False, limits)


def cutting_is_cheaper(matrix: PatchMatrix, columns: int, share: float = 1.0) -> bool:
    """Whether it is faster to cut ``share`` of the rows, once for both products, than to multiply all uncut."""
    rows = matrix.selection
    there, back = estimate_product(rows, columns), estimate_product(rows, columns, adjoint=True)
    once = there.blocks + back.blocks - rows.n_rows * rows.features * rows.limits.costs.cut
    return once * share <= min(there.boxes, there.direct) + min(back.boxes, back.direct)


def _gather(matrix: PatchMatrix) -> Array:
    found = np.empty(matrix.shape)
    for rows, block in matrix.selection.blocks():
        found[rows] = block.T
    return found


def sum_in_chunks(n: int, work: Callable[[slice], float], limits: Limits = LIMITS) -> float:
    """The sum of ``work(rows)`` over slices of ``n`` rows, on all cores; it does not depend on how many these are."""
    task, chunk = limits.task_rows, limits.chunk_rows
    tasks = range(0, n, task)
    sums = np.zeros(len(tasks))

    def one(k: int) -> None:
        end = min(n, (k + 1) * task)
        for begin in range(k * task, end, chunk):
            sums[k] += work(slice(begin, min(begin + chunk, end)))

    each_in_parallel(one, range(len(tasks)))
    return float(sums.sum())

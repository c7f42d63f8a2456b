"""Products with few vectors: each patch is multiplied where it lies in the image, and none is cut."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from ...kernels.flat import flat, native, strided_by_items
from ...kernels.parallel import each_in_parallel
from ...kernels.read import read_block
from ...kernels.walk import Operand, Runs, line_tables, placed, runs_of
from ...verbs.extract import readable
from ..boxes.fourier import in_lanes
from ..selection.selection import Table
from ..selection.stack import Array, Part

__all__ = ["direct_times", "direct_transposed", "is_direct"]

_ROWS = 1 << 20  # whose numbers are made at a time
_LEAF = 1 << 19  # elements below which a second thread costs more than it brings


def is_direct(table: Table) -> bool:
    """Whether kernels can read the images as they are."""
    dtypes = {part.image.dtype for part in table.stack.parts}
    return table.plain and all(d.char == "?" or _known(d) for d in dtypes)


def _known(dtype: np.dtype[Any]) -> bool:
    return native(np.empty(0, dtype)).dtype == dtype and dtype.isnative


def direct_times(table: Table, right: Array, out: Array) -> None:
    """``out = X @ right``, a column at a time."""
    vectors = np.ascontiguousarray(right.T)
    for rows, part, numbers in _pieces(table):
        sums = np.zeros((len(vectors), len(numbers)), out.dtype)
        for source, runs in _sources(part, numbers):
            task = partial(_project, part, source, vectors, sums)
            each_in_parallel(task, runs.leaves(table.features, _LEAF))
        out[rows] = sums.T


def _project(part: Part, source: Operand, vectors: Array, sums: Array, runs: Runs) -> None:
    from ...kernels.loops import project

    for vector, column in zip(vectors, sums, strict=True):
        project(*_tables(part, vector, source, runs), column)


def direct_transposed(table: Table, right: Array) -> Array:
    """``X.T @ right``, a column at a time."""
    total = np.zeros((right.shape[1], table.features), right.dtype)
    for rows, part, numbers in _pieces(table):
        weights = np.ascontiguousarray(right[rows].T)
        for source, runs in _sources(part, numbers):
            task = partial(_backprojected, part, source, weights)
            total += sum(in_lanes(task, runs.leaves(table.features, _LEAF)))
    return total.T


def _backprojected(part: Part, source: Operand, weights: Array, lane: list[Runs]) -> Array:
    from ...kernels.loops import backproject

    total = np.zeros((len(weights), part.frame.features), weights.dtype)
    for runs in lane:
        for vector, column in zip(total, weights, strict=True):
            backproject(*_tables(part, vector, source, runs), column)
    return total


def _pieces(table: Table) -> Iterator[tuple[Any, Part, Array]]:
    """Where some rows stand in the selection, the part they are in, and their numbers there."""
    for begin in range(0, table.n_rows, _ROWS):
        numbers = table.numbered(begin, min(begin + _ROWS, table.n_rows))
        for k, place, local in table.stack.pieces(numbers):
            whole = isinstance(place, slice)
            rows = slice(begin + place.start, begin + place.stop) if whole else begin + place
            yield rows, table.stack.parts[k], local


def _sources(part: Part, rows: Array) -> Iterator[tuple[Operand, Runs]]:
    """Blocks of the image, padded where they must be, and the patches of ``rows`` in each."""
    frame, grid = part.frame, part.frame.grid
    ranges = tuple((0, n) for n in frame.counts)
    for runs, bounds in readable(frame, runs_of(rows, frame.counts, part.breaks, frame.along)):
        block, origin = part.image, (0,) * len(frame.axes)
        if bounds is not None:
            block = read_block(block, bounds, frame.margins, grid.pad_mode, grid.pad_value)
            origin = tuple(begin for begin, _ in bounds)
        memory = flat(native(strided_by_items(block)))
        yield placed(memory, frame.axes, origin, ranges, frame.gap, frame.along), runs


def _tables(part: Part, vector: Array, source: Operand, runs: Runs) -> tuple[Any, ...]:
    """Arguments for the loops: a vector of one number per sample, the patches, and their places."""
    memory, strides = flat(vector.reshape(part.frame.patch))
    operand = Operand(memory, lambda runs: runs.sequence, strides, 1)
    return memory, source.memory, *line_tables((operand, source), runs, part.frame.patch)

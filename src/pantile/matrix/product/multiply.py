"""Products of a selection with dense matrices, in the way that is estimated to be the fastest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..boxes.boxes import Box
from ..boxes.fourier import NotFinite
from ..estimate import Estimate, Way, estimate_product
from ..selection.rectangles import Rectangle
from ..selection.selection import Selection
from ..selection.stack import Array
from .correlate import correlate, correlate_transposed
from .direct import multiply_directly, multiply_transposed_directly

__all__ = ["cut_box", "multiply", "multiply_transposed", "result_dtype"]


def result_dtype(selection: Selection, other: Array) -> np.dtype[Any]:
    """complex128 where either is complex, else float64."""
    kinds = selection.stack.dtype.kind, other.dtype.kind
    return np.dtype(np.complex128 if "c" in kinds else np.float64)


def multiply(selection: Selection, right: Array) -> Array:
    """``X @ right`` for ``(features, k)``, in float64 or complex128."""
    dtype = result_dtype(selection, right)
    right = right.astype(dtype, copy=False)
    out = np.empty((selection.n_rows, right.shape[1]), dtype)
    estimate = estimate_product(selection, right.shape[1])
    try:
        if estimate.way == "boxes" and np.isfinite(right).all():
            _multiply_boxes(selection, estimate, right, out)
            return out
    except NotFinite:
        pass  # a Fourier transform would spread it: blocks keep it in the rows that hold it
    if estimate.direct < estimate.blocks:
        multiply_directly(selection, right, out)
        return out
    for rows, columns in selection.blocks(dtype=selection.work):
        np.matmul(columns.T, right, out=out[rows])
    return out


def _multiply_boxes(selection: Selection, estimate: Estimate, right: Array, out: Array) -> None:
    for rectangle, ways in estimate.rectangles:
        if selection.span is not None:
            _multiply_rectangle(selection, rectangle, ways, right, out[rectangle.rows])
            continue
        at, numbers = _find_rows(selection, rectangle)
        for j in _group_columns(selection, rectangle, right.shape[1]):
            whole = np.empty((rectangle.n_rows, right[:, j].shape[1]), out.dtype)
            _multiply_rectangle(selection, rectangle, ways, right[:, j], whole)
            out[at, j] = whole[numbers]


def _find_rows(selection: Selection, rectangle: Rectangle) -> tuple[Array, Array]:
    """Where rows of a whole image are in a selection with gaps, and their numbers in the image."""
    rows = selection.row_numbers(0, selection.n_rows)
    begin, end = rectangle.rows.start, rectangle.rows.stop
    at = np.flatnonzero((rows >= begin) & (rows < end))
    return at, rows[at] - begin


def _group_columns(selection: Selection, rectangle: Rectangle, columns: int) -> list[slice]:
    """Columns of which all rows of a whole image are computed together, though few may be wanted."""
    size = max(1, selection.limits.product_group_elements // rectangle.n_rows)
    return [slice(j, j + size) for j in range(0, columns, size)]


def _multiply_rectangle(
    selection: Selection, rectangle: Rectangle, ways: tuple[Way, ...], right: Array, out: Array
) -> None:
    """Write the rows of a rectangle times ``right`` into ``out``, ``(n, k)``."""
    shaped = out.reshape(*rectangle.counts, right.shape[1])
    for way in ways:
        if way.name == "fft":
            correlate(way.box, right, shaped, selection.limits)
        else:
            for rows, columns in cut_box(way.box, out.dtype, selection.limits.row_block_bytes):
                out[rows] = columns.T @ right


def cut_box(box: Box, dtype: Any, nbytes: int) -> Iterator[tuple[Array, Array]]:
    """Some patches of a box at a time: their numbers in the rectangle, and the patches as columns."""
    rectangle, image = box.rectangle, box.image
    rows, features = box.rows(), image.frame.features
    size = max(1, nbytes // (np.dtype(dtype).itemsize * features))
    for begin in range(0, len(rows), size):
        some = rows[begin : begin + size]
        columns = np.empty((features, len(some)), image.values.dtype)
        image.cut(rectangle.image_rows(some), columns)
        yield some, columns.astype(dtype)


def multiply_transposed(selection: Selection, right: Array) -> Array:
    """``X.T @ right`` for ``(n_rows, k)``, in float64 or complex128."""
    dtype = result_dtype(selection, right)
    right = right.astype(dtype, copy=False)
    if not right.shape[1]:
        return np.zeros((selection.features, 0), dtype)
    estimate = estimate_product(selection, right.shape[1], adjoint=True)
    try:
        if estimate.way == "boxes" and np.isfinite(right).all():
            return _multiply_boxes_transposed(selection, estimate, right)
    except NotFinite:
        pass
    if estimate.direct < estimate.blocks:
        return multiply_transposed_directly(selection, right)
    total = np.zeros((selection.features, right.shape[1]), dtype)
    for rows, columns in selection.blocks(dtype=selection.work):
        total += columns @ right[rows]
    return total


def _multiply_boxes_transposed(selection: Selection, estimate: Estimate, right: Array) -> Array:
    total = np.zeros((selection.features, right.shape[1]), right.dtype)
    for rectangle, ways in estimate.rectangles:
        if selection.span is not None:
            _add_rectangle(total, selection, rectangle, ways, right[rectangle.rows])
            continue
        at, numbers = _find_rows(selection, rectangle)
        for j in _group_columns(selection, rectangle, right.shape[1]):
            whole = np.zeros((rectangle.n_rows, right[:, j].shape[1]), right.dtype)
            np.add.at(whole, numbers, right[at, j])
            _add_rectangle(total[:, j], selection, rectangle, ways, whole)
    return total


def _add_rectangle(
    total: Array, selection: Selection, rectangle: Rectangle, ways: tuple[Way, ...], weights: Array
) -> None:
    """Add the transposed rows of a rectangle times ``weights``, ``(n, k)``, to ``total``."""
    shaped = weights.reshape(*rectangle.counts, weights.shape[1])
    for way in ways:
        if way.name == "fft":
            total += correlate_transposed(way.box, shaped, selection.limits)
        else:
            nbytes = selection.limits.row_block_bytes
            for rows, columns in cut_box(way.box, weights.dtype, nbytes):
                total += columns @ weights[rows]

"""Products of the matrix with dense ones: by FFT, patch by patch where they lie, or in blocks."""

from __future__ import annotations

from typing import Any

import numpy as np

from .boxes import Area, Box
from .cost import Estimate, Way, product_ways
from .direct import direct_times, direct_transposed
from .parts import Array
from .spectra import NotFinite, adjoint, correlate
from .table import BLOCK, Table

__all__ = ["box_blocks", "multiply", "multiply_transposed", "result_dtype"]

_GROUP = 16_000_000  # elements of a result that are worked on at a time where rows are chosen


def result_dtype(table: Table, other: Array) -> np.dtype[Any]:
    """complex128 where either is complex, else float64."""
    return np.dtype(
        np.complex128 if "c" in (table.stack.dtype.kind, other.dtype.kind) else np.float64
    )


def multiply(table: Table, right: Array) -> Array:
    """``X @ right`` for ``(features, k)``, in float64 or complex128."""
    dtype = result_dtype(table, right)
    right = right.astype(dtype, copy=False)
    out = np.empty((table.n_rows, right.shape[1]), dtype)
    estimate = product_ways(table, right.shape[1])
    try:
        if estimate.way == "boxes" and np.isfinite(right).all():
            _multiply_boxes(table, estimate, right, out)
            return out
    except NotFinite:
        pass  # an FFT would spread it: blocks keep it in the rows that hold it
    if estimate.direct < estimate.blocks:
        direct_times(table, right, out)
        return out
    for rows, columns in table.blocks(BLOCK, table.work):
        np.matmul(columns.T, right, out=out[rows])
    return out


def _multiply_boxes(table: Table, estimate: Estimate, right: Array, out: Array) -> None:
    for area, ways in estimate.areas:
        if table.contiguous is not None:
            _area_times(area, ways, right, out[area.begin : area.begin + area.n_rows])
            continue
        chosen = _chosen(table, area)
        group = max(1, _GROUP // area.n_rows)
        for j in range(0, right.shape[1], group):
            whole = np.empty((area.n_rows, right[:, j : j + group].shape[1]), out.dtype)
            _area_times(area, ways, right[:, j : j + group], whole)
            out[chosen, j : j + group] = whole[_numbers(table, chosen) - area.begin]


def _chosen(table: Table, area: Area) -> Array:
    """Where in the selection rows of an area stand that is a whole part."""
    rows = _numbers(table, slice(None))
    return np.flatnonzero((rows >= area.begin) & (rows < area.begin + area.n_rows))


def _numbers(table: Table, chosen: Any) -> Array:
    found: Array = table.numbered(0, table.n_rows)[chosen]
    return found


def _area_times(area: Area, ways: tuple[Way, ...], right: Array, out: Array) -> None:
    """``out``, ``(n, k)``: the rows of an area times ``right``."""
    shaped = out.reshape(*area.counts, right.shape[1])
    for way in ways:
        if way.name == "fft":
            correlate(way.box, right, shaped)
        else:
            for rows, columns in box_blocks(area, way.box, out.dtype):
                out[rows] = columns.T @ right


def box_blocks(area: Area, box: Box, dtype: Any) -> Any:
    """Numbers in the area of some of a box's rows at a time, and those rows as columns."""
    rows = box.rows()
    features = area.part.frame.features
    size = max(1, BLOCK // (np.dtype(dtype).itemsize * features))
    for begin in range(0, len(rows), size):
        part = rows[begin : begin + size]
        columns = np.empty((features, len(part)), area.part.image.dtype)
        area.part.cut(part + area.first, columns)
        yield part, columns.astype(dtype)


def multiply_transposed(table: Table, right: Array) -> Array:
    """``X.T @ right`` for ``(n_rows, k)``, in float64 or complex128."""
    dtype = result_dtype(table, right)
    right = right.astype(dtype, copy=False)
    if not right.shape[1]:
        return np.zeros((table.features, 0), dtype)
    estimate = product_ways(table, right.shape[1], adjoint=True)
    try:
        if estimate.way == "boxes" and np.isfinite(right).all():
            return _transposed_boxes(table, estimate, right)
    except NotFinite:
        pass
    if estimate.direct < estimate.blocks:
        return direct_transposed(table, right)
    total = np.zeros((table.features, right.shape[1]), dtype)
    for rows, columns in table.blocks(BLOCK, table.work):
        total += columns @ right[rows]
    return total


def _transposed_boxes(table: Table, estimate: Estimate, right: Array) -> Array:
    total = np.zeros((table.features, right.shape[1]), right.dtype)
    for area, ways in estimate.areas:
        if table.contiguous is not None:
            _add_area(total, area, ways, right[area.begin : area.begin + area.n_rows])
            continue
        chosen = _chosen(table, area)
        group = max(1, _GROUP // area.n_rows)
        for j in range(0, right.shape[1], group):
            whole = np.zeros((area.n_rows, right[:, j : j + group].shape[1]), right.dtype)
            np.add.at(whole, _numbers(table, chosen) - area.begin, right[chosen, j : j + group])
            _add_area(total[:, j : j + group], area, ways, whole)
    return total


def _add_area(total: Array, area: Area, ways: tuple[Way, ...], weights: Array) -> None:
    shaped = weights.reshape(*area.counts, weights.shape[1])
    for way in ways:
        if way.name == "fft":
            total += adjoint(way.box, shaped)
        else:
            for rows, columns in box_blocks(area, way.box, weights.dtype):
                total += columns @ weights[rows]

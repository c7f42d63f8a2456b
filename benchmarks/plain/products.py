"""Cells of `PatchMatrix`: products and Gram matrices."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from scipy import signal

import pantile as pt
from benchmarks.cases import Array, Case
from benchmarks.plain.cell import Cell, Sides
from benchmarks.plain.sizes import COVERING, REGIMES, Kind, Size, sized
from benchmarks.plain.torches import correlated
from benchmarks.timing import Task

__all__ = ["cells", "matrix_of", "rows_of"]

GRAMS = (
    Kind(2, 3, 1), Kind(2, 8, 1, "uint8"), Kind(2, 8, 4, "float64"), Kind(2, 8, 8, "uint16"), Kind(2, 39, 1),
    Kind(2, 39, 20), Kind(1, 64, 32), Kind(1, 256, 1), Kind(1, 256, 256, "float64"), Kind(3, 8, 4),
    Kind(3, 3, 1, "uint8"),
)  # fmt: skip
FEW = 100
"""Samples of a patch that a Python loop goes through without waiting."""


def cells(size: Size) -> Iterator[Cell]:
    """Every cell about products."""
    for kind in REGIMES:
        yield Cell("X @ v", "", sized(kind, size), _times_vector)
        yield Cell("X.T @ u", "", sized(kind, size), _transposed_times_vector)
    for kind in COVERING:
        case = sized(kind, Size(size.elements / 2))
        yield Cell("X @ V", "16 columns", case, _times)
        yield Cell("X.T @ U", "16 columns", case, _transposed_times)
        yield Cell("X @ v", "where", case, partial(_times_where, False))
        yield Cell("X.T @ u", "where", case, partial(_times_where, True))
        yield Cell("X @ v", "centred rows", case, _centred)
    for kind in GRAMS:
        case = sized(kind, Size(size.elements / 2))
        yield Cell("gram", "", case, _gram)
        yield Cell("cov", "", case, _cov)
        yield Cell("gram", "where", case, _gram_where)


def matrix_of(case: Case, image: Array, **options: Any) -> pt.PatchMatrix:
    return pt.PatchMatrix(image, pt.PatchGrid(case.shape, case.patch, case.step), **options)


def rows_of(case: Case, image: Array) -> Array:
    """The plain matrix: every window copied to a row."""
    return case.view(image).reshape(case.n_patches, case.features)


def _vectors(rows: int, columns: int) -> Array:
    """In float64, as what our products give: of those in float32 the last four digits are noise."""
    return np.random.default_rng(2).random((rows, columns))


def _times_vector(case: Case) -> Sides:
    image = case.image()
    X, v = matrix_of(case, image), _vectors(case.features, 1)
    flat = v[:, 0]
    plain: dict[str, Task] = {"windows.reshape @ v": lambda: rows_of(case, image) @ flat}
    if case.step[0] == 1 and image.dtype.kind == "f":
        kernel = flat.reshape(case.patch)
        plain["scipy correlate"] = lambda: signal.correlate(image, kernel, "valid").ravel()
    if case.features <= FEW:
        plain["sample by sample"] = partial(_by_sample, case, image, flat)
    torch = correlated(case, image, v) if image.dtype.kind == "f" else None
    if torch is not None:
        plain["torch conv"] = lambda: torch()[:, 0]
    return Sides(lambda: X @ flat, plain)


def _by_sample(case: Case, image: Array, v: Array) -> Array:
    view, found = case.view(image), np.zeros(case.counts, v.dtype)
    for sample, weight in zip(np.ndindex(case.patch), v, strict=True):
        found += view[(..., *sample)] * weight
    return found.ravel()


def _transposed_times_vector(case: Case) -> Sides:
    image = case.image()
    X, u = matrix_of(case, image), _vectors(case.n_patches, 1)[:, 0]
    plain: dict[str, Task] = {"windows.reshape.T @ u": lambda: rows_of(case, image).T @ u}
    if case.step[0] == 1 and image.dtype.kind == "f":
        kernel = u.reshape(case.counts)
        plain["scipy correlate"] = lambda: signal.correlate(image, kernel, "valid").ravel()
    if case.features <= FEW:
        view, weights = case.view(image), u.reshape(case.counts)
        plain["sample by sample"] = lambda: np.array(
            [(view[(..., *sample)] * weights).sum() for sample in np.ndindex(case.patch)]
        )
    return Sides(lambda: X.T @ u, plain)


def _times(case: Case) -> Sides:
    image = case.image()
    X, V = matrix_of(case, image), _vectors(case.features, 16)
    plain: dict[str, Task] = {"windows.reshape @ V": lambda: rows_of(case, image) @ V}
    torch = correlated(case, image, V) if image.dtype.kind == "f" else None
    if torch is not None:
        plain["torch conv"] = torch
    return Sides(lambda: X @ V, plain)


def _transposed_times(case: Case) -> Sides:
    image = case.image()
    X, U = matrix_of(case, image), _vectors(case.n_patches, 16)
    return Sides(lambda: X.T @ U, {"windows.reshape.T @ U": lambda: rows_of(case, image).T @ U})


def _mask(case: Case) -> Array:
    chosen: Array = np.random.default_rng(1).random(case.counts) < 1 / 3
    chosen.flat[0] = True
    return chosen


def _times_where(transposed: bool, case: Case) -> Sides:
    image, chosen = case.image(), _mask(case)
    X = matrix_of(case, image, where=chosen)
    v = _vectors(len(X) if transposed else case.features, 1)[:, 0]

    def chosen_rows() -> Array:
        return case.view(image)[chosen].reshape(len(X), -1)

    if transposed:
        return Sides(lambda: X.T @ v, {"windows[mask].T @ u": lambda: chosen_rows().T @ v})
    return Sides(lambda: X @ v, {"windows[mask] @ v": lambda: chosen_rows() @ v})


def _centred(case: Case) -> Sides:
    image = case.image()
    X, v = matrix_of(case, image, center=True), _vectors(case.features, 1)[:, 0]

    def plain() -> Array:
        rows = rows_of(case, image)
        return (rows - rows.mean(1, keepdims=True)) @ v

    return Sides(lambda: X @ v, {"rows - their means, @ v": plain})


def _gram(case: Case) -> Sides:
    image = case.image()
    X = matrix_of(case, image)

    def plain() -> Array:
        rows = rows_of(case, image).astype(np.float64, copy=False)
        return rows.T @ rows

    return Sides(X.gram, {"rows.T @ rows": plain})


def _gram_where(case: Case) -> Sides:
    image, chosen = case.image(), _mask(case)
    X = matrix_of(case, image, where=chosen)

    def plain() -> Array:
        rows = case.view(image)[chosen].reshape(len(X), -1).astype(np.float64, copy=False)
        return rows.T @ rows

    return Sides(X.gram, {"rows.T @ rows": plain})


def _cov(case: Case) -> Sides:
    image = case.image()
    X = matrix_of(case, image)
    return Sides(X.cov, {"np.cov": lambda: np.cov(rows_of(case, image), rowvar=False)})

"""Cells of `PatchMatrix`: statistics, and rows and features by number."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from scipy import ndimage

from benchmarks.cases import Array, Case
from benchmarks.plain.cell import Cell, Sides
from benchmarks.plain.products import matrix_of, rows_of
from benchmarks.plain.sizes import COVERING, Size, sized
from benchmarks.timing import Task

__all__ = ["cells"]


def cells(size: Size) -> Iterator[Cell]:
    """Every cell about statistics and rows."""
    for kind in COVERING:
        case = sized(kind, size)
        for name in ("sum", "mean", "std"):
            for axis in (None, 0, 1):
                yield Cell(f"X.{name}", f"axis={axis}", case, partial(_statistic, name, axis))
        yield Cell("X.row_norms", "", case, _norms)
        yield Cell("X[rows]", "500 in any order", case, partial(_rows, 500))
        yield Cell("X[rows]", "10", case, partial(_rows, 10))
        yield Cell("X[mask]", "a third", sized(kind, Size(size.elements / 2)), _masked)
        yield Cell("X[:, features]", "20", case, _features)
        yield Cell("np.asarray(X)", "", case, _array)
        yield Cell("X.blocks", "summed", case, _blocks)
        yield Cell("X.sum", "axis=0, where", case, partial(_where, 0))
        yield Cell("X.sum", "axis=1, where", case, partial(_where, 1))


def _axes(case: Case, axis: int | None) -> tuple[int, ...]:
    """The axes of windows that an axis of the matrix stands for."""
    rows, features = tuple(range(case.ndim)), tuple(range(case.ndim, 2 * case.ndim))
    return (*rows, *features) if axis is None else (rows, features)[axis]


def _statistic(name: str, axis: int | None, case: Case) -> Sides:
    image = case.image()
    X, axes = matrix_of(case, image), _axes(case, axis)
    wide = {"dtype": np.float64}  # as ours
    plain: dict[str, Task] = {
        "of windows": lambda: (
            np.ravel(getattr(case.view(image), name)(axes, **wide))
            if axis is not None
            else getattr(case.view(image), name)(**wide)
        ),
        "of rows": lambda: getattr(rows_of(case, image), name)(axis, **wide),
    }
    if axis == 1 and name != "std":
        factor = case.features if name == "sum" else 1
        plain["scipy uniform_filter"] = lambda: _filtered(case, image) * factor
    return Sides(lambda: getattr(X, name)(axis), plain)


def _filtered(case: Case, image: Array) -> Array:
    """The mean around every element, of which those of whole windows are kept."""
    means = ndimage.uniform_filter(image.astype(np.float64), case.patch, mode="constant")
    firsts = [p // 2 for p in case.patch]
    axes = zip(firsts, case.counts, case.step, strict=True)
    kept = means[tuple(slice(f, f + (count - 1) * step + 1, step) for f, count, step in axes)]
    return kept.ravel()


def _norms(case: Case) -> Sides:
    image = case.image()
    X = matrix_of(case, image)

    def plain() -> Array:
        rows = rows_of(case, image).astype(np.float64, copy=False)
        found: Array = np.linalg.norm(rows, axis=1)
        return found

    return Sides(X.row_norms, {"np.linalg.norm": plain})


def _rows(most: int, case: Case) -> Sides:
    image = case.image()
    X = matrix_of(case, image)
    chosen = np.random.default_rng(1).permutation(case.n_patches)[: min(most, case.n_patches)]

    def fancy() -> Array:
        return case.view(image)[np.unravel_index(chosen, case.counts)].reshape(len(chosen), -1)

    return Sides(lambda: X[chosen], {"windows[rows]": fancy})


def _masked(case: Case) -> Sides:
    image = case.image()
    X = matrix_of(case, image)
    chosen = np.random.default_rng(1).random(case.n_patches) < 1 / 3
    chosen[0] = True

    def fancy() -> Array:
        return case.view(image)[chosen.reshape(case.counts)].reshape(-1, case.features)

    return Sides(lambda: X[chosen], {"windows[mask]": fancy})


def _features(case: Case) -> Sides:
    image = case.image()
    X = matrix_of(case, image)
    chosen = np.random.default_rng(1).permutation(case.features)[:20]

    def fancy() -> Array:
        samples = np.unravel_index(chosen, case.patch)
        return case.view(image)[(..., *samples)].reshape(case.n_patches, -1)

    return Sides(lambda: X[:, chosen], {"windows[..., features]": fancy})


def _array(case: Case) -> Sides:
    image = case.image()
    X = matrix_of(case, image)
    return Sides(lambda: np.asarray(X), {"windows.reshape": lambda: rows_of(case, image)})


def _blocks(case: Case) -> Sides:
    """Sums of all rows, a block at a time: what goes through a matrix in pieces."""
    image = case.image()
    X = matrix_of(case, image)

    def ours() -> Array:
        return np.concatenate([block.sum(1, dtype=np.float64) for _, block in X.blocks()])

    def plain() -> Array:
        lines = case.view(image)
        width = max(1, len(X) // case.counts[0])
        return np.concatenate([line.reshape(width, -1).sum(1, dtype=np.float64) for line in lines])

    return Sides(ours, {"windows, a line at a time": plain})


def _where(axis: int, case: Case) -> Sides:
    image = case.image()
    chosen = np.random.default_rng(1).random(case.counts) < 1 / 3
    chosen.flat[0] = True
    X = matrix_of(case, image, where=chosen)

    def plain() -> Array:
        rows = case.view(image)[chosen].reshape(len(X), -1)
        found: Array = rows.sum(axis, dtype=np.float64)
        return found

    return Sides(lambda: X.sum(axis), {"windows[mask].sum": plain})

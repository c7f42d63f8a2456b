"""Cases of `PatchMatrix`: every operation, of one image, of several, of a dask array."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

import pantile as pt

from .digest import Record
from .draw import DTYPES, Array, Draw, array, grid, placed, restrided, where

__all__ = ["images", "lazy_matrix", "matrix"]


def matrix(draw: Draw, record: Record) -> None:
    """A matrix of one image under every operation."""
    wide = draw.often(0.15)
    chosen = grid(draw, draw.pick((1, 1, 2, 2, 2, 3)), scale=3 if wide else 1)
    place = placed(draw, chosen, nonfinite=0.05)
    given: dict[str, Any] = dict(place.roles)
    if draw.often(0.3):
        given["where"] = where(draw, chosen)
    given |= {"center": draw.often(0.2), "scale": draw.often(0.2)}
    made = record("matrix", lambda: _small(pt.PatchMatrix(place.image, chosen, **given)))
    if made is None or made is False:
        return
    X = pt.PatchMatrix(place.image, chosen, **given)
    _every(draw, record, X)
    if draw.often(0.4):
        n = len(X)
        part = slice(*sorted(draw.rng.integers(0, n + 1, 2).tolist()), draw.pick((None, 1, 2)))
        Y = X[part] if draw.often(0.9) else X[::-1]
        if len(Y):
            _every(draw, record, Y, few=True)


def _small(X: Any) -> Any:
    return X if X.size <= 2_000_000 and X.shape[1] <= 600 else False


def images(draw: Draw, record: Record) -> None:
    """Several images as one matrix."""
    nd = draw.pick((1, 2))
    patch = tuple(draw.whole(1, 6) for _ in range(nd))
    step = tuple(draw.whole(1, 4) for _ in range(nd))
    dtype = draw.pick([d for d in DTYPES if d != "b1"])
    shapes = [[p + draw.whole(0, 20) for p in patch] for _ in range(draw.whole(1, 4))]
    found = [restrided(draw, array(draw, shape, dtype)) for shape in shapes]
    _every(draw, record, pt.PatchMatrix(found, patch, step))


def _every(draw: Draw, record: Record, X: Any, few: bool = False) -> None:
    n, f = X.shape
    record(
        "what", lambda: (X.shape, X.dtype, X.nbytes, len(X), repr(X), X.patch_shape, list(X.grids))
    )
    operations = {**_elements(draw, X, n, f), **_products(draw, X, n, f), **_statistics(X)}
    for name, operation in operations.items():
        if not few or draw.often(0.3):
            record(name, operation)


def _elements(draw: Draw, X: Any, n: int, f: int) -> dict[str, Callable[[], Any]]:
    rows, cols = draw.rng.integers(-n, n, 6), draw.rng.integers(-f, f, 3)
    mask = draw.rng.random(n) < draw.pick((0.1, 0.5))
    i, j, nbytes, seed = int(rows[0]), int(cols[0]), draw.whole(1, 40_000), draw.whole(0, 9)
    count = min(n, draw.whole(0, 6))
    return {
        "X[rows]": lambda: X[rows],
        "X[mask]": lambda: X[mask],
        "X[i]": lambda: X[i],
        "X[i, j]": lambda: X[i, j],
        "X[:, cols]": lambda: X[:, cols],
        "X[:, j]": lambda: X[:, j],
        "X[rows, cols]": lambda: X[rows[:3], cols],
        "X[ix]": lambda: X[np.ix_(rows, cols)],
        "X[a:b, c:d]": lambda: X[n // 4 : n - n // 4, : (f + 1) // 2],
        "X[1::2]": lambda: np.asarray(X[1::2]),
        "X[outside]": lambda: X[n],
        "pickled": lambda: np.asarray(pickle.loads(pickle.dumps(X))),
        "blocks": lambda: [(part, block.copy(), block.strides) for part, block in X.blocks(nbytes)],
        "sample": lambda: X.sample(count, seed),
        "explain": lambda: X.explain(3),
    }


def _products(draw: Draw, X: Any, n: int, f: int) -> dict[str, Callable[[], Any]]:
    k = draw.pick((1, 2, 3, 17))
    kind = draw.pick(("f8", "f8", "f4", "i4", "c16"))
    V, U = _operand(draw, (f, k), kind), _operand(draw, (n, k), kind)
    operator = X.aslinearoperator() if draw.often(0.3) else None
    found: dict[str, Callable[[], Any]] = {
        "X @ V": lambda: X @ V,
        "X @ v": lambda: X @ V[:, 0],
        "V.T @ X.T": lambda: V.T @ X.T,
        "X.T @ U": lambda: X.T @ U,
        "X.T @ u": lambda: X.T @ U[:, 0],
        "u @ X": lambda: U[:, 0] @ X,
        "matmul": lambda: np.matmul(X, V),
        "X @ wrong": lambda: X @ np.ones(f + 1),
    }
    if operator is not None:
        found |= {
            "matvec": lambda: operator.matvec(V[:, 0]),
            "rmatmat": lambda: operator.rmatmat(U),
        }
    return found


def _operand(draw: Draw, shape: tuple[int, ...], kind: str) -> Array:
    values = draw.rng.standard_normal(shape) * 5
    return values.astype(kind) if kind != "c16" else values * (1 - 2j)


def _statistics(X: Any) -> dict[str, Callable[[], Any]]:
    found: dict[str, Callable[[], Any]] = {
        "gram": X.gram,
        "cov": X.cov,
        "cov, ddof 0": lambda: X.cov(0),
        "row_norms": X.row_norms,
    }
    for axis in (None, 0, 1):
        for name in ("sum", "mean", "var", "std"):
            found[f"{name}({axis})"] = lambda name=name, axis=axis: getattr(X, name)(axis)
    return found


def lazy_matrix(draw: Draw, record: Record) -> None:
    """A matrix of a dask array: what its results hold once computed."""
    import dask.array as da

    chosen = grid(draw, draw.pick((1, 2)))
    place = placed(draw, chosen, nonfinite=0.0, strided=False)
    chunks = tuple(draw.whole(max(1, n // 4), n) for n in place.image.shape)
    given: dict[str, Any] = {**place.roles, "center": draw.often(0.15), "scale": draw.often(0.15)}
    if draw.often(0.3):
        given["where"] = where(draw, chosen)
    lazy = da.from_array(place.image, chunks=chunks)
    X = pt.PatchMatrix(lazy, chosen, **given)
    n, f = X.shape
    V, U = draw.rng.standard_normal((f, 2)), draw.rng.standard_normal((n, 2))
    rows = np.sort(draw.rng.integers(0, n, 5))
    operations: dict[str, Callable[[], Any]] = {
        "X @ V": lambda: X @ V, "X.T @ U": lambda: X.T @ U, "gram": X.gram, "cov": X.cov, "sum": X.sum,
        "sum(0)": lambda: X.sum(0), "mean(1)": lambda: X.mean(1), "var(0)": lambda: X.var(0),
        "std(1)": lambda: X.std(1), "row_norms": X.row_norms, "X[rows]": lambda: X[rows],
        "X[a:b]": lambda: X[n // 3 : n - n // 4] @ V, "X[i]": lambda: X[int(rows[0])],
    }  # fmt: skip
    record("repr", lambda: repr(X))
    for name, operation in operations.items():
        if draw.often(0.4):
            record(name, operation)

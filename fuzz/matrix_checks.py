"""Checks of the fuzzer for `PatchMatrix`: each operation held to the explicit matrix."""

from __future__ import annotations

import math
import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import pantile as pt
from pantile import PatchGrid
from pantile.matrix.matrix import with_limits
from pantile.testing import slow

from .checks import magnitude
from .tiles import limits_for

__all__ = ["check_images", "check_matrix", "explicit"]

Array = npt.NDArray[Any]


def check_matrix(
    image: Array,
    grid: PatchGrid,
    roles: Mapping[str, Any],
    where: Array | None = None,
    rows: slice = slice(None),
    center: bool = False,
    scale: bool = False,
    columns: int = 1,
    way: str = "chosen",
    points: int | None = None,
    seed: int = 0,
) -> None:
    """A `PatchMatrix` is the explicit matrix under every operation."""
    X = pt.PatchMatrix(image, grid, where=where, center=center, scale=scale, **roles)[rows]
    E = explicit(image, grid, roles, where, center, scale)[rows]
    assert X.shape == E.shape, f"shape {X.shape}, expected {E.shape}"
    assert len(pickle.dumps(X)) < 40_000 + 30 * image.nbytes
    if not len(E):
        return
    size = np.abs(E).max(initial=0.0) + (0.0 if center or scale else magnitude(image))
    largest = max(size, magnitude(image))
    loose = _looseness(grid, image.dtype)
    X = with_limits(X, limits_for(way, points))
    _check_elements(X, E, np.random.default_rng(seed), largest)
    _check_products(X, E, columns, np.random.default_rng(seed), loose * size)
    _check_statistics(X, E, loose * largest)


def _looseness(grid: PatchGrid, dtype: np.dtype[Any]) -> float:
    """How much more than a float64 result may round where padding was computed in the image's dtype."""
    computed = grid.pad_mode in ("linear_ramp", "mean", "median") and dtype.kind in "fc"
    return 1 + 64 * float(np.finfo(dtype).eps) / 1e-11 if computed else 1.0


def explicit(
    image: Array,
    grid: PatchGrid,
    roles: Mapping[str, Any],
    where: Array | None,
    center: bool,
    scale: bool,
) -> Array:
    """The matrix in float64 or complex128, by the slow twin of `extract`."""
    nd = grid.ndim + (roles.get("channel_axis") is not None)
    patches = slow.extract(image, grid, **roles)
    batch = patches.shape[: patches.ndim - 1 - nd]
    chosen = np.asarray(slow.select(grid, where))
    every = patches.reshape(-1, grid.n_patches, math.prod(patches.shape[len(batch) + 1 :]))
    E = np.concatenate([one[chosen] for one in every])
    E = E.astype(np.complex128 if image.dtype.kind == "c" else np.float64)
    if center:
        E = E - E[:, :1]  # equal elements become 0 exactly
        E = E - E.mean(axis=1, keepdims=True)
    if scale:
        norms = np.linalg.norm(E, axis=1, keepdims=True)
        E = E / np.where(norms > 0, norms, 1)
    return E


def _near(actual: Any, expected: Any, size: float, what: str, rtol: float = 1e-9) -> None:
    assert np.shape(actual) == np.shape(expected), (
        f"{what}: shape {np.shape(actual)}, expected {np.shape(expected)}"
    )
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=1e-11 * size, err_msg=what)


def _check_elements(X: Any, E: Array, rng: np.random.Generator, size: float) -> None:
    n, f = E.shape
    eps = 32 * float(np.finfo(X.dtype).eps) if X.dtype.kind in "fc" else 0.0
    rows, cols = rng.integers(-n, n, 5), rng.integers(-f, f, 3)
    mask = rng.random(n) < 0.5

    def same(actual: Any, expected: Any, what: str) -> None:
        assert np.asarray(actual).dtype == X.dtype, f"{what}: {np.asarray(actual).dtype}"
        assert np.shape(actual) == np.shape(expected), what
        np.testing.assert_allclose(
            actual, expected.astype(X.dtype), rtol=eps, atol=eps * size, err_msg=what
        )

    same(np.asarray(X), E, "np.asarray(X)")
    same(X[rows], E[rows], "X[rows]")
    same(X[mask], E[mask], "X[mask]")
    same(X[int(rows[0])], E[rows[0]], "X[i]")
    same(X[:, cols], E[:, cols], "X[:, cols]")
    same(X[rows][:, cols], E[rows][:, cols], "X[rows][:, cols]")
    same(X[rows[:3], cols], E[rows[:3], cols], "X[rows, cols]")
    same(X[np.ix_(rows, cols)], E[np.ix_(rows, cols)], "X[np.ix_(rows, cols)]")
    same(np.asarray(X[1::2]), E[1::2], "X[1::2]")
    same(np.asarray(X[::-1]), E[::-1], "X[::-1]")
    again = pickle.loads(pickle.dumps(X))
    same(np.asarray(again), E, "pickled")
    blocks = [(part, block.copy()) for part, block in X.blocks(int(rng.integers(1, 4000)))]
    same(np.concatenate([block for _, block in blocks]), E, "X.blocks()")
    taken, at = X.sample(min(n, 4), rng)
    same(taken, E[at], "X.sample(n)")


def _check_products(X: Any, E: Array, columns: int, rng: np.random.Generator, size: float) -> None:
    n, f = E.shape
    V, U = rng.standard_normal((f, columns)), rng.standard_normal((n, columns))
    if rng.random() < 0.3:
        V, U = V + 1j * V[::-1], U - 2j * U[::-1]
    right, left = size * float(np.abs(V).sum()), size * float(np.abs(U).sum())
    _near(X @ V, E @ V, right, "X @ V")
    _near(X @ V[:, 0], E @ V[:, 0], right, "X @ v")
    _near(V.T @ X.T, V.T @ E.T, right, "V.T @ X.T")
    _near(X.T @ U, E.T @ U, left, "X.T @ U")
    _near(U[:, 0] @ X, U[:, 0] @ E, left, "u @ X")
    operator = X.aslinearoperator()
    _near(operator.matvec(V[:, 0]), E @ V[:, 0], right, "matvec")
    _near(operator.rmatvec(U[:, 0]), E.conj().T @ U[:, 0], left, "rmatvec")


def _check_statistics(X: Any, E: Array, size: float) -> None:
    square = size * size * len(E)
    _near(X.gram(), E.conj().T @ E, square, "gram()")
    if len(E) > 1:
        cov = np.cov(E, rowvar=False).reshape(E.shape[1], E.shape[1])
        _near(X.cov(), cov, square / (len(E) - 1), "cov()")
    for axis in (None, 0, 1):
        _near(X.sum(axis), E.sum(axis), size * E.size, f"sum({axis})")
        _near(X.mean(axis), E.mean(axis), size, f"mean({axis})")
        _near(X.var(axis), E.var(axis), size * size, f"var({axis})")
        np.testing.assert_allclose(
            X.std(axis), E.std(axis), atol=4e-6 * size, err_msg=f"std({axis})"
        )
    _near(X.row_norms(), np.linalg.norm(E, axis=1), size, "row_norms()")


def check_images(
    images: Sequence[Array], patch: Sequence[int], step: Sequence[int], seed: int = 0
) -> None:
    """Several images, of any sizes, make one matrix."""
    X = pt.PatchMatrix(list(images), tuple(patch), tuple(step))
    parts = [
        explicit(image, PatchGrid(image.shape[-len(patch) :], patch, step), {}, None, False, False)
        for image in images
    ]
    E = np.concatenate(parts)
    size = max(map(magnitude, images))
    _check_elements(X, E, np.random.default_rng(seed), size)
    _check_products(X, E, 2, np.random.default_rng(seed), size)
    _check_statistics(X, E, size)

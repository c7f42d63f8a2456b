"""Inverses of covariance matrices: by Cholesky, or where they are singular, by eigenvalues."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Factorisation"]

Array = NDArray[Any]

_EPS = float(np.finfo(np.float64).eps)


class Factorisation:
    """A covariance ``A`` with ``W W.T == inverse(A)``; the pseudo-inverse where ``A`` is singular.

    Singular is a reciprocal condition number below ``features * eps``; the pseudo-inverse then
    leaves out eigenvalues below that share of the largest one. ``A`` is first scaled to a unit
    diagonal for the test, so that features in other units make nothing singular.
    """

    def __init__(self, matrix: Array) -> None:
        self._lower = _factor(matrix)
        if self._lower is None:
            self._root = _inverse_root(matrix)

    @property
    def singular(self) -> bool:
        return self._lower is None

    def solve(self, right: Array) -> Array:
        """``inverse(A) @ right``: where ``A`` is singular, the shortest solution."""
        from scipy.linalg import cho_solve

        if self._lower is not None:
            return np.asarray(cho_solve((self._lower, True), right))
        return np.asarray(self._root @ (self._root.T @ right))

    def whiten(self, right: Array) -> Array:
        """``W.T @ right``."""
        from scipy.linalg import solve_triangular

        if self._lower is not None:
            return np.asarray(solve_triangular(self._lower, right, lower=True))
        return np.asarray(self._root.T @ right)

    def directions(self, right: Array) -> Array:
        """``W @ right``: whitened directions as weights of features."""
        from scipy.linalg import solve_triangular

        if self._lower is not None:
            return np.asarray(solve_triangular(self._lower, right, lower=True, trans="T"))
        return np.asarray(self._root @ right)


def _factor(matrix: Array) -> Array | None:
    """The lower Cholesky factor; None where the matrix is singular, up to rounding."""
    from scipy.linalg import LinAlgError, cholesky
    from scipy.linalg.lapack import dpocon

    diagonal = np.diag(matrix)
    if not (diagonal > 0).all():
        return None
    try:
        lower: Array = cholesky(matrix, lower=True, check_finite=False)
    except LinAlgError:
        return None
    unit = lower / np.sqrt(diagonal)[:, None]
    rcond, _ = dpocon(unit, _norm_of_scaled(matrix, diagonal), uplo="L")
    return lower if rcond > len(matrix) * _EPS else None


def _norm_of_scaled(matrix: Array, diagonal: Array) -> float:
    """The 1-norm of the matrix scaled to a unit diagonal."""
    scale = 1 / np.sqrt(diagonal)
    return float(max(np.abs(row * scale).sum() * s for row, s in zip(matrix, scale, strict=True)))


def _inverse_root(matrix: Array) -> Array:
    from scipy.linalg import eigh

    values, vectors = eigh(matrix)
    kept = values > len(matrix) * _EPS * max(values[-1], 0)
    return np.asarray(vectors[:, kept] / np.sqrt(values[kept]))

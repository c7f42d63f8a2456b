"""Rows less their mean and over their norm, worked on as columns ``(features, n)``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .stack import Array

__all__ = ["column_norms", "conjugate", "standardise"]


def standardise(columns: Array, center: bool, scale: bool) -> None:
    """Take the mean out of each column, and divide it by its norm; columns of norm 0 stay 0."""
    if center:
        columns -= columns[0].copy()  # so that equal elements become 0 exactly
        columns -= columns.mean(axis=0)
    if scale:
        norms = column_norms(columns)
        columns /= np.where(norms > 0, norms, 1)


def conjugate(array: Array) -> Array:
    """The conjugate; a real array itself, so that BLAS sees that ``A @ A.T`` is symmetric."""
    return np.conj(array) if array.dtype.kind == "c" else array


def column_norms(columns: Array) -> NDArray[np.float64]:
    """Euclidean norm of each column, without an array of their squares."""
    if columns.dtype.kind == "c":
        return np.sqrt(_sum_squares(columns.real) + _sum_squares(columns.imag))
    return np.sqrt(_sum_squares(columns))


def _sum_squares(columns: Array) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.einsum("ij,ij->j", columns, columns)
    return found

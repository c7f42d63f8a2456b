"""NumPy functions on a matrix: the few that need no expanded copy, and advice for all others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["ADVICE", "LAZY", "advise"]

ADVICE = (
    "it would copy every patch. Use X @ V, X.T @ U, X.gram(), X.cov(), X.sum/mean/var/std(axis), X.blocks(),"
    " X.sample(n) or X[rows]; np.asarray(X) expands a matrix that fits in memory, X.to_memmap(path) one that does not"
)


def advise(name: str) -> TypeError:
    """The error for a NumPy function that would expand the matrix."""
    return TypeError(f"numpy.{name} does not work on a PatchMatrix: {ADVICE}")


def _make_reduction(method: str) -> Callable[..., Any]:
    def reduce(a: Any, axis: Any = None, **options: Any) -> Any:
        _check_options(method, options, {"ddof"} if method in ("var", "std") else set())
        return getattr(a, method)(axis, **options)

    return reduce


def _check_options(name: str, options: dict[str, Any], known: set[str]) -> None:
    """Raise `TypeError` for options of a NumPy function that none of ours has."""
    extra = sorted(set(options) - known)
    if extra:
        raise TypeError(
            f"numpy.{name} of a PatchMatrix takes no {', '.join(extra)}: results are float64 or complex128"
        )


def _dot(a: Any, b: Any) -> Any:
    return a @ b


def _cov(m: Any, *, rowvar: bool = True, bias: bool = False, ddof: int | None = None) -> Any:
    if rowvar:
        raise TypeError(
            "numpy.cov of a PatchMatrix needs rowvar=False: its rows are observations; or use X.cov()"
        )
    return m.cov(ddof=(0 if bias else 1) if ddof is None else ddof)


def _norm(x: Any, *, axis: Any = None) -> Any:
    if axis not in (1, -1):
        raise advise("linalg.norm without axis=1")
    return x.row_norms()


def _transpose(a: Any, axes: Any = None) -> Any:
    if axes is not None and tuple(axes) not in ((1, 0), (-1, -2), (-1, 0), (1, -2)):
        raise ValueError(f"axes={axes!r} is not the transpose of a matrix")
    return a.T


LAZY: dict[Callable[..., Any], Callable[..., Any]] = {
    np.shape: lambda a: a.shape,
    np.ndim: lambda a: a.ndim,
    np.size: lambda a, axis=None: a.size if axis is None else a.shape[axis],
    np.transpose: _transpose,
    np.dot: _dot,
    np.cov: _cov,
    np.linalg.norm: _norm,
    np.iscomplexobj: lambda x: x.dtype.kind == "c",
    np.isrealobj: lambda x: x.dtype.kind != "c",
    **{getattr(np, name): _make_reduction(name) for name in ("mean", "std", "sum", "var")},
}
"""NumPy functions that work, and how."""

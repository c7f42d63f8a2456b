"""Scikit-learn estimators fitted on all patches of images, without the expanded matrix (extra ``learn``)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .discriminant import PatchLDA
    from .kmeans import PatchKMeans
    from .logistic import PatchLogisticRegression
    from .pca import PatchPCA
    from .ridge import PatchRidge
    from .wrapper import PatchEstimator

__all__ = [
    "PatchEstimator",
    "PatchKMeans",
    "PatchLDA",
    "PatchLogisticRegression",
    "PatchPCA",
    "PatchRidge",
]

_HOMES = {
    "PatchEstimator": "wrapper",
    "PatchKMeans": "kmeans",
    "PatchLDA": "discriminant",
    "PatchLogisticRegression": "logistic",
    "PatchPCA": "pca",
    "PatchRidge": "ridge",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'pantile.learn' has no attribute {name!r}")
    try:
        import sklearn  # noqa: F401
    except ImportError:
        raise ImportError(
            'pantile.learn needs scikit-learn: pip install "pantile[learn]"'
        ) from None
    value = globals()[name] = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

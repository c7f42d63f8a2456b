"""Scikit-learn estimators fitted on all patches of images, without the expanded matrix (extra ``learn``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..names import lazy_names

if TYPE_CHECKING:
    from .discriminant import PatchLDA
    from .kmeans import PatchKMeans
    from .logistic import PatchLogisticRegression
    from .pca import PatchPCA
    from .ridge import PatchRidge
    from .trees.boosting_estimators import PatchBoostingClassifier, PatchBoostingRegressor
    from .trees.forest import PatchForestClassifier
    from .trees.forest_regressor import PatchForestRegressor
    from .wrapper import PatchEstimator

__all__ = [
    "PatchBoostingClassifier",
    "PatchBoostingRegressor",
    "PatchEstimator",
    "PatchForestClassifier",
    "PatchForestRegressor",
    "PatchKMeans",
    "PatchLDA",
    "PatchLogisticRegression",
    "PatchPCA",
    "PatchRidge",
]

_HOMES = {
    "PatchBoostingClassifier": "trees.boosting_estimators",
    "PatchBoostingRegressor": "trees.boosting_estimators",
    "PatchEstimator": "wrapper",
    "PatchForestClassifier": "trees.forest",
    "PatchForestRegressor": "trees.forest_regressor",
    "PatchKMeans": "kmeans",
    "PatchLDA": "discriminant",
    "PatchLogisticRegression": "logistic",
    "PatchPCA": "pca",
    "PatchRidge": "ridge",
}


def _check() -> None:
    try:
        import sklearn  # noqa: F401
    except ImportError:
        raise ImportError(
            'pantile.learn needs scikit-learn: pip install "pantile[learn]"'
        ) from None


if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(__name__, _HOMES, check=_check)

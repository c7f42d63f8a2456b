"""Every estimator of `pantile.learn`, fitted so that its predictions depend on the patches alone: no draws, no ties."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import pantile as pt

__all__ = ["NAMES", "fitted", "predicted"]

Array = NDArray[Any]
Fit = Callable[..., Any]

# every feature is looked at, on all windows; targets are numbers, or weighed by them, so that no two splits are equal
_FOREST = {"n_estimators": 2, "max_depth": 3, "max_features": None, "bootstrap": False}
_BOOSTING = {"max_iter": 2, "max_depth": 3, "min_samples_leaf": 5}


def _wrapped(x: Any, y: Any, **options: Any) -> Any:
    from sklearn.linear_model import Ridge

    return pt.learn.PatchEstimator(Ridge(), **options).fit(x, _numbers(y))


def _numbers(y: Any) -> Any:
    """Classes as numbers, or those of each of a list of images."""
    return [each.astype(float) for each in y] if isinstance(y, list) else y.astype(float)


def _kmeans(x: Any, _: Any, **options: Any) -> Any:
    image = x[0] if isinstance(x, list) else x
    channels = 1 if options.get("channel_axis") is None else image.shape[options["channel_axis"]]
    init = np.stack([np.zeros(9 * channels), np.ones(9 * channels)]) * float(image.max())
    return pt.learn.PatchKMeans(n_clusters=2, init=init, n_init=1, **options).fit(x)


_MODELS: dict[str, Fit] = {
    "PatchPCA": lambda x, _, **o: pt.learn.PatchPCA(n_components=2, **o).fit(x),
    "PatchRidge": lambda x, y, **o: pt.learn.PatchRidge(**o).fit(x, _numbers(y)),
    "PatchLDA": lambda x, y, **o: pt.learn.PatchLDA(**o).fit(x, y),
    "PatchLogisticRegression": lambda x, y, **o: (
        pt.learn.PatchLogisticRegression(tol=1e-8, **o).fit(x, y)
    ),
    "PatchKMeans": _kmeans,
    "PatchEstimator": _wrapped,
    "PatchForestClassifier": lambda x, y, weights=None, **o: (
        pt.learn.PatchForestClassifier(random_state=0, **_FOREST, **o).fit(x, y, weights)
    ),
    "PatchForestRegressor": lambda x, _, weights=None, **o: (
        pt.learn.PatchForestRegressor(random_state=0, **_FOREST, **o).fit(x, weights)
    ),
    "PatchBoostingClassifier": lambda x, y, weights=None, **o: (
        pt.learn.PatchBoostingClassifier(random_state=0, **_BOOSTING, **o).fit(x, y, weights)
    ),
    "PatchBoostingRegressor": lambda x, _, weights=None, **o: (
        pt.learn.PatchBoostingRegressor(random_state=0, **_BOOSTING, **o).fit(x, weights)
    ),
}  # fmt: skip
NAMES = sorted(_MODELS)
_WEIGHED = ("PatchForest", "PatchBoosting")


def fitted(
    name: str, image: Any, labels: Any, weights: Any = None, shape: Any = 3, **options: Any
) -> Any:
    """The estimator fitted on an image and labels; trees learn ``weights``, numbers of pixels, or weigh by them."""
    more = {"weights": weights} if name.startswith(_WEIGHED) else {}
    return _MODELS[name](image, labels, patch=shape, **more, **options)


def predicted(model: Any, image: Array) -> Array:
    """What a model says of each patch, in numbers."""
    for method in ("decision_function", "predict_proba", "predict"):
        if hasattr(model, method):
            return np.asarray(getattr(model, method)(image))
    return np.abs(model.transform(image))  # a component has a sign, that of its largest feature

"""Random forests that predict numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted

from ...geometry.boundary import PadMode
from ..base import Images, as_images
from .base import bound_weights, resolve_families, to_whole
from .export import to_regressor
from .forest import Forest
from .kernels import MOMENTS, Goal
from .targets import choose_windows, number_targets, take_weights, take_windows
from .tasks import NumberTrees

__all__ = ["PatchForestRegressor"]

Array = NDArray[Any]


class PatchForestRegressor(NumberTrees, Forest):
    """A random forest from every patch of images to the number at its centre, by squared error.

    Parameters
    ----------
    patch, step, channel_axis, pad, pad_mode
        Which patches: see `PatchModel`.
    n_estimators, max_depth, min_samples_split, min_samples_leaf, features, bootstrap, max_samples, random_state
        As in `PatchForestClassifier`.
    max_features : int, float, "sqrt", "log2" or None
        How many features each node looks at; by default a third of them, as Breiman advises.
    oob_score : bool
        Predict each window by the trees that have not seen it.
    unlabelled : number, optional
        The target of pixels that take no part; NaN always means that.

    Attributes
    ----------
    feature_importances_ : `patch_shape_`
    oob_score_ : float
        R² on windows by trees that have not seen them.
    n_features_in_ : int
    patch_shape_ : tuple
    n_samples_ : int
        Windows with a target.

    Notes
    -----
    As in `PatchForestClassifier`. Targets are summed as whole numbers, multiples of a power of two:
    whole numbers and binary fractions exactly, others with 30 or more digits (binary) of the largest.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)
    >>> targets = np.maximum(image, np.roll(image, 1, axis=1)).astype(float)
    >>> model = PatchForestRegressor(3, n_estimators=10, random_state=0).fit(image, targets)
    >>> bool(model.score(image, targets) > 0.9)
    True
    """

    def __init__(
        self,
        patch: int | Sequence[int],
        *,
        step: int | Sequence[int] = 1,
        channel_axis: int | None = None,
        pad: Any = "same",
        pad_mode: PadMode = "reflect",
        n_estimators: int = 100,
        max_depth: int | None = None,
        min_samples_split: int = 2,
        min_samples_leaf: int = 1,
        max_features: int | float | str | None = 1 / 3,
        features: str | Sequence[str] = "samples",
        bootstrap: bool = True,
        max_samples: float | None = None,
        oob_score: bool = False,
        unlabelled: Any = None,
        random_state: Any = None,
    ) -> None:
        self.patch = patch
        self.step = step
        self.channel_axis = channel_axis
        self.pad = pad
        self.pad_mode = pad_mode
        self.n_estimators = n_estimators
        self.max_depth = max_depth
        self.min_samples_split = min_samples_split
        self.min_samples_leaf = min_samples_leaf
        self.max_features = max_features
        self.features = features
        self.bootstrap = bootstrap
        self.max_samples = max_samples
        self.oob_score = oob_score
        self.unlabelled = unlabelled
        self.random_state = random_state

    def fit(self, image: Images, targets: Any, sample_weight: Any = None) -> PatchForestRegressor:
        """Learn from an image and its targets, or a list of each.

        ``targets`` has the image's shape, its channel axis aside; pixels where it is NaN (or
        ``unlabelled``) take no part. ``sample_weight`` has one weight per pixel, 0 or more.
        """
        self._check_parameters()
        values = number_targets(self._targets(image, targets, "targets"), self.unlabelled)
        weights = self._weights_of(image, sample_weight)
        canvas = self._prepare(image, bool((resolve_families(self.features) == 2).any()))
        masks, base = choose_windows(canvas, [each == each for each in values], weights)
        own = take_windows(values, masks)
        given, unit = bound_weights(take_weights(weights, masks), len(base))
        total = 15 * (int(given.sum(dtype=np.int64)) if len(given) else len(base))
        whole, self._shift, scale = to_whole(own, total)
        goal = Goal(
            MOMENTS, np.zeros(0, np.uint8), whole, given, len(base).bit_length(), 2, np.ones(1),
            1 / (scale * unit), 1 / unit, 0.0, 0.0, True,
        )  # fmt: skip
        self.n_samples_ = len(base)
        self._grow(canvas, base, goal, given, 1, as_images(image)[1][0].ndim)
        if self.oob_score:
            self.oob_prediction_ = self.__dict__.pop("_unseen")[:, 0]
            known = np.isfinite(self.oob_prediction_)
            self.oob_score_ = float(r2_score(own[known], self.oob_prediction_[known]))
        return self

    def _values(self, sums: Array, goal: Goal) -> tuple[Array, Array]:
        total = sums[:, 1] * goal.unit
        return (self._shift + sums[:, 0] * goal.gain / total)[:, None], total

    def _predict_image(self, image: Array, dtype: DTypeLike) -> Array:
        n = len(self.ensemble_)
        return self._sum_trees(
            image, 1, (), dtype, lambda sums: sums[:, 0] / n, np.zeros(1), "predict"
        )

    def to_sklearn(self) -> Any:
        """The forest as a fitted `sklearn.ensemble.RandomForestRegressor` of rows of patches.

        Only for ``features="samples"``. Impurities of nodes are not known, and NaN.
        """
        check_is_fitted(self)
        return to_regressor(self)

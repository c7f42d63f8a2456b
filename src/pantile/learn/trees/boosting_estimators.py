"""Gradient boosting of patches: the estimators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy.special import expit, softmax
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils.validation import check_is_fitted

from ...geometry.boundary import PadMode
from ..base import Images
from ..labels import encode_classes
from ..logistic import weigh_classes
from .boosting import Boosting
from .export import to_trees
from .losses import Logistic, Loss, Softmax, Squared
from .targets import choose_windows, number_targets, take_weights, take_windows
from .tasks import ClassTrees, NumberTrees

__all__ = ["PatchBoostingClassifier", "PatchBoostingRegressor"]

Array = NDArray[Any]


class PatchBoostingClassifier(ClassTrees, Boosting):
    """Gradient boosting from every patch of images to the class of the pixel at its centre.

    Trees on histograms of gradients, as LightGBM and `sklearn.ensemble.HistGradientBoostingClassifier`
    grow them, on all labelled windows; the matrix of patches is never made, nor its bins.

    Parameters
    ----------
    patch, step, channel_axis, pad, pad_mode
        Which patches: see `PatchModel`.
    learning_rate : float
        What the values of leaves are multiplied by.
    max_iter : int
        Rounds, at most: each adds one tree, or one for each class where there are more than two.
    max_leaf_nodes : int
        Leaves of a tree; the one whose split gains most is split next.
    max_depth : int, optional
        Levels of splits, at most.
    min_samples_leaf : int
        Windows in each leaf, at least.
    l2_regularization : float
        Added to the sum of curvatures in each leaf.
    features : {"samples", "differences", "boxes"} or several of these
        What trees look at: see `PatchForestClassifier`. Of differences and boxes as many are drawn,
        once for all trees, as a patch has samples.
    early_stopping : bool
        Hold out regions of the images, and end where these are predicted no better; what came after
        the best round is dropped.
    validation_fraction : float
        Share of windows held out, in blocks four patches wide.
    n_iter_no_change : int
        Rounds without a gain of ``tol`` after which to end.
    tol : float
        What counts as a gain of the loss.
    class_weight : dict or "balanced", optional
        What a window counts, by class.
    unlabelled : number or str, optional
        The label of pixels that take no part, instead of -1 ("" among strings).
    random_state : int, RandomState or None
        For features and regions that are drawn. The same number gives the same trees, for any number
        of threads.

    Attributes
    ----------
    classes_ : (n_classes,)
    n_iter_ : int
        Rounds that were kept.
    train_loss_ : (rounds + 1,)
        Mean logistic loss, or cross entropy, of the windows trees grow on, from none on.
    validation_loss_ : (rounds + 1,) or None
        That of the windows held out.
    feature_importances_ : `patch_shape_`
    n_features_in_ : int
    patch_shape_ : tuple

    Notes
    -----
    Gradients are summed as whole numbers, so that trees do not depend on the order of work: 61 bits
    less those of the number of windows. While it fits it holds about 40 bytes per labelled window
    (8 more for each class beyond two), and the image as bytes. Source: Friedman, "Greedy function
    approximation: a gradient boosting machine", Annals of Statistics 2001; Ke et al., "LightGBM: a
    highly efficient gradient boosting decision tree", NeurIPS 2017 (histograms, growth by leaves).

    Examples
    --------
    >>> import numpy as np
    >>> image = np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)
    >>> labels = (image > np.roll(image, 1, axis=1)).astype(int)
    >>> model = PatchBoostingClassifier(3, max_iter=20).fit(image, labels)
    >>> bool(model.score(image, labels) > 0.9), model.n_iter_
    (True, 20)
    """

    def __init__(
        self,
        patch: int | Sequence[int],
        *,
        step: int | Sequence[int] = 1,
        channel_axis: int | None = None,
        pad: Any = "same",
        pad_mode: PadMode = "reflect",
        learning_rate: float = 0.1,
        max_iter: int = 100,
        max_leaf_nodes: int = 31,
        max_depth: int | None = None,
        min_samples_leaf: int = 20,
        l2_regularization: float = 0.0,
        features: str | Sequence[str] = "samples",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-7,
        class_weight: Mapping[Any, float] | str | None = None,
        unlabelled: Any = None,
        random_state: Any = None,
    ) -> None:
        self.patch = patch
        self.step = step
        self.channel_axis = channel_axis
        self.pad = pad
        self.pad_mode = pad_mode
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.max_leaf_nodes = max_leaf_nodes
        self.max_depth = max_depth
        self.min_samples_leaf = min_samples_leaf
        self.l2_regularization = l2_regularization
        self.features = features
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.class_weight = class_weight
        self.unlabelled = unlabelled
        self.random_state = random_state

    def fit(self, image: Images, labels: Any, sample_weight: Any = None) -> PatchBoostingClassifier:
        """Learn from an image and its labels, or a list of each, as `PatchForestClassifier.fit`."""
        self._check_parameters()
        classes, codes = encode_classes(self._targets(image, labels), self.unlabelled)
        weights = self._weights_of(image, sample_weight)
        canvas = self._prepare(image, self._needs_boxes)
        masks, base = choose_windows(canvas, [code >= 0 for code in codes], weights)
        own, given = take_windows(codes, masks), take_weights(weights, masks)
        counts = np.bincount(own, minlength=len(classes))
        if len(classes) < 2 or (counts == 0).any():
            raise ValueError(
                f"labels hold one class only, {classes[0].item()!r}: two or more are told apart"
            )
        if self.class_weight is not None:
            share = weigh_classes(self.class_weight, classes, counts)[own]
            given = share if given is None else given * share
        loss: Loss = Logistic() if len(classes) == 2 else Softmax(len(classes))
        self.classes_, self.n_samples_ = classes, len(base)
        self._boost(image, canvas, masks, base, own, given, loss)
        return self

    @property
    def _columns(self) -> int:
        return 1 if len(self.classes_) == 2 else len(self.classes_)

    def decision_function(self, image: Images, dtype: DTypeLike = np.float64) -> Any:
        """Raw scores: ``(*batch, *counts)`` for two classes, else with one per class last."""
        check_is_fitted(self)
        k = self._columns
        tail, finish = ((), lambda s: s[:, 0]) if k == 1 else ((k,), lambda s: s)
        return self._map_images(
            image,
            lambda one: self._sum_trees(
                one, k, tail, dtype, finish, self._start, "decision_function"
            ),
        )

    def _predict_image(self, image: Array) -> Array:
        def finish(scores: Array) -> Array:
            best = scores[:, 0] > 0 if scores.shape[1] == 1 else scores.argmax(axis=1)
            return np.asarray(self.classes_[best.astype(np.intp)])

        return self._sum_trees(
            image, self._columns, (), self.classes_.dtype, finish, self._start, "predict"
        )

    def _proba_image(self, image: Array, dtype: DTypeLike) -> Array:
        def finish(scores: Array) -> Array:
            if scores.shape[1] > 1:
                return np.asarray(softmax(scores, axis=1))
            return np.concatenate([expit(-scores), expit(scores)], axis=1)

        tail = (len(self.classes_),)
        return self._sum_trees(
            image, self._columns, tail, dtype, finish, self._start, "predict_proba"
        )

    def to_sklearn(self) -> list[Any]:
        """The trees as fitted `sklearn.tree.DecisionTreeRegressor`, one per round and score.

        With ``decision_function`` of no tree, what they predict for rows ``(n, features)`` sums up to
        `decision_function`; of several classes, tree ``t`` belongs to score ``t % n_classes``.
        """
        check_is_fitted(self)
        return to_trees(self, DecisionTreeRegressor(), 1)


class PatchBoostingRegressor(NumberTrees, Boosting):
    """Gradient boosting from every patch of images to the number at its centre, by squared error.

    Parameters
    ----------
    patch, step, channel_axis, pad, pad_mode
        Which patches: see `PatchModel`.
    learning_rate, max_iter, max_leaf_nodes, max_depth, min_samples_leaf, l2_regularization
        As in `PatchBoostingClassifier`.
    features, early_stopping, validation_fraction, n_iter_no_change, tol, random_state
        As in `PatchBoostingClassifier`.
    unlabelled : number, optional
        The target of pixels that take no part; NaN always means that.

    Attributes
    ----------
    n_iter_ : int
        Rounds that were kept.
    train_loss_ : (rounds + 1,)
        Half the mean squared error of the windows trees grow on, from none on.
    validation_loss_ : (rounds + 1,) or None
        That of the windows held out.
    feature_importances_ : `patch_shape_`
    n_features_in_ : int
    patch_shape_ : tuple

    Examples
    --------
    >>> import numpy as np
    >>> image = np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)
    >>> targets = image - 2.0 * np.roll(image, 1, axis=1)
    >>> model = PatchBoostingRegressor(3, max_iter=50).fit(image, targets)
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
        learning_rate: float = 0.1,
        max_iter: int = 100,
        max_leaf_nodes: int = 31,
        max_depth: int | None = None,
        min_samples_leaf: int = 20,
        l2_regularization: float = 0.0,
        features: str | Sequence[str] = "samples",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-7,
        unlabelled: Any = None,
        random_state: Any = None,
    ) -> None:
        self.patch = patch
        self.step = step
        self.channel_axis = channel_axis
        self.pad = pad
        self.pad_mode = pad_mode
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.max_leaf_nodes = max_leaf_nodes
        self.max_depth = max_depth
        self.min_samples_leaf = min_samples_leaf
        self.l2_regularization = l2_regularization
        self.features = features
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.unlabelled = unlabelled
        self.random_state = random_state

    def fit(self, image: Images, targets: Any, sample_weight: Any = None) -> PatchBoostingRegressor:
        """Learn from an image and its targets, or a list of each, as `PatchForestRegressor.fit`."""
        self._check_parameters()
        values = number_targets(self._targets(image, targets, "targets"), self.unlabelled)
        weights = self._weights_of(image, sample_weight)
        canvas = self._prepare(image, self._needs_boxes)
        masks, base = choose_windows(canvas, [each == each for each in values], weights)
        own, given = take_windows(values, masks), take_weights(weights, masks)
        self.n_samples_ = len(base)
        self._boost(image, canvas, masks, base, own, given, Squared())
        return self

    def _predict_image(self, image: Array, dtype: DTypeLike) -> Array:
        finish = lambda sums: sums[:, 0]  # noqa: E731
        return self._sum_trees(image, 1, (), dtype, finish, self._start, "predict")

    def to_sklearn(self) -> list[Any]:
        """The trees as fitted `sklearn.tree.DecisionTreeRegressor`, one per round.

        The mean of the targets and what they predict for rows ``(n, features)`` sum up to `predict`.
        """
        check_is_fitted(self)
        return to_trees(self, DecisionTreeRegressor(), 1)
